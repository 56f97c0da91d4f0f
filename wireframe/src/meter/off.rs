//! Nothing is measured.

use wireframe_proto::{Instant, RequestId, Stats};

use super::{Dropped, ErrorKind};

#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(());

impl Metrics {
    pub(crate) fn register() -> Self {
        Self(())
    }

    pub(crate) fn connection_began(&self) {}

    pub(crate) fn handler_panicked(&self) {}

    pub(crate) fn error(&self, _: ErrorKind) {}

    pub(crate) fn push_dropped(&self, _: Dropped) {}

    pub(crate) fn pushes_lost(&self, _: usize, _: usize) {}
}

#[derive(Debug, Default)]
pub(crate) struct Meter(());

impl Meter {
    pub(crate) fn request_goes_on(&mut self, _: RequestId, _: Instant) {}

    pub(crate) fn request_ended(&mut self, _: RequestId, _: Instant) {}

    pub(crate) fn has_latencies(&self) -> bool {
        false
    }

    pub(crate) fn tell_latencies(&mut self, _: &Metrics, _: Instant) {}

    pub(crate) fn tell(&mut self, _: &Metrics, _: &Stats) {}

    pub(crate) fn end(&mut self, _: &Metrics) {}

    pub(crate) fn rest(&mut self) {}
}
