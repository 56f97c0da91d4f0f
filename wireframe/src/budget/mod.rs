//! The memory that connections have together.

mod holders;
mod holding;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, num::NonZeroUsize};

use wireframe_proto::{CloseReason, ConnectionId, Instant, LimitExceeded, Throttle};

use self::holders::Holders;
pub(crate) use self::holding::Holding;
use crate::{
    push::Control,
    sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, lock},
};

/// The name of the limit, as errors and goodbyes have it.
const NAME: &str = LimitExceeded::MEMORY_BUDGET;

/// Whether a connection is closed for the sake of a budget.
pub(crate) fn has_closed(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Limit(limit) if limit.limit == NAME)
}

/// 512 MiB.
const DEFAULT: NonZeroUsize = match NonZeroUsize::new(512 << 20) {
    Some(limit) => limit,
    None => NonZeroUsize::MIN,
};

/// A bound on the memory that connections take together for their buffers, whatever each
/// of them may take by itself. A clone is the same budget.
///
/// Each app has one of its own, of 512 MiB, unless it is given one with
/// [`WireframeApp::memory_budget`](crate::WireframeApp::memory_budget); several apps may
/// share one.
///
/// A connection is charged with what its buffers have allocated, and with the bytes of
/// the frames that wait on it, pushes that are outstanding among them, whenever it has
/// nothing more to do for the moment. It gives back what it does not need before that,
/// so that one that is idle is charged with nothing, or with the few KiB in which it
/// remembers messages that were dropped. Memory of the application that is only shared,
/// such as the payloads of answers, is charged to nobody, and neither is what handlers
/// and callers hold.
///
/// While as much is used as the limit says, or more,
///
/// * a peer that begins a message in fragments is closed with the limit `memory_budget`;
///   messages that have begun go on.
/// * pushes find no room: those that do not wait are refused as
///   [`Full`](crate::TryPushError::Full), a [`PushPolicy`](crate::PushPolicy) does what it
///   does to a full queue, and pushes and calls that wait are woken when there is memory.
///
/// If that does not help, and more is still used than the limit says, the largest holder of
/// at most 64 connections, each time other ones, is closed with the same reason, until the
/// rest would fit. Until those have given back what they hold, nothing is read from peers
/// whose messages are not whole; they have to wait, and their clocks stand still.
///
/// A connection is charged after it took something, so the limit may be passed: by what one
/// connection may hold, for each thread; by `max_frame_len` and a read buffer for each
/// connection whose peer has begun a frame meanwhile; and by the pushes that were accepted
/// on connections that have not come to run since.
///
/// ```
/// use std::num::NonZeroUsize;
/// use wireframe::{MemoryBudget, WireframeApp};
///
/// let budget = MemoryBudget::new(NonZeroUsize::new(64 << 20).unwrap());
/// let app = WireframeApp::new().memory_budget(&budget).build();
/// assert!(app.is_ok());
/// assert_eq!((budget.limit(), budget.used()), (64 << 20, 0));
/// ```
#[derive(Clone)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

