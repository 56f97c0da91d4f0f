//! A protocol of one's own, from its frames to its last word: a box of notes, whose clients
//! say hello before their first packet and are asked for a sign of life when they are silent.
//!
//! `cargo run -p wireframe-tokio --example protocol` runs a server, a client and two peers
//! that misbehave over loopback TCP, and fails if any of them is not treated as expected.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wireframe::{
    AnswerError, AnswerOrder, Client, CloseReason, Codec, Config, Context, CorrelationId,
    FragmentMeta, FragmentStrategy, Frame, FrameBuf, Heartbeat, LengthDelimited, Malformed,
    PayloadFrame, Preamble, ProtocolError, Reaction, Role, Session, Side, State, Unencodable, View,
    WireframeApp, WireframeProtocol,
};
use wireframe_tokio::{Server, connect_with};

// ANCHOR: frame
/// A kind, the call that it belongs to, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    kind: u8,
    call: u64,
    body: Bytes,
}

/// The kinds of packets. The first three are requests.
mod kind {
    pub(crate) const PUT: u8 = 1;
    pub(crate) const GET: u8 = 2;
    pub(crate) const STATUS: u8 = 3;
    pub(crate) const REPLY: u8 = 10;
    pub(crate) const ERROR: u8 = 11;
    pub(crate) const PING: u8 = 20;
    pub(crate) const PONG: u8 = 21;
    pub(crate) const BYE: u8 = 30;
    /// What a client says first. It is no packet on the wire.
    pub(crate) const HELLO: u8 = 0;
}

impl Packet {
    fn new(kind: u8, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            kind,
            call: 0,
            body,
        }
    }
}

// ANCHOR_END: frame

impl Packet {
    fn hello() -> Self {
        let [most, least] = SILENCE_MS.to_be_bytes();
        let body = [&MAGIC[..], &[VERSION, most, least]].concat();
        Self::new(kind::HELLO, body)
    }
}

// ANCHOR: marks
impl Frame for Packet {}

impl PayloadFrame for Packet {
    fn into_payload(self) -> Bytes {
        self.body
    }

    fn answering(_route: u32, payload: Bytes) -> Self {
        Self::new(kind::REPLY, payload)
    }
}
// ANCHOR_END: marks

// ANCHOR: codec
/// One byte of kind, eight of call, the rest is the body.
struct Packets;

const HEAD: usize = 9;

impl Codec for Packets {
    type Frame = Packet;

    fn decode(&mut self, _: &FragmentMeta, mut payload: Bytes) -> Result<Packet, Malformed> {
        let len = payload.len();
        if len < HEAD {
            let what = format!("a packet of {len} bytes, expected at least {HEAD}");
            return Err(Malformed::new(what));
        }
        Ok(Packet {
            kind: payload.get_u8(),
            call: payload.get_u64(),
            body: payload,
        })
    }

    fn encode(&mut self, packet: &Packet, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        if packet.kind != kind::HELLO {
            dst.put_slice(&[packet.kind]);
            dst.put_slice(&packet.call.to_be_bytes());
        }
        dst.put_bytes(&packet.body);
        Ok(())
    }

    fn encoded_len(&self, packet: &Packet) -> usize {
        HEAD + packet.body.len()
    }
}
// ANCHOR_END: codec

// ANCHOR: framing
/// A length goes before each packet, but not before a hello.
struct Headers(LengthDelimited);

impl FragmentStrategy<Packet> for Headers {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        FragmentStrategy::<Packet>::decode_header(&mut self.0, src)
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        packet: &Packet,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        match packet.kind {
            kind::HELLO => Ok(()),
            _ => self.0.encode_header(dst, packet, meta),
        }
    }
}
// ANCHOR_END: framing

// ANCHOR: error
/// What a handler may refuse.
#[derive(Debug)]
enum Refused {
    NoSuchNote(Bytes),
    NotANote,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNote(name) => write!(f, "no note of that name: {}", text(name)),
            Self::NotANote => f.write_str("a note is a name, an equals sign, and text"),
        }
    }
}

impl Error for Refused {}
impl ProtocolError for Refused {}
// ANCHOR_END: error

