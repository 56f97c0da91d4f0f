//! Calls whose time is limited.

use std::time::Duration;

use wireframe::{
    CallError, Client, Clock, Driver, Envelope, PushCapacity, PushLimits, WireframeApp,
    testing::{Fault, Link, Script, Simulation, link},
};

use crate::rig::{Text, line, lines, nonzero, secs, text, wire};

const JUST: Duration = Duration::from_nanos(1);

/// A client of a server that answers after as many seconds as the payload has bytes.
struct World {
    simulation: Simulation,
    client: Client,
}

impl World {
    fn new() -> Self {
        let simulation = Simulation::new();
        let environment = simulation.environment();
        let (near, far) = link(10_000);
        let slow = async |body: bytes::Bytes, clock: Clock| {
            clock.sleep(secs(body.len() as u64)).await;
            body
        };
        let server = WireframeApp::new().route(1, slow).build().unwrap();
        simulation.spawn(Driver::server(&server, near, None, &environment));
        let app = WireframeApp::new().build().unwrap();
        let (client, driver) = Client::new(&app, far, None, &environment);
        simulation.spawn(driver);
        Self { simulation, client }
    }
}

fn timed_out<T>(limit: Duration) -> Option<Result<T, CallError>> {
    Some(Err(CallError::TimedOut { limit }))
}

#[test]
fn a_call_fails_when_its_time_is_over_and_its_late_reply_is_nobodys() {
    // rule: CLI-3, CLI-2
    let World { simulation, client } = World::new();
    let mut pushes = client.pushes();
    let call = simulation.spawn(client.call(Envelope::new(1, "xxx")).timeout(secs(2)));
    let other = simulation.spawn(client.call(Envelope::new(1, "xxxx")).timeout(secs(5)));
    simulation.advance(secs(2) - JUST);
    assert!(!call.is_done());
    simulation.advance(JUST);
    assert_eq!(call.take(), timed_out(secs(2)));
    let push = simulation.spawn(async move { pushes.next().await });
    simulation.advance(secs(2));
    assert_eq!(other.take().unwrap().unwrap().payload, "xxxx");
    assert!(!push.is_done());
}

#[test]
fn a_deadline_is_a_moment_on_the_clients_clock() {
    // rule: CLI-3, APP-1
    let World { simulation, client } = World::new();
    simulation.advance(secs(100));
    let at = simulation.clock().clock().now() + secs(3);
    let call = simulation.spawn(client.call(Envelope::new(1, "xxxx")).deadline(at));
    simulation.advance(secs(3));
    assert_eq!(call.take(), timed_out(secs(3)));
}

#[test]
fn a_call_that_is_answered_in_time_leaves_no_timer_behind() {
    // rule: CLI-3
    let World { simulation, client } = World::new();
    let call = simulation.spawn(client.call(Envelope::new(1, "x")).timeout(secs(60)));
    simulation.advance(secs(1));
    assert!(call.take().unwrap().is_ok());
    assert_eq!(simulation.clock().armed(), 0);
}

#[test]
fn a_client_has_a_time_for_calls_that_do_not_say_theirs() {
    // rule: CLI-3
    let World { simulation, client } = World::new();
    let unlimited = simulation.spawn(client.call(Envelope::new(1, "xxxx")));
    let client = client.with_timeout(secs(2)).clone();
    let limited = simulation.spawn(client.call(Envelope::new(1, "xxxx")));
    let other = simulation.spawn(client.call(Envelope::new(1, "xxxx")).timeout(secs(3)));
    simulation.advance(secs(2));
    assert_eq!(limited.take(), timed_out(secs(2)));
    assert!(!other.is_done());
    simulation.advance(secs(1));
    assert_eq!(other.take(), timed_out(secs(3)));
    simulation.advance(secs(1));
    assert!(unlimited.take().unwrap().is_ok());
}

