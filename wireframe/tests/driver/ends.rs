//! How connections end: drains, deadlines, ends of the peer's output, failures.

use std::io;

use wireframe::{
    Clock, CloseReason, HalfClose, Inbound, Response, Session,
    testing::{Fault, Simulation},
};

use crate::rig::{Line, Notes, Record, Rig, Text, config, line, lines, secs, text, wire};

/// Notes when it is dropped.
struct Guard(Record);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

/// An app whose route 1 waits for 3 s, route 2 for ever, and route 3 streams for ever; all
/// of them note when they are dropped.
fn waiting(protocol: &Text) -> wireframe::WireframeApp<Text> {
    let record = protocol.record.clone();
    let guard = move || Guard(record.clone());
    let (one, two, three) = (guard.clone(), guard.clone(), guard);
    text(protocol)
        .route(1, move |clock: Clock| {
            let guard = one();
            async move {
                clock.sleep(secs(3)).await;
                drop(guard);
                "answer"
            }
        })
        .route(2, move || {
            let guard = two();
            async move {
                std::future::pending::<()>().await;
                drop(guard);
            }
        })
        .route(3, move |clock: Clock| {
            let guard = three();
            let frames = async_stream::stream! {
                let _guard = guard;
                loop {
                    clock.sleep(secs(1)).await;
                    yield line("tick");
                }
            };
            async move { Response::frames(frames) }
        })
}

#[test]
fn a_drain_finishes_what_runs_drops_what_waits_and_takes_on_nothing_new() {
    // rule: SHUT-2
    let protocol = Text {
        has_goodbye: true,
        ..Text::default()
    };
    let mut rig = Rig::new(waiting(&protocol));
    rig.ask("1");
    rig.ask("1 held back");
    rig.push.connection().close();
    rig.simulation.run();
    rig.ask("1 too late");
    rig.advance(secs(3));
    assert_eq!(rig.heard(), ["1:answer", "goodbye"]);
    assert_eq!(rig.reason(), Some(CloseReason::Drained));
    assert_eq!(protocol.record.count("command_end Done"), 1);
    assert_eq!(protocol.record.count("dropped"), 1);
}

#[test]
fn the_deadline_ends_a_drain_in_any_case() {
    // rule: SHUT-3
    let protocol = Text::default();
    let mut rig = Rig::new(waiting(&protocol));
    rig.ask("2");
    rig.push.connection().close();
    rig.advance(secs(4));
    assert!(!rig.driver.is_done());
    assert_eq!(protocol.record.count("dropped"), 0);
    rig.advance(secs(1));
    assert_eq!(
        rig.driver.take(),
        Some(CloseReason::DrainTimedOut {
            fault: wireframe::Fault::Own
        })
    );
    assert_eq!(protocol.record.count("dropped"), 1);
    assert_eq!(protocol.record.count("command_end Disconnected"), 1);
}

#[test]
fn the_deadline_ends_the_wait_for_a_peer_that_does_not_close() {
    // rule: SHUT-3
    let protocol = Text::default();
    let rig = Rig::new(text(&protocol));
    rig.push.connection().close();
    rig.advance(secs(4));
    assert!(rig.peer.is_at_end() && !rig.driver.is_done());
    rig.advance(secs(1));
    assert_eq!(rig.driver.take(), Some(CloseReason::Drained));
    assert_eq!(rig.simulation.clock().armed(), 0);
}

#[test]
fn the_deadline_ends_a_half_close_that_stays_pending() {
    // rule: SHUT-3
    let mut rig = Rig::new(text(&Text::default()));
    rig.script.stall_close();
    rig.peer.finish();
    rig.simulation.run();
    assert!(!rig.driver.is_done());
    rig.advance(secs(5));
    assert_eq!(rig.driver.take(), Some(CloseReason::PeerClosed));
}

#[test]
fn a_half_close_that_was_pending_completes() {
    // rule: SHUT-2
    let mut rig = Rig::new(text(&Text::default()));
    rig.script.stall_close();
    rig.push.connection().close();
    rig.simulation.run();
    assert!(!rig.peer.is_at_end());
    rig.script.release();
    rig.simulation.run();
    assert!(rig.peer.is_at_end());
    assert_eq!(rig.reason(), Some(CloseReason::Drained));
}

