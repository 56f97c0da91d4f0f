//! Pings, and peers that are silent, on virtual time.

use wireframe::{
    CloseReason, Heartbeat, Inbound, Priority::High, Response, WireframeApp, testing::Link,
};

use crate::rig::{Line, Oops, Rig, Text, config, line, lines, secs, text, wire};

/// A ping after 20 seconds of silence, and 5 for the peer to answer it.
const HEARTBEAT: Heartbeat = Heartbeat::pinging(secs(20), secs(5));

async fn echo(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

fn protocol() -> Text {
    Text {
        ping: Some("~ping"),
        has_goodbye: true,
        ..Text::default()
    }
}

/// An echo server without a heartbeat.
fn app() -> WireframeApp<Text> {
    text(&protocol()).route(1, echo)
}

fn pinging(app: WireframeApp<Text>) -> WireframeApp<Text> {
    app.config(config(|c| c.heartbeat = Some(HEARTBEAT)))
}

#[test]
fn a_silent_peer_is_pinged_and_then_closed_with_a_goodbye() {
    // rule: HB-1, HOOK-6
    let mut rig = Rig::new(pinging(app()));
    rig.advance(secs(19));
    assert_eq!(rig.heard(), [""; 0]);
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["~ping"]);
    rig.advance(secs(4));
    assert_eq!(rig.heard(), [""; 0]);
    assert!(!rig.peer.is_at_end());
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["goodbye"]);
    assert!(rig.peer.is_at_end());
    assert_eq!(rig.reason(), Some(CloseReason::HeartbeatTimedOut));
}

#[test]
fn a_peer_that_answers_stays() {
    // rule: HB-1
    let mut rig = Rig::new(pinging(app()));
    for _ in 0..10 {
        rig.advance(secs(20));
        assert_eq!(rig.heard(), ["~ping"]);
        rig.advance(secs(4));
        rig.ask("!here");
    }
    // What the server sends is no sign of the peer's life.
    for _ in 0..5 {
        rig.push.try_push(High, line("!news")).unwrap();
        rig.advance(secs(5));
    }
    rig.advance(secs(1));
    assert_eq!(rig.reason(), Some(CloseReason::HeartbeatTimedOut));
}

#[test]
fn a_sign_of_life_counts_though_the_driver_comes_late_to_it() {
    // rule: HB-1
    let expecting = config(|c| c.heartbeat = Some(Heartbeat::expecting(secs(10))));
    let mut rig = Rig::new(app().config(expecting));
    rig.advance(secs(5));
    rig.peer.send(&wire("1x"));
    // Nobody runs meanwhile.
    rig.simulation.clock().advance(secs(6));
    assert_eq!(rig.heard(), ["1x"]);

    let mut rig = Rig::new(pinging(app()));
    rig.advance(secs(20));
    assert_eq!(rig.heard(), ["~ping"]);
    rig.peer.send(&wire("!here")[..1]);
    rig.simulation.clock().advance(secs(6));
    assert_eq!(rig.heard(), [""; 0]);
    assert!(!rig.peer.is_at_end());
    // Nor does a peer that has spoken need a ping.
    rig.peer.send(&wire("!here")[1..]);
    rig.simulation.clock().advance(secs(20));
    assert_eq!(rig.heard(), [""; 0]);
}

#[test]
fn a_peer_that_says_other_things_is_not_pinged() {
    // rule: HB-1
    let mut rig = Rig::new(pinging(app()));
    for _ in 0..10 {
        rig.advance(secs(19));
        assert_eq!(rig.exchange("1x"), ["1x"]);
    }
    // One byte does.
    rig.advance(secs(19));
    rig.peer.send(&wire("1x")[..1]);
    rig.advance(secs(19));
    assert_eq!(rig.heard(), [""; 0]);
}

