//! What a driver tells of its connection, to whoever looks.

use wireframe_proto::Instant;

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// What a connection is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes given to the engine.
    pub(crate) received: u64,
    /// Bytes that the transport has taken.
    pub(crate) sent: u64,
    /// Commands in flight.
    pub(crate) requests: usize,
    /// Since when the peer takes none of the output that waits for it.
    pub(crate) stalled_since: Option<Instant>,
}

/// Where a driver leaves that at the end of each of its runs. Each value is right by itself;
/// two of them may be of different runs.
#[derive(Debug)]
pub(crate) struct Published {
    received: AtomicU64,
    sent: AtomicU64,
    requests: AtomicUsize,
    /// [`Instant::MAX`] if it is not stalled.
    stalled_since: AtomicU64,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            stalled_since: AtomicU64::new(Instant::MAX.as_nanos()),
        }
    }
}

impl Published {
    #[inline]
    pub(crate) fn set(&self, progress: &Progress) {
        let stalled_since = progress.stalled_since.unwrap_or(Instant::MAX).as_nanos();
        self.received.store(progress.received, Ordering::Relaxed);
        self.sent.store(progress.sent, Ordering::Relaxed);
        self.requests.store(progress.requests, Ordering::Relaxed);
        self.stalled_since.store(stalled_since, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Progress {
        let stalled_since = Instant::from_nanos(self.stalled_since.load(Ordering::Relaxed));
        Progress {
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            stalled_since: (stalled_since != Instant::MAX).then_some(stalled_since),
        }
    }
}
