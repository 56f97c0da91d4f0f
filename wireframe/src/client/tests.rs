//! Any calls and streams against any server: each reply goes to its own call or nowhere,
//! nothing hangs, and nothing is left of what has ended.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use proptest::prelude::*;
use wireframe_proto::{
    CloseReason, Codec, EncodeBuffer, Envelope, EnvelopeCodec, EnvelopeProtocol, FragmentMeta,
    Instant, PushCapacity,
};

use super::{CallError, Client, Lagged, Replies};
use crate::{
    app::WireframeApp,
    driver::Driver,
    push::PushLimits,
    sync::{Arc, Mutex, lock},
    testing::{Fault, Link, Script, Simulation, Spawned, link},
};

const END: u32 = 0;
const SINGLE: u32 = 1;
const STREAM: u32 = 2;
const PUSH: u32 = 3;

/// A driver whose inside can be seen while it runs.
#[derive(Clone)]
struct Watched(Arc<Mutex<Driver<EnvelopeProtocol, Link>>>);

impl Future for Watched {
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        Pin::new(&mut *lock(&self.0)).poll(cx)
    }
}

/// One step of a program.
#[derive(Clone, Debug)]
enum Step {
    Call(Option<u64>),
    Stream(Option<u64>, usize),
    /// A call that asks for room, and that the driver has not seen when the next step comes.
    Accept,
    GiveUp(prop::sample::Index),
    /// Somebody takes so many frames of a stream.
    Take(prop::sample::Index, usize),
    /// The server answers an open request, or sends so many frames of its stream, which
    /// it may end.
    Answer(prop::sample::Index, usize, bool),
    Push,
    Wait(u64),
    Stall(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let time = || prop::option::weighted(0.3, 0..40u64);
    prop_oneof![
        5 => time().prop_map(Step::Call),
        4 => (time(), 1..5usize).prop_map(|(time, capacity)| Step::Stream(time, capacity)),
        3 => Just(Step::Accept),
        2 => index().prop_map(Step::GiveUp),
        6 => (index(), 1..6usize).prop_map(|(index, frames)| Step::Take(index, frames)),
        9 => (index(), 0..6usize, any::<bool>()).prop_map(|(i, n, end)| Step::Answer(i, n, end)),
        2 => Just(Step::Push),
        3 => (0..20u64).prop_map(Step::Wait),
        1 => (0..60usize).prop_map(Step::Stall),
        2 => Just(Step::Release),
    ]
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
enum End {
    AllAnswered,
    PeerFinishes,
    PeerResets,
    Abort,
    Drain,
    DropDriver,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::AllAnswered),
        1 => Just(End::PeerFinishes),
        1 => Just(End::PeerResets),
        1 => Just(End::Abort),
        1 => Just(End::Drain),
        1 => Just(End::DropDriver),
    ]
}

/// A call or stream of the client, named by its place.
enum Asked {
    Call(Spawned<Result<Envelope, CallError>>, bool),
    Stream(Box<Taken>),
    GivenUp,
}

impl Asked {
    fn has_ended(&self) -> bool {
        match self {
            Self::Call(call, _) => call.is_done(),
            Self::Stream(taken) => taken.end.is_some(),
            Self::GivenUp => true,
        }
    }
}

/// A stream, and what was taken of it.
struct Taken {
    replies: Replies<Envelope>,
    limited: bool,
    frames: usize,
    end: Option<Result<(), CallError>>,
}

/// A request as the server knows it.
struct Request {
    name: usize,
    route: u32,
    id: Option<u64>,
    sent: usize,
}

struct World {
    simulation: Simulation,
    client: Client,
    driver: Watched,
    driving: Spawned<CloseReason>,
    script: Script,
    server: Link,
    heard: Vec<u8>,
    requests: Vec<Request>,
    /// How many frames the streams had that the server has ended, by name.
    ended: VecDeque<(usize, usize)>,
    asked: Vec<Asked>,
    pushed: usize,
    listening: Spawned<Vec<Result<Envelope, Lagged>>>,
}

