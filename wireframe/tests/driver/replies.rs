//! Calls that are answered with a stream.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_core::Stream;
use wireframe::{
    CallError, Client, Clock, CloseReason, Driver, Envelope, EnvelopeProtocol, Heartbeat,
    PushCapacity, PushLimits, Replies, Response, WireframeApp,
    testing::{Fault, Link, Simulation, Spawned, link},
};

use crate::rig::{Line, Record, Text, config, line, lines, nonzero, secs, text, wire};

/// A client whose server is worked by hand.
struct World {
    simulation: Simulation,
    client: Client<Text>,
    server: Link,
    driver: Spawned<CloseReason>,
}

impl World {
    fn new() -> Self {
        Self::of(text(&Text::default()))
    }

    fn of(app: WireframeApp<Text>) -> Self {
        let simulation = Simulation::new();
        let (server, far) = link(1 << 20);
        let app = app.build().unwrap();
        let (client, driver) = Client::new(&app, far, None, &simulation.environment());
        let driver = simulation.spawn(driver);
        simulation.run();
        Self {
            simulation,
            client,
            server,
            driver,
        }
    }

    /// The server sends frames, and everybody works.
    fn send(&mut self, texts: impl IntoIterator<Item = impl AsRef<str>>) {
        for text in texts {
            self.server.send(&wire(text.as_ref()));
        }
        self.simulation.run();
    }

    /// What the server has got.
    fn heard(&mut self) -> Vec<String> {
        self.simulation.run();
        lines(&self.server.receive())
    }

    fn call(&self, text: &'static str) -> Spawned<Result<Line, CallError>> {
        let call = self.simulation.spawn(self.client.call(line(text)));
        self.simulation.run();
        call
    }

    /// A stream that has been asked for and not looked at since.
    fn asked(&self, frames: usize) -> Replies<Line> {
        let capacity = PushCapacity::new().with_frames(nonzero(frames));
        let call = self.client.call_streaming(line("1 stream"));
        let mut replies = call.capacity(capacity);
        assert!(next(&mut replies).is_pending());
        self.simulation.run();
        replies
    }
}

type Next = Option<Result<Line, CallError>>;

/// Looks once for the next frame.
fn next(replies: &mut Replies<Line>) -> Poll<Next> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    Pin::new(replies).poll_next(&mut cx)
}

fn frame(text: &str) -> Poll<Next> {
    Poll::Ready(Some(Ok(line(text))))
}

fn numbered(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    numbers.map(|n| format!("<+{n}"))
}

#[test]
fn a_stream_of_the_default_protocol_ends_behind_its_last_frame() {
    // rule: CLI-1, WIRE-1
    let simulation = Simulation::new();
    let environment = simulation.environment();
    let (near, far) = link(1000);
    let protocol = EnvelopeProtocol::default().with_stream_end(0);
    let count = async || {
        Response::frames(async_stream::stream! {
            for n in 0..5u8 {
                yield Envelope::new(1, vec![n]);
            }
        })
    };
    let empty = async || {
        Response::frames(async_stream::stream! { if false { yield Envelope::default(); } })
    };
    let server = WireframeApp::with_protocol(protocol)
        .route(1, count)
        .route(2, empty);
    simulation.spawn(Driver::server(
        &server.build().unwrap(),
        near,
        None,
        &environment,
    ));
    let app = WireframeApp::with_protocol(protocol).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &environment);
    simulation.spawn(driver);
    for (route, expected) in [(1, vec![0, 1, 2, 3, 4]), (2, vec![])] {
        let mut replies = client.call_streaming(Envelope::new(route, ""));
        let taken = simulation.spawn(async move {
            let mut taken = vec![];
            while let Some(frame) = replies.next().await {
                taken.push(frame.unwrap().payload[0]);
            }
            assert!(replies.next().await.is_none(), "it stays at its end");
            taken
        });
        simulation.run();
        assert_eq!(taken.take(), Some(expected));
    }
}

#[test]
fn a_stream_hands_out_a_last_frame_that_is_data_and_no_mere_end() {
    // rule: CLI-1, REQ-1
    for (last, ends_with_data) in [("<last", true), ("<end", false)] {
        let mut world = World::new();
        let mut replies = world.asked(256);
        world.send(["<+1", "<+2"]);
        assert_eq!(next(&mut replies), frame("<+1"));
        world.send([last]);
        assert_eq!(next(&mut replies), frame("<+2"));
        if ends_with_data {
            assert_eq!(next(&mut replies), frame(last));
        }
        assert_eq!(next(&mut replies), Poll::Ready(None));
        assert_eq!(next(&mut replies), Poll::Ready(None));
    }
}

