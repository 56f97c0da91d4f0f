//! What a client does: calls with a time limit, calls at once, streams, pushes, and a
//! connection that is made anew when it has died.
//!
//! `cargo run -p wireframe-tokio --example client` runs servers and clients over loopback
//! TCP, and fails if anything goes wrong.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{error::Error, net::SocketAddr, num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use tokio::task::JoinHandle;
use wireframe::{
    Backoff, BuildError, CallError, Client, Clock, Envelope, EnvelopeProtocol, PushCapacity,
    PushHandle, Response, WireframeApp,
    server::{ServerHandle, ShutdownReport},
};
use wireframe_tokio::{Server, connect_with, reconnecting};

const ECHO: u32 = 1;
const SLOW: u32 = 2;
const COUNT: u32 = 3;
const GREET: u32 = 4;

type Outcome = Result<(), Box<dyn Error>>;

// ANCHOR: protocol
/// The default protocol, with an envelope that ends streams; both ends have to know it.
fn app() -> WireframeApp {
    WireframeApp::with_protocol(EnvelopeProtocol::default().with_stream_end(0))
}
// ANCHOR_END: protocol

fn serving() -> WireframeApp {
    app()
        .route(ECHO, async |body: Bytes| body)
        .route(SLOW, async |body: Bytes, clock: Clock| {
            clock.sleep(Duration::from_secs(60)).await;
            body
        })
        .route(COUNT, async || {
            Response::frames(async_stream::stream! {
                for n in 0..1000u16 {
                    yield Envelope::new(COUNT, n.to_be_bytes().to_vec());
                }
            })
        })
        .route(GREET, async |push: PushHandle| {
            let greeting = Envelope::new(GREET, "hello, all of you");
            push.push_high_priority(greeting).await.ok();
        })
}

// ANCHOR: deadline
/// A call has as long as it is given: to find room, to be sent and to be answered.
async fn with_a_deadline(client: &Client) -> Outcome {
    let call = client.call(Envelope::new(SLOW, "anyone?"));
    let failed = call.timeout(Duration::from_millis(20)).await;
    assert!(matches!(failed, Err(CallError::TimedOut { .. })));

    // For all calls that do not say otherwise:
    let hasty = client.clone().with_timeout(Duration::from_secs(5));
    let reply = hasty.call(Envelope::new(ECHO, "hello")).await?;
    println!("reply   {:?}", reply.payload);
    Ok(())
}
// ANCHOR_END: deadline

// ANCHOR: at_once
/// Calls share the connection. One that is dropped disturbs no other.
async fn at_once(client: &Client) -> Outcome {
    let slow = client.call(Envelope::new(SLOW, ""));
    let (one, two) = tokio::select! {
        _ = slow => return Err("it is slow".into()),
        both = async {
            tokio::try_join!(
                client.call(Envelope::new(ECHO, "one")),
                client.call(Envelope::new(ECHO, "two")),
            )
        } => both?,
    };
    println!("replies {:?} and {:?}", one.payload, two.payload);
    Ok(())
}
// ANCHOR_END: at_once

// ANCHOR: stream
/// The frames of an answer as they come. Not more than so many wait to be taken.
async fn stream(client: &Client) -> Outcome {
    let sixteen = PushCapacity::new().with_frames(NonZeroUsize::new(16).ok_or("zero")?);
    let mut frames = client
        .call_streaming(Envelope::new(COUNT, ""))
        .capacity(sixteen)
        .timeout(Duration::from_secs(10));
    let mut count = 0;
    while let Some(frame) = frames.next().await {
        frame?;
        count += 1;
    }
    assert_eq!(count, 1000);
    println!("stream  {count} frames");
    Ok(())
}
// ANCHOR_END: stream

// ANCHOR: pushes
/// A frame that is not answered, and what the server sends of its own accord.
async fn pushes(client: &Client) -> Outcome {
    let mut pushes = client.pushes();
    client.send(Envelope::new(GREET, "")).await?;
    let push = pushes.next().await.ok_or("the connection ended")??;
    println!("push    {:?}", push.payload);
    Ok(())
}
// ANCHOR_END: pushes

// ANCHOR: reconnecting
/// The connection is made when it is needed, and again when it has died.
async fn again_and_again(address: SocketAddr) -> Outcome {
    let client = reconnecting(address, app())?
        .with_backoff(Backoff::new().with_first(Duration::from_millis(10)))
        .with_timeout(Duration::from_secs(10));
    client.call(Envelope::new(ECHO, "first")).await?;

    let live = client.client().await?;
    let (lost, ()) = tokio::join!(live.call(Envelope::new(SLOW, "")), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        live.connection().abort();
    });
    // Whether the server has acted on it cannot be known, so it is not made again.
    assert!(matches!(lost, Err(CallError::Closed(_))));

    let reply = client.call(Envelope::new(ECHO, "second")).await?;
    println!("again   {:?}, over a new connection", reply.payload);
    client.close();
    Ok(())
}
// ANCHOR_END: reconnecting

type Served = JoinHandle<Result<ShutdownReport, BuildError>>;

async fn start() -> std::io::Result<(SocketAddr, ServerHandle, Served)> {
    let server = Server::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    Ok((address, handle, tokio::spawn(server.serve(serving()))))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let (address, handle, served) = start().await?;
    let client = connect_with(address, app()).await?;
    with_a_deadline(&client).await?;
    at_once(&client).await?;
    stream(&client).await?;
    pushes(&client).await?;
    // Those that were given up are still at work at the server; a drain would wait for them.
    client.connection().abort();
    again_and_again(address).await?;
    handle.shutdown();
    served.await??;
    println!("end     every connection has ended");
    Ok(())
}
