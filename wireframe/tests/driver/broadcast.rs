//! One frame to many connections.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    pin::pin,
    sync::{Arc, Mutex},
    task::Context,
};

use wireframe::{
    ConnectionId, Driver, Fanout,
    Priority::{High, Low},
    PushCapacity, PushLimits, PushPolicy, RateLimit, SessionRegistry, WireframeApp,
    dead_letter_queue,
    testing::{Fault, Simulation, link},
};

use crate::{
    foreign::{Tell, Told, telling, telling_waker},
    rig::{Line, Record, Rig, Text, config, line, nonzero, text},
};

const DROP: PushPolicy = PushPolicy::DropIfFull;

fn registered(app: WireframeApp<Text>, registry: &SessionRegistry<Line>) -> Rig {
    Rig::new(app.registry(registry))
}

fn id(rig: &Rig) -> ConnectionId {
    rig.push.connection().id()
}

/// How often the protocol was asked to encode for all, and what went through its hook.
fn asked(record: &Record) -> (usize, usize) {
    let noted = record.take();
    let count = |what: &str| noted.iter().filter(|noted| noted.starts_with(what)).count();
    (count("share"), count("send"))
}

/// Some of the counts; the others are zero.
fn fanout(change: impl FnOnce(&mut Fanout)) -> Fanout {
    let mut fanout = Fanout::default();
    change(&mut fanout);
    fanout
}

#[test]
fn all_some_or_those_of_a_list_get_a_frame() {
    // rule: REG-3
    let registry = SessionRegistry::new();
    let mut rigs: Vec<_> = (0..4)
        .map(|_| registered(text(&Text::default()), &registry))
        .collect();
    let all = registry.broadcast(line("!all"), Low, DROP);
    assert_eq!(all, fanout(|f| f.queued = 4));
    let first = id(&rigs[0]);
    let some = |handle: &wireframe::PushHandle<Line>| handle.connection().id() != first;
    let some = registry.broadcast_where(some, line("!some"), High, DROP);
    assert_eq!(some, fanout(|f| f.queued = 3));
    let list = [id(&rigs[3]), ConnectionId(u64::MAX), id(&rigs[0])];
    let listed = registry.broadcast_to(list, line("!listed"), Low, DROP);
    assert_eq!(
        listed,
        fanout(|f| {
            f.queued = 2;
            f.gone = 1;
        })
    );
    let heard: Vec<_> = rigs.iter_mut().map(Rig::heard).collect();
    assert_eq!(heard[0], ["!all", "!listed"]);
    assert_eq!(heard[1], ["!some", "!all"]);
    assert_eq!(heard[2], ["!some", "!all"]);
    assert_eq!(heard[3], ["!some", "!all", "!listed"]);
}

#[test]
fn each_connection_stands_under_what_became_of_the_frame_there() {
    // rule: REG-3, PUSH-4, RATE-1, DLQ-2
    let registry = SessionRegistry::new();
    let one = PushLimits::both(PushCapacity::new().with_frames(nonzero(1)));
    let limit = RateLimit::per_second(NonZeroU32::MIN);
    let (sender, letters) = dead_letter_queue(nonzero(1));
    let app = || text(&Text::default());
    let full = registered(app().push_limits(one), &registry);
    let slow = registered(app().rate_limit(limit), &registry);
    let buries = registered(app().push_limits(one).dead_letters(sender), &registry);
    let closing = registered(app(), &registry);
    let free = registered(app(), &registry);
    for rig in [&full, &slow, &buries] {
        rig.script.write_fault(0, Fault::Stall);
        rig.push.try_push(Low, line("!before")).unwrap();
    }
    closing.push.connection().close();
    closing.simulation.run();
    assert!(!closing.driver.is_done(), "its peer has not closed");

    let became = registry.broadcast(line("!news"), Low, DROP);
    let expected = fanout(|f| {
        f.queued = 1;
        f.dropped = 2;
        f.dead_lettered = 1;
        f.gone = 1;
    });
    assert_eq!(became, expected);
    assert_eq!(letters.try_recv().unwrap().frame, line("!news"));
    for rig in [&full, &slow, &buries, &closing, &free] {
        rig.check_account();
    }
    assert_eq!(full.push.stats().lost_policy, 1);

    // Nobody is there to take a refused frame back.
    let policy = PushPolicy::ReturnErrorIfFull;
    let refused = registry.broadcast(line("!news"), Low, policy);
    assert_eq!((refused.queued, refused.dropped, refused.gone), (1, 3, 1));
    assert_eq!(full.push.stats().lost_policy, 1);
    assert!(letters.try_recv().is_none());
}

#[test]
fn a_frame_is_encoded_once_for_all_connections_of_an_app() {
    // rule: REG-3, HOOK-2
    let registry = SessionRegistry::new();
    let protocol = Text {
        shares: true,
        ..Text::default()
    };
    let app = text(&protocol).registry(&registry).build().unwrap();
    let mut rigs = vec![Rig::idle(&app, &Simulation::new(), 1000)];
    rigs.extend([rigs[0].beside(&app), rigs[0].beside(&app)]);
    let other = Text::default();
    rigs.push(registered(text(&other), &registry));
    protocol.record.take();
    let became = registry.broadcast(line("!news"), High, DROP);
    assert_eq!(became.queued, 4);
    for rig in &mut rigs {
        assert_eq!(rig.heard(), ["!news"]);
        rig.check_account();
        assert_eq!(rig.push.stats().sent, 1);
    }
    assert_eq!(asked(&protocol.record), (1, 0), "past its hook");
    assert_eq!(asked(&other.record), (1, 1), "in its own way");
}