#[test]
fn a_call_whose_answer_has_no_frame_says_so() {
    // rule: CLI-1, REQ-1
    let mut world = World::new();
    let calls = [(); 2].map(|()| world.call("1"));
    world.send(["<end", "<+first", "<end"]);
    assert_eq!(calls[0].take(), Some(Err(CallError::Empty)));
    assert_eq!(calls[1].take(), Some(Ok(line("<+first"))));
}

#[test]
fn a_consumer_is_woken_for_each_frame_and_the_end() {
    // rule: CLI-1
    let mut world = World::new();
    let mut replies = world.client.call_streaming(line("1"));
    let taken = world.simulation.spawn(async move {
        let mut taken = 0;
        while replies.next().await.is_some() {
            taken += 1;
        }
        taken
    });
    world.simulation.run();
    for expected in 2..6 {
        world.send(["<+"]);
        assert_eq!(taken.polls(), expected);
    }
    world.send(["<end"]);
    assert_eq!(taken.take(), Some(4));
}

#[test]
fn a_dropped_stream_disturbs_no_other_call() {
    // rule: CLI-2
    let mut world = World::new();
    let mut pushes = world.client.pushes();
    let mut replies = world.asked(256);
    let other = world.call("1 other");
    world.send(["<+1", "<+2"]);
    assert_eq!(next(&mut replies), frame("<+1"));
    drop(replies);
    world.send(["<+3", "<4", "<other"]);
    assert_eq!(other.take(), Some(Ok(line("<other"))));
    let push = world.simulation.spawn(async move { pushes.next().await });
    world.simulation.run();
    assert!(!push.is_done(), "what was left of it is no push");
}

#[test]
fn a_stream_that_is_dropped_before_it_found_room_is_not_sent() {
    // rule: CLI-2
    let limits = PushLimits::both(PushCapacity::new().with_frames(nonzero(1)));
    let mut world = World::of(text(&Text::default()).push_limits(limits));
    // The driver sees it only when it runs.
    let first = world.simulation.spawn(world.client.call(line("1 first")));
    assert!(first.poll().is_pending());
    let mut second = world.client.call_streaming(line("1 second"));
    assert!(next(&mut second).is_pending());
    drop(second);
    assert_eq!(world.heard(), ["1 first"]);
    let third = world.call("1 third");
    assert_eq!(world.heard(), ["1 third"]);
    world.send(["<first", "<third"]);
    assert_eq!(first.take(), Some(Ok(line("<first"))));
    assert_eq!(third.take(), Some(Ok(line("<third"))));
}

#[test]
fn a_stream_that_is_not_polled_is_not_sent() {
    // rule: CLI-2
    let mut world = World::new();
    drop(world.client.call_streaming(line("1")));
    assert_eq!(world.heard(), Vec::<String>::new());
}

#[test]
fn a_full_stream_stops_the_input_until_half_of_it_is_free() {
    // rule: CLI-5
    let mut world = World::new();
    let mut replies = world.asked(4);
    let other = world.call("1 other");
    world.send(numbered(0..8).chain(["<end".into(), "<other".into()]));
    assert!(!other.is_done());
    for n in 0..2 {
        assert_eq!(next(&mut replies), frame(&format!("<+{n}")));
        world.simulation.run();
    }
    assert!(!other.is_done(), "it is full again");
    for n in 2..5 {
        assert_eq!(next(&mut replies), frame(&format!("<+{n}")));
        world.simulation.run();
    }
    assert!(!other.is_done(), "and again");
    assert_eq!(next(&mut replies), frame("<+5"));
    world.simulation.run();
    assert_eq!(other.take(), Some(Ok(line("<other"))));
    assert_eq!(next(&mut replies), frame("<+6"));
    assert_eq!(next(&mut replies), frame("<+7"));
    assert_eq!(next(&mut replies), Poll::Ready(None));
}

