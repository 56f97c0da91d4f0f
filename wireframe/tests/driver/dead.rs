//! Everything that a client waits for ends with its connection.

use std::{
    io,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Wake, Waker},
};

use bytes::Bytes;
use wireframe::{
    AnswerOrder, CallError, Client, CloseReason, Codec, CorrelationId, FragmentMeta, FrameBuf,
    HalfClose, LengthDelimited, Malformed, PushCapacity, PushLimits, Replies, Role, Unencodable,
    View, WireframeApp, WireframeProtocol,
    testing::{Fault, Link, Script, Simulation, Spawned, link},
};

use crate::rig::{Line, Oops, Text, config, line, nonzero, text, wire};

struct World {
    simulation: Simulation,
    client: Client<Text>,
    server: Link,
    script: Script,
    driver: Spawned<CloseReason>,
}

impl World {
    fn new(half_close: HalfClose, panics_in: &'static str) -> Self {
        let simulation = Simulation::new();
        let (server, far) = link(1000);
        let script = far.script();
        let protocol = Text {
            panics_in,
            ..Text::default()
        };
        let two = PushLimits::both(PushCapacity::new().with_frames(nonzero(2)));
        let app = text(&protocol)
            .push_limits(two)
            .config(config(|c| c.half_close = half_close));
        let app = app.build().unwrap();
        let (client, driver) = Client::new(&app, far, None, &simulation.environment());
        let driver = simulation.spawn(driver);
        simulation.run();
        Self {
            simulation,
            client,
            server,
            script,
            driver,
        }
    }

    fn call(&self) -> Spawned<Result<Line, CallError>> {
        self.simulation.spawn(self.client.call(line("1")))
    }

    fn stream(&self) -> Spawned<Vec<Result<Line, CallError>>> {
        let mut replies: Replies<Line> = self.client.call_streaming(line("1"));
        self.simulation.spawn(async move {
            let mut came = vec![];
            while let Some(next) = replies.next().await {
                came.push(next);
            }
            came
        })
    }
}

type End = fn(&mut World);

