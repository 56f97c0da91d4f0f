//! The queues between those who push and the driver.

use std::{
    fmt,
    task::{Context, Poll, Waker},
};

use wireframe_proto::{
    Accepted, CorrelationId, FairnessConfig, Instant, Priority, PushCapacity, RateLimit,
};

use super::{
    capacity::PushLimits,
    control::Control,
    dead_letter::{DeadLetter, DeadLetterReason, DeadLetterSender},
    encoding::Encoding,
    error::{PushError, TryPushError},
    lane::{Lane, Wakers},
    policy::{PushPolicy, Pushed},
    rate::Rate,
    stats::PushStats,
    waiters::Key,
};
use crate::{
    client::ReplySlot,
    clock::Clock,
    sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, lock},
};

/// The queues between those who push on a connection and its driver.
///
/// One short critical section per push; measuring a frame, waking, and dropping frames
/// or wakers happen outside it. The calls of the driver are in `driver_side`.
pub(crate) struct Mailbox<F> {
    pub(super) control: Arc<Control>,
    pub(super) inner: Mutex<Inner<F>>,
    /// Set under the lock when a frame is queued, cleared under it when they are taken.
    /// Read without it, it is a hint; the look before the driver sleeps takes the lock.
    pub(super) filled: AtomicBool,
    encoding: Arc<dyn Encoding<F>>,
    /// Boxed, because most connections have none of it.
    extras: Option<Box<Extras<F>>>,
}

/// What only the mailbox of an app with a rate limit or a dead letter queue has.
struct Extras<F> {
    /// Read outside the lock: it is foreign code.
    clock: Clock,
    is_limited: bool,
    dead_letters: Option<DeadLetterSender<F>>,
}

/// A call that waits for the driver to begin it.
#[derive(Debug)]
pub(crate) struct QueuedCall<F> {
    /// The id that it is to have.
    pub(crate) id: Option<CorrelationId>,
    /// Where its reply goes.
    pub(crate) reply: ReplySlot<F>,
}

pub(super) struct Inner<F> {
    pub(super) high: Lane<F>,
    pub(super) low: Lane<F>,
    /// Which of the low frames begin calls, by their place in the queue.
    pub(super) calls: Vec<(usize, QueuedCall<F>)>,
    pub(super) open: bool,
    /// The rate limit, while the mailbox is open.
    pub(super) rate: Option<Box<Rate>>,
    /// All terms but `queued`, which the lanes know.
    pub(super) counted: PushStats,
}

impl<F> Inner<F> {
    fn lane(&mut self, priority: Priority) -> &mut Lane<F> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }

    /// Takes a token, or says when there will be one. There is no need of one at no time.
    fn take_token(&mut self, priority: Priority, now: Option<Instant>) -> Result<(), Instant> {
        match (&mut self.rate, now) {
            (Some(rate), Some(now)) => rate.take(priority, now),
            _ => Ok(()),
        }
    }

    /// Room was made in these lanes, or a token was given back: wakes as many as would
    /// find both if all of them came at once.
    pub(super) fn wake_ready(
        &mut self,
        lanes: &[Priority],
        now: Option<Instant>,
        wakers: &mut Wakers,
    ) {
        let (Some(rate), Some(now)) = (&mut self.rate, now) else {
            for &priority in lanes {
                self.lane(priority).wake_ready(wakers);
            }
            return;
        };
        // They compete for the tokens, so whoever waits in either lane has its turn.
        let Self { high, low, .. } = self;
        let (mut high_used, mut low_used) = (high.used(), low.used());
        let mut turns = rate.turns(now);
        while let Some(turn) = turns.next(high.first_fits(high_used), low.first_fits(low_used)) {
            match turn {
                Priority::High => high.wake_first(&mut high_used, wakers),
                Priority::Low => low.wake_first(&mut low_used, wakers),
            }
        }
    }

    /// Takes nothing new, and tells those who wait.
    pub(super) fn close(&mut self, wakers: &mut Wakers) {
        self.open = false;
        self.rate = None;
        self.high.wake_all(wakers);
        self.low.wake_all(wakers);
    }

    /// Sets the alarm for those who wait for nothing but a token. Due after every change
    /// of who waits, of the room there is, and of the tokens; says whether the driver,
    /// if it sleeps, has to look.
    #[must_use = "the driver may sleep too long"]
    fn set_alarm(&mut self, now: Option<Instant>) -> bool {
        let (Some(rate), Some(now)) = (&mut self.rate, now) else {
            return false;
        };
        let waits = |lane: &Lane<F>| lane.first_fits(lane.used());
        rate.set_alarm(waits(&self.high) || waits(&self.low), now);
        rate.take_alarm_moved()
    }
}

impl<F> Mailbox<F> {
    pub(crate) fn new(
        control: Arc<Control>,
        limits: PushLimits,
        encoding: Arc<dyn Encoding<F>>,
    ) -> Self {
        Self {
            control,
            inner: Mutex::new(Inner {
                high: Lane::new(limits.high),
                low: Lane::new(limits.low),
                calls: Vec::new(),
                open: true,
                rate: None,
                counted: PushStats::default(),
            }),
            filled: AtomicBool::new(false),
            encoding,
            extras: None,
        }
    }

