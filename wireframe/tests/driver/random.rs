//! Any program against any transport: nothing vanishes, nothing spins, nothing sleeps
//! beside work.

use std::{io, time::Duration};

use proptest::prelude::*;
use wireframe::{
    Clock, CloseReason, Priority, PushCapacity, PushHandle, PushLimits, PushPolicy, Response,
    WireframeApp, testing::Fault,
};

use crate::rig::{Line, Oops, Rig, Text, config, line, lines, nonzero, secs, text, wire};

const SECOND: Duration = Duration::from_secs(1);

/// One step of a program.
#[derive(Clone, Debug)]
enum Step {
    Ask(u8),
    /// Sends so many bytes of what the peer has to say.
    Send(usize),
    Push(Priority, &'static str),
    Take(usize),
    Wait(u64),
    WriteSizes(Vec<usize>),
    ReadSizes(Vec<usize>),
    Stall(usize),
    StallFlush,
    Release,
    Burst(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = || prop::collection::vec(1..40usize, 0..4);
    let priority = prop_oneof![Just(Priority::High), Just(Priority::Low)];
    let frame = prop_oneof![4 => Just("!fine"), 1 => Just("!unencodable?"), 1 => Just("!a longer frame, for once")];
    prop_oneof![
        6 => (1..=6u8).prop_map(Step::Ask),
        2 => (1..50usize).prop_map(Step::Send),
        4 => (priority, frame).prop_map(|(priority, frame)| Step::Push(priority, frame)),
        4 => (1..200usize).prop_map(Step::Take),
        3 => (0..50u64).prop_map(Step::Wait),
        1 => sizes().prop_map(Step::WriteSizes),
        1 => sizes().prop_map(Step::ReadSizes),
        1 => (0..40usize).prop_map(Step::Stall),
        1 => Just(Step::StallFlush),
        2 => Just(Step::Release),
        1 => (1..60u8).prop_map(Step::Burst),
    ]
}

/// How the connection ends after the program.
#[derive(Clone, Copy, Debug)]
enum End {
    Drain,
    PeerFinishes,
    ReadError(usize),
    WriteError(usize),
    ZeroWrite(usize),
    PeerGone,
    PeerStalls,
    Abort,
    DropDriver,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Drain),
        4 => Just(End::PeerFinishes),
        1 => (0..30usize).prop_map(End::ReadError),
        1 => (0..30usize).prop_map(End::WriteError),
        1 => (0..30usize).prop_map(End::ZeroWrite),
        1 => Just(End::PeerGone),
        1 => Just(End::PeerStalls),
        1 => Just(End::Abort),
        1 => Just(End::DropDriver),
    ]
}

fn app(protocol: &Text, in_flight: usize, slots: usize) -> WireframeApp<Text> {
    let capacity = PushCapacity::new()
        .with_frames(nonzero(slots))
        .with_bytes(nonzero(60));
    text(protocol)
        .push_limits(PushLimits::both(capacity))
        .config(config(|c| {
            c.limits.max_in_flight = Some(nonzero(in_flight));
            c.limits.max_held_back = nonzero(4);
            c.limits.high_water = nonzero(64);
        }))
        .route(1, async || "at once")
        .route(2, async |clock: Clock| {
            clock.sleep(Duration::from_millis(30)).await;
            "later"
        })
        .route(3, async || {
            Response::<Line, Oops>::frames(async_stream::stream! {
                for n in 0..10 {
                    yield line(format!("3:{n}"));
                }
            })
        })
        .route(4, async |clock: Clock| {
            Response::<Line, Oops>::stream(async_stream::stream! {
                yield Ok(line("4:first"));
                clock.sleep(Duration::from_millis(5)).await;
                Err(Oops("sorry"))?;
            })
        })
        .route(5, async |push: PushHandle<Line>| {
            push.push_low_priority(line("!from a handler")).await.ok();
            "pushed"
        })
        .route(6, async || Err::<(), _>(Oops("no")))
}

fn answer(route: u8) -> Vec<String> {
    match route {
        1 => vec!["1:at once".into()],
        2 => vec!["2:later".into()],
        3 => (0..10).map(|n| format!("3:{n}")).collect(),
        4 => vec!["4:first".into(), "error: sorry".into()],
        5 => vec!["5:pushed".into()],
        _ => vec!["error: no".into()],
    }
}

struct Run {
    rig: Rig,
    protocol: Text,
    /// What the peer has to say, and has not sent.
    unsent: Vec<u8>,
    received: Vec<u8>,
    expected: Vec<String>,
}

