//! Pushes, through the driver: their bound, their account, their end.

use std::io;

use wireframe::{
    Client, Clock, CloseReason, Driver, Envelope, Inbound,
    Priority::{High, Low},
    PushCapacity, PushHandle, PushLimits, PushPolicy, Pushed, TryPushError, WireframeApp,
    testing::{Fault, Simulation, link},
};

use crate::rig::{Line, Rig, Text, config, line, lines, nonzero, secs, text};

fn capacity(frames: usize) -> PushLimits {
    PushLimits::both(PushCapacity::new().with_frames(nonzero(frames)))
}

fn full(rig: &Rig) -> bool {
    matches!(
        rig.push.try_push(High, line("!late")),
        Err(TryPushError::Full(_))
    )
}

#[test]
fn a_push_holds_its_slot_until_the_transport_has_its_last_byte() {
    // rule: PUSH-1
    let app = text(&Text::default()).push_limits(capacity(1));
    let mut rig = Rig::new(app);
    rig.script.write_fault(8, Fault::Stall);
    rig.push.try_push(High, line("!first")).unwrap();
    for _ in 0..3 {
        rig.simulation.run();
        assert!(full(&rig));
        assert_eq!(rig.push.queued(High), 1);
        rig.check_account();
    }
    assert_eq!(rig.peer.receive().len(), 8, "all but two bytes have gone");
    rig.script.write_fault(1, Fault::Stall);
    rig.script.read_fault(0, Fault::Stall);
    rig.simulation.run();
    assert!(full(&rig), "one byte is still here");
    rig.script.release();
    rig.simulation.run();
    rig.push.try_push(High, line("!next")).unwrap();
    assert!(full(&rig));
    rig.simulation.run();
    assert_eq!(rig.push.stats().sent, 2);
    assert_eq!(rig.peer.receive().len(), 2 + 9);
}

#[test]
fn a_stalled_peer_lets_as_many_pushes_in_as_there_are_slots() {
    // rule: PUSH-1
    for slots in [1, 2, 7] {
        let mut rig = Rig::with_capacity(text(&Text::default()).push_limits(capacity(slots)), 1);
        let mut taken = 0;
        for _ in 0..20 {
            taken += usize::from(rig.push.try_push(Low, line("!x")).is_ok());
            rig.simulation.run();
            rig.check_account();
        }
        assert_eq!(taken, slots);
        assert_eq!(rig.heard().len(), slots);
        assert_eq!(rig.push.queued(Low), 0);
    }
}

#[test]
fn a_waiting_push_goes_on_when_the_peer_takes_a_frame() {
    // rule: PUSH-1, PUSH-2
    let mut rig = Rig::with_capacity(text(&Text::default()).push_limits(capacity(1)), 1);
    let push = rig.push.clone();
    let producer = rig.simulation.spawn(async move {
        for n in 0..4 {
            push.push_low_priority(line(format!("!{n}"))).await.unwrap();
        }
    });
    rig.simulation.run();
    assert!(!producer.is_done());
    assert_eq!(rig.heard(), ["!0", "!1", "!2", "!3"]);
    assert!(producer.is_done());
}

