//! Time that stands still until it is told to move.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use wireframe_proto::Instant;

use crate::{
    clock::Clock,
    rt::{Sleep, Timer},
    sync::{Arc, Mutex, lock},
};

/// A [`Timer`] on virtual time. A clone is the same clock.
///
/// ```
/// use std::time::Duration;
/// use wireframe::{proto::Instant, testing::ManualClock};
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(clock.clock().now(), Instant::from_millis(5));
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    now: Instant,
    /// Who sleeps, by deadline and then by age.
    asleep: BTreeMap<Key, Waker>,
    sleeps: u64,
    woken: u64,
}

type Key = (Instant, u64);

impl ManualClock {
    /// A clock that shows the origin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It as handlers and drivers take it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::new(Arc::new(self.clone()))
    }

    /// Moves on, waking the sleeps that are due in the order of their deadlines, each at
    /// its own time. [`Simulation::advance`](super::Simulation::advance) also runs whom
    /// it wakes.
    pub fn advance(&self, by: Duration) {
        let target = self.now() + by;
        while self.advance_to_next(target) {}
    }

    /// Moves on to the next deadline, at most to `target`, and wakes who sleeps until
    /// then; says whether anyone did.
    pub(super) fn advance_to_next(&self, target: Instant) -> bool {
        let mut state = lock(&self.state);
        let Some(due) = state.asleep.first_entry().filter(|e| e.key().0 <= target) else {
            state.now = state.now.max(target);
            return false;
        };
        let ((deadline, _), waker) = due.remove_entry();
        state.now = state.now.max(deadline);
        state.woken += 1;
        drop(state);
        waker.wake();
        true
    }

    /// How many sleeps are armed: they wait, and will wake somebody.
    #[must_use]
    pub fn armed(&self) -> usize {
        lock(&self.state).asleep.len()
    }

    /// How many sleeps have been woken since the clock began.
    #[must_use]
    pub fn wake_ups(&self) -> u64 {
        lock(&self.state).woken
    }
}

impl Timer for ManualClock {
    fn now(&self) -> Instant {
        lock(&self.state).now
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let mut state = lock(&self.state);
        state.sleeps += 1;
        Box::pin(ManualSleep {
            key: (deadline, state.sleeps),
            clock: self.clone(),
        })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("ManualClock")
            .field("now", &state.now)
            .field("armed", &state.asleep.len())
            .finish()
    }
}

struct ManualSleep {
    key: Key,
    clock: ManualClock,
}

impl ManualSleep {
    fn disarm(&self) {
        let stale = lock(&self.clock.state).asleep.remove(&self.key);
        drop(stale);
    }
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let fresh = cx.waker().clone();
        let mut state = lock(&self.clock.state);
        let (stale, polled) = if self.key.0 <= state.now {
            (state.asleep.remove(&self.key), Poll::Ready(()))
        } else {
            (state.asleep.insert(self.key, fresh), Poll::Pending)
        };
        drop(state);
        drop(stale);
        polled
    }
}

impl Sleep for ManualSleep {
    fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.disarm();
        self.key.0 = deadline;
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        self.disarm();
    }
}
