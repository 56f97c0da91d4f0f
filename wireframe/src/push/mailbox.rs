//! The queues between those who push and the driver.

use std::fmt;

use wireframe_proto::{
    Accepted, CorrelationId, FairnessConfig, Instant, Priority, PushCapacity, RateLimit,
};

use super::{
    capacity::PushLimits,
    common::Common,
    control::Control,
    dead_letter::DeadLetterSender,
    error::{PushError, TryPushError},
    inner::Inner,
    lane::Wakers,
    rate::Rate,
    stats::PushStats,
};
use crate::{
    client::Slot,
    clock::Clock,
    sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, lock},
};

/// The queues between those who push on a connection and its driver.
///
/// One short critical section per push; measuring a frame, waking, and dropping frames
/// or wakers happen outside it; what it changes is in `inner`. The calls of the driver are
/// in `driver_side`, waiting is in `turn`, and what becomes of frames that find no room in
/// `disposal`.
pub(crate) struct Mailbox<F> {
    pub(super) control: Arc<Control>,
    pub(super) inner: Mutex<Inner<F>>,
    /// Set under the lock when a frame is queued, cleared under it when they are taken.
    /// Read without it, it is a hint; the look before the driver sleeps takes the lock.
    pub(super) filled: AtomicBool,
    pub(super) common: Arc<Common<F>>,
    /// Read outside the lock: it is foreign code.
    clock: Clock,
    /// Boxed, because most connections have none of it.
    pub(super) extras: Option<Box<Extras<F>>>,
}

/// A mailbox, whatever its frames are.
pub(crate) trait AnyMailbox: Send + Sync {
    fn control(&self) -> &Arc<Control>;

    /// That of the connection.
    fn clock(&self) -> &Clock;

    /// Frames of that priority on their way, those already encoded included.
    fn queued(&self, priority: Priority) -> usize;
}

impl<F: Send> AnyMailbox for Mailbox<F> {
    fn control(&self) -> &Arc<Control> {
        self.control()
    }

    fn clock(&self) -> &Clock {
        self.clock()
    }

    fn queued(&self, priority: Priority) -> usize {
        self.queued(priority)
    }
}

/// What only the mailbox of an app with a rate limit or a dead letter queue has.
pub(super) struct Extras<F> {
    is_limited: bool,
    pub(super) dead_letters: Option<DeadLetterSender<F>>,
}

/// A call that waits for the driver to begin it.
#[derive(Debug)]
pub(crate) struct QueuedCall<F> {
    /// The id that it is to have.
    pub(crate) id: Option<CorrelationId>,
    /// Where what answers it goes.
    pub(crate) slot: Slot<F>,
}

impl<F> Mailbox<F> {
    pub(crate) fn new(control: Arc<Control>, common: Arc<Common<F>>, clock: &Clock) -> Self {
        let PushLimits { high, low } = common.limits;
        Self {
            control,
            inner: Mutex::new(Inner::new(high, low)),
            filled: AtomicBool::new(false),
            common,
            clock: clock.clone(),
            extras: None,
        }
    }