/// The ways in which a connection dies: what happens, and why it has ended then.
fn ends() -> [(&'static str, End, CloseReason); 7] {
    let reset = CloseReason::Transport("read: connection reset".into());
    let malformed = CloseReason::Malformed(Malformed::new("not text"));
    [
        (
            "reset",
            |world| {
                let reset = Fault::Error(io::ErrorKind::ConnectionReset);
                world.script.read_fault(0, reset);
            },
            reset,
        ),
        (
            "end of the peer's output",
            |world| world.server.finish(),
            CloseReason::PeerClosed,
        ),
        (
            "abort",
            |world| world.client.connection().abort(),
            CloseReason::Aborted,
        ),
        (
            "dropped driver",
            |world| world.driver.cancel(),
            CloseReason::Aborted,
        ),
        (
            "panic of the codec",
            |world| world.server.send(&wire("codec panics")),
            CloseReason::ProtocolPanicked,
        ),
        (
            "malformed input",
            |world| world.server.send(b"\0\0\0\x01\xff"),
            malformed,
        ),
        (
            "drain whose deadline passes",
            |world| {
                world.client.connection().close();
                world.simulation.advance(crate::rig::secs(5));
            },
            CloseReason::DrainTimedOut {
                fault: wireframe::Fault::Peer,
            },
        ),
    ]
}

#[test]
fn a_dead_connection_fails_every_call_and_stream_at_once_with_its_reason() {
    // rule: CLI-3
    for half_close in [HalfClose::Answers, HalfClose::Ends] {
        for (name, end, reason) in &ends() {
            let mut world = World::new(half_close, "");
            let in_flight = world.call();
            let streaming = world.stream();
            world.simulation.run();
            world.script.write_fault(0, Fault::Stall);
            // Two find slots, the others wait for room.
            let unsent = [(); 2].map(|()| world.call());
            let waiting = [(); 2].map(|()| world.stream());
            world.simulation.run();
            end(&mut world);
            world.simulation.run();
            let closed = || Err(CallError::Closed(reason.clone()));
            for call in [in_flight].into_iter().chain(unsent) {
                assert_eq!(call.take(), Some(closed()), "{name}, {half_close:?}");
            }
            for stream in [streaming].into_iter().chain(waiting) {
                let came = stream.take();
                assert_eq!(came, Some(vec![closed()]), "{name}, {half_close:?}");
            }
            let (late, late_stream) = (world.call(), world.stream());
            world.simulation.run();
            assert_eq!(late.take(), Some(closed()), "{name}");
            assert_eq!(late_stream.take(), Some(vec![closed()]), "{name}");
        }
    }
}

#[test]
fn a_panic_of_any_hook_fails_calls_and_streams() {
    // rule: CLI-3, HOOK-7
    for hook in ["classify", "control", "send"] {
        let mut world = World::new(HalfClose::Answers, hook);
        let (call, stream) = (world.call(), world.stream());
        world.simulation.run();
        world.server.send(&wire("~control"));
        world.simulation.run();
        let closed = || Err(CallError::Closed(CloseReason::ProtocolPanicked));
        assert_eq!(call.take(), Some(closed()), "{hook}");
        assert_eq!(stream.take(), Some(vec![closed()]), "{hook}");
    }
}

/// Correlates and measures, and panics in that where a frame says so. Whatever comes
/// ends the answer to the first call.
#[derive(Clone, Copy)]
struct Fragile;

impl Codec for Fragile {
    type Frame = Line;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Line, Malformed> {
        Ok(line(String::from_utf8_lossy(&payload)))
    }

    fn encode(&mut self, frame: &Line, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_slice(frame.0.as_bytes());
        Ok(())
    }

    fn encoded_len(&self, frame: &Line) -> usize {
        assert!(frame.0 != "encoded_len", "told to");
        frame.0.len()
    }
}

impl WireframeProtocol for Fragile {
    type Frame = Line;
    type Error = Oops;
    type Codec = Self;
    type Framing = LengthDelimited;
    type Session = ();

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> Self {
        Self
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn correlate(&self, frame: &mut Line, _: CorrelationId) {
        assert!(frame.0 != "correlate", "told to");
    }

    fn classify(&self, _: &Line, _: &View<'_, ()>) -> Role {
        Role::Reply {
            to: Some(CorrelationId(1)),
            last: true,
        }
    }
}

#[test]
fn a_panic_of_the_protocol_on_behalf_of_a_call_fails_calls_and_streams() {
    // rule: CLI-3, HOOK-7
    for (call, reply) in [("correlate", "fine"), ("fine", "encoded_len")] {
        let simulation = Simulation::new();
        let (mut server, far) = link(1000);
        let app = WireframeApp::with_protocol(Fragile).build().unwrap();
        let (client, driver) = Client::new(&app, far, None, &simulation.environment());
        let driver = simulation.spawn(driver);
        simulation.run();
        let mut replies = client.call_streaming(line("fine"));
        let stream = simulation.spawn(async move { replies.next().await });
        let calls = [call, "fine"].map(|text| simulation.spawn(client.call(line(text))));
        simulation.run();
        server.send(&wire(reply));
        simulation.run();
        assert_eq!(driver.take(), Some(CloseReason::ProtocolPanicked));
        let closed = || Err(CallError::Closed(CloseReason::ProtocolPanicked));
        for call in calls {
            assert_eq!(call.take(), Some(closed()), "{reply}");
        }
        assert_eq!(stream.take(), Some(Some(closed())), "{reply}");
    }
}

struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("told to");
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_from_learning_of_the_end() {
    // rule: CLI-3
    let world = World::new(HalfClose::Answers, "");
    let bad = Waker::from(Arc::new(Panicking));
    let mut cx = Context::from_waker(&bad);
    let mut panics = pin!(world.client.call(line("1")));
    assert!(panics.as_mut().poll(&mut cx).is_pending());
    let mut stream = world.client.call_streaming(line("1"));
    let mut next = pin!(stream.next());
    assert!(next.as_mut().poll(&mut cx).is_pending());
    let calls = [(); 8].map(|()| world.call());
    world.simulation.run();
    world.client.connection().abort();
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| world.simulation.run()));
    assert!(ran.is_ok());
    assert_eq!(world.driver.take(), Some(CloseReason::Aborted));
    for call in calls {
        let closed = Err(CallError::Closed(CloseReason::Aborted));
        assert_eq!(call.take(), Some(closed));
    }
}

