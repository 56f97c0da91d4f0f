//! Transports that write little, nothing, or wrong.

use std::io;

use wireframe::{
    CloseReason, Driver, Envelope, Inbound,
    Priority::{High, Low},
    PushHandle, WireframeApp,
    testing::{Fault, Simulation, link},
};

use crate::rig::{Line, Rig, Text, line, lines, text, wire};

async fn echo(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

#[test]
fn short_writes_and_short_reads_change_nothing() {
    let whole: Vec<_> = (0..50).map(|n| format!("1{}", "x".repeat(n * 7))).collect();
    for sizes in [&[1][..], &[2, 3, 5], &[100, 1], &[7]] {
        for vectored in [true, false] {
            let mut rig = Rig::new(text(&Text::default()).route(1, echo));
            rig.script.write_sizes(sizes.iter().copied());
            rig.script.read_sizes(sizes.iter().rev().copied());
            rig.script.set_vectored(vectored);
            for request in &whole {
                rig.peer.send(&wire(request));
            }
            assert_eq!(rig.heard(), whole);
            assert!(
                rig.script
                    .writes()
                    .iter()
                    .all(|n| sizes.contains(n) || *n < 100)
            );
        }
    }
}

#[test]
fn large_payloads_and_small_frames_between_them_keep_their_order() {
    for vectored in [true, false] {
        let mut rig = Rig::new(text(&Text::default()));
        rig.script.set_vectored(vectored);
        rig.script.write_sizes([5000, 3, 70_000]);
        let texts: Vec<_> = (0..60)
            .map(|n| "!".repeat(if n % 2 == 0 { 10_000 } else { n }))
            .collect();
        for text in &texts {
            rig.push.try_push(Low, line(text)).unwrap();
        }
        assert_eq!(rig.heard(), texts);
    }
}

#[test]
fn large_payloads_leave_together_where_writes_are_vectored() {
    for (vectored, writes) in [(true, 1), (false, 12)] {
        let mut rig = Rig::new(text(&Text::default()));
        rig.script.set_vectored(vectored);
        for _ in 0..6 {
            rig.push.try_push(Low, line("!".repeat(10_000))).unwrap();
        }
        assert_eq!(rig.heard().len(), 6);
        assert_eq!(rig.script.writes().len(), writes);
    }
}

#[test]
fn a_write_of_length_zero_is_a_failure_not_a_loop() {
    for after in [0, 3] {
        let protocol = Text::default();
        let mut rig = Rig::new(text(&protocol));
        rig.script.write_fault(after, Fault::Zero);
        rig.push.try_push(High, line("!x")).unwrap();
        let polls = rig.simulation.run();
        assert!(polls <= 2, "{polls} polls");
        let reason = rig.driver.take().unwrap();
        assert_eq!(
            reason.to_string(),
            "transport failed: write: the transport takes no more bytes"
        );
        assert_eq!(rig.peer.receive().len(), after);
        assert_eq!(rig.push.stats().lost_closed, 1);
    }
}

#[test]
fn a_write_that_stalls_goes_on_where_it_was() {
    for after in 0..12 {
        let mut rig = Rig::new(text(&Text::default()));
        rig.script.write_fault(after, Fault::Stall);
        rig.push.try_push(High, line("!one")).unwrap();
        rig.simulation.run();
        rig.push.try_push(High, line("!two")).unwrap();
        assert!(rig.simulation.run() <= 1, "a stalled driver waits");
        rig.script.release();
        assert_eq!(rig.heard(), ["!one", "!two"]);
    }
}

#[test]
fn a_stalled_write_does_not_keep_the_driver_from_reading() {
    let protocol = Text::default();
    let app = text(&protocol).on_push(
        async |Inbound(Line(text)): Inbound<Line>, push: PushHandle<Line>| {
            push.push_low_priority(line(format!("{text} seen")))
                .await
                .ok();
        },
    );
    let mut rig = Rig::with_capacity(app, 1);
    rig.push.try_push(High, line("!stuck")).unwrap();
    rig.simulation.run();
    for n in 0..300 {
        rig.ask(&format!("!{n}"));
    }
    // All were read, as far as handlers of pushes may be at work at once.
    assert_eq!(rig.push.queued(Low), 256);
    assert_eq!(rig.heard().len(), 301);
}

#[test]
fn errors_end_the_connection_with_their_reason() {
    type Fail = fn(&Rig);
    let fails: [(Fail, &str); 3] = [
        (
            |rig| {
                rig.script
                    .write_fault(3, Fault::Error(io::ErrorKind::BrokenPipe));
            },
            "transport failed: write: broken pipe",
        ),
        (
            |rig| {
                rig.script
                    .read_fault(3, Fault::Error(io::ErrorKind::ConnectionReset));
            },
            "transport failed: read: connection reset",
        ),
        (
            |rig| {
                rig.script
                    .read_fault(0, Fault::Error(io::ErrorKind::TimedOut));
            },
            "transport failed: read: timed out",
        ),
    ];
    for (fail, expected) in fails {
        let protocol = Text::default();
        let mut rig = Rig::new(text(&protocol).route(1, echo));
        fail(&rig);
        rig.ask("1 in the middle of a frame");
        assert_eq!(rig.driver.take().unwrap().to_string(), expected);
        assert_eq!(protocol.record.count(&format!("disconnect {expected}")), 1);
        assert_eq!(protocol.record.count("goodbye"), 0, "nobody could hear it");
    }
}

#[test]
fn a_half_close_that_fails_ends_the_connection_all_the_same() {
    let rig = Rig::new(text(&Text::default()));
    drop(rig.peer);
    rig.simulation.run();
    assert_eq!(rig.driver.take(), Some(CloseReason::PeerClosed));
}

#[test]
fn a_hundred_answers_that_are_ready_together_leave_in_at_most_two_writes() {
    let simulation = Simulation::new();
    let (near, mut peer) = link(1 << 20);
    let script = near.script();
    let app = WireframeApp::new().route(1, async |Inbound(envelope): Inbound<Envelope>| envelope);
    let driver = Driver::server(&app.build().unwrap(), near, None, &simulation.environment());
    simulation.spawn(driver);
    simulation.run();
    for n in 0..100 {
        peer.send(&[0, 0, 0, 5, 1, 1, n, 1, b'x']);
    }
    simulation.run();
    assert_eq!(peer.receive().len(), 900);
    assert!(script.writes().len() <= 2, "{:?}", script.writes());
}

#[test]
fn answers_that_become_ready_together_leave_together() {
    use wireframe::{Clock, Config};
    let simulation = Simulation::new();
    let (near, mut peer) = link(1 << 20);
    let script = near.script();
    let mut config = Config::default();
    config.limits.max_in_flight = Some(crate::rig::nonzero(100));
    let app = WireframeApp::new()
        .config(config)
        .route(1, async |clock: Clock| {
            clock.sleep(crate::rig::secs(1)).await;
            "x"
        });
    let driver = Driver::server(&app.build().unwrap(), near, None, &simulation.environment());
    simulation.spawn(driver);
    for n in 0..100 {
        peer.send(&[0, 0, 0, 5, 1, 1, n, 1, b'x']);
    }
    simulation.run();
    assert_eq!(script.writes(), [0; 0]);
    // One instant, however many timers it wakes.
    simulation.clock().advance(crate::rig::secs(1));
    simulation.run();
    assert_eq!(peer.receive().len(), 900);
    assert!(script.writes().len() <= 2, "{:?}", script.writes());
}

#[test]
fn what_a_transport_holds_back_is_flushed_before_the_driver_rests() {
    let mut rig = Rig::new(text(&Text::default()).route(1, echo));
    rig.script.stall_flush();
    rig.ask("1");
    assert_eq!(lines(&rig.peer.receive()), ["1"]);
    let flushes = rig.script.flushes();
    rig.script.release();
    rig.simulation.run();
    assert_eq!(rig.script.flushes(), flushes + 1);
    rig.advance(crate::rig::secs(1));
    assert_eq!(rig.script.flushes(), flushes + 1, "nothing more to flush");
}
