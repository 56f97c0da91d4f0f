//! The calls of a mailbox that its driver makes.

use std::{collections::VecDeque, task::Waker};

use wireframe_proto::{Accepted, Priority, Released};

use super::{
    lane::Wakers,
    mailbox::{Mailbox, QueuedCall},
};
use crate::sync::Ordering;

/// What has come to an end since the driver last told, by priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Of high pushes.
    pub(crate) high: Released,
    /// Of low pushes.
    pub(crate) low: Released,
}

/// Frames that have left the mailbox.
#[derive(Debug)]
pub(crate) struct Batch<F> {
    /// High pushes, oldest first.
    pub(crate) high: VecDeque<Accepted<F>>,
    /// Low pushes, oldest first.
    pub(crate) low: VecDeque<Accepted<F>>,
    /// Which of the low ones begin calls, by their place.
    pub(crate) calls: Vec<(usize, QueuedCall<F>)>,
}

impl<F> Default for Batch<F> {
    fn default() -> Self {
        Self {
            high: VecDeque::new(),
            low: VecDeque::new(),
            calls: Vec::new(),
        }
    }
}

impl<F> Batch<F> {
    /// What it gives back if all of it is lost because the connection ends.
    pub(crate) fn as_ended(&self) -> Settled {
        let ended = |frames: &VecDeque<Accepted<F>>| Released {
            ended: frames.len() as u64,
            bytes: frames
                .iter()
                .fold(0, |sum, accepted| sum.saturating_add(accepted.charge)),
            ..Released::default()
        };
        Settled {
            high: ended(&self.high),
            low: ended(&self.low),
        }
    }
}

impl<F> Mailbox<F> {
    /// Whether anything was pushed; costs one load.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// Moves all that was pushed to the end of `batch`, in order; says whether there was
    /// any.
    ///
    /// Costs one load when nothing was pushed. An empty queue is swapped, not filled.
    pub(crate) fn drain_into(&self, batch: &mut Batch<F>) -> bool {
        if !self.filled.load(Ordering::Relaxed) {
            return false;
        }
        let mut inner = self.lock();
        let any = !(inner.high.queue.is_empty() && inner.low.queue.is_empty());
        let before = batch.low.len();
        let calls = inner.calls.drain(..).map(|(at, call)| (before + at, call));
        batch.calls.extend(calls);
        inner.high.drain_into(&mut batch.high);
        inner.low.drain_into(&mut batch.low);
        self.filled.store(false, Ordering::Relaxed);
        any
    }

    /// Prepares to sleep: true if the driver may, false if a frame or a command waits.
    ///
    /// After true the driver looks once more at its other sources of work, and calls
    /// [`Signal::resume`](super::Signal::resume) if it goes on after all. An idle
    /// mailbox gives its memory up here.
    pub(crate) fn park(&self, waker: &Waker) -> bool {
        if self.filled.load(Ordering::Relaxed) || self.control.has_command() {
            return false;
        }
        self.control.signal().park(waker);
        let mut inner = self.lock();
        let idle = inner.high.queue.is_empty() && inner.low.queue.is_empty();
        if idle {
            inner.high.shrink();
            inner.low.shrink();
        }
        drop(inner);
        let may_sleep = idle && !self.control.has_command();
        if !may_sleep {
            self.control.signal().resume();
        }
        may_sleep
    }

    /// Takes note of what has been sent or lost, and gives the room to those who wait.
    pub(crate) fn settle(&self, settled: &Settled) {
        if settled.high.frames() == 0 && settled.low.frames() == 0 {
            return;
        }
        let Settled { high, low } = settled;
        let mut wakers = Wakers::default();
        let mut inner = self.lock();
        inner.high.release(high, &mut wakers);
        inner.low.release(low, &mut wakers);
        let counted = &mut inner.counted;
        counted.sent += high.sent + low.sent;
        counted.lost_unencodable += high.unencodable + low.unencodable;
        counted.lost_closed += high.ended + low.ended;
        drop(inner);
        wakers.wake();
    }

    /// Takes nothing new from now on; what was accepted stays, those who wait are refused.
    pub(crate) fn close_to_new(&self) {
        let mut wakers = Wakers::default();
        let mut inner = self.lock();
        inner.open = false;
        inner.high.wake_all(&mut wakers);
        inner.low.wake_all(&mut wakers);
        drop(inner);
        wakers.wake();
    }

    /// Ends the mailbox: takes nothing new, counts what is in it as lost and hands it over.
    ///
    /// What the engine still has is the driver's to [`settle`](Self::settle) as closed.
    pub(crate) fn end(&self) -> Batch<F> {
        let mut wakers = Wakers::default();
        let mut inner = self.lock();
        inner.open = false;
        let leftovers = Batch {
            high: inner.high.take_all(&mut wakers),
            low: inner.low.take_all(&mut wakers),
            calls: std::mem::take(&mut inner.calls),
        };
        let lost = leftovers.high.len() + leftovers.low.len();
        inner.counted.lost_closed += lost as u64;
        self.filled.store(false, Ordering::Relaxed);
        drop(inner);
        self.control.signal().retire();
        wakers.wake();
        leftovers
    }

    /// Queues a frame from within a hook, or gives it back.
    ///
    /// Hooks run inside the driver, which drains before it sleeps: nobody is woken.
    pub(crate) fn hook_push(&self, priority: Priority, frame: F) -> Result<(), F> {
        self.try_enter(priority, frame)
            .map_err(super::TryPushError::into_frame)
    }
}