    /// The same mailbox with what an app may have beyond that.
    pub(crate) fn with_extras(
        self,
        limit: Option<RateLimit>,
        fairness: &FairnessConfig,
        dead_letters: Option<DeadLetterSender<F>>,
    ) -> Self {
        if limit.is_none() && dead_letters.is_none() {
            return self;
        }
        let now = self.clock.now();
        let rate = |limit| Rate::new(limit, fairness.max_high_before_low, now);
        self.lock().rate = limit.map(rate).map(Box::new);
        let extras = Extras {
            is_limited: limit.is_some(),
            dead_letters,
        };
        Self {
            extras: Some(Box::new(extras)),
            ..self
        }
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn capacity(&self, priority: Priority) -> PushCapacity {
        self.lock().lane(priority).capacity()
    }

    pub(super) fn queued(&self, priority: Priority) -> usize {
        self.lock().lane(priority).queued()
    }

    pub(crate) fn is_closed(&self) -> bool {
        !self.lock().open
    }

    pub(crate) fn stats(&self) -> PushStats {
        let inner = self.lock();
        let queued = inner.high.queued() + inner.low.queued();
        let counted = inner
            .counted
            .as_ref()
            .map_or_else(PushStats::default, |counted| counted.stats);
        PushStats {
            accepted: counted.accepted + inner.waiting_here(),
            queued: queued as u64,
            ..counted
        }
    }

    pub(super) fn measure(&self, frame: F) -> Accepted<F> {
        let charge = self.common.encoding.encoded_len(&frame);
        Accepted::new(frame, charge)
    }

    pub(super) fn common(&self) -> &Arc<Common<F>> {
        &self.common
    }

    /// Whether pushes take tokens.
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.is_limited)
    }

    /// The time, where pushes take tokens. Ask before taking the lock.
    #[inline]
    pub(super) fn token_time(&self) -> Option<Instant> {
        match &self.extras {
            Some(extras) if extras.is_limited => Some(self.clock.now()),
            _ => None,
        }
    }

    /// Queues a frame if there is room, without waking the driver. It takes a token at
    /// the given time, and none at no time.
    pub(super) fn try_enter(
        &self,
        priority: Priority,
        accepted: Accepted<F>,
        now: Option<Instant>,
    ) -> Result<(), TryPushError<F>> {
        let mut inner = self.lock();
        if !inner.open {
            return Err(TryPushError::Closed(accepted.frame));
        }
        if !inner.lane(priority).admits(accepted.charge) || self.lacks_memory() {
            return Err(TryPushError::Full(accepted.frame));
        }
        if let Err(next) = inner.take_token(priority, false, now) {
            return Err(TryPushError::RateLimited {
                retry_after: next.saturating_duration_since(now.unwrap_or(next)),
                frame: accepted.frame,
            });
        }
        self.enter(&mut inner, priority, accepted);
        self.leave_lock(inner, now, Wakers::default());
        Ok(())
    }

    /// Queues a frame in a slot taken before; refused, it leaves the slot taken.
    pub(super) fn enter_reserved(&self, priority: Priority, frame: F) -> Result<(), PushError<F>> {
        let accepted = self.measure(frame);
        let mut inner = self.lock();
        if !inner.open {
            return Err(PushError::Closed(accepted.frame));
        }
        inner.lane(priority).enter_reserved(accepted);
        self.filled.store(true, Ordering::Relaxed);
        drop(inner);
        self.control.signal().unpark();
        Ok(())
    }

    /// Gives a slot and its token back.
    pub(super) fn unreserve(&self, priority: Priority) {
        let mut wakers = Wakers::default();
        let now = self.token_time();
        let mut inner = self.lock();
        inner.lane(priority).unreserve();
        if let Some(rate) = &mut inner.rate {
            rate.give_back();
        }
        self.wake_ready(&mut inner, &[priority], now, &mut wakers);
        self.leave_lock(inner, now, wakers);
    }

    /// Ends a critical section, and sees to what it has left to do.
    #[inline]
    pub(super) fn leave_lock(
        &self,
        inner: MutexGuard<'_, Inner<F>>,
        now: Option<Instant>,
        wakers: Wakers,
    ) {
        if now.is_none() {
            drop(inner);
            wakers.wake();
        } else {
            self.leave_limited(inner, now, wakers);
        }
    }

    /// The same where pushes take tokens.
    fn leave_limited(
        &self,
        mut inner: MutexGuard<'_, Inner<F>>,
        now: Option<Instant>,
        wakers: Wakers,
    ) {
        let waits = inner.first_fits() && !self.is_turned_away(&mut inner);
        let alarm_moved = inner.set_alarm(waits, now);
        drop(inner);
        wakers.wake();
        if alarm_moved {
            self.control.signal().unpark();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        lock(&self.inner)
    }

    #[inline]
    pub(super) fn enter(&self, inner: &mut Inner<F>, priority: Priority, accepted: Accepted<F>) {
        inner.lane(priority).enter(accepted);
        self.filled.store(true, Ordering::Relaxed);
    }
}

impl<F> fmt::Debug for Mailbox<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("connection", &self.control.id())
            .finish_non_exhaustive()
    }
}