#[test]
fn a_shared_frame_is_charged_with_its_length_and_keeps_its_place() {
    // rule: REG-3, PUSH-1, SEL-2
    let registry = SessionRegistry::new();
    let protocol = Text {
        shares: true,
        ..Text::default()
    };
    let bytes = PushLimits::both(PushCapacity::new().with_bytes(nonzero(20)));
    let mut rig = registered(text(&protocol).push_limits(bytes), &registry);
    rig.push.try_push(Low, line("!one")).unwrap();
    // With its header 8 bytes, beside the 4 of the other.
    for expected in [1, 1, 0] {
        let became = registry.broadcast(line("!two"), Low, DROP);
        assert_eq!(became.queued, expected);
    }
    assert_eq!(rig.heard(), ["!one", "!two", "!two"]);
    assert_eq!(rig.push.stats().queued, 0);
    assert_eq!(registry.broadcast(line("!three"), Low, DROP).queued, 1);
}

#[test]
fn what_is_too_large_to_share_each_connection_encodes_for_itself() {
    // rule: REG-3, FRAME-6
    let registry = SessionRegistry::new();
    let protocol = Text {
        shares: true,
        ..Text::default()
    };
    let (sender, letters) = dead_letter_queue(nonzero(9));
    let app = text(&protocol)
        .config(config(|c| c.limits.max_frame_len = nonzero(10)))
        .dead_letters(sender);
    let mut rig = registered(app, &registry);
    for text in ["!23456", "!23456789x", "!23456789xx"] {
        let _ = registry.broadcast(line(text), Low, DROP);
    }
    // The second has ten bytes, but not with its header.
    assert_eq!(rig.heard(), ["!23456", "!23456789x"]);
    assert_eq!(letters.try_recv().unwrap().frame, line("!23456789xx"));
    rig.check_account();
}

#[test]
fn a_shared_frame_that_was_not_sent_is_a_dead_letter() {
    // rule: REG-3, DLQ-2
    let registry = SessionRegistry::new();
    let protocol = Text {
        shares: true,
        ..Text::default()
    };
    let (sender, letters) = dead_letter_queue(nonzero(9));
    let rig = registered(text(&protocol).dead_letters(sender), &registry);
    rig.script.write_fault(3, Fault::Stall);
    for text in ["!encoded", "!queued"] {
        let _ = registry.broadcast(line(text), Low, DROP);
        rig.simulation.run();
    }
    rig.driver.cancel();
    let frames = [letters.try_recv(), letters.try_recv()].map(|letter| letter.unwrap().frame);
    assert_eq!(frames, ["!encoded", "!queued"].map(line));
    rig.check_account();
}

#[test]
fn nothing_of_the_registry_is_locked_while_the_application_runs() {
    // rule: REG-1
    let registry = SessionRegistry::new();
    let rigs: Vec<_> = (0..3)
        .map(|_| registered(text(&Text::default()), &registry))
        .collect();
    // A relapse is a deadlock, not a failure.
    let mut looked_at = 0;
    let filter = |handle: &wireframe::PushHandle<Line>| {
        let id = handle.connection().id();
        looked_at += 1;
        assert_eq!(
            registry.get(id).is_some(),
            registry.active_ids().contains(&id)
        );
        let _ = registry.broadcast_to([id], line("!within"), High, DROP);
        // An entry goes while all of them are looked at.
        rigs[0].driver.cancel();
        registry.prune();
        true
    };
    let became = registry.broadcast_where(filter, line("!"), Low, DROP);
    assert_eq!((looked_at, became.queued + became.gone), (3, 3));
    assert_eq!(became.gone, 1);
    assert_eq!(registry.len(), 2);
}

#[test]
fn what_frames_and_wakers_run_may_use_the_registry() {
    // rule: REG-1
    let registry = SessionRegistry::new();
    let ran = Arc::new(Mutex::new(BTreeSet::new()));
    let tell: Tell = {
        let (registry, ran) = (registry.clone(), Arc::clone(&ran));
        Arc::new(move |what: &str, _: &str| {
            // A relapse is a deadlock, not a failure.
            registry.prune();
            let _ = registry.active_handles();
            ran.lock().unwrap().insert(what.to_owned());
        })
    };
    let one = PushLimits::both(PushCapacity::new().with_frames(nonzero(1)));
    let app = telling(&tell).push_limits(one).registry(&registry);
    let environment = Simulation::new().environment();
    let (near, _peer) = link(1000);
    let mut driver = Box::pin(Driver::server(
        &app.build().unwrap(),
        near,
        None,
        &environment,
    ));
    let push = driver.push_handle();
    let waker = telling_waker(&tell);
    let mut cx = Context::from_waker(&waker);
    assert!(driver.as_mut().poll(&mut cx).is_pending());
    for (text, queued) in [("own", 1), ("shared", 0)] {
        let became = registry.broadcast(Told::new(text, &tell), High, DROP);
        assert_eq!((became.queued, became.dropped), (queued, 1 - queued));
    }
    let woken = ran.lock().unwrap().contains("wake");
    assert!(woken, "the driver, within the broadcast");
    let mut waiting = pin!(push.push(High, Told::new("waits", &tell)));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    drop(driver);
    assert!(waiting.as_mut().poll(&mut cx).is_ready());
    let ran: Vec<_> = ran.lock().unwrap().iter().cloned().collect();
    assert_eq!(ran, ["clone", "drop", "measure", "share", "wake"]);
}
