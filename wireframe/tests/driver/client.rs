//! The calling end.

use std::io;

use bytes::Bytes;
use wireframe::{
    CallError, Client, Clock, CloseReason, Driver, Envelope, Inbound, Lagged, Priority,
    PushCapacity, PushHandle, PushLimits, WireframeApp,
    testing::{Fault, Link, Script, Simulation, Spawned, link},
};

use crate::rig::{Line, Text, line, lines, nonzero, secs, text, wire};

/// A client of a server that answers on route 1 at once, on route 2 after as many seconds
/// as its payload has bytes, and on route 3 never.
struct World {
    simulation: Simulation,
    client: Client,
    server: PushHandle,
    serving: Spawned<CloseReason>,
    driving: Spawned<CloseReason>,
    script: Script,
}

async fn slow(body: Bytes, clock: Clock) -> Bytes {
    clock.sleep(secs(body.len() as u64)).await;
    body
}

impl World {
    fn new(app: WireframeApp) -> Self {
        let simulation = Simulation::new();
        let environment = simulation.environment();
        let (near, far) = link(10_000);
        let server = WireframeApp::new()
            .route(1, async |body: Bytes| body)
            .route(2, slow)
            .route(3, async || std::future::pending::<()>().await)
            .build()
            .unwrap();
        let server = Driver::server(&server, near, None, &environment);
        let script = far.script();
        let (client, driver) = Client::new(&app.build().unwrap(), far, None, &environment);
        Self {
            server: server.push_handle(),
            serving: simulation.spawn(server),
            driving: simulation.spawn(driver),
            simulation,
            client,
            script,
        }
    }

    fn call(&self, route: u32, body: &'static str) -> Spawned<Result<Bytes, CallError>> {
        let client = self.client.clone();
        self.simulation.spawn(async move {
            let reply = client.call(Envelope::new(route, body)).await?;
            Ok(reply.payload)
        })
    }
}

fn replied<T: Into<Bytes>>(body: T) -> Option<Result<Bytes, CallError>> {
    Some(Ok(body.into()))
}

#[test]
fn a_call_gets_its_reply() {
    // rule: CLI-1
    let world = World::new(WireframeApp::new());
    let call = world.call(1, "hello");
    world.simulation.run();
    assert_eq!(call.take(), replied("hello"));
}

#[test]
fn many_calls_share_a_connection_and_each_gets_its_own_reply() {
    // rule: CLI-1
    let world = World::new(WireframeApp::new());
    let bodies = ["four", "xx", "three", "1", "sixsix"];
    let calls = bodies.map(|body| world.call(2, body));
    for second in 1..=6 {
        world.simulation.advance(secs(1));
        for (call, body) in calls.iter().zip(bodies) {
            assert_eq!(call.is_done(), body.len() <= second, "{body}");
        }
    }
    for (call, body) in calls.iter().zip(bodies) {
        assert_eq!(call.take(), replied(body));
    }
}

#[test]
fn hundreds_of_calls_wait_for_room_and_are_all_answered() {
    // rule: CLI-1, PUSH-2
    let limits = PushLimits::both(PushCapacity::new().with_frames(nonzero(3)));
    let world = World::new(WireframeApp::new().push_limits(limits));
    let calls: Vec<_> = (0..300).map(|_| world.call(1, "x")).collect();
    world.simulation.run();
    for call in calls {
        assert_eq!(call.take(), replied("x"));
    }
}

#[test]
fn a_dropped_call_disturbs_no_other() {
    // rule: CLI-2
    let world = World::new(WireframeApp::new());
    let mut pushes = world.client.pushes();
    let dropped = world.call(2, "xx");
    let kept = world.call(2, "xxx");
    world.simulation.run();
    dropped.cancel();
    let later = world.call(2, "xxxx");
    world.simulation.advance(secs(4));
    assert_eq!(kept.take(), replied("xxx"));
    assert_eq!(later.take(), replied("xxxx"));
    let push = world.simulation.spawn(async move { pushes.next().await });
    world.simulation.run();
    assert!(!push.is_done(), "its late reply is no push");
}

#[test]
fn calls_in_order_get_replies_in_order_although_some_were_dropped() {
    // rule: CLI-1, CLI-2
    let simulation = Simulation::new();
    let (mut server, far) = link(1000);
    let app = text(&Text::default()).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    simulation.spawn(driver);
    let calls: Vec<_> = (0..4)
        .map(|n| {
            let client = client.clone();
            simulation.spawn(async move { client.call(line(format!("{n}"))).await })
        })
        .collect();
    simulation.run();
    assert_eq!(lines(&server.receive()), ["0", "1", "2", "3"]);
    calls[1].cancel();
    simulation.run();
    for n in 0..4 {
        server.send(&wire(&format!("<{n}")));
    }
    simulation.run();
    for n in [0, 2, 3] {
        assert_eq!(calls[n].take(), Some(Ok(line(format!("<{n}")))));
    }
}