// ANCHOR: session
/// What a server knows of a connection.
#[derive(Default)]
struct Visitor {
    version: u8,
    pongs: u32,
}
// ANCHOR_END: session

const MAGIC: [u8; 4] = *b"NOTE";
const VERSION: u8 = 2;
/// A client that has been silent for so many milliseconds is to be pinged.
const SILENCE_MS: u16 = 100;

/// The protocol. One value serves every connection.
#[derive(Clone, Copy)]
struct Notes;

// ANCHOR: protocol
impl WireframeProtocol for Notes {
    type Frame = Packet;
    type Error = Refused;
    type Codec = Packets;
    type Framing = Headers;
    type Session = Visitor;

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> Packets {
        Packets
    }

    fn framing(&self) -> Headers {
        Headers(LengthDelimited::default())
    }

    fn classify(&self, packet: &Packet, _: &View<'_, Visitor>) -> Role {
        let call = Some(CorrelationId(packet.call));
        match packet.kind {
            kind::PING | kind::PONG => Role::Control,
            kind::REPLY | kind::ERROR => Role::Reply {
                to: call,
                last: true,
            },
            kind::BYE => Role::Push,
            other => Role::Request {
                route: other.into(),
                correlation: call,
                exclusive: false,
            },
        }
    }

    fn correlate(&self, packet: &mut Packet, id: CorrelationId) {
        packet.call = id.0;
    }
    // ANCHOR_END: protocol

    // ANCHOR: preamble
    fn preamble(&self, received: &[u8], ctx: &mut Context<'_, Self>) -> Preamble<Packet> {
        if ctx.peer().side == Side::Client {
            // A server says nothing before its first packet. A hello goes before all else.
            return Preamble::Done {
                len: 0,
                reaction: Reaction::Send(Packet::hello()),
            };
        }
        if received.iter().zip(MAGIC).any(|(came, due)| *came != due) {
            return Preamble::Malformed(Malformed::new("not the magic of this protocol"));
        }
        let Some(&[_, _, _, _, version, most, least]) = received.first_chunk() else {
            return Preamble::Incomplete;
        };
        let reaction = if version == VERSION {
            ctx.session().version = version;
            let silence = Duration::from_millis(u16::from_be_bytes([most, least]).into());
            // One that says 0 does not want to be asked.
            let heartbeat = Heartbeat::pinging(silence, 10 * silence);
            ctx.set_heartbeat((!silence.is_zero()).then_some(heartbeat));
            Reaction::Continue
        } else {
            let what = format!("version {version} is not spoken here, only {VERSION}");
            Reaction::Close(Some(Packet::new(kind::ERROR, what)))
        };
        Preamble::Done { len: 7, reaction }
    }
    // ANCHOR_END: preamble

    // ANCHOR: heartbeat
    fn ping(&self, _: &mut Context<'_, Self>) -> Option<Packet> {
        Some(Packet::new(kind::PING, ""))
    }

    fn on_control(&self, packet: Packet, ctx: &mut Context<'_, Self>) -> Reaction<Packet> {
        if packet.kind == kind::PING {
            return Reaction::Send(Packet::new(kind::PONG, packet.body));
        }
        ctx.session().pongs += 1;
        Reaction::Continue
    }
    // ANCHOR_END: heartbeat

    // ANCHOR: errors
    fn handle_error(
        &self,
        error: AnswerError<Refused>,
        _: &mut Context<'_, Self>,
    ) -> Reaction<Packet> {
        let said = match error {
            AnswerError::Protocol(refused) => refused.to_string(),
            // What went wrong in here is none of the peer's business.
            _ => "failed".to_owned(),
        };
        Reaction::Send(Packet::new(kind::ERROR, said))
    }

    fn unknown_route(&self, packet: Packet, _: &mut Context<'_, Self>) -> Reaction<Packet> {
        let what = format!("packets of kind {} are unknown", packet.kind);
        Reaction::Send(Packet::new(kind::ERROR, what))
    }
    // ANCHOR_END: errors

    // ANCHOR: goodbye
    fn goodbye(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) -> Option<Packet> {
        let server = ctx.peer().side == Side::Server;
        server.then(|| Packet::new(kind::BYE, reason.to_string()))
    }
    // ANCHOR_END: goodbye
}