impl World {
    fn new(capacity: usize, slots: usize) -> Self {
        let simulation = Simulation::new();
        let (server, far) = link(capacity);
        let nonzero = |n| std::num::NonZeroUsize::new(n).unwrap();
        let limits = PushLimits::both(PushCapacity::new().with_frames(nonzero(slots)));
        let protocol = EnvelopeProtocol::default().with_stream_end(END);
        let app = WireframeApp::with_protocol(protocol).push_limits(limits);
        let script = far.script();
        let environment = simulation.environment();
        let (client, driver) = Client::new(&app.build().unwrap(), far, None, &environment);
        let driver = Watched(Arc::new(Mutex::new(driver)));
        let mut pushes = client.pushes();
        Self {
            driving: simulation.spawn(driver.clone()),
            listening: simulation.spawn(async move {
                let mut came = vec![];
                while let Some(push) = pushes.next().await {
                    came.push(push);
                }
                came
            }),
            simulation,
            client,
            driver,
            script,
            server,
            heard: vec![],
            requests: vec![],
            ended: VecDeque::new(),
            asked: vec![],
            pushed: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Call(time) => {
                let call = self.client.call(self.named(SINGLE));
                let call = match time {
                    Some(ms) => call.timeout(Duration::from_millis(*ms)),
                    None => call,
                };
                let call = self.simulation.spawn(call);
                self.asked.push(Asked::Call(call, time.is_some()));
            }
            Step::Accept => {
                let call = self.simulation.spawn(self.client.call(self.named(SINGLE)));
                let _ = call.poll();
                self.asked.push(Asked::Call(call, false));
                return;
            }
            Step::Stream(time, capacity) => {
                let capacity = std::num::NonZeroUsize::new(*capacity).unwrap();
                let capacity = PushCapacity::new().with_frames(capacity);
                let replies = self.client.call_streaming(self.named(STREAM));
                let replies = replies.capacity(capacity);
                let replies = match time {
                    Some(ms) => replies.deadline(self.now() + Duration::from_millis(*ms)),
                    None => replies,
                };
                self.asked.push(Asked::Stream(Box::new(Taken {
                    replies,
                    limited: time.is_some(),
                    frames: 0,
                    end: None,
                })));
            }
            Step::GiveUp(index) if !self.asked.is_empty() => {
                let name = index.index(self.asked.len());
                let asked = &mut self.asked[name];
                if let Asked::Call(call, _) = asked {
                    call.cancel();
                }
                *asked = Asked::GivenUp;
            }
            Step::Take(index, frames) if !self.asked.is_empty() => {
                let name = index.index(self.asked.len());
                self.consume(name, *frames);
            }
            Step::Answer(index, frames, end) if !self.requests.is_empty() => {
                let index = index.index(self.requests.len());
                self.answer(index, *frames, *end);
            }
            Step::Push => {
                let push = Envelope::new(PUSH, self.pushed.to_string());
                self.pushed += 1;
                self.send(&push);
            }
            Step::Wait(ms) => self.simulation.advance(Duration::from_millis(*ms)),
            Step::Stall(after) => self.script.write_fault(*after, Fault::Stall),
            Step::Release => self.script.release(),
            Step::GiveUp(_) | Step::Take(..) | Step::Answer(..) => {}
        }
        self.work();
    }

    fn now(&self) -> Instant {
        self.simulation.clock().clock().now()
    }

    /// A request with the name of the next call in it.
    fn named(&self, route: u32) -> Envelope {
        Envelope::new(route, self.asked.len().to_string())
    }

    fn work(&mut self) {
        loop {
            let polls = self.simulation.run();
            assert!(polls <= 500, "{polls} polls");
            let more = self.server.receive();
            if more.is_empty() {
                break;
            }
            self.heard.extend(more);
        }
        // What was given up, timed out or answered leaves no entry behind.
        let (waiting, pending) = lock(&self.driver.0).calls_pending();
        let open = self.asked.len() - self.asked.iter().filter(|asked| asked.has_ended()).count();
        assert!(waiting <= open && pending <= open);
        while let Some((len, rest)) = self.heard.split_first_chunk::<4>()
            && let Some(payload) = rest.get(..u32::from_be_bytes(*len) as usize)
        {
            let frame = Bytes::copy_from_slice(payload);
            self.heard.drain(..4 + frame.len());
            let meta = FragmentMeta::whole(frame.len() as u64);
            let frame = EnvelopeCodec.decode(&meta, frame).unwrap();
            self.requests.push(Request {
                name: std::str::from_utf8(&frame.payload)
                    .unwrap()
                    .parse()
                    .unwrap(),
                route: frame.id,
                id: frame.correlation_id,
                sent: 0,
            });
        }
    }

    fn send(&mut self, frame: &Envelope) {
        let mut buffer = EncodeBuffer::default();
        EnvelopeCodec
            .encode(frame, &mut buffer.frame_buf())
            .unwrap();
        let payload: Vec<u8> = buffer.chunks().flatten().copied().collect();
        let len = u32::try_from(payload.len()).unwrap();
        self.server
            .send(&[&len.to_be_bytes()[..], &payload].concat());
    }

    fn answer(&mut self, index: usize, frames: usize, end: bool) {
        let request = &mut self.requests[index];
        let (name, route, id) = (request.name, request.route, request.id);
        let from = request.sent;
        let count = if route == SINGLE { 1 } else { frames };
        request.sent += count;
        for n in from..from + count {
            let mut frame = Envelope::new(route, format!("{name}:{n}"));
            frame.correlation_id = id;
            self.send(&frame);
        }
        if route == STREAM && end {
            let mut frame = Envelope::new(END, "");
            frame.correlation_id = id;
            self.send(&frame);
            self.ended.push_back((name, from + count));
        }
        if route == SINGLE || end {
            self.requests.swap_remove(index);
        }
    }