#[test]
fn a_stream_is_bounded_in_bytes_too() {
    // rule: CLI-5
    let mut world = World::new();
    let bytes = PushCapacity::new().with_bytes(nonzero(10));
    let mut replies = world.client.call_streaming(line("1")).capacity(bytes);
    assert!(next(&mut replies).is_pending());
    let other = world.call("1 other");
    // Three bytes each: the fourth crosses the bound and is kept.
    world.send(numbered(0..4).chain(["<other".into()]));
    world.send(["<end"]);
    assert!(!other.is_done());
    for n in 0..2 {
        assert_eq!(next(&mut replies), frame(&format!("<+{n}")));
        world.simulation.run();
    }
    assert!(!other.is_done(), "6 of 10 bytes wait");
    assert_eq!(next(&mut replies), frame("<+2"));
    world.simulation.run();
    assert_eq!(next(&mut replies), frame("<+3"));
    assert_eq!(
        next(&mut replies),
        frame("<other"),
        "the last frame of this one"
    );
    world.simulation.run();
    assert_eq!(other.take(), Some(Err(CallError::Empty)));
}

#[test]
fn a_stream_dropped_while_it_is_full_lets_the_input_go_on() {
    // rule: CLI-5, CLI-2
    let mut world = World::new();
    let replies = world.asked(2);
    let other = world.call("1 other");
    world.send(numbered(0..8).chain(["<end".into(), "<other".into()]));
    assert!(!other.is_done());
    drop(replies);
    world.simulation.run();
    assert_eq!(other.take(), Some(Ok(line("<other"))));
}

#[test]
fn output_and_closing_go_on_while_a_full_stream_stops_the_input() {
    // rule: CLI-5, CLI-3
    let mut world = World::new();
    let mut replies = world.asked(2);
    world.send(numbered(0..8));
    world.heard();
    let push = world.simulation.spawn({
        let client = world.client.clone();
        async move { client.send(line("!push")).await }
    });
    let other = world.call("1 other");
    assert_eq!(push.take(), Some(Ok(())));
    assert_eq!(world.heard(), ["!push", "1 other"]);
    world.client.connection().abort();
    world.simulation.run();
    assert_eq!(world.driver.take(), Some(CloseReason::Aborted));
    let aborted = || CallError::Closed(CloseReason::Aborted);
    assert_eq!(other.take(), Some(Err(aborted())));
    assert_eq!(next(&mut replies), frame("<+0"));
    assert_eq!(next(&mut replies), frame("<+1"));
    assert_eq!(next(&mut replies), Poll::Ready(Some(Err(aborted()))));
    assert_eq!(next(&mut replies), Poll::Ready(None));
}

#[test]
fn a_peer_that_a_full_stream_keeps_waiting_is_not_closed_for_its_silence() {
    // rule: CLI-5, RESP-7
    let app = text(&Text::default()).config(config(|c| {
        c.heartbeat = Some(Heartbeat::expecting(secs(10)));
        c.timeouts.idle = Some(secs(20));
        c.limits.read_buffer = nonzero(wire("<+0").len());
    }));
    let mut world = World::of(app);
    let mut replies = world.asked(2);
    // One stands behind the bound, and fills what is read ahead.
    world.send(numbered(0..4));
    world.simulation.advance(secs(60));
    assert!(!world.driver.is_done());
    for n in 0..4 {
        assert_eq!(next(&mut replies), frame(&format!("<+{n}")));
        world.simulation.run();
    }
    // From now on its silence is its own.
    world.simulation.advance(secs(10));
    let silent = CallError::Closed(CloseReason::HeartbeatTimedOut);
    assert_eq!(next(&mut replies), Poll::Ready(Some(Err(silent))));
}

#[test]
fn a_drain_that_meets_a_full_stream_ends_by_its_deadline() {
    // rule: CLI-5, SHUT-3
    let mut world = World::new();
    let mut replies = world.asked(2);
    world.send(numbered(0..8));
    world.client.connection().close();
    world.simulation.advance(secs(4));
    assert!(!world.driver.is_done());
    world.simulation.advance(secs(1));
    assert_eq!(
        world.driver.take(),
        Some(CloseReason::DrainTimedOut {
            fault: wireframe::Fault::Own
        })
    );
    for n in 0..2 {
        assert_eq!(next(&mut replies), frame(&format!("<+{n}")));
    }
    let error = CallError::Closed(CloseReason::DrainTimedOut {
        fault: wireframe::Fault::Own,
    });
    assert_eq!(next(&mut replies), Poll::Ready(Some(Err(error))));
}

