//! How to test handlers: no socket, no runtime, and an hour passes at once.
//!
//! What is tested here is a small tea room. Its handlers come first; then the tests, each of
//! which shows one way to look at a server: through a client, byte by byte, and over a link
//! that misbehaves.
#![expect(clippy::unwrap_used, reason = "in tests, where that is how they fail")]

use std::time::Duration;

use bytes::Bytes;
use wireframe::{
    Client, Clock, CloseReason, Driver, Envelope, PushHandle, WireframeApp,
    testing::{Fault, Link, Simulation, Spawned, link},
};

const STEEP: u32 = 1;
const NEWS: u32 = 9;

/// Takes ten minutes.
async fn steep(tea: Bytes, clock: Clock) -> Vec<u8> {
    clock.sleep(Duration::from_secs(600)).await;
    [&b"hot "[..], &tea].concat()
}

/// Says every hour that there is cake.
async fn announce(push: PushHandle, clock: Clock) {
    loop {
        clock.sleep(Duration::from_secs(3600)).await;
        if push
            .push_low_priority(Envelope::new(NEWS, "cake"))
            .await
            .is_err()
        {
            return;
        }
    }
}

fn tea_room() -> WireframeApp {
    WireframeApp::new().route(STEEP, steep).on_connect(announce)
}

// ANCHOR: server
/// A server of one connection, whose other end is returned.
fn serve(simulation: &Simulation) -> (Spawned<CloseReason>, Link) {
    let (near, far) = link(64 * 1024);
    let app = tea_room().build().unwrap();
    let driver = Driver::server(&app, near, None, &simulation.environment());
    (simulation.spawn(driver), far)
}
// ANCHOR_END: server

// ANCHOR: client
/// A client of it.
fn connect(simulation: &Simulation, far: Link) -> Client {
    let app = WireframeApp::new().build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    simulation.spawn(driver);
    client
}

#[test]
fn tea_is_ready_after_ten_minutes_and_not_before() {
    // rule: APP-1
    let simulation = Simulation::new();
    let (server, far) = serve(&simulation);
    let client = connect(&simulation, far);
    let call = simulation.spawn(async move { client.call(Envelope::new(STEEP, "tea")).await });

    simulation.advance(Duration::from_secs(599));
    assert!(!call.is_done());
    simulation.advance(Duration::from_secs(1));
    assert_eq!(call.take().unwrap().unwrap().payload, "hot tea");
    // The client is gone with its task, and the connection with the client.
    assert_eq!(server.take(), Some(CloseReason::PeerClosed));
}
// ANCHOR_END: client

#[test]
fn cake_is_announced_every_hour_while_somebody_listens() {
    // rule: HOOK-2
    let simulation = Simulation::new();
    let (server, far) = serve(&simulation);
    let client = connect(&simulation, far);
    let mut news = client.pushes();
    let heard = simulation.spawn(async move {
        let first = news.next().await.unwrap().unwrap();
        let second = news.next().await.unwrap().unwrap();
        [first.payload, second.payload]
    });
    simulation.advance(Duration::from_secs(2 * 3600));
    assert_eq!(heard.take().unwrap(), ["cake", "cake"]);
    drop(client);
    simulation.run();
    assert!(server.is_done());
    // ANCHOR: idle
    assert_eq!(simulation.clock().armed(), 0, "a timer was left behind");
    // ANCHOR_END: idle
}

// ANCHOR: by_hand
#[test]
fn a_frame_has_half_a_minute_to_be_completed() {
    // rule: LIM-3
    let simulation = Simulation::new();
    let (server, mut peer) = serve(&simulation);
    // Three bytes of a header that has four.
    peer.send(&[0, 0, 0]);
    simulation.advance(Duration::from_secs(29));
    assert!(!server.is_done());
    simulation.advance(Duration::from_secs(1));
    assert!(peer.is_at_end());
    drop(peer);
    simulation.run();
    assert_eq!(server.take(), Some(CloseReason::FrameTimedOut));
}
// ANCHOR_END: by_hand

// ANCHOR: script
#[test]
fn a_peer_that_takes_nothing_for_half_a_minute_is_left() {
    // rule: LIM-3
    let simulation = Simulation::new();
    let (near, mut peer) = link(64 * 1024);
    // From its third byte on the output of this end stalls.
    near.script().write_fault(2, Fault::Stall);
    let app = WireframeApp::new().route(1, || "hello").build().unwrap();
    let driver = Driver::server(&app, near, None, &simulation.environment());
    let server = simulation.spawn(driver);

    // An envelope of route 1, with the correlation id 7 and no payload.
    peer.send(&[0, 0, 0, 4, 1, 1, 7, 0]);
    simulation.advance(Duration::from_secs(29));
    assert_eq!(peer.receive(), [0, 0]);
    assert!(!server.is_done());
    // One second more, and the five in which it might still take a last word.
    simulation.advance(Duration::from_secs(6));
    assert_eq!(server.take(), Some(CloseReason::WriteStalled));
}
// ANCHOR_END: script