#[test]
fn when_the_connection_ends_every_way_to_push_is_closed_and_gives_the_frame_back() {
    // rule: PUSH-5, PUSH-6
    type End = fn(&mut Rig);
    let ends: [End; 5] = [
        |rig| rig.push.connection().abort(),
        |rig| rig.push.connection().close(),
        |rig| rig.driver.cancel(),
        |rig| rig.peer.finish(),
        |rig| {
            rig.script
                .read_fault(0, Fault::Error(io::ErrorKind::ConnectionReset));
        },
    ];
    for end in ends {
        let mut rig = Rig::new(text(&Text::default()).push_limits(capacity(2)));
        let permit = rig.simulation.spawn({
            let push = rig.push.clone();
            async move { push.reserve(High).await }
        });
        rig.simulation.run();
        rig.script.write_fault(0, Fault::Stall);
        rig.push.try_push(High, line("!stuck")).unwrap();
        let waiting = rig.simulation.spawn({
            let push = rig.push.clone();
            async move { push.push_high_priority(line("!waiting")).await }
        });
        rig.simulation.run();
        assert!(!waiting.is_done());
        rig.script.write_fault(0, Fault::Stall);
        end(&mut rig);
        rig.simulation.run();
        rig.script.release();
        rig.reason();
        assert!(rig.driver.is_done());

        let refused = waiting.take().expect("still waiting").unwrap_err();
        assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::BrokenPipe);
        let permit = permit.take().unwrap().unwrap();
        let kept = permit.send(line("!kept")).unwrap_err().into_frame();
        assert_eq!(kept, line("!kept"));
        assert_eq!(
            rig.push.try_push(Low, kept),
            Err(TryPushError::Closed(line("!kept")))
        );
        let policy = PushPolicy::DropIfFull;
        assert!(rig.push.push_with_policy(Low, line("!"), policy).is_err());
        assert!(rig.push.is_closed());
        rig.check_account();
        let stats = rig.push.stats();
        assert_eq!((stats.accepted, stats.queued), (1, 0));
    }
}

#[test]
fn a_connection_that_only_waits_for_its_peer_to_close_takes_no_pushes() {
    // rule: PUSH-6, PUSH-9
    type End = fn(&mut Rig);
    let ends: [End; 2] = [
        |rig| rig.push.connection().close(),
        |rig| rig.ask("9 nobody"),
    ];
    for end in ends {
        let mut rig = Rig::new(text(&Text::default()));
        end(&mut rig);
        rig.simulation.run();
        assert!(!rig.driver.is_done(), "the peer has not closed");
        let late = rig.push.try_push(High, line("!late"));
        assert_eq!(late, Err(TryPushError::Closed(line("!late"))));
        assert!(rig.reason().is_some());
    }
}

#[test]
fn what_was_pushed_before_a_failure_was_noticed_counts_as_lost() {
    // rule: PUSH-9
    let mut rig = Rig::new(text(&Text::default()));
    rig.ask("9 nobody serves this, so it closes");
    rig.push.try_push(High, line("!a")).ok();
    rig.script.stall_close();
    let mut rig = Rig::new(text(&Text::default()));
    rig.push.try_push(High, line("!a")).unwrap();
    rig.push.try_push(Low, line("!b")).unwrap();
    rig.script
        .read_fault(0, Fault::Error(io::ErrorKind::ConnectionReset));
    rig.script
        .write_fault(0, Fault::Error(io::ErrorKind::BrokenPipe));
    rig.peer.send(&crate::rig::wire("9"));
    rig.reason().unwrap();
    rig.check_account();
    let stats = rig.push.stats();
    assert_eq!((stats.lost_closed, stats.queued), (2, 0));
}

#[test]
fn without_any_handle_the_connection_goes_on() {
    // rule: PUSH-7
    let app = text(&Text::default()).route(1, async |push: PushHandle<Line>| drop(push));
    let mut rig = Rig::new(app);
    let other = Rig::new(text(&Text::default()));
    rig.push = other.push.clone();
    rig.ask("1");
    rig.advance(secs(100));
    assert!(!rig.driver.is_done());
    assert_eq!(rig.exchange("~ping"), ["~ping"]);
}

#[test]
fn both_ends_push() {
    // rule: PUSH-8
    async fn store(Inbound(line): Inbound<Line>, push: PushHandle<Line>) {
        push.push_low_priority(Line(line.0 + " back"))
            .await
            .unwrap();
    }
    let simulation = Simulation::new();
    let environment = simulation.environment();
    let (near, far) = link(1000);
    let server = text(&Text::default()).on_push(store).build().unwrap();
    let driver = Driver::server(&server, near, None, &environment);
    let handle = driver.push_handle();
    simulation.spawn(driver);
    let app = text(&Text::default()).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &environment);
    simulation.spawn(driver);
    let mut pushes = client.pushes();
    handle.try_push(High, line("!from the server")).unwrap();
    client
        .push_handle()
        .clone()
        .try_push(Low, line("!from the client"))
        .unwrap();
    let heard = simulation.spawn(async move {
        let first = pushes.next().await.unwrap().unwrap().0;
        (first, pushes.next().await.unwrap().unwrap().0)
    });
    simulation.run();
    let (first, second) = heard.take().unwrap();
    assert_eq!(first, "!from the server");
    assert_eq!(second, "!from the client back");
}