/// A client with one slot, whose server is worked by hand and whose transport stalls.
fn stalled() -> (Simulation, Client<Text>, Link, Script) {
    let simulation = Simulation::new();
    let (server, far) = link(1000);
    let script = far.script();
    let one = PushLimits::both(PushCapacity::new().with_frames(nonzero(1)));
    let app = text(&Text::default()).push_limits(one).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    simulation.spawn(driver);
    simulation.run();
    script.write_fault(0, Fault::Stall);
    (simulation, client, server, script)
}

#[test]
fn a_call_that_finds_no_room_in_time_is_not_sent() {
    // rule: CLI-3
    let (simulation, client, mut server, script) = stalled();
    let first = simulation.spawn(client.call(line("1 first")).timeout(secs(5)));
    simulation.run();
    let second = simulation.spawn(client.call(line("1 second")).timeout(secs(1)));
    let third = simulation.spawn(client.call(line("1 third")));
    simulation.advance(secs(1));
    assert_eq!(second.take(), timed_out(secs(1)));
    assert!(!first.is_done());
    script.release();
    simulation.run();
    assert_eq!(lines(&server.receive()), ["1 first", "1 third"]);
    server.send(&[wire("<first"), wire("<third")].concat());
    simulation.run();
    assert_eq!(first.take(), Some(Ok(line("<first"))));
    assert_eq!(third.take(), Some(Ok(line("<third"))));
}

#[test]
fn a_call_whose_time_is_over_before_it_begins_is_not_sent() {
    // rule: CLI-3
    let (simulation, client, mut server, script) = stalled();
    script.release();
    let call = client.call(line("1")).timeout(Duration::ZERO);
    let call = simulation.spawn(call);
    let mut stream = client.call_streaming(line("2")).timeout(Duration::ZERO);
    let stream = simulation.spawn(async move { (stream.next().await, stream.next().await) });
    simulation.run();
    assert_eq!(call.take(), timed_out(Duration::ZERO));
    let (first, second) = stream.take().unwrap();
    assert_eq!((first, second), (timed_out(Duration::ZERO), None));
    assert!(server.receive().is_empty());
}

#[test]
fn calls_in_order_keep_their_turns_when_some_time_out() {
    // rule: CLI-2, CLI-3
    let (simulation, client, mut server, script) = stalled();
    script.release();
    let call = |seconds| {
        let call = client.call(line("1")).timeout(secs(seconds));
        let call = simulation.spawn(call);
        simulation.run();
        call
    };
    let calls = [call(1), call(9), call(1), call(9)];
    simulation.advance(secs(1));
    for n in 0..4 {
        server.send(&wire(&format!("<{n}")));
    }
    simulation.run();
    for (n, call) in calls.iter().enumerate() {
        let expected = match n % 2 {
            0 => timed_out(secs(1)),
            _ => Some(Ok(line(format!("<{n}")))),
        };
        assert_eq!(call.take(), expected);
    }
}

/// A future may be kept after it has completed.
#[test]
fn a_call_that_timed_out_stands_in_nobodys_way_although_its_future_is_kept() {
    // rule: CLI-2, CLI-3
    let (simulation, client, mut server, script) = stalled();
    let mut calls = [1, 9].map(|seconds| Box::pin(client.call(line("1")).timeout(secs(seconds))));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let [waits, other] = &mut calls;
    let first = simulation.spawn(client.call(line("1 first")).timeout(secs(1)));
    simulation.run();
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    assert!(other.as_mut().poll(&mut cx).is_pending());
    simulation.advance(secs(1));
    assert!(waits.as_mut().poll(&mut cx).is_ready());
    assert_eq!(first.take(), timed_out(secs(1)));
    // It has left the line; the other one is woken and finds the room.
    script.release();
    simulation.run();
    assert!(other.as_mut().poll(&mut cx).is_pending());
    simulation.run();
    assert_eq!(lines(&server.receive()), ["1 first", "1"]);
    simulation.advance(secs(8));
    assert!(other.as_mut().poll(&mut cx).is_ready());
    // Both that were sent are forgotten, so there is nothing to wait for.
    simulation.run();
    client.connection().close();
    simulation.run();
    assert!(server.is_at_end());
}
