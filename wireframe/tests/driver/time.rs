//! Time limits, on virtual time, and who speaks first.

use std::time::Duration;

use wireframe::{CloseReason, Inbound, Priority::High, RequestBody, testing::Fault};

use crate::rig::{Line, Rig, Text, config, line, lines, secs, text, wire};

async fn echo(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

#[test]
fn a_server_speaks_first_to_a_client_that_says_nothing() {
    // rule: HOOK-2
    let protocol = Text {
        greeting: Some("!welcome"),
        ..Text::default()
    };
    let mut rig = Rig::new(text(&protocol));
    assert_eq!(lines(&rig.peer.receive()), ["!welcome"]);
    rig.advance(secs(1000));
    assert!(!rig.driver.is_done(), "silence is no offence");
}

#[test]
fn a_peer_that_takes_no_byte_is_given_up() {
    // rule: LIM-3
    let mut rig = Rig::with_capacity(text(&Text::default()), 3);
    rig.push.try_push(High, line("!stuck")).unwrap();
    rig.advance(secs(20));
    rig.peer.receive_at_most(1);
    rig.advance(secs(29));
    assert!(!rig.driver.is_done(), "it took a byte nine seconds ago");
    rig.advance(secs(1));
    // It might still listen for a last word, but not longer than a close may take.
    rig.advance(secs(5));
    assert_eq!(rig.driver.take(), Some(CloseReason::WriteStalled));
    assert_eq!(rig.push.stats().lost_closed, 1);
}

#[test]
fn a_transport_that_stalls_counts_as_a_peer_that_takes_nothing() {
    // rule: LIM-3
    let rig = Rig::new(text(&Text::default()));
    rig.script.write_fault(5, Fault::Stall);
    rig.push.try_push(High, line("!stuck")).unwrap();
    rig.advance(secs(29));
    assert!(!rig.driver.is_done());
    rig.advance(secs(6));
    assert_eq!(rig.driver.take(), Some(CloseReason::WriteStalled));
}

#[test]
fn a_frame_that_trickles_in_must_be_whole_in_time() {
    // rule: LIM-3
    let mut rig = Rig::new(text(&Text::default()).route(1, echo));
    let bytes = wire("1 a frame of more than twenty-nine bytes");
    for byte in &bytes[..30] {
        rig.peer.send(&[*byte]);
        rig.advance(secs(1));
        assert!(!rig.peer.is_at_end() || byte == &bytes[29]);
    }
    assert!(rig.peer.is_at_end());
    assert_eq!(rig.reason(), Some(CloseReason::FrameTimedOut));
}

#[test]
fn a_frame_is_in_time_though_the_driver_comes_late_to_it() {
    // rule: LIM-3
    let mut rig = Rig::new(text(&Text::default()).route(1, echo));
    let bytes = wire(&"1".repeat(100_000));
    rig.peer.send(&bytes[..1]);
    rig.advance(secs(20));
    // It takes several reads, and the driver runs before none of them.
    rig.script.read_sizes([10, 50_000]);
    rig.peer.send(&bytes[1..]);
    rig.simulation.clock().advance(secs(11));
    assert_eq!(rig.heard().len(), 1);
}

#[test]
fn a_preamble_is_in_time_though_the_driver_comes_late_to_it() {
    // rule: LIM-3, REQ-5
    let protocol = Text {
        preamble: Some("magic"),
        ..Text::default()
    };
    let mut rig = Rig::new(text(&protocol));
    rig.peer.send(b"magic!");
    rig.simulation.clock().advance(secs(11));
    assert_eq!(rig.heard(), ["~welcome"]);
}

#[test]
fn a_body_frame_is_in_time_though_the_driver_comes_late_to_it() {
    // rule: LIM-3
    let mut rig = Rig::new(
        text(&Text::default()).route(1, async |mut body: RequestBody<Line>| {
            match body.next().await {
                Ok(_) => line("in time"),
                Err(error) => line(error.to_string()),
            }
        }),
    );
    rig.ask("1");
    rig.advance(secs(20));
    rig.peer.send(&wire("+."));
    rig.simulation.clock().advance(secs(11));
    assert_eq!(rig.heard(), ["in time"]);
}

#[test]
fn a_peer_that_took_output_while_the_driver_was_late_has_not_stalled() {
    // rule: LIM-3
    let mut rig = Rig::with_capacity(text(&Text::default()), 3);
    rig.push.try_push(High, line("!slow")).unwrap();
    rig.advance(secs(20));
    let mut taken = rig.peer.receive_at_most(1);
    rig.simulation.clock().advance(secs(11));
    rig.simulation.run();
    rig.advance(secs(29));
    taken.extend(rig.peer.receive());
    rig.simulation.run();
    taken.extend(rig.peer.receive());
    rig.simulation.run();
    taken.extend(rig.peer.receive());
    assert_eq!(lines(&taken), ["!slow"]);
}

#[test]
fn a_late_driver_keeps_the_end_of_a_drain() {
    // rule: SHUT-3
    let protocol = Text::default();
    let mut rig = Rig::new(text(&protocol).route(1, async || {
        std::future::pending::<()>().await;
    }));
    rig.ask("1");
    rig.push.connection().close();
    rig.simulation.run();
    rig.peer.send(&wire("~x"));
    rig.simulation.clock().advance(secs(6));
    rig.simulation.run();
    assert_eq!(
        rig.driver.take(),
        Some(CloseReason::DrainTimedOut {
            fault: wireframe::Fault::Own
        })
    );
    assert_eq!(protocol.record.count("control"), 0);
}

#[test]
fn a_large_frame_has_more_time() {
    // rule: LIM-3
    let mut rig = Rig::new(text(&Text::default()).route(1, echo));
    rig.peer.send(&(512 * 1024_u32).to_be_bytes());
    rig.advance(Duration::from_millis(31_900));
    assert!(!rig.peer.is_at_end());
    rig.advance(Duration::from_millis(100));
    assert_eq!(rig.reason(), Some(CloseReason::FrameTimedOut));
}

#[test]
fn the_time_for_a_frame_begins_with_its_first_byte() {
    // rule: LIM-3
    let mut rig = Rig::new(text(&Text::default()).route(1, echo));
    for _ in 0..5 {
        rig.advance(secs(25));
        rig.peer.send(&wire("1x")[..3]);
        rig.advance(secs(25));
        rig.peer.send(&wire("1x")[3..]);
        assert_eq!(rig.heard(), ["1x"]);
    }
    rig.advance(secs(1000));
    assert!(!rig.driver.is_done());
}

#[test]
fn a_connection_may_be_idle_for_so_long_and_no_longer() {
    // rule: LIM-3
    let idle = config(|c| c.timeouts.idle = Some(secs(10)));
    let mut rig = Rig::new(text(&Text::default()).route(1, echo).config(idle));
    for _ in 0..3 {
        rig.advance(secs(9));
        assert_eq!(rig.exchange("1x"), ["1x"]);
        rig.advance(secs(9));
        rig.push.try_push(High, line("!x")).unwrap();
        assert_eq!(rig.heard(), ["!x"]);
    }
    rig.advance(secs(9));
    assert!(!rig.peer.is_at_end());
    rig.advance(secs(1));
    assert!(rig.peer.is_at_end());
    assert_eq!(rig.reason(), Some(CloseReason::Idle));
}

#[test]
fn a_connection_with_a_request_at_work_is_not_idle() {
    // rule: LIM-3
    let idle = config(|c| c.timeouts.idle = Some(secs(10)));
    let app = text(&Text::default()).config(idle);
    let mut rig = Rig::new(app.route(1, async |clock: wireframe::Clock| {
        clock.sleep(secs(100)).await;
        "done"
    }));
    rig.ask("1");
    rig.advance(secs(100));
    assert_eq!(rig.heard(), ["1:done"]);
    rig.advance(secs(10));
    assert_eq!(rig.reason(), Some(CloseReason::Idle));
}

#[test]
fn a_deadline_that_moved_nearer_is_kept() {
    // rule: LIM-3, SHUT-3
    let idle = config(|c| c.timeouts.idle = Some(secs(100)));
    let mut rig = Rig::new(text(&Text::default()).config(idle));
    rig.advance(secs(1));
    rig.push.connection().close();
    rig.advance(secs(5));
    assert!(rig.driver.is_done());
    assert_eq!(rig.reason(), Some(CloseReason::Drained));
}