#[test]
fn a_failed_write_is_heard_of_while_a_full_stream_stops_the_input() {
    // rule: CLI-3
    let simulation = Simulation::new();
    let (mut server, far) = link(1000);
    let script = far.script();
    let app = text(&Text::default()).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    let driver = simulation.spawn(driver);
    let one = PushCapacity::new().with_frames(nonzero(1));
    let mut replies = client.call_streaming(line("1")).capacity(one);
    assert!(next(&mut replies).is_pending());
    simulation.run();
    for text in numbered(0..4) {
        server.send(&wire(&text));
    }
    simulation.run();
    script.write_fault(0, Fault::Error(std::io::ErrorKind::BrokenPipe));
    let call = simulation.spawn(client.call(line("1 more")));
    simulation.run();
    assert!(matches!(call.take(), Some(Err(CallError::Closed(_)))));
    assert!(matches!(driver.take(), Some(CloseReason::Transport(_))));
}

#[test]
fn a_dead_server_fails_every_call_while_a_full_stream_stops_the_input() {
    // rule: CLI-3, CLI-5
    // The end of the peer's output is heeded once nothing stands before it.
    for (resets, frames) in [(true, 4), (false, 1)] {
        let simulation = Simulation::new();
        let (mut server, far) = link(1000);
        let script = far.script();
        let app = text(&Text::default()).build().unwrap();
        let (client, driver) = Client::new(&app, far, None, &simulation.environment());
        let driver = simulation.spawn(driver);
        let one = PushCapacity::new().with_frames(nonzero(1));
        let mut replies = client.call_streaming(line("1")).capacity(one);
        assert!(next(&mut replies).is_pending());
        simulation.run();
        let call = simulation.spawn(client.call(line("1 more")));
        simulation.run();
        for text in numbered(0..frames) {
            server.send(&wire(&text));
            simulation.run();
        }
        assert!(!call.is_done());
        if resets {
            script.read_fault(0, Fault::Error(std::io::ErrorKind::ConnectionReset));
        } else {
            server.finish();
        }
        simulation.run();
        assert!(matches!(call.take(), Some(Err(CallError::Closed(_)))));
        assert!(driver.is_done());
        assert_eq!(next(&mut replies), frame("<+0"), "what has come is kept");
    }
}

#[test]
fn an_endless_stream_that_nobody_takes_stops_at_its_source() {
    // rule: CLI-5, RESP-5
    let simulation = Simulation::new();
    let environment = simulation.environment();
    let (near, far) = link(1000);
    let protocol = EnvelopeProtocol::default().with_stream_end(0);
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let server = WireframeApp::with_protocol(protocol).route(1, move || {
        let made = count.clone();
        async move {
            Response::frames(async_stream::stream! {
                loop {
                    made.fetch_add(1, Ordering::SeqCst);
                    yield Envelope::new(1, vec![0; 8 * 1024]);
                }
            })
        }
    });
    let server = Driver::server(&server.build().unwrap(), near, None, &environment);
    let serving = simulation.spawn(server);
    let app = WireframeApp::with_protocol(protocol).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &environment);
    simulation.spawn(driver);
    let mut replies = client.call_streaming(Envelope::new(1, ""));
    let taken = simulation.spawn(async move {
        let first = replies.next().await;
        (first, replies)
    });
    simulation.run();
    let (first, replies) = taken.take().unwrap();
    assert!(first.unwrap().is_ok());
    // 1 MiB here, and little more on the way: read buffer, link and output.
    let stopped = made.load(Ordering::SeqCst);
    assert!((128..180).contains(&stopped), "{stopped} frames were made");
    drop(replies);
    client.connection().abort();
    simulation.run();
    assert!(serving.is_done());
}

#[test]
fn a_stream_whose_time_is_over_hands_out_what_came_in_time() {
    // rule: CLI-3, CLI-2
    let mut world = World::new();
    let call = world.client.call_streaming(line("1"));
    let mut replies = call.timeout(secs(5));
    assert!(next(&mut replies).is_pending());
    world.simulation.advance(secs(4));
    world.send(["<+1", "<+2"]);
    assert_eq!(next(&mut replies), frame("<+1"));
    world.simulation.advance(secs(1));
    assert_eq!(next(&mut replies), frame("<+2"));
    let error = CallError::TimedOut { limit: secs(5) };
    assert_eq!(next(&mut replies), Poll::Ready(Some(Err(error))));
    assert_eq!(next(&mut replies), Poll::Ready(None));
    // The rest of it is nobody's.
    world.simulation.run();
    let call = world.call("1 next");
    world.send(["<+3", "<4", "<next"]);
    assert_eq!(call.take(), Some(Ok(line("<next"))));
}