#[test]
fn nothing_is_closed_over_bytes_that_were_not_flushed() {
    // rule: SHUT-2
    let mut rig = Rig::new(text(&Text::default()));
    rig.script.stall_flush();
    rig.push
        .try_push(wireframe::Priority::High, line("!x"))
        .unwrap();
    rig.push.connection().close();
    rig.simulation.run();
    assert_eq!(lines(&rig.peer.receive()), ["!x"]);
    assert!(!rig.peer.is_at_end());
    assert_eq!(rig.script.flushes(), 0);
    rig.script.release();
    rig.simulation.run();
    assert_eq!(rig.script.flushes(), 1);
    assert!(rig.peer.is_at_end());
}

#[test]
fn the_end_of_input_between_frames_is_a_clean_close() {
    // rule: SHUT-6
    let protocol = Text::default();
    let mut rig = Rig::new(text(&protocol).route(1, async || "one"));
    rig.peer.send(&wire("1"));
    rig.peer.finish();
    assert_eq!(rig.heard(), ["1:one"]);
    assert!(rig.peer.is_at_end());
    assert_eq!(rig.driver.take(), Some(CloseReason::PeerClosed));
    assert_eq!(protocol.record.count("goodbye"), 0);
}

#[test]
fn the_end_of_input_within_a_frame_says_how_much_was_missing() {
    // rule: SHUT-6
    for (bytes, expected) in [
        (
            &wire("1234567890")[..7],
            "peer closed inside a frame: 7 of 10 payload bytes missing",
        ),
        (
            &wire("1234567890")[..4],
            "peer closed inside a frame: 10 of 10 payload bytes missing",
        ),
        (&[0, 0][..], "peer closed inside a header, after 2 bytes"),
    ] {
        for split in [false, true] {
            let mut rig = Rig::new(text(&Text::default()));
            rig.peer.send(bytes);
            if split {
                rig.simulation.run();
            }
            let reason = rig.reason().unwrap();
            assert!(matches!(reason, CloseReason::UnexpectedEof(_)));
            assert_eq!(reason.to_string(), expected);
        }
    }
}

#[test]
fn an_end_of_input_made_by_the_transport_is_one() {
    // rule: SHUT-6
    let mut rig = Rig::new(text(&Text::default()));
    rig.script.read_fault(6, Fault::Zero);
    rig.ask("1234567890");
    rig.simulation.run();
    let reason = rig.driver.take().unwrap().to_string();
    assert_eq!(
        reason,
        "peer closed inside a frame: 8 of 10 payload bytes missing"
    );
}

#[test]
fn after_a_half_close_answers_and_accepted_pushes_are_still_sent() {
    // rule: RESP-10, SHUT-6
    let protocol = Text::default();
    let mut rig = Rig::new(waiting(&protocol));
    rig.ask("1");
    rig.peer.finish();
    rig.advance(secs(1));
    rig.push
        .try_push(wireframe::Priority::Low, line("!push"))
        .unwrap();
    assert_eq!(rig.heard(), ["!push"]);
    assert!(!rig.peer.is_at_end());
    rig.advance(secs(2));
    assert_eq!(rig.heard(), ["1:answer"]);
    assert!(rig.peer.is_at_end());
    assert_eq!(rig.driver.take(), Some(CloseReason::PeerClosed));
}

