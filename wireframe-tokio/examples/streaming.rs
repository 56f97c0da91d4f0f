//! Streaming answers: frames as they come, from a generator, from another task, with an
//! end that the peer can see, and with an error in the middle.
//!
//! `cargo run -p wireframe-tokio --example streaming` runs a server and a client over
//! loopback TCP, and fails if anything comes out of order.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{error::Error, fmt, time::Duration};

use tokio::net::ToSocketAddrs;
use wireframe::{
    Client, Clock, Context, CorrelationId, Envelope, LengthDelimited, Reaction, Response, Role,
    Side, Tasks, View, WireframeApp, WireframeError, WireframeProtocol,
    proto::{AnswerError, EnvelopeCodec},
};
use wireframe_tokio::{Server, connect_with};

const COUNT: u32 = 1;
const CHANNEL: u32 = 2;
const FAIL: u32 = 3;
const FOREVER: u32 = 4;
const END: u32 = 100;
const ERROR: u32 = 101;

// ANCHOR: protocol
/// Envelopes, with a frame that marks the end of a stream and one that says what failed.
#[derive(Clone, Copy)]
struct Marked;

/// What a handler may fail with and still leave the connection usable.
#[derive(Debug)]
struct OutOfNumbers;

impl fmt::Display for OutOfNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of numbers")
    }
}

impl Error for OutOfNumbers {}
impl wireframe::ProtocolError for OutOfNumbers {}

impl WireframeProtocol for Marked {
    type Frame = Envelope;
    type Error = OutOfNumbers;
    type Codec = EnvelopeCodec;
    type Framing = LengthDelimited;
    type Session = ();

    fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Envelope, view: &View<'_, ()>) -> Role {
        match view.side() {
            Side::Client => Role::Push,
            Side::Server => Role::Request {
                route: frame.id,
                correlation: frame.correlation_id.map(CorrelationId),
                exclusive: false,
            },
        }
    }

    /// Asked once, when a stream has ended well.
    fn stream_end_frame(&self, _: &mut Context<'_, Self>) -> Option<Envelope> {
        Some(Envelope::new(END, ""))
    }

    /// Asked instead, when it has failed.
    fn handle_error(
        &self,
        error: AnswerError<OutOfNumbers>,
        _: &mut Context<'_, Self>,
    ) -> Reaction<Envelope> {
        Reaction::Send(Envelope::new(ERROR, error.to_string()))
    }
}
// ANCHOR_END: protocol

type Answer = Response<Envelope, OutOfNumbers>;

// ANCHOR: generator
/// Frames from a generator. It is polled only while its frames can be taken.
async fn count(clock: Clock) -> Answer {
    Response::frames(async_stream::stream! {
        for n in 0..5u8 {
            clock.sleep(Duration::from_millis(1)).await;
            yield Envelope::new(COUNT, vec![n]);
        }
    })
}
// ANCHOR_END: generator

// ANCHOR: channel
/// Frames from another task. It waits when four frames are on their way.
async fn channel(tasks: Tasks) -> Answer {
    let (sender, response) = Response::channel(4);
    tasks.spawn(async move {
        for n in 0..5u8 {
            let frame = Envelope::new(CHANNEL, vec![n]);
            if sender.send(frame).await.is_err() {
                return; // The connection has ended.
            }
        }
        // The answer ends when the sender is dropped.
    });
    response
}
// ANCHOR_END: channel

// ANCHOR: failing
/// A stream that fails: what it said before is sent, then what the protocol says to it.
async fn fail() -> Answer {
    Response::stream(async_stream::try_stream! {
        yield Envelope::new(FAIL, "first");
        Err(WireframeError::Protocol(OutOfNumbers))?;
    })
}
// ANCHOR_END: failing

// ANCHOR: forever
/// A stream without an end. It stops when the peer stops reading, and is dropped when
/// the peer is gone.
async fn forever() -> Answer {
    struct Gone;
    impl Drop for Gone {
        fn drop(&mut self) {
            println!("server: the endless stream was dropped");
        }
    }
    let gone = Gone;
    Response::frames(async_stream::stream! {
        let _gone = gone;
        loop {
            yield Envelope::new(FOREVER, vec![0; 1024]);
        }
    })
}
// ANCHOR_END: forever

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = WireframeApp::with_protocol(Marked)
        .route(COUNT, count)
        .route(CHANNEL, channel)
        .route(FAIL, fail)
        .route(FOREVER, forever);
    let server = Server::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let served = tokio::spawn(server.serve(app));

    ask(address, COUNT, &[&[0], &[1], &[2], &[3], &[4]], END).await?;
    ask(address, CHANNEL, &[&[0], &[1], &[2], &[3], &[4]], END).await?;
    ask(address, FAIL, &[b"first"], ERROR).await?;

    let client = client(address).await?;
    let mut frames = client.pushes();
    let request = Envelope::new(FOREVER, "");
    client.push_handle().push_low_priority(request).await?;
    for _ in 0..100 {
        frames.next().await.ok_or("the connection ended")?.ok();
    }
    println!("client: 100 frames are enough");
    client.connection().abort();

    handle.shutdown();
    served.await??;
    println!("every connection has ended");
    Ok(())
}

async fn client(address: impl ToSocketAddrs) -> std::io::Result<Client<Marked>> {
    connect_with(address, WireframeApp::with_protocol(Marked)).await
}

/// Asks for a stream and checks its frames and how it ends.
async fn ask(
    address: impl ToSocketAddrs,
    route: u32,
    payloads: &[&[u8]],
    end: u32,
) -> Result<(), Box<dyn Error>> {
    // ANCHOR: client
    let client = client(address).await?;
    let mut frames = client.pushes();
    let request = Envelope::new(route, "");
    client.push_handle().push_low_priority(request).await?;
    let mut came = Vec::new();
    let last = loop {
        let frame = frames.next().await.ok_or("the connection ended")??;
        if frame.id != route {
            break frame;
        }
        came.push(frame.payload);
    };
    // ANCHOR_END: client
    if came != payloads || last.id != end {
        return Err(format!("route {route}: {came:?}, then {last:?}").into());
    }
    let how = String::from_utf8_lossy(&last.payload);
    println!(
        "client: route {route}: {} frames, then {} {how:?}",
        came.len(),
        last.id
    );
    Ok(())
}
