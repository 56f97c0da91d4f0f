//! Waiting for room, and for a token where the rate of pushes is limited.

use std::task::{Context, Poll, Waker};

use wireframe_proto::{Accepted, Instant, Priority};

use super::{
    error::PushError,
    inner::Inner,
    lane::Wakers,
    mailbox::{Mailbox, QueuedCall},
    waiters::Key,
};
use crate::sync::MutexGuard;

/// The end of a wait.
struct Turn<'a, F> {
    inner: MutexGuard<'a, Inner<F>>,
    /// When a token was taken, if one was.
    now: Option<Instant>,
    /// Dropped after the lock: it is that of a waiter that came without being woken.
    _waker: Option<Waker>,
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

impl<F> Mailbox<F> {
    /// Queues the frame once there is room.
    ///
    /// Takes the frame out of `slot` when it is ready.
    #[inline]
    pub(super) fn poll_push(
        &self,
        cx: &Context<'_>,
        place: &mut Place,
        slot: &mut Option<Accepted<F>>,
        call: &mut Option<QueuedCall<F>>,
    ) -> Poll<Result<(), PushError<F>>> {
        if place.key.is_none() && call.is_none() && self.enter_at_once(place.priority, slot) {
            self.control.signal().unpark();
            return Poll::Ready(Ok(()));
        }
        self.poll_push_in_turn(cx, place, slot, call)
    }

    /// The usual case of [`poll_push`](Self::poll_push), in short: nobody has to wait, and
    /// pushes take no tokens. Says whether it was that case.
    #[inline]
    fn enter_at_once(&self, priority: Priority, slot: &mut Option<Accepted<F>>) -> bool {
        if self.is_limited() {
            return false;
        }
        let Some(charge) = slot.as_ref().map(|accepted| accepted.charge) else {
            return false;
        };
        let mut inner = self.lock();
        if !(inner.open && inner.lane(priority).admits(charge)) || self.lacks_memory() {
            return false;
        }
        let Some(accepted) = slot.take() else {
            return false;
        };
        self.enter(&mut inner, priority, accepted);
        true
    }

    fn poll_push_in_turn(
        &self,
        cx: &Context<'_>,
        place: &mut Place,
        slot: &mut Option<Accepted<F>>,
        call: &mut Option<QueuedCall<F>>,
    ) -> Poll<Result<(), PushError<F>>> {
        let Some(charge) = slot.as_ref().map(|accepted| accepted.charge) else {
            return Poll::Pending;
        };
        let Some(mut turn) = self.poll_turn(cx, place, charge) else {
            return Poll::Pending;
        };
        let inner = &mut *turn.inner;
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
        self.enter(inner, place.priority, accepted);
        self.leave_lock(turn.inner, turn.now, Wakers::default());
        self.control.signal().unpark();
        Poll::Ready(Ok(()))
    }

    /// Takes a slot, and a token, for a frame to come, once there are.
    pub(super) fn poll_reserve(
        &self,
        cx: &Context<'_>,
        place: &mut Place,
    ) -> Poll<Result<(), PushError<()>>> {
        let Some(mut turn) = self.poll_turn(cx, place, 0) else {
            return Poll::Pending;
        };
        if !turn.inner.open {
            return Poll::Ready(Err(PushError::Closed(())));
        }
        turn.inner.lane(place.priority).reserve();
        self.leave_lock(turn.inner, turn.now, Wakers::default());
        Poll::Ready(Ok(()))
    }

    /// Ends a wait; the wake-up of one that was woken goes to the next.
    pub(super) fn leave(&self, place: &mut Place) {
        let Some(key) = place.key.take() else {
            return;
        };
        let mut wakers = Wakers::default();
        let now = self.token_time();
        let mut inner = self.lock();
        let own = inner.give_up(place.priority, &key);
        self.wake_ready(&mut inner, &[place.priority], now, &mut wakers);
        self.leave_lock(inner, now, wakers);
        drop(own);
    }

    /// The lock, once there is room for `charge`, memory, and a token, which is taken, or the
    /// mailbox is closed; else it is left in line, to be woken through `cx`.
    fn poll_turn(&self, cx: &Context<'_>, place: &mut Place, charge: usize) -> Option<Turn<'_, F>> {
        let mut fresh: Option<Waker> = None;
        loop {
            let now = self.token_time();
            let mut inner = self.lock();
            let open = inner.open;
            let lane = inner.lane(place.priority);
            let key = place.key.as_ref();
            let was_woken = key.is_some_and(|key| lane.waiters().is_woken(key));
            let has_room = match was_woken {
                _ if !open => true,
                true => lane.fits(charge),
                false => lane.admits(charge),
            };
            let has_room = has_room && (!open || !self.is_turned_away(&mut inner));
            if has_room && (!open || inner.take_token(place.priority, was_woken, now).is_ok()) {
                let key = place.key.take();
                let waker = key.and_then(|key| inner.lane(place.priority).waiters().leave(&key));
                return Some(Turn {
                    inner,
                    now,
                    _waker: waker,
                });
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
                    let stale = inner.rejoin(place.priority, key, waker);
                    // The token it was woken for may be of use to the other priority.
                    let mut wakers = Wakers::default();
                    self.wake_ready(&mut inner, &[], now, &mut wakers);
                    self.leave_lock(inner, now, wakers);
                    drop(stale);
                    return None;
                }
            }
        }
    }
}