#[test]
fn when_the_peer_is_gone_handlers_and_streams_are_dropped_at_once() {
    // rule: RESP-10
    type End = fn(&mut Rig);
    let reset: End = |rig| {
        let error = Fault::Error(io::ErrorKind::ConnectionReset);
        rig.script.read_fault(0, error);
    };
    let failed_write: End = |rig| {
        rig.script
            .write_fault(0, Fault::Error(io::ErrorKind::BrokenPipe));
        rig.push
            .try_push(wireframe::Priority::High, line("!x"))
            .unwrap();
    };
    let ends: End = |rig| rig.peer.finish();
    let gone: End = |rig| {
        rig.push
            .try_push(wireframe::Priority::High, line("!x"))
            .unwrap();
        rig.peer = wireframe::testing::link(1).0;
    };
    for (end, half_close) in [
        (reset, HalfClose::Answers),
        (failed_write, HalfClose::Answers),
        (gone, HalfClose::Answers),
        (ends, HalfClose::Ends),
    ] {
        for route in ["1", "2", "3"] {
            let protocol = Text::default();
            let app = waiting(&protocol).config(config(|c| c.half_close = half_close));
            let mut rig = Rig::new(app);
            rig.ask(route);
            assert_eq!(protocol.record.count("dropped"), 0);
            end(&mut rig);
            rig.simulation.run();
            assert_eq!(protocol.record.count("dropped"), 1, "route {route}");
            assert!(rig.driver.is_done());
            assert_eq!(protocol.record.count("command_end Disconnected"), 1);
            assert_eq!(rig.simulation.clock().armed(), 0);
        }
    }
}

#[test]
fn handlers_are_dropped_when_the_connection_begins_to_close_not_when_the_peer_lets_go() {
    // rule: RESP-10, HOOK-2
    let protocol = Text::default();
    let record = protocol.record.clone();
    let app = waiting(&protocol).on_connect(move || {
        let guard = Guard(record.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
        }
    });
    let mut rig = Rig::new(app);
    rig.ask("2");
    rig.peer.send(&[0, 0, 0, 1, 0xFF]);
    rig.simulation.run();
    assert!(rig.peer.is_at_end() && !rig.driver.is_done());
    assert_eq!(protocol.record.count("dropped"), 2);
    assert_eq!(
        rig.reason().unwrap().to_string(),
        "malformed input: not text"
    );
}

#[test]
fn a_peer_that_is_gone_ends_the_handlers_of_its_pushes_too() {
    // rule: RESP-10
    let protocol = Text::default();
    let record = protocol.record.clone();
    let stuck = move || {
        let guard = Guard(record.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
        }
    };
    let app = text(&protocol)
        .on_push(stuck)
        .config(config(|c| c.half_close = HalfClose::Ends))
        .build()
        .unwrap();
    // More than are handled at once.
    for count in [1, 64, 70] {
        protocol.record.take();
        let rig = &mut Rig::idle(&app, &Simulation::new(), 1000);
        for _ in 0..count {
            rig.peer.send(&wire("!"));
        }
        rig.simulation.run();
        rig.peer.finish();
        rig.simulation.run();
        assert_eq!(protocol.record.count("dropped"), count.min(64), "{count}");
        assert_eq!(rig.driver.take(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn a_connection_that_ended_has_heard_of_nothing_twice() {
    // rule: HOOK-2
    let protocol = Text::default();
    let app = text(&protocol).route(1, async |Inbound(frame): Inbound<Line>| frame);
    let mut rig = Rig::new(app);
    rig.ask("1");
    assert!(rig.reason().is_some());
    let polls = rig.driver.polls();
    rig.push.connection().abort();
    rig.peer.send(&wire("1"));
    rig.advance(secs(100));
    assert_eq!(rig.driver.polls(), polls, "nobody wakes it");
    assert_eq!(protocol.record.count("setup"), 1);
    assert_eq!(protocol.record.count("disconnect closed by the peer"), 1);
}

#[test]
fn a_session_lives_as_long_as_somebody_looks_at_it() {
    // rule: HOOK-5
    let kept: std::sync::Arc<std::sync::Mutex<Option<Session<Notes>>>> = std::sync::Arc::default();
    let keep = kept.clone();
    let app = text(&Text::default()).on_connect(move |session: Session<Notes>| {
        *keep.lock().unwrap() = Some(session);
        std::future::ready(())
    });
    let mut rig = Rig::new(app);
    assert!(rig.reason().is_some());
    let session = kept.lock().unwrap().take().unwrap();
    assert_eq!(session.with(|notes| notes.0.clone()), ["setup"]);
}
