//! Random programs against a model: sums, bounds, order, and nobody left asleep.

use proptest::{collection::vec, prelude::*};
use std::{num::NonZeroU32, time::Duration};

use wireframe_proto::{
    ConnectionId, Instant, Peer,
    Priority::{self, High, Low},
    RateLimit, Released, TokenBucket,
};

use super::{Frame, Rig, Task, settled, sized};
use crate::{
    push::{Permit, Push, PushError, PushPolicy, PushStats, Pushed, Reserve, TryPushError},
    rt::Timer,
    testing::ManualClock,
};

#[derive(Clone, Copy, Debug)]
enum Op {
    Try(Priority, usize),
    Hook(Priority, usize),
    Policy(Priority, usize, PushPolicy),
    Push(Priority, usize),
    Reserve(Priority),
    /// Polls or drops the n-th future that lives, woken or not.
    PollFuture(usize),
    DropFuture(usize),
    UsePermit(usize, usize),
    DropPermit(usize),
    Drain,
    /// Of up to so many frames, each third is unencodable.
    Settle(Priority, usize),
    /// So many milliseconds pass.
    Advance(u64),
    /// The driver looks whether a token is due.
    WakeDue,
    Close,
    End,
}

fn op() -> impl Strategy<Value = Op> {
    let priority = || prop_oneof![Just(High), Just(Low)];
    let size = || 0..14_usize;
    let nth = || 0..8_usize;
    let policy = prop_oneof![
        Just(PushPolicy::ReturnErrorIfFull),
        Just(PushPolicy::DropIfFull),
        Just(PushPolicy::WarnAndDropIfFull),
    ];
    prop_oneof![
        6 => (priority(), size()).prop_map(|(p, s)| Op::Try(p, s)),
        2 => (priority(), size()).prop_map(|(p, s)| Op::Hook(p, s)),
        3 => (priority(), size(), policy).prop_map(|(p, s, policy)| Op::Policy(p, s, policy)),
        12 => (priority(), size()).prop_map(|(p, s)| Op::Push(p, s)),
        4 => priority().prop_map(Op::Reserve),
        8 => nth().prop_map(Op::PollFuture),
        4 => nth().prop_map(Op::DropFuture),
        3 => (nth(), size()).prop_map(|(n, s)| Op::UsePermit(n, s)),
        2 => nth().prop_map(Op::DropPermit),
        6 => Just(Op::Drain),
        10 => (priority(), 1..5_usize).prop_map(|(p, n)| Op::Settle(p, n)),
        4 => (0..400_u64).prop_map(Op::Advance),
        4 => Just(Op::WakeDue),
        1 => Just(Op::Close),
        1 => Just(Op::End),
    ]
}

enum Waiting<'a> {
    Push(Priority, u32, usize, Task<Push<'a, Frame>>),
    Reserve(Priority, Task<Reserve<'a, Frame>>),
}

impl Waiting<'_> {
    fn wakes(&self) -> usize {
        match self {
            Self::Push(_, _, _, task) => task.wakes(),
            Self::Reserve(_, task) => task.wakes(),
        }
    }
}

/// What the mailbox must agree with, for one priority.
#[derive(Default)]
struct Lane {
    /// Accepted and neither sent nor lost, oldest first: id and size.
    outstanding: std::collections::VecDeque<(u32, usize)>,
    permits: usize,
}

struct Model<'a> {
    handle: &'a crate::push::PushHandle<Frame>,
    frames: usize,
    bytes: usize,
    lanes: [Lane; 2],
    stats: PushStats,
    open: bool,
    waiting: Vec<(usize, Waiting<'a>)>,
    permits: Vec<(Priority, Permit<Frame>)>,
    next_id: u32,
    clock: ManualClock,
    /// The tokens, where pushes take any.
    bucket: Option<TokenBucket>,
}

impl<'a> Model<'a> {
    fn has_token(&mut self) -> bool {
        let now = self.clock.now();
        let bucket = self.bucket.as_mut();
        bucket.is_none_or(|bucket| bucket.available(now) > 0)
    }