#[test]
fn a_stream_that_waits_times_out_by_itself_and_one_that_is_whole_does_not() {
    // rule: CLI-3
    let mut world = World::new();
    let mut streams = [(); 2].map(|()| {
        let call = world.client.call_streaming(line("1"));
        let mut replies = call.deadline(world.simulation.clock().clock().now() + secs(5));
        assert!(next(&mut replies).is_pending());
        world.simulation.run();
        replies
    });
    world.send(["<+1", "<end"]);
    world.simulation.advance(secs(6));
    assert_eq!(next(&mut streams[0]), frame("<+1"));
    assert_eq!(next(&mut streams[0]), Poll::Ready(None));
    let [_, mut late] = streams;
    let late = world.simulation.spawn(async move { late.next().await });
    world.simulation.run();
    let error = CallError::TimedOut { limit: secs(5) };
    assert_eq!(late.take(), Some(Some(Err(error))));

    let call = world.client.call_streaming(line("1"));
    let mut waits = call.timeout(secs(1));
    let waits = world.simulation.spawn(async move { waits.next().await });
    world.simulation.advance(secs(1));
    assert!(matches!(
        waits.take(),
        Some(Some(Err(CallError::TimedOut { .. })))
    ));
    assert_eq!(world.simulation.clock().armed(), 0);
}

#[test]
fn a_full_stream_whose_time_is_over_lets_the_input_go_on() {
    // rule: CLI-5, CLI-3
    let mut world = World::new();
    let one = PushCapacity::new().with_frames(nonzero(4));
    let call = world.client.call_streaming(line("1"));
    let mut replies = call.capacity(one).timeout(secs(1));
    assert!(next(&mut replies).is_pending());
    let other = world.call("1 other");
    world.send(numbered(0..8).chain(["<end".into(), "<other".into()]));
    world.simulation.advance(secs(1));
    assert!(!other.is_done());
    assert_eq!(next(&mut replies), frame("<+0"));
    world.simulation.run();
    assert_eq!(other.take(), Some(Ok(line("<other"))));
}

/// Its frames are taken while the driver is at work, after it has looked for room.
#[test]
fn a_full_stream_that_a_handler_of_the_same_connection_empties_fills_again() {
    // rule: CLI-5
    let record = Record::default();
    let caller: Arc<Mutex<Option<Client<Text>>>> = Arc::default();
    let (taken, slot) = (record.clone(), caller.clone());
    let app = text(&Text::default()).on_connect(move |clock: Clock| {
        let (taken, slot) = (taken.clone(), slot.clone());
        async move {
            clock.sleep(secs(1)).await;
            let client = slot.lock().unwrap().take().unwrap();
            let two = PushCapacity::new().with_frames(nonzero(2));
            let mut replies = client.call_streaming(line("1")).capacity(two);
            while let Some(next) = replies.next().await {
                taken.note(next.unwrap().0);
            }
        }
    });
    let mut world = World::of(app);
    *caller.lock().unwrap() = Some(world.client.clone());
    world.simulation.advance(secs(1));
    world.send(numbered(0..8).chain(["<last".into()]));
    let expected: Vec<_> = numbered(0..8).chain(["<last".into()]).collect();
    assert_eq!(record.take(), expected);
}

#[test]
fn a_stream_that_has_ended_leaves_no_timer_behind() {
    // rule: CLI-3
    let mut world = World::new();
    let call = world.client.call_streaming(line("1"));
    let mut replies = call.timeout(secs(60));
    assert!(next(&mut replies).is_pending());
    world.simulation.run();
    world.send(["<+1", "<end"]);
    assert_eq!(next(&mut replies), frame("<+1"));
    assert_eq!(world.simulation.clock().armed(), 1);
    assert_eq!(next(&mut replies), Poll::Ready(None));
    assert_eq!(world.simulation.clock().armed(), 0);
}