#[test]
fn a_call_dropped_before_it_was_sent_disturbs_no_other() {
    // rule: CLI-2
    let limits = PushLimits::both(PushCapacity::new().with_frames(nonzero(1)));
    let world = World::new(WireframeApp::new().push_limits(limits));
    world.script.write_fault(0, Fault::Stall);
    let calls: Vec<_> = (0..4).map(|_| world.call(1, "x")).collect();
    world.simulation.run();
    calls[0].cancel();
    calls[2].cancel();
    world.script.release();
    world.simulation.run();
    assert_eq!(calls[1].take(), replied("x"));
    assert_eq!(calls[3].take(), replied("x"));
}

#[test]
fn a_client_that_gave_its_calls_up_closes_without_waiting_for_their_replies() {
    // rule: CLI-2, SHUT-2
    for close_first in [true, false] {
        let (simulation, client, mut server, driver) = by_hand();
        let call = called(&simulation, &client, "1 never answered");
        simulation.run();
        if close_first {
            client.connection().close();
            simulation.run();
            assert!(!server.is_at_end(), "the reply may come yet");
        }
        call.cancel();
        simulation.run();
        client.connection().close();
        simulation.run();
        server.receive();
        assert!(server.is_at_end());
        server.finish();
        simulation.run();
        assert_eq!(driver.take(), Some(CloseReason::Drained));
    }
}

#[test]
fn a_call_accepted_before_its_connection_closes_is_sent() {
    // rule: SHUT-2, CLI-2
    type Close = fn(Client<Text>, &Spawned<Result<Line, CallError>>);
    let closes: [Close; 2] = [
        |client, _| client.connection().close(),
        |client, call| {
            call.cancel();
            drop(client);
        },
    ];
    for close in closes {
        let (simulation, client, mut server, _driver) = by_hand();
        let call = simulation.spawn(client.call(line("1")));
        assert!(call.poll().is_pending());
        close(client, &call);
        simulation.run();
        assert_eq!(lines(&server.receive()), ["1"]);
    }
}

#[test]
fn all_calls_fail_at_once_with_the_reason_when_the_peer_dies() {
    // rule: CLI-3
    type End = fn(&World);
    let ends: [(End, &str); 4] = [
        (|world| world.serving.cancel(), "closed by the peer"),
        (
            |world| {
                world
                    .script
                    .read_fault(0, Fault::Error(io::ErrorKind::ConnectionReset));
            },
            "transport failed: read: connection reset",
        ),
        (|world| world.client.connection().abort(), "aborted"),
        (|world| world.driving.cancel(), "aborted"),
    ];
    for (end, reason) in ends {
        let limits = PushLimits::both(PushCapacity::new().with_frames(nonzero(2)));
        let world = World::new(WireframeApp::new().push_limits(limits));
        let sent = [world.call(2, "xxxxx"), world.call(3, "x")];
        world.simulation.run();
        world.script.write_fault(0, Fault::Stall);
        // Two of these find slots, two wait for room.
        let unsent = [(); 4].map(|()| world.call(1, "x"));
        world.simulation.run();
        end(&world);
        world.simulation.run();
        for call in sent.iter().chain(&unsent) {
            let failed = call.take().expect("still waiting").unwrap_err();
            assert!(matches!(failed, CallError::Closed(_)), "{failed:?}");
            assert_eq!(failed.to_string(), format!("connection ended: {reason}"));
        }
        let late = world.call(1, "late");
        world.simulation.run();
        assert!(matches!(late.take(), Some(Err(CallError::Closed(_)))));
        world.simulation.advance(secs(10));
    }
}

/// A client whose server is worked by hand.
fn by_hand() -> (Simulation, Client<Text>, Link, Spawned<CloseReason>) {
    let simulation = Simulation::new();
    let (server, far) = link(1000);
    let app = text(&Text::default()).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    let driver = simulation.spawn(driver);
    simulation.run();
    (simulation, client, server, driver)
}

fn called(
    simulation: &Simulation,
    client: &Client<Text>,
    text: &'static str,
) -> Spawned<Result<Line, CallError>> {
    let client = client.clone();
    simulation.spawn(async move { client.call(line(text)).await })
}