    /// The same mailbox with what an app may have beyond that.
    pub(crate) fn with_extras(
        self,
        limit: Option<RateLimit>,
        fairness: &FairnessConfig,
        dead_letters: Option<DeadLetterSender<F>>,
        clock: &Clock,
    ) -> Self {
        if limit.is_none() && dead_letters.is_none() {
            return self;
        }
        let rate = |limit| Rate::new(limit, fairness.max_high_before_low, clock.now());
        self.lock().rate = limit.map(rate).map(Box::new);
        let extras = Extras {
            clock: clock.clone(),
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
        PushStats {
            queued: queued as u64,
            ..inner.counted
        }
    }

    pub(super) fn measure(&self, frame: F) -> Accepted<F> {
        let charge = self.encoding.encoded_len(&frame);
        Accepted::new(frame, charge)
    }

    pub(super) fn encoding(&self) -> &Arc<dyn Encoding<F>> {
        &self.encoding
    }

    /// Whether pushes take tokens.
    pub(super) fn is_limited(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.is_limited)
    }

    /// The time, where pushes take tokens. Ask before taking the lock.
    pub(super) fn token_time(&self) -> Option<Instant> {
        match &self.extras {
            Some(extras) if extras.is_limited => Some(extras.clock.now()),
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
        if !inner.lane(priority).admits(accepted.charge) {
            return Err(TryPushError::Full(accepted.frame));
        }
        if let Err(next) = inner.take_token(priority, now) {
            return Err(TryPushError::RateLimited {
                retry_after: next.saturating_duration_since(now.unwrap_or(next)),
                frame: accepted.frame,
            });
        }
        self.enter(&mut inner, priority, accepted);
        self.leave_lock(inner, now, Wakers::default());
        Ok(())
    }

    /// Queues a frame if there is room, and wakes the driver; else does as the policy says.
    pub(super) fn push_with_policy(
        &self,
        priority: Priority,
        accepted: Accepted<F>,
        policy: PushPolicy,
    ) -> Result<Pushed, TryPushError<F>> {
        let refused = match self.try_enter(priority, accepted, self.token_time()) {
            Ok(()) => {
                self.control.signal().unpark();
                return Ok(Pushed::Queued);
            }
            Err(closed @ TryPushError::Closed(_)) => return Err(closed),
            Err(refused) if policy == PushPolicy::ReturnErrorIfFull => return Err(refused),
            Err(refused) => refused.into_frame(),
        };
        let buried = self.bury(priority, DeadLetterReason::Policy, refused);
        let mut inner = self.lock();
        inner.counted.accepted += 1;
        if buried.is_ok() {
            inner.counted.dead_lettered += 1;
            return Ok(Pushed::DeadLettered);
        }
        inner.counted.lost_policy += 1;
        let dropped = inner.counted.lost_policy;
        drop(inner);
        // With a dead letter queue it is that which logs its losses.
        if policy == PushPolicy::WarnAndDropIfFull
            && !self.has_dead_letters()
            && dropped.is_power_of_two()
        {
            let connection = self.control.id();
            tracing::warn!(%connection, ?priority, dropped, "push queue full, frame dropped");
        }
        Ok(Pushed::Dropped)
    }

    pub(crate) fn has_dead_letters(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| extras.dead_letters.is_some())
    }

    /// Hands a frame to the dead letter queue; it comes back if there is none, or if it is
    /// lost there. Counting it is the caller's part.
    pub(crate) fn bury(
        &self,
        priority: Priority,
        reason: DeadLetterReason,
        frame: F,
    ) -> Result<(), F> {
        let Some(extras) = &self.extras else {
            return Err(frame);
        };
        let Some(dead_letters) = &extras.dead_letters else {
            return Err(frame);
        };
        let letter = DeadLetter {
            connection: self.control.id(),
            priority,
            reason,
            frame,
        };
        dead_letters.send(letter, extras.clock.now())
    }

    /// Queues the frame once there is room.
    ///
    /// Takes the frame out of `slot` when it is ready.
    pub(super) fn poll_push(
        &self,
        cx: &Context<'_>,
        place: &mut Place,
        slot: &mut Option<Accepted<F>>,
        call: &mut Option<QueuedCall<F>>,
    ) -> Poll<Result<(), PushError<F>>> {
        let Some(charge) = slot.as_ref().map(|accepted| accepted.charge) else {
            return Poll::Pending;
        };
        let Some((mut inner, now)) = self.poll_turn(cx, place, charge) else {
            return Poll::Pending;
        };
        let Some(accepted) = slot.take() else {
            return Poll::Pending;
        };
        if !inner.open {
            return Poll::Ready(Err(PushError::Closed(accepted.frame)));
        }
        if let Some(call) = call.take() {
            let at = inner.lane(place.priority).queue.len();
            inner.calls.push((at, call));
        }
        self.enter(&mut inner, place.priority, accepted);
        self.leave_lock(inner, now, Wakers::default());
        self.control.signal().unpark();
        Poll::Ready(Ok(()))
    }

