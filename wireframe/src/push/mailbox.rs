//! The queues between those who push and the driver.

use std::{
    fmt,
    task::{Context, Poll, Waker},
};

use wireframe_proto::{Accepted, CorrelationId, Priority, PushCapacity};

use super::{
    capacity::PushLimits,
    control::Control,
    error::{PushError, TryPushError},
    lane::{Lane, Wakers},
    stats::PushStats,
    waiters::Key,
};
use crate::{
    client::Slot,
    sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, lock},
};

/// How many bytes a frame is charged with: `Codec::encoded_len`.
pub(crate) type EncodedLen<F> = Arc<dyn Fn(&F) -> usize + Send + Sync>;

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
    encoded_len: EncodedLen<F>,
}

/// A call that waits for the driver to begin it.
#[derive(Debug)]
pub(crate) struct QueuedCall<F> {
    /// The id that it is to have.
    pub(crate) id: Option<CorrelationId>,
    /// Where what answers it goes.
    pub(crate) slot: Slot<F>,
}

pub(super) struct Inner<F> {
    pub(super) high: Lane<F>,
    pub(super) low: Lane<F>,
    /// Which of the low frames begin calls, by their place in the queue.
    pub(super) calls: Vec<(usize, QueuedCall<F>)>,
    pub(super) open: bool,
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
}

impl<F> Mailbox<F> {
    pub(crate) fn new(
        control: Arc<Control>,
        limits: PushLimits,
        encoded_len: EncodedLen<F>,
    ) -> Self {
        Self {
            control,
            inner: Mutex::new(Inner {
                high: Lane::new(limits.high),
                low: Lane::new(limits.low),
                calls: Vec::new(),
                open: true,
                counted: PushStats::default(),
            }),
            filled: AtomicBool::new(false),
            encoded_len,
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
        let charge = (self.encoded_len)(&frame);
        Accepted::new(frame, charge)
    }

    /// Queues a frame if there is room, without waking the driver.
    pub(super) fn try_enter(&self, priority: Priority, frame: F) -> Result<(), TryPushError<F>> {
        let accepted = self.measure(frame);
        let mut inner = self.lock();
        if !inner.open {
            return Err(TryPushError::Closed(accepted.frame));
        }
        if !inner.lane(priority).admits(accepted.charge) {
            return Err(TryPushError::Full(accepted.frame));
        }
        self.enter(&mut inner, priority, accepted);
        Ok(())
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
        let Some(mut inner) = self.poll_turn(cx, place, charge) else {
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
        drop(inner);
        self.control.signal().unpark();
        Poll::Ready(Ok(()))
    }

    /// Takes a slot for a frame to come, once there is one.
    pub(super) fn poll_reserve(
        &self,
        cx: &Context<'_>,
        place: &mut Place,
    ) -> Poll<Result<(), PushError<()>>> {
        let Some(mut inner) = self.poll_turn(cx, place, 0) else {
            return Poll::Pending;
        };
        if !inner.open {
            return Poll::Ready(Err(PushError::Closed(())));
        }
        inner.lane(place.priority).reserve();
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

    pub(super) fn unreserve(&self, priority: Priority) {
        let mut wakers = Wakers::default();
        self.lock().lane(priority).unreserve(&mut wakers);
        wakers.wake();
    }

    /// Counts a frame that a policy disposed of, and says how many they are now.
    pub(super) fn count_policy_loss(&self) -> u64 {
        let mut inner = self.lock();
        inner.counted.accepted += 1;
        inner.counted.lost_policy += 1;
        inner.counted.lost_policy
    }

    /// Ends a wait; the wake-up of one that was woken goes to the next.
    pub(super) fn leave(&self, place: &mut Place) {
        let Some(key) = place.key.take() else {
            return;
        };
        let mut wakers = Wakers::default();
        let mut inner = self.lock();
        let lane = inner.lane(place.priority);
        let own = lane.waiters().leave(&key);
        lane.wake_ready(&mut wakers);
        drop(inner);
        drop(own);
        wakers.wake();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        lock(&self.inner)
    }

    /// The lock, once there is room for `charge` or the mailbox is closed; else it is
    /// left in line, to be woken through `cx`.
    fn poll_turn(
        &self,
        cx: &Context<'_>,
        place: &mut Place,
        charge: usize,
    ) -> Option<MutexGuard<'_, Inner<F>>> {
        let mut fresh: Option<Waker> = None;
        loop {
            let mut inner = self.lock();
            let open = inner.open;
            let lane = inner.lane(place.priority);
            let may_enter = match &place.key {
                _ if !open => true,
                None => lane.admits(charge),
                Some(key) => lane.waiters().is_woken(key) && lane.fits(charge),
            };
            if may_enter {
                // Closing wakes everyone, so the node that goes here holds no waker.
                if let Some(key) = place.key.take() {
                    let _none = lane.waiters().leave(&key);
                }
                return Some(inner);
            }
            match (&place.key, fresh.take()) {
                (Some(key), None) if lane.waiters().sleeps_with(key, cx.waker()) => return None,
                // Cloned unlocked, so look again: room may have come meanwhile.
                (_, None) => {
                    drop(inner);
                    fresh = Some(cx.waker().clone());
                }
                (None, Some(waker)) => {
                    place.key = Some(lane.waiters().join(charge, waker));
                    return None;
                }
                (Some(key), Some(waker)) => {
                    let stale = lane.waiters().rejoin(key, charge, waker);
                    drop(inner);
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