    fn take_token(&mut self) {
        let now = self.clock.now();
        if let Some(bucket) = &mut self.bucket {
            assert_eq!(bucket.try_take(now), Ok(()), "passed its limit");
        }
    }

    fn lane(&mut self, priority: Priority) -> &mut Lane {
        &mut self.lanes[usize::from(priority == Low)]
    }

    fn fits(&mut self, priority: Priority, size: usize) -> bool {
        let (frames, bytes) = (self.frames, self.bytes);
        let lane = self.lane(priority);
        let used: usize = lane.outstanding.iter().map(|(_, size)| size).sum();
        let count = lane.outstanding.len() + lane.permits;
        count < frames && (count == 0 || used + size.max(1) <= bytes)
    }

    fn frame(&mut self, size: usize) -> Frame {
        self.next_id += 1;
        sized(self.next_id, size)
    }

    fn accepted(&mut self, priority: Priority, id: u32, size: usize) {
        assert!(self.open);
        assert!(self.fits(priority, size), "passed its bound");
        self.take_token();
        self.enter(priority, id, size);
    }

    fn enter(&mut self, priority: Priority, id: u32, size: usize) {
        self.lane(priority).outstanding.push_back((id, size));
        self.stats.accepted += 1;
    }

    /// Full is right if there is no room, or somebody was there first.
    fn full(&mut self, priority: Priority, size: usize) {
        assert!(self.open);
        let somebody_waits = self.waiting.iter().any(|(_, waiting)| match waiting {
            Waiting::Push(p, ..) | Waiting::Reserve(p, _) => *p == priority,
        });
        assert!(
            somebody_waits || !self.fits(priority, size),
            "there was room"
        );
    }

    fn tried(
        &mut self,
        priority: Priority,
        id: u32,
        size: usize,
        result: Result<(), TryPushError<Frame>>,
    ) {
        match result {
            Ok(()) => self.accepted(priority, id, size),
            Err(TryPushError::Full(frame)) => {
                assert_eq!(frame, sized(id, size));
                self.full(priority, size);
            }
            Err(TryPushError::Closed(frame)) => {
                assert_eq!(frame, sized(id, size));
                assert!(!self.open);
            }
            Err(TryPushError::RateLimited { frame, retry_after }) => {
                assert_eq!(frame, sized(id, size));
                assert!(self.open && self.fits(priority, size));
                self.limited(retry_after);
            }
        }
    }

    /// The next token is there after that time, and not before.
    fn limited(&mut self, retry_after: Duration) {
        let now = self.clock.now();
        let bucket = self.bucket.as_mut().expect("there is no limit");
        assert_eq!(bucket.try_take(now), Err(now + retry_after));
    }

    /// Polls a future; it stays if it has to wait.
    fn poll(&mut self, waiting: Waiting<'a>) {
        match waiting {
            Waiting::Push(priority, id, size, mut task) => match task.poll() {
                std::task::Poll::Ready(Ok(())) => self.accepted(priority, id, size),
                std::task::Poll::Ready(Err(PushError::Closed(frame))) => {
                    assert_eq!(frame, sized(id, size));
                    assert!(!self.open);
                }
                std::task::Poll::Pending => {
                    assert!(self.open);
                    let seen = task.wakes();
                    self.waiting
                        .push((seen, Waiting::Push(priority, id, size, task)));
                }
            },
            Waiting::Reserve(priority, mut task) => match task.poll() {
                std::task::Poll::Ready(Ok(permit)) => {
                    assert!(self.open && self.fits(priority, 0));
                    self.take_token();
                    self.lane(priority).permits += 1;
                    self.permits.push((priority, permit));
                }
                std::task::Poll::Ready(Err(PushError::Closed(()))) => assert!(!self.open),
                std::task::Poll::Pending => {
                    assert!(self.open);
                    self.waiting
                        .push((task.wakes(), Waiting::Reserve(priority, task)));
                }
            },
        }
    }

