//! Large messages over small frames: 10 MB up and 10 MB down, over a framing that sends a
//! message in one go, and over one that lets heartbeats overtake it.
//!
//! `cargo run -p wireframe-tokio --example fragments` runs servers and clients over loopback
//! TCP, and fails if a byte is lost, or overtaken where it must not be, or nothing is where it
//! may.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use wireframe::{
    AnswerOrder, App, CloseReason, Config, Context, CorrelationId, Driver, Envelope,
    EnvelopeProtocol, FragmentLimits, FragmentMeta, FragmentStrategy, Heartbeat, LenFlag32K,
    LengthDelimited, Malformed, Multiplexed, Reaction, Role, State, Unencodable, View,
    WireframeApp, WireframeProtocol, proto::EnvelopeCodec,
};
use wireframe_tokio::{Tokio, connect_with, environment};

const UPLOAD: u32 = 1;
const DOWNLOAD: u32 = 2;
const PING: u32 = 100;
const PONG: u32 = 101;

/// Bytes of each message.
const LEN: usize = 10_000_000;

// ANCHOR: protocol
/// Envelopes, and a ping for a peer that is silent.
#[derive(Clone, Copy)]
struct Beating;

impl WireframeProtocol for Beating {
    type Frame = Envelope;
    type Error = Infallible;
    type Codec = EnvelopeCodec;
    type Framing = LengthDelimited;
    type Session = ();

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Envelope, view: &View<'_, ()>) -> Role {
        match frame.id {
            PING | PONG => Role::Control,
            _ => EnvelopeProtocol::default().classify(frame, view),
        }
    }

    fn correlate(&self, frame: &mut Envelope, id: CorrelationId) {
        frame.correlation_id = Some(id.0);
    }

    fn ping(&self, _: &mut Context<'_, Self>) -> Option<Envelope> {
        Some(Envelope::new(PING, ""))
    }

    fn on_control(&self, frame: Envelope, _: &mut Context<'_, Self>) -> Reaction<Envelope> {
        match frame.id {
            PING => Reaction::Send(Envelope::new(PONG, "")),
            _ => Reaction::Continue,
        }
    }
}
// ANCHOR_END: protocol

// ANCHOR: handlers
/// Is given the whole message, however it came.
#[expect(clippy::needless_pass_by_value, reason = "as handlers take it")]
fn upload(body: Bytes) -> String {
    format!("{} bytes, {:08x}", body.len(), checksum(&body))
}

/// Answers with one message, however it goes.
fn download(State(file): State<Bytes>) -> Bytes {
    file
}
// ANCHOR_END: handlers

// ANCHOR: limits
/// What a peer may send in fragments: messages of 16 MiB, four at once, 32 MiB together, each
/// within ten seconds.
fn limits() -> FragmentLimits {
    const MESSAGE: NonZeroUsize = NonZeroUsize::new(16 << 20).unwrap();
    const TOGETHER: NonZeroUsize = NonZeroUsize::new(32 << 20).unwrap();
    const AT_ONCE: NonZeroUsize = NonZeroUsize::new(4).unwrap();
    let mut limits = FragmentLimits::default();
    limits.max_message_size = Some(MESSAGE);
    limits.max_partial_bytes = Some(TOGETHER);
    limits.max_partial_messages = AT_ONCE;
    limits.reassembly_timeout = Duration::from_secs(10);
    limits
}
// ANCHOR_END: limits

/// A framing that splits messages, for either end.
trait Strategy: FragmentStrategy<Envelope> + Clone + Send + Sync + 'static {}
impl<S: FragmentStrategy<Envelope> + Clone + Send + Sync + 'static> Strategy for S {}

// ANCHOR: server
fn server(strategy: impl Strategy, file: Bytes) -> WireframeApp<Beating> {
    let mut config = Config::default();
    // A client that was silent for 20 ms is asked whether it is there.
    config.heartbeat = Some(Heartbeat::pinging(
        Duration::from_millis(20),
        Duration::from_secs(10),
    ));
    WireframeApp::with_protocol(Beating)
        .fragmentation(strategy, limits())
        .config(config)
        .route(UPLOAD, upload)
        .route(DOWNLOAD, download)
        .state(file)
}
// ANCHOR_END: server

// ANCHOR: client
fn client<S: Strategy>(strategy: S, wire: &Wire) -> WireframeApp<Beating> {
    let watched = Watched {
        strategy,
        wire: wire.clone(),
    };
    WireframeApp::with_protocol(Beating).fragmentation(watched, limits())
}
// ANCHOR_END: client

// ANCHOR: strategy
/// A strategy that leaves the wire as it is and looks at what comes.
#[derive(Clone)]
struct Watched<S> {
    strategy: S,
    wire: Wire,
}

