//! Large payloads, whole and in fragments.

use wireframe::{
    Config, Envelope, FragmentLimits, Multiplexed, Response, WireframeApp, rt::Runtime,
};
use wireframe_tests::{Outsider, Serving, spawn};

use crate::support::{echo, pattern, some};

scenarios! {
    large_and_small_payloads_in_vectored_writes_stay_whole
    a_mebibyte_goes_both_ways_in_fragments
}

/// Chained, copied and empty, so that one write has chunks of all kinds.
const LENGTHS: [usize; 8] = [100_000, 0, 1, 5_000, 1_000_000, 300, 4_096, 64 * 1024];

async fn large_and_small_payloads_in_vectored_writes_stay_whole<R: Runtime>() {
    // rule: SEL-2
    const ROUNDS: usize = 8;
    async fn all() -> Response {
        let frames = (0..ROUNDS * LENGTHS.len())
            .map(|n| Envelope::new(1, pattern(n, LENGTHS[n % LENGTHS.len()])));
        Response::Vec(frames.collect())
    }
    let app = WireframeApp::new().route(1, all).route(2, echo);
    let server = Serving::start::<R, _>(app).await;
    for peer in [
        Outsider::connect(server.address).await,
        Outsider::connect_narrow(server.address).await,
    ] {
        peer.send_envelope(&Envelope::new(1, "")).await;
        for n in 0..ROUNDS * LENGTHS.len() {
            let frame = peer.next_envelope().await.expect("all of them");
            let expected = pattern(n, LENGTHS[n % LENGTHS.len()]);
            assert!(frame.payload == expected, "frame {n} has changed");
        }
    }
    // In the other direction too, and many at once.
    let client = server.client::<R>().await;
    let calls = LENGTHS.map(|len| {
        let client = client.clone();
        spawn::<R, _>(async move {
            let reply = client.call(Envelope::new(2, pattern(len, len))).await;
            let payload = reply.expect("an echo").payload;
            assert!(payload == pattern(len, len), "{len} bytes have changed");
        })
    });
    for call in calls {
        call.join().await;
    }
    drop(client);
    server.end().await;
}

/// An app whose units are small, and whose messages are not.
fn fragmenting() -> WireframeApp {
    let mut config = Config::default();
    config.limits.max_frame_len = some(32 * 1024);
    let mut limits = FragmentLimits::default();
    limits.max_message_size = Some(some(2 * 1024 * 1024));
    WireframeApp::new()
        .config(config)
        .fragmentation(Multiplexed::new(), limits)
}

async fn a_mebibyte_goes_both_ways_in_fragments<R: Runtime>() {
    // rule: FRAG-3, REASM-1
    const LEN: usize = 1024 * 1024;
    let server = Serving::start::<R, _>(fragmenting().route(1, echo)).await;
    let client = wireframe::connect::<R, _>(server.address, fragmenting()).await;
    let client = client.expect("a server listens");
    // Several, whose fragments take turns.
    let calls = [0, 1, 2].map(|n| {
        let client = client.clone();
        spawn::<R, _>(async move {
            let reply = client.call(Envelope::new(1, pattern(n, LEN))).await;
            let payload = reply.expect("an echo").payload;
            assert!(payload == pattern(n, LEN), "message {n} has changed");
        })
    });
    for call in calls {
        call.join().await;
    }
    drop(client);
    server.end().await;
}
