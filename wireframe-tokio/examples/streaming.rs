//! Streaming answers: frames as they come, from a generator, from another task, with an
//! end that the peer can see, and with an error in the middle.
//!
//! `cargo run -p wireframe-tokio --example streaming` runs a server and a client over
//! loopback TCP, and fails if anything comes out of order.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{error::Error, fmt, time::Duration};

use wireframe::{
    AnswerOrder, Client, Clock, Context, CorrelationId, Envelope, LengthDelimited, Reaction,
    Response, Role, Side, TaskTracker, View, WireframeApp, WireframeError, WireframeProtocol,
    proto::{AnswerError, EnvelopeCodec},
    rt::Address,
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

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Envelope, view: &View<'_, ()>) -> Role {
        let to = frame.correlation_id.map(CorrelationId);
        match (to, view.side()) {
            (Some(id), _) if view.is_pending(id) => match frame.id {
                // Only the end, and no part of the answer.
                END => Role::ReplyEnd { to },
                id => Role::Reply {
                    to,
                    last: id == ERROR || !view.is_streaming(to),
                },
            },
            (_, Side::Client) => Role::Push,
            (correlation, Side::Server) => Role::Request {
                route: frame.id,
                correlation,
                exclusive: false,
            },
        }
    }

    fn correlate(&self, frame: &mut Envelope, id: CorrelationId) {
        frame.correlation_id = Some(id.0);
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
async fn channel(tasks: TaskTracker) -> Answer {
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

    let client = client(address).await?;
    ask(&client, COUNT, &[&[0], &[1], &[2], &[3], &[4]], None).await?;
    ask(&client, CHANNEL, &[&[0], &[1], &[2], &[3], &[4]], None).await?;
    ask(&client, FAIL, &[b"first"], Some("out of numbers")).await?;

    let mut frames = client.call_streaming(Envelope::new(FOREVER, ""));
    for _ in 0..100 {
        frames.next().await.ok_or("the stream ended")??;
    }
    println!("client: 100 frames are enough");
    client.connection().abort();

    handle.shutdown();
    served.await??;
    println!("every connection has ended");
    Ok(())
}

async fn client(address: impl Into<Address>) -> std::io::Result<Client<Marked>> {
    connect_with(address, WireframeApp::with_protocol(Marked)).await
}

/// Asks for a stream and checks its frames and how it ends.
async fn ask(
    client: &Client<Marked>,
    route: u32,
    payloads: &[&[u8]],
    error: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    // ANCHOR: client
    let mut frames = client.call_streaming(Envelope::new(route, ""));
    let (mut came, mut failed) = (Vec::new(), None);
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        match frame.id {
            ERROR => failed = Some(String::from_utf8_lossy(&frame.payload).into_owned()),
            _ => came.push(frame.payload),
        }
    }
    // ANCHOR_END: client
    if came != payloads || failed.as_deref() != error {
        return Err(format!("route {route}: {came:?}, then {failed:?}").into());
    }
    println!(
        "client: route {route}: {} frames, then {}",
        came.len(),
        failed.as_deref().unwrap_or("the end"),
    );
    Ok(())
}