/// The counts are read and changed by themselves, so no order among them is asked for.
/// What has to be seen together is under a lock.
struct Shared {
    limit: usize,
    /// Charged to all.
    used: AtomicUsize,
    /// Of that, charged to connections that were told to close. Changes under the lock of
    /// `holders`.
    condemned: AtomicUsize,
    closed: AtomicU64,
    /// Of warnings that one was closed.
    warned: Mutex<Throttle>,
    holders: Mutex<Holders>,
    /// Connections on which somebody waits for memory alone, or that do not read.
    waiting: Mutex<BTreeMap<ConnectionId, Arc<Control>>>,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: NonZeroUsize) -> Self {
        Self {
            shared: Arc::new(Shared {
                limit: limit.get(),
                used: AtomicUsize::new(0),
                condemned: AtomicUsize::new(0),
                closed: AtomicU64::new(0),
                warned: Mutex::default(),
                holders: Mutex::default(),
                waiting: Mutex::default(),
            }),
        }
    }

    /// How many bytes may be used.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// How many bytes are charged to connections now. It may be more than the limit.
    #[must_use]
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// How many connections have been closed for the sake of the budget.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.shared.closed.load(Ordering::Relaxed)
    }

    /// A connection that holds so much is closed for the sake of the budget, be it for a
    /// message that it may not begin. Peers can have that as often as they like, so one
    /// warning is for all of these.
    pub(crate) fn note_closed(&self, connection: ConnectionId, held: usize, now: Instant) {
        self.shared.closed.fetch_add(1, Ordering::Relaxed);
        let suppressed = lock(&self.shared.warned).pass(now);
        if let Some(suppressed) = suppressed {
            let (used, limit) = (self.used(), self.limit());
            tracing::warn!(%connection, held, used, limit, suppressed, "too much memory is used, one is closed");
        }
    }

    /// Whether nothing more may be taken on. Costs one load.
    #[inline]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.used() >= self.shared.limit
    }

    /// Whether more is used than may be.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.used() > self.shared.limit
    }

    /// The same apart from what is about to be given back.
    pub(crate) fn is_over(&self) -> bool {
        let condemned = self.shared.condemned.load(Ordering::Relaxed);
        self.used().saturating_sub(condemned) > self.shared.limit
    }

    /// The limit as an error, which so much has crossed.
    pub(crate) fn exceeded_by(&self, used: usize) -> LimitExceeded {
        LimitExceeded {
            limit: NAME,
            value: self.shared.limit as u64,
            got: used as u64,
        }
    }

    /// Enters a connection on which somebody waits to push: it is told when there may be
    /// memory. False, and not entered, if there is some now.
    pub(crate) fn wait_to_push(&self, control: &Arc<Control>) -> bool {
        self.wait_while(Self::is_exhausted, control)
    }

    /// Enters a connection that had better not read, while more is used than may be. False, and
    /// not entered, if it may read now.
    pub(crate) fn wait_to_read(&self, control: &Arc<Control>) -> bool {
        self.wait_while(Self::is_exceeded, control)
    }

    /// No wake-up is lost: whoever gives memory back takes the lock afterwards. If that was
    /// before this, the change is seen here; else the entry is found there.
    fn wait_while(&self, waits: fn(&Self) -> bool, control: &Arc<Control>) -> bool {
        if !waits(self) {
            return false;
        }
        let mut waiting = lock(&self.shared.waiting);
        let waits = waits(self);
        if waits {
            waiting.insert(control.id(), Arc::clone(control));
        }
        waits
    }

    /// Nobody waits on that connection any more.
    pub(crate) fn stop_waiting(&self, id: ConnectionId) {
        let entry = lock(&self.shared.waiting).remove(&id);
        drop(entry);
    }

    /// So much more is used.
    fn take(&self, bytes: usize) {
        self.shared.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much less is used. Tells those who wait, if there is room by that: who finds none
    /// waits again.
    fn give_back(&self, bytes: usize) {
        let before = self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
        let (after, limit) = (before - bytes, self.shared.limit);
        if after <= limit && before >= limit && before != after {
            self.wake_all();
        }
    }

    /// Has one of those who wait look again, and see to what it finds.
    #[cold]
    fn wake_one(&self) {
        let first = lock(&self.shared.waiting).pop_first();
        if let Some((_, control)) = first {
            control.tell_of_memory();
        }
    }

    #[cold]
    fn wake_all(&self) {
        let waiting = std::mem::take(&mut *lock(&self.shared.waiting));
        for control in waiting.into_values() {
            control.tell_of_memory();
        }
    }
}

impl Default for MemoryBudget {
    /// 512 MiB.
    fn default() -> Self {
        Self::new(DEFAULT)
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("limit", &self.limit())
            .field("used", &self.used())
            .field("closed", &self.closed())
            .finish()
    }
}