    fn settle(&mut self, rig: &mut Rig, priority: Priority, count: usize) {
        let queue = rig.queue(priority);
        let mut released = Released::default();
        for (index, accepted) in queue.drain(..count.min(queue.len())).enumerate() {
            let oldest = self.lane(priority).outstanding.pop_front();
            assert_eq!(oldest, Some((accepted.frame.id, accepted.charge)), "order");
            released.bytes += accepted.charge;
            if index % 3 == 2 {
                released.unencodable += 1;
                self.stats.lost_unencodable += 1;
            } else {
                released.sent += 1;
                self.stats.sent += 1;
            }
        }
        rig.mailbox.settle(&settled(priority, released));
    }

    /// What is left, here and in the engine, is the driver's to report.
    fn end(&mut self, rig: &mut Rig) {
        self.open = false;
        let leftovers = rig.mailbox.end();
        rig.mailbox.settle(&leftovers.as_ended());
        for (priority, mailbox) in [(High, leftovers.high), (Low, leftovers.low)] {
            let engine = std::mem::take(rig.queue(priority));
            let released = Released {
                ended: engine.len() as u64,
                bytes: engine.iter().map(|accepted| accepted.charge).sum(),
                ..Released::default()
            };
            rig.mailbox.settle(&settled(priority, released));
            for accepted in engine.into_iter().chain(mailbox) {
                let oldest = self.lane(priority).outstanding.pop_front();
                assert_eq!(oldest, Some((accepted.frame.id, accepted.charge)), "order");
                self.stats.lost_closed += 1;
                self.stats.unsent_at_end += 1;
            }
            assert!(self.lane(priority).outstanding.is_empty());
        }
    }

    fn drop_permit(&mut self, priority: Priority, permit: Permit<Frame>) {
        self.lane(priority).permits -= 1;
        if let Some(bucket) = &mut self.bucket {
            bucket.give_back();
        }
        drop(permit);
    }

    fn step(&mut self, rig: &mut Rig, op: Op) {
        match op {
            Op::Try(priority, size) => {
                let frame = self.frame(size);
                let id = frame.id;
                let result = self.handle.try_push(priority, frame);
                self.tried(priority, id, size, result);
            }
            Op::Hook(priority, size) => {
                let frame = self.frame(size);
                let id = frame.id;
                match rig.mailbox.hook_push(priority, frame) {
                    Ok(()) => {
                        assert!(self.open && self.fits(priority, size));
                        self.enter(priority, id, size);
                    }
                    Err(frame) => assert_eq!(frame, sized(id, size)),
                }
            }
            Op::Policy(priority, size, policy) => {
                let frame = self.frame(size);
                let id = frame.id;
                match self.handle.push_with_policy(priority, frame, policy) {
                    Ok(Pushed::Dropped) => {
                        if self.has_token() {
                            self.full(priority, size);
                        }
                        assert_ne!(policy, PushPolicy::ReturnErrorIfFull);
                        self.stats.accepted += 1;
                        self.stats.lost_policy += 1;
                    }
                    Ok(Pushed::DeadLettered) => panic!("there is no dead letter queue"),
                    Ok(Pushed::Queued) => self.tried(priority, id, size, Ok(())),
                    Err(error) => self.tried(priority, id, size, Err(error)),
                }
            }
            Op::Push(priority, size) => {
                let frame = self.frame(size);
                let id = frame.id;
                let task = Task::new(self.handle.push(priority, frame));
                self.poll(Waiting::Push(priority, id, size, task));
            }
            Op::Reserve(priority) => {
                let task = Task::new(self.handle.reserve(priority));
                self.poll(Waiting::Reserve(priority, task));
            }
            Op::PollFuture(nth) if nth < self.waiting.len() => {
                let (_, waiting) = self.waiting.remove(nth);
                self.poll(waiting);
            }
            Op::DropFuture(nth) if nth < self.waiting.len() => drop(self.waiting.remove(nth)),
            Op::UsePermit(nth, size) if nth < self.permits.len() => {
                let (priority, permit) = self.permits.remove(nth);
                self.lane(priority).permits -= 1;
                let frame = self.frame(size);
                let id = frame.id;
                match permit.send(frame) {
                    Ok(()) => self.enter(priority, id, size),
                    Err(PushError::Closed(frame)) => {
                        assert_eq!(frame, sized(id, size));
                        assert!(!self.open);
                    }
                }
            }
            Op::DropPermit(nth) if nth < self.permits.len() => {
                let (priority, permit) = self.permits.remove(nth);
                self.drop_permit(priority, permit);
            }
            Op::PollFuture(_) | Op::DropFuture(_) | Op::UsePermit(..) | Op::DropPermit(_) => {}
            Op::Drain => drop(rig.drain()),
            Op::Settle(priority, count) => self.settle(rig, priority, count),
            Op::Advance(millis) => self.clock.advance(Duration::from_millis(millis)),
            Op::WakeDue => rig.mailbox.wake_due(self.clock.now()),
            Op::Close => {
                self.open = false;
                rig.mailbox.close_to_new();
            }
            Op::End => self.end(rig),
        }
        self.check();
    }

