//! Tests without a runtime: futures are polled by hand, wakers count.

mod accounting;
mod bounds;
mod closing;
mod dead_letters;
mod driver;
mod memory;
mod rate;
mod stress;
mod waiting;

use std::{
    collections::VecDeque,
    future::Future,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use wireframe_proto::{
    Accepted, ConnectionId, FairnessConfig, Peer, Priority, PushCapacity, RateLimit, Released,
};

use super::{Batch, Common, Control, DeadLetterSender, Mailbox, PushHandle, PushLimits, Settled};
use crate::{budget::MemoryBudget, testing::ManualClock};

/// Neither `Clone` nor `Copy`, as a frame may be.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    id: u32,
    size: usize,
}

fn frame(id: u32) -> Frame {
    sized(id, 1)
}

fn sized(id: u32, size: usize) -> Frame {
    Frame { id, size }
}

/// A mailbox and the driver's part in it.
struct Rig {
    mailbox: Arc<Mailbox<Frame>>,
    handle: PushHandle<Frame>,
    batch: Batch<Frame>,
    clock: ManualClock,
}

impl Rig {
    fn new(frames: usize, bytes: usize) -> Self {
        Self::of(&Peer::client_of(ConnectionId(7)), frames, bytes)
    }

    fn of(peer: &Peer, frames: usize, bytes: usize) -> Self {
        Self::with(peer, frames, bytes, None, None)
    }

    /// With a rate limit, and every third token of those for waiters a low one's.
    fn limited(frames: usize, limit: RateLimit) -> Self {
        let peer = Peer::client_of(ConnectionId(7));
        Self::with(&peer, frames, 1 << 20, Some(limit), None)
    }

    fn with(
        peer: &Peer,
        frames: usize,
        bytes: usize,
        limit: Option<RateLimit>,
        dead_letters: Option<DeadLetterSender<Frame>>,
    ) -> Self {
        Self::within(
            &MemoryBudget::default(),
            peer,
            frames,
            bytes,
            limit,
            dead_letters,
        )
    }

    fn within(
        budget: &MemoryBudget,
        peer: &Peer,
        frames: usize,
        bytes: usize,
        limit: Option<RateLimit>,
        dead_letters: Option<DeadLetterSender<Frame>>,
    ) -> Self {
        let clock = ManualClock::new();
        let mut fairness = FairnessConfig::default();
        fairness.max_high_before_low = 2;
        let capacity = PushCapacity::new()
            .with_frames(NonZeroUsize::new(frames).unwrap())
            .with_bytes(NonZeroUsize::new(bytes).unwrap());
        let mailbox = Mailbox::new(
            Arc::new(Control::new(peer)),
            Arc::new(Common {
                encoding: Box::new(|frame: &Frame| frame.size),
                limits: PushLimits::both(capacity),
                budget: budget.clone(),
            }),
            &clock.clock(),
        );
        let mailbox = mailbox.with_extras(limit, &fairness, dead_letters);
        let mailbox = Arc::new(mailbox);
        Self {
            clock,
            handle: PushHandle::new(Arc::clone(&mailbox)),
            mailbox,
            batch: Batch::default(),
        }
    }

    /// Takes what was pushed, as the engine does.
    fn drain(&mut self) -> bool {
        self.mailbox.drain_into(&mut self.batch)
    }

    fn queue(&mut self, priority: Priority) -> &mut VecDeque<Accepted<Frame>> {
        match priority {
            Priority::High => &mut self.batch.high,
            Priority::Low => &mut self.batch.low,
        }
    }

    /// Takes what was pushed and sends up to `count` frames of one priority.
    fn send(&mut self, priority: Priority, count: usize) -> Vec<u32> {
        self.drain();
        let queue = self.queue(priority);
        let sent: Vec<_> = queue.drain(..count.min(queue.len())).collect();
        let released = Released {
            sent: sent.len() as u64,
            bytes: sent.iter().map(|accepted| accepted.charge).sum(),
            ..Released::default()
        };
        self.mailbox.settle(&settled(priority, released));
        sent.iter().map(|accepted| accepted.frame.id).collect()
    }
}

fn settled(priority: Priority, released: Released) -> Settled {
    match priority {
        Priority::High => Settled {
            high: released,
            ..Settled::default()
        },
        Priority::Low => Settled {
            low: released,
            ..Settled::default()
        },
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counting_waker() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (Arc::clone(&wakes), Waker::from(wakes))
}

/// Panics when it wakes.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("told to");
    }
}

/// A future with a waker of its own.
struct Task<T> {
    future: Pin<Box<T>>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl<T: Future> Task<T> {
    fn new(future: T) -> Self {
        let (wakes, waker) = counting_waker();
        Self {
            future: Box::pin(future),
            wakes,
            waker,
        }
    }

    /// Polled once already, and found waiting.
    fn waiting(future: T) -> Self {
        let mut task = Self::new(future);
        assert!(task.poll().is_pending(), "found room");
        task
    }

    /// Polled once already, and found waiting, with a waker that panics.
    fn brittle(future: T) -> Self {
        let mut task = Self::new(future);
        task.waker = Waker::from(Arc::new(Panics));
        assert!(task.poll().is_pending(), "found room");
        task
    }

    fn poll(&mut self) -> Poll<T::Output> {
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }

    fn ready(&mut self) -> T::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("still waiting"),
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.count()
    }
}

fn now<T: Future>(future: T) -> T::Output {
    Task::new(future).ready()
}