impl Run {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Ask(route) => {
                self.expected.extend(answer(*route));
                self.unsent.extend(wire(&route.to_string()));
                self.send(self.unsent.len());
            }
            Step::Send(n) => {
                self.expected.extend(answer(1));
                self.unsent.extend(wire("1"));
                self.send((*n).min(self.unsent.len()));
            }
            Step::Push(priority, frame) => {
                let policy = PushPolicy::DropIfFull;
                let pushed = self
                    .rig
                    .push
                    .push_with_policy(*priority, line(*frame), policy);
                assert!(pushed.is_ok());
            }
            Step::Take(n) => {
                let bytes = self.rig.peer.receive_at_most(*n);
                self.received.extend(bytes);
            }
            Step::Wait(millis) => self.rig.advance(Duration::from_millis(*millis)),
            Step::WriteSizes(sizes) => self.rig.script.write_sizes(sizes.clone()),
            Step::ReadSizes(sizes) => self.rig.script.read_sizes(sizes.clone()),
            Step::Stall(after) => self.rig.script.write_fault(*after, Fault::Stall),
            Step::StallFlush => self.rig.script.stall_flush(),
            Step::Release => self.rig.script.release(),
            Step::Burst(n) => {
                for _ in 0..*n {
                    self.take(&Step::Push(Priority::Low, "!fine"));
                }
            }
        }
        self.settle();
    }

    fn send(&mut self, n: usize) {
        let rest = self.unsent.split_off(n);
        let now = std::mem::replace(&mut self.unsent, rest);
        self.rig.peer.send(&now);
    }

    /// Lets the driver work, and asserts that it then has nothing more to do.
    fn settle(&mut self) {
        let polls = self.rig.simulation.run();
        assert!(polls <= 100, "{polls} polls");
        self.rig.check_account();
        let state = |rig: &Rig| {
            (
                rig.script.writes().len(),
                rig.script.flushes(),
                rig.push.stats(),
            )
        };
        let before = state(&self.rig);
        let _ = self.rig.driver.poll();
        self.rig.simulation.run();
        assert_eq!(before, state(&self.rig), "it slept beside work");
    }

    /// The peer takes all there is, for so long.
    fn listen(&mut self, time: Duration) {
        self.rig.script.release();
        self.send(self.unsent.len());
        for _ in 0..50 {
            loop {
                self.settle();
                let more = self.rig.peer.receive();
                if more.is_empty() {
                    break;
                }
                self.received.extend(more);
            }
            self.rig.advance(time / 50);
        }
    }

    /// Everything was answered and everything accepted was sent.
    fn check_all_sent(&self, reason: &CloseReason) {
        let (pushes, answers): (Vec<_>, Vec<_>) = lines(&self.received)
            .into_iter()
            .partition(|line| line.starts_with('!'));
        assert_eq!(answers, self.expected);
        let stats = self.rig.push.stats();
        assert_eq!((stats.queued, stats.lost_closed), (0, 0), "{reason}");
        assert_eq!(stats.sent, pushes.len() as u64);
    }

    fn end(&mut self, end: End) -> Option<CloseReason> {
        let rig = &mut self.rig;
        match end {
            End::Drain => {
                self.listen(4 * SECOND);
                self.rig.push.connection().close();
                self.listen(SECOND);
                self.rig.peer.finish();
                self.settle();
                self.check_all_sent(&CloseReason::Drained);
                return Some(CloseReason::Drained);
            }
            End::PeerFinishes => {
                rig.script.release();
                self.send(self.unsent.len());
                self.rig.peer.finish();
                self.listen(4 * SECOND);
                self.check_all_sent(&CloseReason::PeerClosed);
                return Some(CloseReason::PeerClosed);
            }
            End::ReadError(after) => {
                let reset = Fault::Error(io::ErrorKind::ConnectionReset);
                rig.script.read_fault(after, reset);
                self.unsent
                    .extend(wire("1 so many bytes are read for sure"));
            }
            End::WriteError(after) => {
                rig.script
                    .write_fault(after, Fault::Error(io::ErrorKind::BrokenPipe));
            }
            End::ZeroWrite(after) => rig.script.write_fault(after, Fault::Zero),
            End::PeerGone => rig.peer = wireframe::testing::link(1).0,
            End::PeerStalls => rig.advance(secs(100)),
            End::Abort => rig.push.connection().abort(),
            End::DropDriver => rig.driver.cancel(),
        }
        None
    }
}

proptest! {
    #[test]
    fn nothing_vanishes_spins_or_sleeps_beside_work(
        steps in prop::collection::vec(step(), 0..60),
        end in end(),
        capacity in 1..100usize,
        in_flight in 1..4usize,
        slots in 1..6usize,
        vectored: bool,
    ) {
        // rule: PUSH-9, RESP-4, RESP-11, HOOK-2
        let protocol = Text::default();
        let rig = Rig::with_capacity(app(&protocol, in_flight, slots), capacity);
        rig.script.set_vectored(vectored);
        let mut run = Run {
            rig,
            protocol,
            unsent: Vec::new(),
            received: Vec::new(),
            expected: Vec::new(),
        };
        for step in &steps {
            run.take(step);
        }
        let reason = run.end(end);
        run.settle();
        if reason.is_none() && !run.rig.driver.is_done() {
            // What was to go wrong did not come to it, or is waited for.
            run.rig.simulation.advance(secs(40));
            run.rig.push.connection().abort();
            run.settle();
        }
        prop_assert!(run.rig.driver.is_done());
        if reason.is_some() {
            prop_assert_eq!(run.rig.driver.take(), reason);
        }
        run.rig.check_account();
        prop_assert_eq!(run.rig.push.stats().queued, 0);
        prop_assert_eq!(run.rig.simulation.clock().armed(), 0);
        let record = run.protocol.record.take();
        let count = |hook: &str| record.iter().filter(|noted| noted.starts_with(hook)).count();
        prop_assert_eq!(count("disconnect"), 1);
        prop_assert!(record.last().is_some_and(|last| last.starts_with("disconnect")));
    }
}
