//! What goes on while there is no memory, and what waits for some.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use bytes::Bytes;
use wireframe::{
    Client, Clock, CloseReason, Driver, Envelope, Heartbeat,
    Priority::{High, Low},
    PushPolicy, Pushed, Response, TryPushError, WireframeApp,
    testing::{Link, link},
};

use super::{Blob, One, Uploads, World, account, begins, blob, unit, whole};
use crate::rig::secs;

/// A driver that nobody polls.
type Absent = Pin<Box<Driver<Uploads, Link>>>;

/// Another connection, which holds all there is.
fn exhaust(world: &World) -> One {
    let mut holder = world.open();
    // It grows by half more than has come, to all of the message.
    let all = world.budget.limit() - account();
    world.send(&mut holder, &begins(all, &vec![1; all - all / 3]));
    assert_eq!(world.budget.used(), world.budget.limit());
    holder
}

/// Ends it.
fn relieve(world: &World, holder: &One) {
    holder.push.connection().abort();
    world.simulation.run();
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn pushes_find_no_room_until_there_is_memory_again() {
    // rule: LIM-6, PUSH-2, PUSH-3
    let world = World::new(10_000);
    let mut one = world.open();
    let holder = exhaust(&world);
    let full = one.push.try_push(High, blob(1)).unwrap_err();
    assert_eq!(full, TryPushError::Full(blob(1)));
    let dropped = one
        .push
        .push_with_policy(Low, blob(2), PushPolicy::DropIfFull);
    assert_eq!(dropped, Ok(Pushed::Dropped));
    let waits = [(High, 3), (Low, 4)].map(|(priority, len)| {
        let push = one.push.clone();
        let pushed = async move { push.push(priority, blob(len)).await.is_ok() };
        world.simulation.spawn(pushed)
    });
    let reserves = one.push.clone();
    let reserves = world.simulation.spawn(async move {
        let permit = reserves.reserve(High).await.unwrap();
        permit.send(blob(5)).is_ok()
    });
    world.simulation.run();
    // While it waits nothing runs, and the connection serves.
    let polls = one.driver.polls();
    assert!(world.echoes(&mut one));
    assert!(!waits[0].is_done() && !waits[1].is_done() && !reserves.is_done());
    assert!(one.driver.polls() <= polls + 3);

    relieve(&world, &holder);
    assert_eq!(waits.map(|wait| wait.take()), [Some(true), Some(true)]);
    assert_eq!(reserves.take(), Some(true));
    let heard: Vec<_> = one.heard().iter().map(Vec::len).collect();
    assert_eq!(heard, [3, 5, 4]);
    one.check_account();
}

#[test]
fn the_end_of_a_message_makes_room_too() {
    // rule: LIM-6
    let world = World::new(10_000);
    let one = world.open();
    let mut holder = exhaust(&world);
    let rest = vec![1; (10_000 - account()) / 3];
    let push = one.push.clone();
    let waits = world
        .simulation
        .spawn(async move { push.push(Low, blob(1)).await.is_ok() });
    world.simulation.run();
    assert!(!waits.is_done());
    world.send(&mut holder, &unit(1, 1, None, true, &rest));
    assert_eq!(waits.take(), Some(true));
}

#[test]
fn who_waits_for_memory_is_told_of_the_end_of_its_connection() {
    // rule: LIM-6, PUSH-6
    let world = World::new(10_000);
    let one = world.open();
    let _holder = exhaust(&world);
    let push = one.push.clone();
    let waits = world
        .simulation
        .spawn(async move { push.push(Low, blob(1)).await.is_ok() });
    world.simulation.run();
    one.push.connection().abort();
    world.simulation.run();
    assert_eq!(waits.take(), Some(false));
}

#[test]
fn calls_of_a_client_wait_for_memory_and_are_made_then() {
    // rule: LIM-6, CLI-1, CLI-3
    let world = World::new(10_000);
    let holder = exhaust(&world);
    let (near, far) = link(10_000);
    let environment = world.simulation.environment();
    let server = WireframeApp::new().route(1, async |body: Bytes| body);
    let server = Driver::server(&server.build().unwrap(), near, None, &environment);
    world.simulation.spawn(server);
    let app = WireframeApp::new().memory_budget(&world.budget);
    let (client, driver) = Client::new(&app.build().unwrap(), far, None, &environment);
    world.simulation.spawn(driver);
    let call = |seconds| {
        let call = client
            .call(Envelope::new(1, "hello"))
            .timeout(secs(seconds));
        world
            .simulation
            .spawn(async move { call.await.map(|reply| reply.payload) })
    };
    let (short, long) = (call(1), call(5));
    world.simulation.advance(secs(2));
    assert!(short.take().unwrap().is_err(), "its time is over");
    assert!(!long.is_done());
    relieve(&world, &holder);
    assert_eq!(long.take(), Some(Ok("hello".into())));
}

#[test]
fn a_message_may_begin_again_once_there_is_memory() {
    // rule: LIM-6
    let world = World::new(10_000);
    let mut one = world.open();
    let holder = exhaust(&world);
    // It runs meanwhile, and is told.
    assert!(world.echoes(&mut one));
    relieve(&world, &holder);
    world.send(&mut one, &begins(8, b"late"));
    world.send(&mut one, &unit(1, 1, None, true, b"late"));
    assert!(world.echoes(&mut one));
}

#[test]
fn pings_go_without_memory() {
    // rule: LIM-6, HB-1
    let world = World::new(10_000);
    let mut one = world.open();
    let _holder = exhaust(&world);
    one.push
        .connection()
        .set_heartbeat(Some(Heartbeat::pinging(secs(1), secs(1))));
    world.simulation.advance(secs(3));
    // No ping in this protocol, but the goodbye of the silence.
    assert_eq!(one.heard(), [b"the peer is silent"]);
}

#[test]
fn a_driver_that_never_rests_is_charged_all_the_same() {
    // rule: LIM-6
    let world = World::with(1 << 20, |app| app.route(2, endless));
    let mut one = world.open();
    one.peer.send(&whole(b"*"));
    assert!(world.simulation.step());
    // It has buffers, and will be back.
    assert!(world.budget.used() > 1_000);
    assert!(world.simulation.step());
    one.driver.cancel();
    assert_eq!(world.budget.used(), 0);
}

async fn endless() -> Response<Blob, Infallible> {
    Response::frames(async_stream::stream! {
        loop {
            yield blob(100);
        }
    })
}

#[test]
fn uploads_wait_while_a_victim_does_not_come_to_run_and_go_on_then() {
    // rule: LIM-6
    let world = World::new(10_000);
    let (mut honest, mut upload) = (world.open(), world.open());
    world.send(&mut upload, &begins(9_000, &[b'?'; 1_000]));
    // Its thread is busy with something else, as if a handler blocked it.
    let (near, mut peer) = link(1 << 20);
    let victim = Driver::server(&world.app, near, None, &world.simulation.environment());
    let mut victim = Box::pin(victim);
    peer.send(&begins(20_000, &[1; 6_000]));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(victim.as_mut().poll(cx).is_pending());
    let used = 1_500 + 9_000 + 2 * account();
    assert_eq!(world.budget.used(), used);

    // It is told to close, and nobody else has to.
    assert!(world.echoes(&mut honest));
    world.send(&mut upload, &unit(1, 1, None, false, &[b'?'; 4_000]));
    assert_eq!((world.budget.used(), world.budget.closed()), (used, 0));
    let polls = upload.driver.polls();
    world.simulation.advance(secs(100));
    assert!(world.echoes(&mut honest) && !upload.push.is_closed());
    assert!(upload.driver.polls() <= polls + 1, "it has nothing to do");

    assert!(victim.as_mut().poll(cx).is_pending());
    assert_eq!(world.budget.closed(), 1);
    world.simulation.run();
    // Its time has stood still.
    world.simulation.advance(secs(29));
    world.send(&mut upload, &unit(1, 2, None, true, &[b'?'; 4_000]));
    assert_eq!(world.budget.used(), 0, "the upload is through");
    assert_eq!(upload.heard(), [[b'?'; 9_000]]);
}

#[test]
fn a_drain_goes_on_while_its_input_waits() {
    // rule: LIM-6
    let world = World::new(10_000);
    let mut upload = world.open();
    world.send(&mut upload, &begins(9_000, &[1; 1_000]));
    let (near, mut peer) = link(1 << 20);
    let victim = Driver::server(&world.app, near, None, &world.simulation.environment());
    let mut victim = Box::pin(victim);
    peer.send(&begins(20_000, &[1; 6_000]));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(victim.as_mut().poll(cx).is_pending());
    world.send(&mut upload, b"\0");
    // A drain goes on without input, and its end is seen.
    upload.push.connection().close();
    world.simulation.run();
    assert_eq!(upload.heard(), [b"drained"]);
    assert_eq!(upload.reason(&world), Some(CloseReason::Drained));
    assert_eq!(world.budget.used(), 9_000 + account());
    drop(victim);
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn an_excess_that_is_gone_at_the_next_look_costs_nobody() {
    // rule: LIM-6
    let world = World::new(10_000);
    let (mut one, mut other) = (world.open(), world.open());
    world.send(&mut other, &begins(6_000, &[1; 4_000]));
    one.peer.send(&begins(9_000, &[1; 4_000]));
    other.push.connection().abort();
    assert!(world.simulation.step());
    let held = 6_000 + account();
    assert_eq!(world.budget.used(), 2 * held);
    world.simulation.run();
    assert_eq!((world.budget.used(), world.budget.closed()), (held, 0));
}

#[test]
fn a_driver_that_has_ended_holds_nothing_even_if_it_is_kept() {
    // rule: LIM-6
    let world = World::new(10_000);
    let (near, mut peer) = link(1 << 20);
    let driver = Driver::server(&world.app, near, None, &world.simulation.environment());
    let push = driver.push_handle();
    let mut driver = Box::pin(driver);
    peer.send(&begins(6_000, &[1; 4_000]));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(driver.as_mut().poll(cx).is_pending());
    assert_eq!(world.budget.used(), 6_000 + account());
    push.connection().abort();
    assert!(driver.as_mut().poll(cx).is_ready());
    assert_eq!(world.budget.used(), 0);
}

/// A connection whose thread does not come to run, with a message that takes more than may
/// be, and its peer.
fn absent(world: &World) -> (Absent, Link) {
    let (near, mut peer) = link(1 << 20);
    let driver = Driver::server(&world.app, near, None, &world.simulation.environment());
    let mut driver = Box::pin(driver);
    peer.send(&begins(20_000, &[1; 6_000]));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(driver.as_mut().poll(cx).is_pending());
    (driver, peer)
}

#[test]
fn a_heartbeat_stands_still_while_nothing_is_read() {
    // rule: LIM-6, HB-1
    let world = World::new(10_000);
    for heartbeat in [
        Heartbeat::expecting(secs(10)),
        Heartbeat::pinging(secs(5), secs(5)),
    ] {
        let mut upload = world.open();
        upload.push.connection().set_heartbeat(Some(heartbeat));
        world.send(&mut upload, &begins(3_000, &[b'?'; 1_000]));
        let victim = absent(&world);
        world.send(&mut upload, &unit(1, 1, None, false, &[b'?'; 1_000]));
        world.simulation.advance(secs(100));
        assert!(!upload.push.is_closed(), "its peer has sent something");
        drop(victim);
        world.simulation.run();
        world.simulation.advance(secs(4));
        world.send(&mut upload, &unit(1, 2, None, true, &[b'?'; 1_000]));
        assert_eq!(upload.heard(), [[b'?'; 3_000]]);
    }
}

#[test]
fn memory_that_comes_during_a_run_is_not_missed() {
    // rule: LIM-6
    let victim: Arc<Mutex<Option<Absent>>> = Arc::default();
    let ends = Arc::clone(&victim);
    let world = World::with(10_000, |app| {
        app.route(2, move |clock: Clock| {
            let ends = Arc::clone(&ends);
            async move {
                clock.sleep(secs(1)).await;
                drop(ends.lock().unwrap().take());
            }
        })
    });
    let mut upload = world.open();
    world.send(&mut upload, &whole(b"*"));
    world.send(&mut upload, &begins(2_000, &[b'.'; 1_000]));
    let (driver, _peer) = absent(&world);
    *victim.lock().unwrap() = Some(driver);
    world.send(&mut upload, &unit(1, 1, None, true, &[b'.'; 1_000]));
    let used = 1_500 + 9_000 + 2 * account();
    assert_eq!(world.budget.used(), used, "it waits");
    // The run in which the handler ends the other one begins without memory.
    world.simulation.advance(secs(1));
    assert_eq!(world.budget.used(), 0, "the upload is through");
}