#[test]
fn a_call_that_is_aborted_before_the_driver_saw_it_fails_with_that() {
    // rule: CLI-3
    let world = World::new(HalfClose::Answers, "");
    let (call, stream) = (world.call(), world.stream());
    assert!(call.poll().is_pending() && stream.poll().is_pending());
    world.client.connection().abort();
    world.simulation.run();
    let closed = || Err(CallError::Closed(CloseReason::Aborted));
    assert_eq!(call.take(), Some(closed()));
    assert_eq!(stream.take(), Some(vec![closed()]));
}

#[test]
fn frames_of_a_stream_that_came_before_the_end_are_handed_out_first() {
    // rule: CLI-3
    let mut world = World::new(HalfClose::Answers, "");
    let mut replies = world.client.call_streaming(line("1"));
    let first = world.simulation.spawn(async move {
        let first = replies.next().await;
        (first, replies)
    });
    world.simulation.run();
    for text in ["<+1", "<+2", "<+3"] {
        world.server.send(&wire(text));
    }
    world.server.finish();
    world.simulation.run();
    let (first, mut replies) = first.take().unwrap();
    assert_eq!(first, Some(Ok(line("<+1"))));
    let rest = world.simulation.spawn(async move {
        let mut rest = vec![];
        while let Some(next) = replies.next().await {
            rest.push(next);
        }
        rest
    });
    world.simulation.run();
    let closed = CallError::Closed(CloseReason::PeerClosed);
    let expected = vec![Ok(line("<+2")), Ok(line("<+3")), Err(closed)];
    assert_eq!(rest.take(), Some(expected));
}

#[test]
fn calls_that_the_driver_never_saw_fail_with_it() {
    // rule: CLI-3
    let ends: [End; 2] = [
        |world| world.driver.cancel(),
        |world| world.client.connection().abort(),
    ];
    for end in ends {
        let mut world = World::new(HalfClose::Answers, "");
        let (call, stream) = (world.call(), world.stream());
        assert!(call.poll().is_pending() && stream.poll().is_pending());
        end(&mut world);
        world.simulation.run();
        let closed = || Err(CallError::Closed(CloseReason::Aborted));
        assert_eq!(call.take(), Some(closed()));
        assert_eq!(stream.take(), Some(vec![closed()]));
    }
}

/// Goes on with its future wherever it is woken.
struct Eager(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Eager {
    fn start(future: impl Future<Output = ()> + Send + 'static) {
        let eager = Arc::new(Self(Mutex::new(Some(Box::pin(future)))));
        eager.wake();
    }
}

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        let Some(mut future) = self.0.lock().unwrap().take() else {
            return;
        };
        let waker = Waker::from(Arc::clone(&self));
        let mut cx = Context::from_waker(&waker);
        if future.as_mut().poll(&mut cx).is_pending() {
            *self.0.lock().unwrap() = Some(future);
        }
    }
}

#[test]
fn whoever_sees_a_call_fail_finds_the_connection_closed() {
    // rule: CLI-3, CLI-6
    for (name, end, reason) in ends() {
        let mut world = World::new(HalfClose::Answers, "");
        world.script.write_fault(0, Fault::Stall);
        let (mut count, failed) = (0, Arc::new(Mutex::new(vec![])));
        // Two find slots, the others wait for room.
        for _ in 0..4 {
            let (client, failed) = (world.client.clone(), Arc::clone(&failed));
            Eager::start(async move {
                let error = client.call(line("1")).await.unwrap_err();
                let is_closed = client.push_handle().is_closed();
                failed.lock().unwrap().push((error, is_closed));
            });
            world.simulation.run();
        }
        end(&mut world);
        world.simulation.run();
        for (error, is_closed) in failed.lock().unwrap().drain(..) {
            assert!(is_closed, "{name}");
            assert_eq!(error, CallError::Closed(reason.clone()), "{name}");
            count += 1;
        }
        assert_eq!(count, 4, "{name}");
    }
}