    fn check(&mut self) {
        let queued: usize = self.lanes.iter().map(|lane| lane.outstanding.len()).sum();
        self.stats.queued = queued as u64;
        let stats = self.handle.stats();
        assert_eq!(stats, self.stats);
        assert_eq!(
            stats.accepted,
            stats.sent
                + stats.lost_policy
                + stats.lost_unencodable
                + stats.lost_closed
                + stats.queued
        );
        if !self.open {
            assert!(
                self.waiting.iter().all(|(seen, w)| w.wakes() > *seen),
                "close wakes all"
            );
        }
    }

    /// Everyone polls when woken and only then; the peer takes all. Nobody may be left.
    fn finish(&mut self, rig: &mut Rig) {
        loop {
            while let Some(woken) = self.waiting.iter().position(|(seen, w)| w.wakes() > *seen) {
                let (_, waiting) = self.waiting.remove(woken);
                self.poll(waiting);
                self.check();
            }
            rig.drain();
            if rig.batch.high.is_empty() && rig.batch.low.is_empty() && self.permits.is_empty() {
                // Who waits now waits for a token, and the driver knows for which.
                let Some(alarm) = rig.mailbox.alarm() else {
                    break;
                };
                let now = self.clock.now();
                self.clock.advance(alarm.saturating_duration_since(now));
                rig.mailbox.wake_due(alarm.max(now));
                continue;
            }
            for priority in Priority::ALL {
                self.settle(rig, priority, usize::MAX);
            }
            for (priority, permit) in std::mem::take(&mut self.permits) {
                self.drop_permit(priority, permit);
            }
            self.check();
        }
        assert!(
            self.waiting.is_empty(),
            "somebody sleeps beside an empty queue"
        );
        assert_eq!(self.stats.queued, 0);
    }
}

proptest! {
    #[test]
    fn nothing_vanishes_and_nobody_is_left_asleep(
        frames in 1..5_usize,
        bytes in 1..20_usize,
        limit in proptest::option::of((1..40_u32, 1..4_u32)),
        program in vec(op(), 0..120),
    ) {
        // rule: PUSH-1, PUSH-2, PUSH-3, PUSH-5, PUSH-6, PUSH-9, RATE-1, RATE-2, HOOK-4
        let of = |n| NonZeroU32::new(n).unwrap();
        let limit = limit.map(|(rate, burst)| RateLimit::per_second(of(rate)).with_burst(of(burst)));
        let peer = Peer::client_of(ConnectionId(7));
        let mut rig = Rig::with(&peer, frames, bytes, limit, None);
        let handle = rig.handle.clone();
        let mut model = Model {
            handle: &handle,
            frames,
            bytes,
            lanes: Default::default(),
            stats: PushStats::default(),
            open: true,
            waiting: Vec::new(),
            permits: Vec::new(),
            next_id: 0,
            clock: rig.clock.clone(),
            bucket: limit.map(|limit| TokenBucket::new(limit, Instant::ZERO)),
        };
        for op in program {
            model.step(&mut rig, op);
        }
        model.finish(&mut rig);
    }
}