#[test]
fn a_call_gets_the_first_frame_of_its_reply_however_the_frames_arrive() {
    // rule: CLI-1
    for at_once in [true, false] {
        let (simulation, client, mut server, _driver) = by_hand();
        let call = called(&simulation, &client, "1");
        simulation.run();
        for text in ["<+1", "<+2", "<3"] {
            server.send(&wire(text));
            if !at_once {
                simulation.run();
            }
        }
        simulation.run();
        assert_eq!(call.take(), Some(Ok(line("<+1"))));
        let next = called(&simulation, &client, "1");
        simulation.run();
        server.send(&wire("<next"));
        simulation.run();
        assert_eq!(next.take(), Some(Ok(line("<next"))));
    }
}

#[test]
fn a_reply_that_came_is_not_lost_when_the_connection_ends_behind_it() {
    // rule: CLI-1, CLI-3
    let (simulation, client, mut server, driver) = by_hand();
    let call = called(&simulation, &client, "1");
    simulation.run();
    server.send(&wire("<+1"));
    server.finish();
    simulation.run();
    assert_eq!(call.take(), Some(Ok(line("<+1"))));
    assert_eq!(driver.take(), Some(CloseReason::PeerClosed));
}

#[test]
fn a_call_that_is_refused_is_not_sent() {
    // rule: CLI-1, PUSH-9
    let (simulation, client, mut server, _driver) = by_hand();
    let first = called(&simulation, &client, "1 before");
    simulation.run();
    client.connection().close();
    simulation.run();
    let late = called(&simulation, &client, "1 while it drains");
    simulation.run();
    let failed = late.take().expect("still waiting");
    assert_eq!(failed, Err(CallError::Closed(CloseReason::Drained)));
    assert_eq!(lines(&server.receive()), ["1 before"]);
    server.send(&wire("<reply"));
    simulation.run();
    assert_eq!(first.take(), Some(Ok(line("<reply"))));
    server.finish();
    simulation.run();
    let stats = client.push_handle().stats();
    assert_eq!(
        (stats.accepted, stats.sent, stats.queued),
        (2, 1, 0),
        "{stats:?}"
    );
    assert_eq!(stats.lost_closed, 1);
}

#[test]
fn a_call_that_cannot_be_encoded_says_so() {
    // rule: CLI-3
    let (simulation, client, mut server, _driver) = by_hand();
    let refused = called(&simulation, &client, "1?");
    let fine = called(&simulation, &client, "1!");
    simulation.run();
    assert_eq!(
        refused.take(),
        Some(Err(CallError::Unsent(
            "frame cannot be encoded: a question".into()
        )))
    );
    server.send(&wire("<fine"));
    simulation.run();
    assert_eq!(fine.take(), Some(Ok(line("<fine"))));
}

#[test]
fn pushes_come_in_order_and_end_with_the_connection() {
    // rule: CLI-4
    let (simulation, client, mut server, _driver) = by_hand();
    server.send(&wire("!nobody asked"));
    simulation.run();
    let mut pushes = client.pushes();
    let heard = simulation.spawn(async move {
        let mut heard = Vec::new();
        while let Some(push) = pushes.next().await {
            heard.push(push.unwrap().0);
        }
        heard
    });
    for text in ["!1", "!2", "!3"] {
        server.send(&wire(text));
    }
    simulation.run();
    assert!(!heard.is_done());
    server.finish();
    simulation.run();
    assert_eq!(heard.take().unwrap(), ["!1", "!2", "!3"]);
}

#[test]
fn the_oldest_pushes_go_when_nobody_takes_them_and_replies_do_not_wait() {
    // rule: CLI-4
    let (simulation, client, mut server, _driver) = by_hand();
    let mut pushes = client.pushes();
    let call = called(&simulation, &client, "1");
    simulation.run();
    for n in 0..300 {
        server.send(&wire(&format!("!{n}")));
    }
    server.send(&wire("<reply"));
    simulation.run();
    assert_eq!(call.take(), Some(Ok(line("<reply"))));
    let heard = simulation.spawn(async move {
        let lagged = pushes.next().await;
        let next = pushes.next().await;
        let mut count = 1;
        for _ in 0..255 {
            pushes.next().await.unwrap().unwrap();
            count += 1;
        }
        (lagged, next, count)
    });
    simulation.run();
    let (lagged, next, count) = heard.take().expect("256 wait");
    assert_eq!(lagged, Some(Err(Lagged(44))));
    assert_eq!(next, Some(Ok(line("!44"))));
    assert_eq!(count, 256);
}

#[test]
fn several_may_listen_for_pushes() {
    // rule: CLI-4
    let (simulation, client, mut server, _driver) = by_hand();
    let listeners = [(); 2].map(|()| {
        let mut pushes = client.pushes();
        simulation.spawn(async move { pushes.next().await })
    });
    simulation.run();
    server.send(&wire("!1"));
    simulation.run();
    server.send(&wire("!2"));
    simulation.run();
    let mut heard = listeners.map(|l| l.take().flatten().expect("not woken").unwrap().0);
    heard.sort();
    assert_eq!(heard, ["!1", "!2"]);
}

