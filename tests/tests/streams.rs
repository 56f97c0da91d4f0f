//! Streamed answers over sockets, with consumers on other threads than their driver.

use std::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use wireframe::{
    CallError, Client, Clock, Envelope, EnvelopeProtocol, PushCapacity, Reconnecting, Response,
    WireframeApp,
};
use wireframe_tests::{on_each_runtime, soon, start};
use wireframe_tokio::{connect_with, reconnecting};

const ECHO: u32 = 1;
const COUNT: u32 = 2;
const SLOW: u32 = 3;

fn app() -> WireframeApp {
    WireframeApp::with_protocol(EnvelopeProtocol::default().with_stream_end(0))
}

fn serving() -> WireframeApp {
    app()
        .route(ECHO, async |body: Bytes| body)
        .route(COUNT, async |body: Bytes| {
            let count: u32 = std::str::from_utf8(&body)
                .ok()
                .and_then(|count| count.parse().ok())
                .expect("a number");
            Response::frames(async_stream::stream! {
                for n in 0..count {
                    yield Envelope::new(COUNT, n.to_be_bytes().to_vec());
                }
            })
        })
        .route(SLOW, async |clock: Clock| {
            clock.sleep(Duration::from_millis(50)).await;
        })
}

/// Takes a whole stream through a queue of so many frames.
async fn take(client: Client, frames: u32, capacity: usize) {
    let capacity = PushCapacity::new().with_frames(NonZeroUsize::new(capacity).expect("some"));
    let call = client.call_streaming(Envelope::new(COUNT, frames.to_string()));
    let mut replies = call.capacity(capacity);
    for n in 0..frames {
        let frame = soon("the next frame", replies.next()).await;
        let frame = frame.expect("more frames").expect("a live connection");
        assert_eq!(frame.payload, n.to_be_bytes()[..]);
        if n % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(soon("the end", replies.next()).await, None);
}

#[test]
fn streams_with_small_queues_share_a_connection_and_none_stands_still() {
    // rule: CLI-1, CLI-5
    on_each_runtime(|| async {
        let server = start(serving()).await;
        let client = connect_with(server.address, app()).await.expect("a server");
        let streams = [1, 2, 3, 7, 256].map(|capacity| {
            let client = client.clone();
            tokio::spawn(take(client, 5_000, capacity))
        });
        for n in 0..50u8 {
            // Some are given up while they run.
            let mut dropped = client.call_streaming(Envelope::new(COUNT, "100"));
            soon("a frame", dropped.next())
                .await
                .expect("one")
                .expect("one");
            let reply = client.call(Envelope::new(ECHO, vec![n]));
            drop(dropped);
            let reply = soon("a reply", reply).await.expect("an echo");
            assert_eq!(reply.payload, [n][..]);
        }
        for stream in streams {
            soon("the end of a stream", stream)
                .await
                .expect("it is whole");
        }
        drop(client);
        server.end().await;
    });
}

#[test]
fn a_call_times_out_on_the_clock_of_its_runtime() {
    // rule: CLI-3
    on_each_runtime(|| async {
        let server = start(serving()).await;
        let client = connect_with(server.address, app()).await.expect("a server");
        let limit = Duration::from_millis(1);
        let call = client.call(Envelope::new(SLOW, "")).timeout(limit);
        let failed = soon("it times out", call).await;
        assert_eq!(failed, Err(CallError::TimedOut { limit }));
        drop(client);
        server.end().await;
    });
}

#[test]
fn a_client_of_a_server_that_comes_back_connects_again() {
    // rule: CLI-6
    on_each_runtime(|| async {
        let server = start(serving()).await;
        let client: Reconnecting = reconnecting(server.address, app()).expect("fit to serve");
        let echo = |body: &'static str| client.call(Envelope::new(ECHO, body));
        let reply = soon("a reply", echo("one")).await.expect("an echo");
        assert_eq!(reply.payload, "one");
        let live = client.client().await.expect("connected");
        live.connection().abort();
        let mut reply = soon("a reply", echo("two")).await;
        if let Err(error) = &reply {
            // The first may still meet the dead connection.
            assert!(matches!(error, CallError::Closed(_)), "{error}");
            reply = soon("a reply", echo("two")).await;
        }
        let reply = reply.expect("an echo");
        assert_eq!(reply.payload, "two");
        client.close();
        drop(live);
        server.end().await;
    });
}
