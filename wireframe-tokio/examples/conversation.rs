//! A command that is a conversation: the server asks for a file, the client sends it packet
//! by packet until an empty one, the server says how many bytes it was.
//!
//! `cargo run -p wireframe-tokio --example conversation` runs a server and a client over
//! loopback TCP, and fails if anything comes out of order.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use wireframe::{
    Client, Codec, Conversation, FragmentMeta, Frame, FrameBuf, Inbound, LengthDelimited,
    Malformed, PayloadFrame, Pushes, RequestBody, Role, Side, Unencodable, View, WireframeApp,
    WireframeError, WireframeProtocol,
};
use wireframe_tokio::{Server, connect_with};

const LOAD: u8 = 1;
const MEASURE: u8 = 2;

/// The most that [`LOAD`] takes.
const MAX_FILE: usize = 100_000;

// ANCHOR: protocol
/// Bytes. What they mean depends on what went before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet(Bytes);

impl Frame for Packet {}

impl PayloadFrame for Packet {
    fn into_payload(self) -> Bytes {
        self.0
    }

    fn answering(_route: u32, payload: Bytes) -> Self {
        Self(payload)
    }
}

/// Commands whose first byte is their route, one at a time. What the client sends while
/// one is at work belongs to it, and an empty packet is the last.
#[derive(Clone, Copy)]
struct Files;

impl WireframeProtocol for Files {
    type Frame = Packet;
    type Error = Infallible;
    type Codec = Plain;
    type Framing = LengthDelimited;
    type Session = ();

    fn codec(&self) -> Plain {
        Plain
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, Packet(bytes): &Packet, view: &View<'_, ()>) -> Role {
        if view.side() == Side::Client {
            Role::Push
        } else if view.commands_in_flight() > 0 {
            Role::Body {
                of: None,
                last: bytes.is_empty(),
            }
        } else {
            Role::Request {
                route: bytes.first().copied().unwrap_or_default().into(),
                correlation: None,
                exclusive: true,
            }
        }
    }
}
// ANCHOR_END: protocol

/// A packet is what the header encloses, as it stands.
#[derive(Clone, Copy)]
struct Plain;

impl Codec for Plain {
    type Frame = Packet;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Packet, Malformed> {
        Ok(Packet(payload))
    }

    fn encode(&mut self, frame: &Packet, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_bytes(&frame.0);
        Ok(())
    }

    fn encoded_len(&self, frame: &Packet) -> usize {
        frame.0.len()
    }
}

// ANCHOR: load
/// Asks for the file, reads it, and says how long it was; but not if it is too long. What
/// the client still sends of it then is discarded before the answer goes.
async fn load(
    Inbound(Packet(request)): Inbound<Packet>,
    mut client: Conversation<Packet>,
) -> Result<String, WireframeError<Infallible>> {
    let name = request.slice(1..);
    client.send(Packet(name)).await?;
    let mut length = 0;
    while let Some(Packet(part)) = client.next().await? {
        length += part.len();
        if length > MAX_FILE {
            return Ok("too long".into());
        }
    }
    Ok(format!("{length} bytes"))
}
// ANCHOR_END: load

// ANCHOR: measure
/// The same for a body that the client sends unasked, read as bytes.
async fn measure(body: RequestBody<Packet>) -> Result<String, WireframeError<Infallible>> {
    let length = futures_util::io::copy(body, &mut futures_util::io::sink()).await?;
    Ok(format!("{length} bytes"))
}
// ANCHOR_END: measure

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = WireframeApp::with_protocol(Files)
        .route(LOAD.into(), load)
        .route(MEASURE.into(), measure);
    let server = Server::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let served = tokio::spawn(server.serve(app));

    let client = connect_with(address, WireframeApp::with_protocol(Files)).await?;
    let mut packets = client.pushes();
    for (file, answer) in [
        (vec![7; 50_000], "50000 bytes"),
        (vec![7; 1_000_000], "too long"),
        (vec![], "0 bytes"),
    ] {
        send(&client, [&[LOAD], &b"file.txt"[..]].concat()).await?;
        let asked = next(&mut packets).await?;
        println!("client: was asked for {}", String::from_utf8_lossy(&asked));
        send_file(&client, &file).await?;
        let told = next(&mut packets).await?;
        println!("client: {} bytes sent, told {told:?}", file.len());
        if told != answer {
            return Err(format!("{answer} expected, not {told:?}").into());
        }
    }

    send(&client, vec![MEASURE]).await?;
    send_file(&client, &[7; 300_000]).await?;
    let told = next(&mut packets).await?;
    println!("client: measured, told {told:?}");
    if told != "300000 bytes" {
        return Err(format!("300000 bytes expected, not {told:?}").into());
    }

    drop((client, packets));
    handle.shutdown();
    served.await??;
    println!("every connection has ended");
    Ok(())
}

// ANCHOR: client
async fn send_file(client: &Client<Files>, file: &[u8]) -> Result<(), Box<dyn Error>> {
    for part in file.chunks(16 * 1024) {
        send(client, part.to_vec()).await?;
    }
    send(client, Vec::new()).await
}

async fn send(client: &Client<Files>, packet: Vec<u8>) -> Result<(), Box<dyn Error>> {
    let packet = Packet(packet.into());
    Ok(client.push_handle().push_low_priority(packet).await?)
}
// ANCHOR_END: client

async fn next(packets: &mut Pushes<Packet>) -> Result<Bytes, Box<dyn Error>> {
    let packet = packets.next().await.ok_or("the connection ended")??;
    Ok(packet.0)
}