#[test]
fn every_push_stands_under_one_term_at_every_step() {
    // rule: PUSH-9
    let app = text(&Text::default()).push_limits(capacity(3));
    let mut rig = Rig::with_capacity(app, 10);
    let policy = PushPolicy::DropIfFull;
    for n in 0..60 {
        let frame = line(if n % 7 == 3 { "!why?" } else { "!because" });
        let priority = if n % 2 == 0 { High } else { Low };
        match rig.push.push_with_policy(priority, frame, policy) {
            Ok(Pushed::Queued | Pushed::Dropped) => {}
            other => panic!("{other:?}"),
        }
        rig.check_account();
        if n % 3 == 0 {
            while rig.simulation.step() {
                rig.check_account();
            }
            rig.peer.receive_at_most(n / 4);
        }
    }
    let stats = rig.push.stats();
    assert_eq!(stats.accepted, 60);
    assert!(
        stats.sent > 0 && stats.lost_policy > 0 && stats.lost_unencodable > 0,
        "{stats:?}"
    );
    assert!(stats.queued > 0);
    rig.driver.cancel();
    rig.check_account();
    let after = rig.push.stats();
    assert_eq!(after.queued, 0);
    assert_eq!(after.lost_closed, stats.queued);
}

#[test]
fn a_burst_leaves_in_one_write() {
    // rule: PUSH-10
    let mut rig = Rig::new(text(&Text::default()));
    for n in 0..200 {
        rig.push.try_push(High, line(format!("!{n}"))).unwrap();
    }
    assert_eq!(rig.heard().len(), 200);
    assert_eq!(rig.script.writes().len(), 1);
}

#[test]
fn a_large_burst_leaves_in_as_few_writes_as_the_high_water_mark_allows() {
    // rule: PUSH-10, SEL-8
    let mut rig = Rig::new(text(&Text::default()));
    for _ in 0..250 {
        rig.push.try_push(Low, line("x".repeat(1020))).unwrap();
    }
    assert_eq!(rig.heard().len(), 250);
    // 64 frames of 1 KiB make 64 KiB.
    assert_eq!(
        rig.script.writes(),
        [64, 64, 64, 58].map(|frames| frames * 1024)
    );
}

#[test]
fn a_producer_that_finds_room_does_not_yield() {
    // rule: PUSH-10
    let mut rig = Rig::new(text(&Text::default()));
    let push = rig.push.clone();
    let producer = rig.simulation.spawn(async move {
        for n in 0..250 {
            push.push_high_priority(line(format!("!{n}")))
                .await
                .unwrap();
        }
    });
    assert_eq!(rig.heard().len(), 250);
    assert_eq!(producer.polls(), 1);
    assert_eq!(rig.script.writes().len(), 1);
}

#[test]
fn a_push_overtakes_the_answer_that_its_handler_gives_after_it() {
    // rule: SEL-1
    async fn high(push: PushHandle<Line>) -> Line {
        push.push_low_priority(line("!low")).await.unwrap();
        push.push_high_priority(line("!high")).await.unwrap();
        line("answer")
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, high));
    assert_eq!(rig.exchange("1"), ["!high", "!low", "answer"]);
}

async fn slow(clock: Clock, push: PushHandle<Line>) -> Line {
    clock.sleep(secs(2)).await;
    push.push_low_priority(line("!almost")).await.unwrap();
    line("done")
}

