//! Peers that hold memory, and who of them has to go.

use bytes::Bytes;
use wireframe::{Clock, CloseReason, MemoryBudget, Priority::Low, WireframeApp, dead_letter_queue};

use super::{One, World, account, begins, blob, unit, whole};
use crate::rig::{nonzero, secs};

#[test]
fn idle_and_echoing_connections_hold_nothing() {
    // rule: LIM-6, LIM-5
    let world = World::new(1 << 20);
    let mut ones = [world.open(), world.open()];
    assert!(ones.iter_mut().all(|one| world.echoes(one)));
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn what_a_connection_holds_is_charged_and_given_back() {
    // rule: LIM-6
    let world = World::new(1 << 20);
    let mut one = world.open();
    world.send(&mut one, &begins(10_000, &[1; 3_000]));
    // Half more than has come. The rest of the buffer is with the thread.
    assert_eq!(world.budget.used(), 4_500 + account());
    // A unit that is not whole, beside it.
    let unit = unit(1, 1, None, false, &[1; 5_000]);
    world.send(&mut one, &unit[..5_000]);
    let used = world.budget.used() - account();
    assert!((9_500..=4_500 + (16 << 10)).contains(&used), "{used}");
    world.send(&mut one, &unit[5_000..]);
    let all = 10_000 + account();
    assert_eq!(world.budget.used(), all, "all of the message");
    world.send(&mut one, &super::unit(1, 2, None, true, &[1; 2_000]));
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn pushes_to_a_peer_that_reads_nothing_are_charged() {
    // rule: LIM-6
    let world = World::new(1 << 20);
    let mut one = world.connect(100);
    one.push.try_push(Low, blob(5_000)).unwrap();
    one.push.try_push(Low, blob(6_000)).unwrap();
    world.simulation.run();
    let used = world.budget.used();
    // Their headers were copied.
    assert!((11_000..11_100).contains(&used), "{used}");
    while !one.peer.receive().is_empty() {
        world.simulation.run();
    }
    assert_eq!((world.budget.used(), one.push.stats().sent), (0, 2));
}

#[test]
fn new_messages_are_refused_by_name_while_others_go_on() {
    // rule: LIM-6, REASM-2
    let all = 100_000 + account();
    let world = World::new(all);
    let (mut honest, mut holder, mut late) = (world.open(), world.open(), world.open());
    world.send(&mut holder, &begins(100_000, &[1; 70_000]));
    assert_eq!(world.budget.used(), all);

    world.send(&mut late, &begins(10, b"late"));
    let reason = world.exceeded(all as u64);
    assert_eq!(late.heard(), [reason.to_string().as_bytes()]);
    assert_eq!(late.reason(&world), Some(reason));
    assert_eq!(world.budget.closed(), 1);

    // What is whole is served, and what has begun goes on.
    assert!(world.echoes(&mut honest));
    world.send(&mut holder, &unit(1, 1, None, true, &[1; 30_000]));
    assert_eq!(world.budget.used(), 0);
    world.send(&mut honest, &begins(10, b"begins"));
    assert!(world.echoes(&mut honest) && world.echoes(&mut holder));
    assert_eq!(world.budget.closed(), 1);
}

#[test]
fn a_slow_consumer_has_to_go_and_nobody_else() {
    // rule: LIM-6, PUSH-9, DLQ-2
    let (sender, letters) = dead_letter_queue(nonzero(100));
    let world = World::with(100_000, |app| app.dead_letters(sender));
    let (mut honest, slow, mut other) = (world.open(), world.connect(1_000), world.open());
    world.send(&mut other, &begins(30_000, &[1; 20_000]));
    let mut accepted = 0;
    while slow.push.try_push(Low, blob(5_000)).is_ok() {
        accepted += 1;
        world.simulation.run();
    }
    // It was closed when it had brought what is used over the limit, their headers included.
    assert!(slow.push.is_closed());
    assert_eq!((world.budget.closed(), accepted), (1, 14));
    slow.check_account();
    assert!(world.echoes(&mut honest));
    world.send(&mut other, &unit(1, 1, None, true, &[1; 10_000]));
    assert!(world.echoes(&mut other));

    // It takes nothing, so it need not be waited for.
    assert!(
        matches!(slow.driver.take(), Some(CloseReason::Limit(limit)) if limit.limit == "memory_budget")
    );
    let stats = slow.push.stats();
    assert_eq!((stats.accepted, stats.dead_lettered), (accepted, accepted));
    assert_eq!(
        std::iter::from_fn(|| letters.try_recv()).count() as u64,
        accepted
    );
    assert_eq!(world.budget.used(), 0);
    slow.check_account();
}

#[test]
fn one_excess_costs_one_connection_however_many_drivers_see_it() {
    // rule: LIM-6
    let world = World::new(75_000 + 6 * account());
    let mut ones: Vec<_> = (0..6).map(|_| world.open()).collect();
    for one in &mut ones {
        world.send(one, &begins(40_000, &[1; 8_000]));
    }
    assert_eq!(world.budget.used(), 6 * (12_000 + account()));
    // All of them at once, and more than there is.
    for one in &mut ones {
        one.peer.send(&unit(1, 1, None, false, &[1; 1]));
    }
    ones[4].peer.send(&unit(1, 2, None, false, &[1; 8_000]));
    world.simulation.run();
    assert_eq!(world.budget.closed(), 1);
    assert!(ones[4].push.is_closed(), "the largest");
    assert_eq!(world.budget.used(), 5 * (12_000 + account()));
}

#[test]
fn who_alone_holds_too_much_goes_although_nobody_else_comes_by() {
    // rule: LIM-6
    let world = World::new(20_000);
    let (mut one, _idle) = (world.open(), world.open());
    world.send(&mut one, &begins(200_000, &[1; 15_000]));
    assert_eq!(one.heard().len(), 1);
    let held = (22_500 + account()) as u64;
    assert_eq!(one.reason(&world), Some(world.exceeded(held)));
    assert_eq!((world.budget.used(), world.budget.closed()), (0, 1));
}

#[test]
fn a_frame_that_is_not_whole_counts_as_its_buffer() {
    // rule: LIM-6
    let world = World::new(50_000);
    let mut ones: Vec<_> = (0..8).map(|_| world.open()).collect();
    for one in &mut ones {
        // No message begins, so none is refused.
        world.send(one, &whole(&[1; 60_000])[..10_000]);
    }
    assert!(world.budget.closed() >= 4, "{:?}", world.budget);
    assert!(world.budget.used() <= 50_000);
    let closed = ones.iter().filter(|one| one.push.is_closed()).count();
    assert_eq!(closed as u64, world.budget.closed());
}

#[test]
fn a_hundred_uploads_that_never_end_stay_within_what_is_documented() {
    // rule: LIM-6
    let limit = 1 << 20;
    let world = World::new(limit);
    let mut honest = world.open();
    let mut ones: Vec<_> = (0..100).map(|_| world.open()).collect();
    let (piece, mut most) = (8 << 10, 0);
    for seq in 0..64 {
        for one in ones.iter_mut().filter(|one| !one.push.is_closed()) {
            let total = (seq == 0).then_some(8 << 20);
            one.peer.send(&unit(1, seq, total, false, &vec![1; piece]));
        }
        // They come to run one after the other, each of them with a piece.
        while world.simulation.step() {
            most = most.max(world.budget.used());
        }
        assert!(world.budget.used() <= limit);
        assert!(world.echoes(&mut honest));
    }
    // One passes the limit, with at most half more than has come of its message. While that is
    // so the others with messages do not read, and no message begins.
    let slack = 64 * piece * 3 / 2;
    assert!(most > limit && most <= limit + slack, "{most}");
    let open = ones.iter().filter(|one| !one.push.is_closed()).count();
    assert_eq!(open as u64 + world.budget.closed(), 100);
    drop(ones);
    world.simulation.run();
    assert_eq!(world.budget.used(), 0);
}

/// Ends a connection somehow.
type End = fn(&World, &mut One);

#[test]
fn however_a_connection_ends_it_gives_everything_back() {
    // rule: LIM-6
    let ends: [(&str, End); 8] = [
        ("its peer closes", |_, one| one.peer.finish()),
        ("abort", |_, one| one.push.connection().abort()),
        ("drain", |world, one| {
            one.push.connection().close();
            world.simulation.advance(secs(20));
        }),
        ("the driver is dropped", |_, one| one.driver.cancel()),
        ("the codec panics", |_, one| one.peer.send(&whole(b"panic"))),
        ("malformed", |_, one| {
            one.peer.send(&unit(1, 0, Some(9), false, b"again"));
        }),
        ("time", |world, _| world.simulation.advance(secs(60))),
        ("it holds too much", |world, one| {
            let too_much = vec![1; 200_000];
            one.peer.send(&unit(1, 1, None, false, &too_much));
            world.simulation.advance(secs(20));
        }),
    ];
    for (how, end) in ends {
        let world = World::new(100_000);
        let mut one = world.connect(10_000);
        world.send(&mut one, &begins(300_000, &[1; 1_000]));
        one.push.try_push(Low, blob(30_000)).unwrap();
        world.simulation.run();
        let used = world.budget.used();
        assert!(used >= 1_500 + 30_000, "{how}: {used}");
        end(&world, &mut one);
        world.simulation.run();
        world.simulation.advance(secs(60));
        one.check_account();
        assert_eq!(world.budget.used(), 0, "{how}");
    }
}

#[test]
fn what_the_peer_pushes_is_charged_while_it_waits_for_a_handler() {
    // rule: LIM-6
    let world = World::with(10_000, |app| {
        app.on_push(async |clock: Clock, _: Bytes| clock.sleep(secs(1)).await)
    });
    let mut one = world.open();
    for _ in 0..64 {
        world.send(&mut one, &whole(&[b'.'; 1_000]));
    }
    assert_eq!(world.budget.used(), 0, "what handlers hold is theirs");
    for waiting in 1..=10 {
        world.send(&mut one, &whole(&[b'.'; 1_000]));
        assert_eq!(world.budget.used(), 1_000 * waiting);
    }
    world.simulation.advance(secs(1));
    assert_eq!((world.budget.used(), world.budget.closed()), (0, 0));
    for _ in 0..75 {
        world.send(&mut one, &whole(&[b'.'; 1_000]));
    }
    let reason = world.exceeded(11_000);
    assert_eq!(one.heard(), [reason.to_string().into_bytes()]);
    assert_eq!(one.reason(&world), Some(reason));
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn apps_that_share_a_budget_are_bounded_together() {
    // rule: LIM-6
    let all = 20_000 + account();
    let world = World::new(all);
    let mut app = World::new(1);
    app.app = WireframeApp::with_protocol(super::Uploads)
        .memory_budget(&world.budget)
        .build()
        .unwrap();
    let mut one = app.open();
    app.send(&mut one, &begins(20_000, &[1; 14_000]));
    assert_eq!((world.budget.used(), app.budget.used()), (all, 0));
    let mut other = world.open();
    world.send(&mut other, &begins(10, b"late"));
    assert_eq!(other.reason(&world), Some(world.exceeded(all as u64)));
}

#[test]
fn each_app_has_a_budget_of_its_own_by_default() {
    // rule: LIM-6
    assert_eq!(MemoryBudget::default().limit(), 512 << 20);
}