impl<S: FragmentStrategy<Envelope>> FragmentStrategy<Envelope> for Watched<S> {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let header = self.strategy.decode_header(src)?;
        if let Some((meta, _)) = &header {
            let named = self.strategy.max_message_id().is_some();
            self.wire.lock().count(meta, named);
        }
        Ok(header)
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &Envelope,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        self.strategy.encode_header(dst, frame, meta)
    }

    // What has a default has to be handed on as well.
    fn max_fragment_payload(&self, frame: &Envelope) -> Option<NonZeroUsize> {
        self.strategy.max_fragment_payload(frame)
    }

    fn ends_with_short_fragment(&self) -> bool {
        self.strategy.ends_with_short_fragment()
    }

    fn max_message_id(&self) -> Option<u64> {
        self.strategy.max_message_id()
    }

    fn reuses_message_ids(&self) -> bool {
        self.strategy.reuses_message_ids()
    }

    fn may_interrupt(&self, message: &Envelope, other: &Envelope) -> bool {
        self.strategy.may_interrupt(message, other)
    }

    fn unmask(&mut self, meta: &FragmentMeta, offset: usize, bytes: &mut [u8]) {
        self.strategy.unmask(meta, offset, bytes);
    }
}
// ANCHOR_END: strategy

/// What has come of one connection, unit by unit.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Units>>);

#[derive(Clone, Copy, Default)]
struct Units {
    /// Parts of messages.
    fragments: u32,
    /// Whole messages that came between two of these.
    overtaking: u32,
    /// A message has begun and not ended.
    under_way: bool,
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, Units> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Units {
    /// Where messages have names, a unit without one is a message by itself. Where they have
    /// none, whatever comes belongs to the message under way.
    fn count(&mut self, meta: &FragmentMeta, named: bool) {
        let is_part = match named {
            true => meta.msg_id.is_some(),
            false => self.under_way || !meta.is_final,
        };
        if is_part {
            self.fragments += 1;
            self.under_way = !meta.is_final;
        } else if self.under_way {
            self.overtaking += 1;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let units = up_and_down("LenFlag32K", LenFlag32K).await?;
    if units.overtaking != 0 {
        return Err("what has no name was overtaken".into());
    }
    let units = up_and_down("Multiplexed", Multiplexed::new()).await?;
    if units.overtaking == 0 {
        return Err("no heartbeat has overtaken the download".into());
    }
    Ok(())
}

/// Sends 10 MB to a server and fetches 10 MB from it; returns what has come.
async fn up_and_down(name: &str, strategy: impl Strategy) -> Result<Units, Box<dyn Error>> {
    let file = Bytes::from(bytes(LEN));
    let (address, served) = serve_one(server(strategy.clone(), file.clone()).build()?)?;
    let wire = Wire::default();
    let client = connect_with(slow_link(address).await?, client(strategy, &wire)).await?;

    let said = client.call(Envelope::new(UPLOAD, file.clone())).await?;
    let expected = format!("{LEN} bytes, {:08x}", checksum(&file));
    if said.payload != expected {
        return Err(format!("expected {expected}, got {:?}", said.payload).into());
    }
    println!("{name}: upload: the handler got {expected}");

    let reply = client.call(Envelope::new(DOWNLOAD, "")).await?;
    if reply.payload != file {
        return Err("the download is not what was sent".into());
    }
    let units = *wire.lock();
    let Units {
        fragments,
        overtaking,
        ..
    } = units;
    println!("{name}: download: {fragments} fragments, {overtaking} heartbeats between them");

    drop(client);
    match served.await?? {
        CloseReason::PeerClosed => Ok(units),
        reason => Err(format!("the connection has ended: {reason}").into()),
    }
}

/// Serves one connection. What the link does not take waits in the server, where it can be
/// overtaken, and not in the buffers of the socket.
fn serve_one(app: App<Beating>) -> io::Result<(SocketAddr, JoinHandle<io::Result<CloseReason>>)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(64 * 1024)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(1)?;
    let address = listener.local_addr()?;
    let served = tokio::spawn(async move {
        let (stream, peer) = listener.accept().await?;
        Ok(Driver::server(&app, Tokio(stream), Some(peer), &environment()).await)
    });
    Ok((address, served))
}

/// A link to a server that takes 3 ms for each 64 KiB of what the server says, so half a
/// second for 10 MB.
async fn slow_link(server: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let (client, _) = listener.accept().await?;
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(64 * 1024)?;
        let server = socket.connect(server).await?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move {
            copy(&mut from_client, &mut to_server).await?;
            to_server.shutdown().await
        });
        let mut piece = vec![0; 64 * 1024];
        loop {
            let len = from_server.read(&mut piece).await?;
            let Some(piece @ [_, ..]) = piece.get(..len) else {
                return to_client.shutdown().await;
            };
            to_client.write_all(piece).await?;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    Ok(address)
}

/// Bytes of which no piece is like the next.
fn bytes(len: usize) -> Vec<u8> {
    let byte = |n: usize| (n ^ n >> 8 ^ n >> 16).to_le_bytes()[0];
    (0..len).map(byte).collect()
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, &byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
