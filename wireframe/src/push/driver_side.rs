//! The calls of a mailbox that its driver makes.

use std::{collections::VecDeque, mem, task::Waker};

use wireframe_proto::{Accepted, Instant, Priority, Released};

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
    /// Which of these the dead letter queue took.
    pub(crate) buried: Buried,
}

/// Frames that the dead letter queue took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buried {
    /// Of those that could not be encoded.
    pub(crate) unencodable: u64,
    /// Of those that were left when the connection ended.
    pub(crate) ended: u64,
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
            buried: Buried::default(),
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
        inner.count_leaving();
        let before = batch.low.len();
        let calls = inner.calls.drain(..).map(|(at, call)| (before + at, call));
        batch.calls.extend(calls);
        inner.high.drain_into(&mut batch.high);
        inner.low.drain_into(&mut batch.low);
        self.filled.store(false, Ordering::Relaxed);
        any
    }

    /// Prepares to sleep: the bytes that are outstanding if the driver may, nothing if a
    /// frame or a command waits.
    ///
    /// If it may, the driver looks once more at its other sources of work, and calls
    /// [`Signal::resume`](super::Signal::resume) if it goes on after all. An idle
    /// mailbox gives its memory up here.
    ///
    /// The driver's timer is set for `armed`: it may not sleep past a token that somebody
    /// waits for.
    pub(crate) fn park(&self, waker: &Waker, armed: Option<Instant>) -> Option<usize> {
        if self.filled.load(Ordering::Relaxed) || self.control.seems_asked() {
            return None;
        }
        self.control.signal().park(waker);
        let mut inner = self.lock();
        let idle = inner.high.queue.is_empty() && inner.low.queue.is_empty();
        if idle {
            inner.high.shrink();
            inner.low.shrink();
        }
        let in_time = inner
            .rate
            .as_ref()
            .is_none_or(|rate| !rate.is_due_before(armed));
        let outstanding = inner.outstanding();
        drop(inner);
        let may_sleep = idle && in_time && !self.control.is_asked();
        if !may_sleep {
            self.control.signal().resume();
        }
        may_sleep.then_some(outstanding)
    }

    /// Bytes outstanding, for a driver that does not sleep.
    pub(crate) fn outstanding(&self) -> usize {
        self.lock().outstanding()
    }

    /// Takes note of what has been sent or lost, and gives the room to those who wait.
    pub(crate) fn settle(&self, settled: &Settled) {
        if settled.high.frames() == 0 && settled.low.frames() == 0 {
            return;
        }
        let Settled { high, low, buried } = settled;
        let mut wakers = Wakers::default();
        let now = self.token_time();
        let mut inner = self.lock();
        inner.high.release(high);
        inner.low.release(low);
        self.wake_ready(&mut inner, &Priority::ALL, now, &mut wakers);
        let counted = inner.counted();
        let (unencodable, ended) = (high.unencodable + low.unencodable, high.ended + low.ended);
        counted.sent += high.sent + low.sent;
        counted.dead_lettered += buried.unencodable + buried.ended;
        counted.lost_unencodable += unencodable.saturating_sub(buried.unencodable);
        counted.lost_closed += ended.saturating_sub(buried.ended);
        counted.unsent_at_end += ended;
        self.leave_lock(inner, now, wakers);
    }

    /// When the driver has to call [`wake_due`](Self::wake_due).
    pub(crate) fn alarm(&self) -> Option<Instant> {
        if !self.is_limited() {
            return None;
        }
        self.lock().rate.as_ref().and_then(|rate| rate.alarm())
    }

    /// Wakes those for whom there are tokens now.
    pub(crate) fn wake_due(&self, now: Instant) {
        if !self.is_limited() {
            return;
        }
        let mut inner = self.lock();
        let alarm = inner.rate.as_ref().and_then(|rate| rate.alarm());
        if alarm.is_none_or(|alarm| alarm > now) {
            return;
        }
        let mut wakers = Wakers::default();
        self.wake_ready(&mut inner, &Priority::ALL, Some(now), &mut wakers);
        self.leave_lock(inner, Some(now), wakers);
    }

    /// Takes nothing new from now on; what was accepted stays, those who wait are refused.
    pub(crate) fn close_to_new(&self) {
        let mut wakers = Wakers::default();
        let mut inner = self.lock();
        inner.close(&mut wakers);
        drop(inner);
        wakers.wake();
    }

    /// Ends the mailbox: takes nothing new, and hands over what is in it.
    ///
    /// That, and what the engine still has, is the driver's to [`settle`](Self::settle).
    pub(crate) fn end(&self) -> Batch<F> {
        let mut wakers = Wakers::default();
        let mut inner = self.lock();
        inner.close(&mut wakers);
        self.stop_awaiting_memory(&mut inner);
        inner.count_leaving();
        let leftovers = Batch {
            high: mem::take(&mut inner.high.queue),
            low: mem::take(&mut inner.low.queue),
            calls: mem::take(&mut inner.calls),
        };
        self.filled.store(false, Ordering::Relaxed);
        drop(inner);
        self.control.signal().retire();
        wakers.wake();
        leftovers
    }

    /// Queues a frame from within a hook, or gives it back. It takes no token.
    ///
    /// Hooks run inside the driver, which drains before it sleeps: nobody is woken.
    pub(crate) fn hook_push(&self, priority: Priority, frame: F) -> Result<(), F> {
        self.try_enter(priority, self.measure(frame), None)
            .map_err(|refused| self.count_refused(refused).into_frame())
    }
}
