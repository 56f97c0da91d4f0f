//! What became of the connections that a shutdown has found.

use wireframe_proto::CloseReason;

/// What became of the connections that were there when a server shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that ended in good order: they had finished what was under way, or their
    /// peer was gone.
    pub drained: usize,
    /// Connections that ended otherwise: at the deadline, by an abort, a time limit, or an
    /// error.
    pub aborted: usize,
    /// Pushes that had been accepted and were not sent. Where the app has a dead letter queue
    /// they are there, as far as it has room.
    pub undelivered: u64,
}

impl ShutdownReport {
    /// A connection has ended; for no reason if its task was dropped.
    pub(super) fn add(&mut self, reason: Option<&CloseReason>, undelivered: u64) {
        match reason {
            Some(CloseReason::Drained | CloseReason::PeerClosed) => self.drained += 1,
            _ => self.aborted += 1,
        }
        self.undelivered += undelivered;
    }
}