type Shelf = Arc<Mutex<HashMap<Bytes, Bytes>>>;

// ANCHOR: handlers
/// An empty text is an answer too; `()` would be none, and its caller would wait in vain.
fn put(mut note: Bytes, State(shelf): State<Shelf>) -> Result<&'static str, Refused> {
    let equals = note.iter().position(|&byte| byte == b'=');
    let name = note.split_to(equals.ok_or(Refused::NotANote)?);
    note.advance(1);
    let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    shelf.insert(name, note);
    Ok("")
}

fn get(name: Bytes, State(shelf): State<Shelf>) -> Result<Bytes, Refused> {
    let shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    let note = shelf.get(&name).cloned();
    note.ok_or(Refused::NoSuchNote(name))
}

#[expect(clippy::needless_pass_by_value, reason = "as handlers take it")]
fn status(session: Session<Visitor>) -> String {
    session.with(|visitor| format!("version {}, {} pongs", visitor.version, visitor.pongs))
}
// ANCHOR_END: handlers

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = WireframeApp::with_protocol(Notes)
        .route(kind::PUT.into(), put)
        .route(kind::GET.into(), get)
        .route(kind::STATUS.into(), status)
        .state(Shelf::default());
    let server = Server::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let served = tokio::spawn(server.serve(app));

    // ANCHOR: config
    let mut config = Config::default();
    config.heartbeat = Some(Heartbeat::pinging(
        Duration::from_secs(20),
        Duration::from_secs(10),
    ));
    let app = WireframeApp::with_protocol(Notes).config(config);
    // ANCHOR_END: config
    let client = connect_with(address, app).await?;
    let mut told = client.pushes();
    for (kind, body, answer) in [
        (kind::PUT, "milk=two bottles", ""),
        (kind::GET, "milk", "two bottles"),
        (kind::GET, "eggs", "no note of that name: eggs"),
        (
            kind::PUT,
            "eggs",
            "a note is a name, an equals sign, and text",
        ),
        (9, "", "packets of kind 9 are unknown"),
        (kind::STATUS, "", "version 2"),
    ] {
        expect(&ask(&client, kind, body).await?, answer)?;
    }

    let peers = [
        ("GET / HTTP/1.1", "not the magic of this protocol"),
        ("NOTE\x01\0\0", "version 1 is not spoken here"),
        // It wants to be asked every 50 ms, and does not answer.
        ("NOTE\x02\0\x32", "the peer is silent"),
    ];
    for (says, hears) in peers {
        expect(&last_word(address, says).await?, hears)?;
    }
    // Meanwhile the client was silent as well, but its protocol has answered.
    let status = ask(&client, kind::STATUS, "").await?;
    if status.ends_with(" 0 pongs") {
        return Err(format!("it was not asked for a sign of life: {status}").into());
    }

    handle.shutdown();
    let bye = told.next().await.ok_or("no goodbye")??;
    expect(&text(&bye.body), "drained")?;
    served.await??;
    Ok(())
}

async fn ask(
    client: &Client<Notes>,
    kind: u8,
    body: &'static str,
) -> Result<String, Box<dyn Error>> {
    let call = client.call(Packet::new(kind, body));
    let reply = call.timeout(Duration::from_secs(5)).await?;
    let said = text(&reply.body);
    println!("client: {kind} {body:?} is answered with {said:?}");
    Ok(said)
}

/// Says something, and returns what the last packet says that comes back.
async fn last_word(address: SocketAddr, says: &str) -> Result<String, Box<dyn Error>> {
    let mut peer = TcpStream::connect(address).await?;
    peer.write_all(says.as_bytes()).await?;
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).await?;
    // Its call is 0, so a zero goes before the body.
    let said = text(heard.rsplit(|&byte| byte == 0).next().unwrap_or_default());
    println!("peer: says {says:?}, hears {said:?}, and is alone");
    Ok(said)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn expect(said: &str, end: &str) -> Result<(), Box<dyn Error>> {
    if said == end || !end.is_empty() && said.contains(end) {
        return Ok(());
    }
    Err(format!("expected {end:?}, got {said:?}").into())
}