#[test]
fn close_finishes_what_is_under_way_and_then_closes() {
    // rule: PUSH-11, SHUT-2
    let protocol = Text {
        has_goodbye: true,
        ..Text::default()
    };
    let mut rig = Rig::new(text(&protocol).route(1, slow));
    rig.ask("1");
    let connection = rig.push.connection();
    connection.close();
    rig.push.try_push(High, line("!accepted")).unwrap();
    connection.close();
    assert_eq!(rig.heard(), ["!accepted"]);
    assert!(!rig.peer.is_at_end());
    rig.advance(secs(2));
    assert_eq!(rig.heard(), ["!almost", "done", "goodbye"]);
    assert!(rig.peer.is_at_end());
    connection.close();
    assert_eq!(rig.reason(), Some(CloseReason::Drained));
    connection.close();
    connection.abort();
    rig.simulation.run();
    assert_eq!(protocol.record.count("goodbye"), 1);
    assert_eq!(protocol.record.count("disconnect drained"), 1);
}

#[test]
fn abort_ends_at_once() {
    // rule: PUSH-11
    let protocol = Text {
        has_goodbye: true,
        ..Text::default()
    };
    for before in [false, true] {
        protocol.record.take();
        let mut rig = Rig::new(text(&protocol).route(1, slow));
        rig.ask("1");
        let connection = rig.push.connection();
        if before {
            connection.close();
            rig.simulation.run();
        }
        rig.push.try_push(High, line("!lost")).unwrap();
        connection.abort();
        connection.abort();
        connection.close();
        rig.simulation.run();
        assert_eq!(rig.driver.take(), Some(CloseReason::Aborted));
        assert_eq!(lines(&rig.peer.receive()), [""; 0]);
        assert_eq!(protocol.record.count("goodbye"), 0);
        assert_eq!(protocol.record.count("disconnect aborted"), 1);
        rig.check_account();
        assert_eq!(rig.push.stats().lost_closed, 1);
    }
}

#[test]
fn a_connection_aborted_before_it_began_runs_nothing() {
    // rule: PUSH-11, HOOK-2
    let protocol = Text::default();
    let record = protocol.record.clone();
    let app = text(&protocol).on_connect(move || {
        record.note("connected");
        std::future::ready(())
    });
    let rig = Rig::idle(&app.build().unwrap(), &Simulation::new(), 1000);
    rig.push.connection().abort();
    rig.simulation.run();
    assert_eq!(rig.driver.take(), Some(CloseReason::Aborted));
    assert_eq!(protocol.record.take(), [""; 0]);
}

#[test]
fn a_connection_handle_names_its_connection_and_peer() {
    // rule: PUSH-11
    let simulation = Simulation::new();
    let address = "192.0.2.1:7878".parse().unwrap();
    let app = WireframeApp::new().build().unwrap();
    let (near, _peer) = link(1000);
    let driver = Driver::server(&app, near, Some(address), &simulation.environment());
    let handle: PushHandle<Envelope> = driver.push_handle();
    let connection = handle.connection();
    assert_eq!(connection.peer(), Some(address));
    assert_eq!(connection.id(), handle.clone().connection().id());
    drop(driver);
    connection.close();
    assert_eq!(connection.peer(), Some(address));
}

#[test]
fn output_beyond_the_mark_can_still_be_overtaken() {
    // rule: SEL-8
    let app = text(&Text::default()).config(config(|c| c.limits.high_water = nonzero(100)));
    let mut rig = Rig::with_capacity(app, 1);
    for _ in 0..200 {
        rig.push.try_push(Low, line("!low 6789")).unwrap();
    }
    rig.simulation.run();
    rig.push.try_push(High, line("!high")).unwrap();
    let heard = rig.heard();
    let behind = heard.iter().position(|line| line == "!high").unwrap();
    assert!(
        behind * 13 <= 100 + 13 + 1,
        "behind {behind} frames of 13 bytes"
    );
    assert_eq!(heard.len(), 201);
}
