//! How the driver goes to sleep, and how anyone wakes it.

use std::{fmt, task::Waker};

use crate::{
    contain,
    sync::{AtomicBool, Mutex, Ordering, lock},
};

/// Wakes one driver, only when it is parked, once.
///
/// The protocol:
///
/// 1. Whoever has work for the driver publishes it, then calls [`unpark`](Self::unpark).
/// 2. The driver, when it finds nothing to do, calls [`park`](Self::park), then looks at
///    every source of work once more. Finds it any, it calls [`resume`](Self::resume)
///    and goes on; else it returns `Pending`.
/// 3. A driver that is polled calls `resume` before it looks for work, so that nobody
///    wakes it while it runs.
///
/// No wake-up is lost if publishing and the second look cannot miss each other: either
/// both take the same lock, or both are `AcqRel` read-modify-writes of the same atomic, of
/// which the later one reads what the earlier one wrote. So a second look that came first
/// was after `parked` was set and before the publisher, who therefore sees `parked`; and one
/// that came later finds the work. `parked` itself needs no order beside that.
///
/// `parked` changes to true only under the lock and with a waker in place, and the one
/// who takes the waker clears it; so of a burst one wakes, and nobody finds the driver
/// parked without a waker to wake.
#[derive(Default)]
pub(crate) struct Signal {
    parked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// Announces that the driver is about to sleep; look for work once more after this.
    pub(crate) fn park(&self, waker: &Waker) {
        let mut slot = lock(&self.waker);
        if slot.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.parked.store(true, Ordering::Relaxed);
            return;
        }
        // Cloning and dropping a waker is foreign code: it runs unlocked.
        drop(slot);
        let fresh = waker.clone();
        slot = lock(&self.waker);
        let stale = slot.replace(fresh);
        self.parked.store(true, Ordering::Relaxed);
        drop(slot);
        drop(stale);
    }

    /// Announces that the driver is awake; costs one load if it was never asleep.
    pub(crate) fn resume(&self) {
        if self.parked.load(Ordering::Relaxed) {
            self.parked.store(false, Ordering::Relaxed);
        }
    }

    /// Wakes the driver if it is parked; the work must have been published before.
    pub(crate) fn unpark(&self) {
        if !self.parked.load(Ordering::Relaxed) {
            return;
        }
        let mut slot = lock(&self.waker);
        self.parked.store(false, Ordering::Relaxed);
        let waker = slot.take();
        drop(slot);
        if let Some(waker) = waker {
            contain::wake(waker);
        }
    }

    /// Forgets the driver, so that what outlives it does not keep its task alive.
    pub(crate) fn retire(&self) {
        let mut slot = lock(&self.waker);
        self.parked.store(false, Ordering::Relaxed);
        let waker = slot.take();
        drop(slot);
        contain::discard(waker);
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("parked", &self.parked.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
