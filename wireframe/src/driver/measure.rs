//! The driver's part in metrics.

use wireframe_proto::{CloseReason, Instant, Stats};

use super::Driver;
use crate::{
    clock::Clock,
    frame::Protocol,
    meter::{ErrorKind, Metrics},
    transport::Transport,
};

impl<P: Protocol, T: Transport> Driver<P, T> {
    pub(super) fn metrics(&self) -> &Metrics {
        self.mailbox.control().metrics()
    }

    /// Tells how long the requests took that have ended in the turn that ends now.
    #[inline]
    pub(super) fn tell_latencies(&mut self, now: impl FnOnce(&Clock) -> Instant) {
        if self.meter.has_latencies() {
            let now = now(self.mailbox.clock());
            let metrics = self.mailbox.control().metrics();
            self.meter.tell_latencies(metrics, now);
        }
    }

    /// Tells what has changed in a run.
    #[inline]
    pub(super) fn measure(&mut self, stats: &Stats) {
        self.tell_latencies(Clock::now);
        self.meter.tell(self.mailbox.control().metrics(), stats);
    }

    /// Tells that the connection has ended, and what of it had not been told.
    pub(super) fn end_measuring(&mut self, reason: &CloseReason) {
        let stats = self.engine.stats();
        self.measure(&stats);
        let metrics = self.mailbox.control().metrics();
        self.meter.end(metrics);
        if let Some(kind) = ErrorKind::of_end(reason) {
            metrics.error(kind);
        }
    }
}