    /// Takes frames of a stream, as many as there are.
    fn consume(&mut self, name: usize, frames: usize) {
        let Asked::Stream(taken) = &mut self.asked[name] else {
            return;
        };
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..frames {
            match Pin::new(&mut taken.replies).poll_next(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(frame))) => {
                    let expected = format!("{name}:{}", taken.frames);
                    assert_eq!((frame.id, frame.payload), (STREAM, expected.into()));
                    assert_eq!(taken.end, None);
                    taken.frames += 1;
                }
                Poll::Ready(Some(Err(error))) => {
                    assert_eq!(taken.end.replace(Err(error)), None);
                }
                Poll::Ready(None) => {
                    taken.end.get_or_insert(Ok(()));
                }
            }
        }
    }

    fn consume_all(&mut self) {
        for name in 0..self.asked.len() {
            self.consume(name, 1000);
        }
        self.work();
    }

    /// Everybody does what is left to do.
    fn finish_all(&mut self) {
        for _ in 0..100 {
            self.script.release();
            self.consume_all();
            while !self.requests.is_empty() {
                self.answer(0, 2, true);
            }
            self.work();
            if self.all_have_ended() {
                return;
            }
        }
    }

    fn all_have_ended(&self) -> bool {
        self.asked.iter().all(Asked::has_ended)
    }

    /// What each call came to, given why the connection ended, if it has.
    fn check(&self, reason: Option<&CloseReason>) {
        let may_fail = |error: &CallError, limited: bool| match error {
            CallError::TimedOut { .. } => limited,
            // A call that a draining connection refused does not know how that will end.
            CallError::Closed(why) => {
                Some(why) == reason
                    || (matches!(reason, Some(CloseReason::DrainTimedOut { .. }))
                        && *why == CloseReason::Drained)
            }
            _ => false,
        };
        for (name, asked) in self.asked.iter().enumerate() {
            match asked {
                Asked::Call(call, limited) => match call.take().expect("a call hangs") {
                    Ok(reply) => {
                        assert_eq!(
                            (reply.id, reply.payload),
                            (SINGLE, format!("{name}:0").into())
                        );
                    }
                    Err(error) => assert!(may_fail(&error, *limited), "{error}"),
                },
                Asked::Stream(taken) => match taken.end.as_ref().expect("a stream hangs") {
                    Ok(()) => assert!(self.ended.contains(&(name, taken.frames))),
                    Err(error) => assert!(may_fail(error, taken.limited), "{error}"),
                },
                Asked::GivenUp => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn each_reply_goes_to_its_own_call_or_nowhere_and_nothing_hangs_or_leaks(
        steps in prop::collection::vec(step(), 0..80),
        hasty in any::<bool>(),
        end in end(),
        capacity in 1..200usize,
        slots in 1..6usize,
    ) {
        // rule: CLI-1, CLI-2, CLI-3, CLI-4, CLI-5
        let mut world = World::new(capacity, slots);
        for step in &steps {
            world.take(step);
        }
        if hasty {
            world.take(&Step::Accept);
        }
        match end {
            End::AllAnswered => {
                world.finish_all();
                world.check(None);
                prop_assert_eq!(lock(&world.driver.0).calls_pending(), (0, 0));
                world.client.connection().abort();
            }
            End::PeerFinishes => world.server.finish(),
            End::PeerResets => {
                world.script.read_fault(0, Fault::Error(std::io::ErrorKind::ConnectionReset));
            }
            End::Abort => world.client.connection().abort(),
            End::Drain => world.client.connection().close(),
            End::DropDriver => {
                // A reset cannot be read while the input is held, an end of the process can.
                world.driving.cancel();
                drop(std::mem::replace(&mut world.driver, World::new(1, 1).driver));
            }
        }
        if !matches!(end, End::AllAnswered) {
            world.work();
            world.simulation.advance(Duration::from_secs(3));
            world.consume_all();
            world.consume_all();
            world.simulation.advance(Duration::from_secs(3));
            world.consume_all();
        }
        // A stream that nobody takes may keep an end from being read.
        for _ in 0..50 {
            world.script.release();
            world.consume_all();
            if world.driving.is_done() && world.all_have_ended() {
                break;
            }
        }
        world.server.finish();
        world.simulation.advance(Duration::from_secs(10));
        world.consume_all();
        if !matches!(end, End::AllAnswered) {
            let reason = match end {
                End::DropDriver => CloseReason::Aborted,
                _ => world.driving.take().expect("the connection does not end"),
            };
            world.check(Some(&reason));
            prop_assert_eq!(lock(&world.driver.0).calls_pending(), (0, 0));
        }
        let came = world.listening.take().expect("a listener hangs");
        let mut next = 0;
        for push in came {
            let push = push.unwrap();
            prop_assert_eq!((push.id, push.payload), (PUSH, next.to_string().into()));
            next += 1;
        }
        if matches!(end, End::AllAnswered) {
            prop_assert_eq!(next, world.pushed);
        }
        let clock = world.simulation.clock().clone();
        drop(world);
        prop_assert_eq!(clock.armed(), 0);
    }
}
