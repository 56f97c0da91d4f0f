//! The driver's part in metrics.

use wireframe_proto::{CloseReason, Instant, Stats};

use super::Driver;
use crate::{
    frame::Protocol,
    meter::{ErrorKind, Metrics},
    transport::Transport,
};

impl<P: Protocol, T: Transport> Driver<P, T> {
    pub(super) fn metrics(&self) -> &Metrics {
        self.mailbox.control().metrics()
    }

    /// Tells how long the requests took that ended in the turn before.
    #[inline]
    pub(super) fn tell_latencies(&mut self, now: Instant) {
        if self.meter.has_latencies() {
            self.meter
                .tell_latencies(self.mailbox.control().metrics(), now);
        }
    }

    /// Tells what has changed in a run.
    #[inline]
    pub(super) fn measure(&mut self, stats: &Stats) {
        if self.meter.has_latencies() {
            self.tell_latencies(self.surroundings.clock.now());
        }
        self.meter.tell(self.mailbox.control().metrics(), stats);
    }

    /// Tells that the connection has ended, and what of it had not been told.
    pub(super) fn end_measuring(&mut self, reason: &CloseReason) {
        let stats = self.engine.stats();
        self.measure(&stats);
        let metrics = self.mailbox.control().metrics();
        self.meter.end(metrics, &stats);
        if let Some(kind) = ErrorKind::of_end(reason) {
            metrics.error(kind);
        }
    }
}