#[test]
fn a_handle_sets_changes_and_ends_the_heartbeat() {
    // rule: PUSH-11, HB-1
    let mut rig = Rig::new(app());
    rig.advance(secs(1000));
    let connection = rig.push.connection();
    assert_eq!(rig.simulation.clock().armed(), 0);
    connection.set_heartbeat(Some(HEARTBEAT));
    rig.simulation.run();
    assert_eq!(rig.simulation.clock().armed(), 1, "the driver was woken");
    for _ in 0..4 {
        rig.advance(secs(5));
        assert!(!rig.driver.is_done());
        connection.set_heartbeat(Some(HEARTBEAT));
    }
    assert_eq!(rig.heard(), ["~ping"], "the same again changes nothing");
    connection.set_heartbeat(Some(Heartbeat::expecting(secs(50))));
    connection.set_heartbeat(Some(Heartbeat::expecting(secs(100))));
    rig.advance(secs(99));
    assert_eq!(rig.heard(), [""; 0]);
    connection.set_heartbeat(None);
    rig.advance(secs(100_000));
    assert!(!rig.peer.is_at_end());
    assert_eq!(rig.simulation.clock().armed(), 0);
    connection.set_heartbeat(Some(Heartbeat::expecting(secs(7))));
    rig.advance(secs(7));
    assert_eq!(rig.reason(), Some(CloseReason::HeartbeatTimedOut));
    connection.set_heartbeat(Some(HEARTBEAT));
    connection.set_heartbeat(None);
}

#[test]
fn a_heartbeat_can_be_set_from_another_thread() {
    // rule: PUSH-11
    let mut rig = Rig::new(app());
    let connection = rig.push.connection();
    let other = std::thread::spawn(move || connection.set_heartbeat(Some(HEARTBEAT)));
    other.join().unwrap();
    rig.advance(secs(20));
    assert_eq!(rig.heard(), ["~ping"]);
}

#[test]
fn a_hook_sets_the_heartbeat() {
    // rule: HOOK-4, HB-1
    let mut rig = Rig::new(app());
    rig.ask("~expect 30");
    rig.advance(secs(29));
    rig.ask("!here");
    rig.advance(secs(29));
    assert!(!rig.peer.is_at_end());
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["goodbye"]);
    assert_eq!(rig.reason(), Some(CloseReason::HeartbeatTimedOut));
}

/// Lets the peer take so many bytes in each second.
fn take_slowly(rig: &mut Rig, seconds: u64, bytes: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    for _ in 0..seconds {
        taken.extend(rig.peer.receive_at_most(bytes));
        rig.advance(secs(1));
    }
    taken
}

#[test]
fn pings_keep_their_time_while_a_response_streams_to_a_slow_peer() {
    // rule: HB-2
    const FRAME: usize = 4 + "frame".len();
    const LINK: usize = 10;
    const MARK: usize = 3 * FRAME;
    let app = text(&protocol()).route(1, async || {
        Response::<Line, Oops>::frames(async_stream::stream! {
            loop {
                yield line("frame");
            }
        })
    });
    let app = app.config(config(|c| {
        c.heartbeat = Some(Heartbeat::pinging(secs(20), secs(1000)));
        c.limits.high_water = crate::rig::nonzero(MARK);
    }));
    let mut rig = Rig::with_capacity(app, LINK);
    rig.ask("1");
    let mut wire = take_slowly(&mut rig, 50, FRAME);
    rig.ask("!here");
    wire.extend(take_slowly(&mut rig, 50, FRAME));
    let whole = lines(&wire[..wire.len() / FRAME * FRAME]);
    let pings: Vec<_> = (0..whole.len()).filter(|&n| whole[n] == "~ping").collect();
    // A ping is as long as a frame. In the link, and encoded, there are at most so many.
    let before = (LINK + MARK).div_ceil(FRAME) + 1;
    assert_eq!(pings.len(), 2);
    assert!((20..=20 + before).contains(&pings[0]), "{pings:?}");
    assert!((70..=70 + before).contains(&pings[1]), "{pings:?}");
    assert!(!rig.driver.is_done());
}

#[test]
fn the_heartbeat_of_a_peer_that_has_ended_its_output_stops() {
    // rule: HB-1, SHUT-6
    let app = pinging(text(&protocol())).route(1, async |clock: wireframe::Clock| {
        clock.sleep(secs(100)).await;
        "done"
    });
    let mut rig = Rig::new(app);
    rig.ask("1");
    Link::finish(&mut rig.peer);
    rig.advance(secs(99));
    assert_eq!(rig.heard(), [""; 0]);
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["1:done"]);
    assert_eq!(rig.reason(), Some(CloseReason::PeerClosed));
}