    /// Takes a slot, and a token, for a frame to come, once there are.
    pub(super) fn poll_reserve(
        &self,
        cx: &Context<'_>,
        place: &mut Place,
    ) -> Poll<Result<(), PushError<()>>> {
        let Some((mut inner, now)) = self.poll_turn(cx, place, 0) else {
            return Poll::Pending;
        };
        if !inner.open {
            return Poll::Ready(Err(PushError::Closed(())));
        }
        inner.lane(place.priority).reserve();
        self.leave_lock(inner, now, Wakers::default());
        Poll::Ready(Ok(()))
    }

    /// Queues a frame in a slot taken before; refused, it leaves the slot taken.
    pub(super) fn enter_reserved(&self, priority: Priority, frame: F) -> Result<(), PushError<F>> {
        let accepted = self.measure(frame);
        let mut inner = self.lock();
        if !inner.open {
            return Err(PushError::Closed(accepted.frame));
        }
        inner.lane(priority).enter_reserved(accepted);
        self.count_entered(&mut inner);
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
        inner.wake_ready(&[priority], now, &mut wakers);
        self.leave_lock(inner, now, wakers);
    }

    /// Ends a wait; the wake-up of one that was woken goes to the next.
    pub(super) fn leave(&self, place: &mut Place) {
        let Some(key) = place.key.take() else {
            return;
        };
        let mut wakers = Wakers::default();
        let now = self.token_time();
        let mut inner = self.lock();
        let own = inner.lane(place.priority).waiters().leave(&key);
        inner.wake_ready(&[place.priority], now, &mut wakers);
        self.leave_lock(inner, now, wakers);
        drop(own);
    }

    /// Ends a critical section, and sees to what it has left to do.
    pub(super) fn leave_lock(
        &self,
        mut inner: MutexGuard<'_, Inner<F>>,
        now: Option<Instant>,
        wakers: Wakers,
    ) {
        let alarm_moved = inner.set_alarm(now);
        drop(inner);
        wakers.wake();
        if alarm_moved {
            self.control.signal().unpark();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        lock(&self.inner)
    }

    /// The lock, once there is room for `charge` and a token, which is taken, or the
    /// mailbox is closed; else it is left in line, to be woken through `cx`.
    fn poll_turn(&self, cx: &Context<'_>, place: &mut Place, charge: usize) -> Option<Turn<'_, F>> {
        let mut fresh: Option<Waker> = None;
        loop {
            let now = self.token_time();
            let mut inner = self.lock();
            let open = inner.open;
            let lane = inner.lane(place.priority);
            let has_room = match &place.key {
                _ if !open => true,
                None => lane.admits(charge),
                Some(key) => lane.waiters().is_woken(key) && lane.fits(charge),
            };
            if has_room && (!open || inner.take_token(place.priority, now).is_ok()) {
                // Closing wakes everyone, so the node that goes here holds no waker.
                if let Some(key) = place.key.take() {
                    let _none = inner.lane(place.priority).waiters().leave(&key);
                }
                return Some((inner, now));
            }
            let lane = inner.lane(place.priority);
            match (&place.key, fresh.take()) {
                (Some(key), None) if lane.waiters().sleeps_with(key, cx.waker()) => return None,
                // Cloned unlocked, so look again: room may have come meanwhile.
                (_, None) => {
                    drop(inner);
                    fresh = Some(cx.waker().clone());
                }
                (None, Some(waker)) => {
                    place.key = Some(lane.waiters().join(charge, waker));
                    self.leave_lock(inner, now, Wakers::default());
                    return None;
                }
                (Some(key), Some(waker)) => {
                    let stale = lane.waiters().rejoin(key, charge, waker);
                    self.leave_lock(inner, now, Wakers::default());
                    drop(stale);
                    return None;
                }
            }
        }
    }

    fn enter(&self, inner: &mut Inner<F>, priority: Priority, accepted: Accepted<F>) {
        inner.lane(priority).enter(accepted);
        self.count_entered(inner);
    }

    fn count_entered(&self, inner: &mut Inner<F>) {
        inner.counted.accepted += 1;
        self.filled.store(true, Ordering::Relaxed);
    }
}

/// The lock, and the time at which a token was taken, if one was.
type Turn<'a, F> = (MutexGuard<'a, Inner<F>>, Option<Instant>);

/// Where a future stands in line, if it does.
pub(super) struct Place {
    priority: Priority,
    key: Option<Key>,
}

impl Place {
    pub(super) fn new(priority: Priority) -> Self {
        Self {
            priority,
            key: None,
        }
    }

    pub(super) fn priority(&self) -> Priority {
        self.priority
    }
}

impl<F> fmt::Debug for Mailbox<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("connection", &self.control.id())
            .finish_non_exhaustive()
    }
}