#[test]
fn a_client_serves_what_its_peer_pushes() {
    // rule: CLI-1
    let simulation = Simulation::new();
    let (mut server, far) = link(1000);
    let app = text(&Text::default())
        .on_push(
            async |Inbound(Line(text)): Inbound<Line>, push: PushHandle<Line>| {
                push.push(Priority::Low, line(text + " indeed"))
                    .await
                    .unwrap();
            },
        )
        .route(1, async || "served");
    let app = app.build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    simulation.spawn(driver);
    server.send(&wire("!well"));
    server.send(&wire("1"));
    simulation.run();
    let mut heard = lines(&server.receive());
    heard.sort();
    assert_eq!(heard, ["!well indeed", "1:served"]);
    drop(client);
}

#[test]
fn a_call_that_finds_a_drain_with_its_queue_closed_says_so() {
    // rule: CLI-3
    let simulation = Simulation::new();
    let (_server, far) = link(1);
    let app = text(&Text::default()).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    simulation.spawn(driver);
    let push = client.push_handle();
    let long = "p".repeat(100_000);
    while push.try_push(Priority::Low, line(long.clone())).is_ok() {}
    client.connection().close();
    simulation.run();
    let refused = Err(CallError::Closed(CloseReason::Drained));
    let call = called(&simulation, &client, "1");
    let stream = {
        let client = client.clone();
        simulation.spawn(async move { client.call_streaming(line("1")).next().await })
    };
    simulation.run();
    assert_eq!(call.take(), Some(refused.clone()));
    assert_eq!(stream.take(), Some(Some(refused)));
}

#[test]
fn dropping_the_last_client_drains_and_closes_the_connection() {
    // rule: CLI-1
    let world = World::new(WireframeApp::new());
    let call = world.call(1, "last words");
    drop(world.client);
    world.simulation.run();
    assert_eq!(call.take(), replied("last words"));
    assert_eq!(world.serving.take(), Some(CloseReason::PeerClosed));
    assert_eq!(world.driving.take(), Some(CloseReason::Drained));
    assert!(world.server.is_closed());
}

/// A future is a call's until it is dropped, whoever polls it.
#[test]
fn a_call_may_move_between_tasks() {
    // rule: CLI-2
    let world = World::new(WireframeApp::new());
    let client = world.client.clone();
    let mut call = Box::pin(async move { client.call(Envelope::new(2, "xx")).await });
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    world.simulation.run();
    assert!(call.as_mut().poll(&mut cx).is_pending());
    let moved = world.simulation.spawn(call);
    world.simulation.advance(secs(2));
    assert_eq!(moved.take().unwrap().unwrap().payload, "xx");
}

#[test]
fn pushes_are_a_stream() {
    // rule: CLI-4
    use futures_core::Stream;
    let (simulation, client, mut server, _driver) = by_hand();
    let mut pushes = client.pushes();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut poll = || std::pin::Pin::new(&mut pushes).poll_next(&mut cx);
    assert!(poll().is_pending());
    server.send(&wire("!1"));
    simulation.run();
    assert_eq!(poll(), std::task::Poll::Ready(Some(Ok(line("!1")))));
    assert!(poll().is_pending());
    server.finish();
    simulation.run();
    assert_eq!(poll(), std::task::Poll::Ready(None));
}

#[test]
fn what_is_sent_waits_for_room_as_a_push_and_comes_back_after_the_end() {
    // rule: CLI-1, PUSH-6
    let limits = PushLimits::both(PushCapacity::new().with_frames(nonzero(1)));
    let simulation = Simulation::new();
    let (mut server, far) = link(1000);
    let script = far.script();
    let app = text(&Text::default()).push_limits(limits).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    simulation.spawn(driver);
    simulation.run();
    script.write_fault(0, Fault::Stall);
    let sent = ["!1", "!2", "!3"].map(|text| {
        let client = client.clone();
        let sent = simulation.spawn(async move { client.send(line(text)).await });
        simulation.run();
        sent
    });
    assert_eq!(sent[0].take(), Some(Ok(())));
    assert!(!sent[1].is_done());
    script.release();
    simulation.run();
    assert_eq!(lines(&server.receive()), ["!1", "!2", "!3"]);
    client.connection().abort();
    simulation.run();
    let late = simulation.spawn(async move { client.send(line("!late")).await });
    simulation.run();
    let refused = late.take().unwrap().unwrap_err();
    assert_eq!(refused.into_frame(), line("!late"));
}
