//! What is sent next.

use crate::{config::FairnessConfig, time::Instant};

/// Where a frame to be sent can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Control,
    High,
    Low,
    Response,
}

/// Which sources have something that may be sent now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) control: bool,
    pub(crate) high: bool,
    pub(crate) low: bool,
    pub(crate) response: bool,
}

/// The quotas' counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scheduler {
    /// High frames since the last low one.
    high_run: u32,
    /// Pushes since the last response unit.
    push_run: u32,
    /// When the current back-to-back run of high frames began.
    slice_start: Option<Instant>,
}

impl Scheduler {
    /// Decides what goes next, and counts it as gone.
    ///
    /// Something goes whenever anything is ready.
    #[inline]
    pub(crate) fn pick(
        &mut self,
        config: &FairnessConfig,
        ready: Ready,
        now: Instant,
    ) -> Option<Source> {
        if !ready.high {
            self.slice_start = None;
        }
        let source = self.choose(config, ready, now)?;
        match source {
            Source::Control => {}
            Source::High => {
                self.high_run = self.high_run.saturating_add(1);
                self.push_run = self.push_run.saturating_add(1);
                if config.time_slice.is_some() {
                    self.slice_start.get_or_insert(now);
                }
            }
            Source::Low => {
                self.high_run = 0;
                self.slice_start = None;
                self.push_run = self.push_run.saturating_add(1);
            }
            Source::Response => self.push_run = 0,
        }
        Some(source)
    }

    /// A response went while no push was ready and no control frame waited: what
    /// [`pick`](Self::pick) would have decided.
    #[inline]
    pub(crate) fn response_went(&mut self) {
        self.slice_start = None;
        self.push_run = 0;
    }

    /// The last high frame that was queued has gone: the next one begins a new run.
    #[inline]
    pub(crate) fn high_ran_dry(&mut self) {
        self.slice_start = None;
    }

    #[inline]
    fn choose(&self, config: &FairnessConfig, ready: Ready, now: Instant) -> Option<Source> {
        if ready.control {
            return Some(Source::Control);
        }
        let low_due = quota_reached(self.high_run, config.max_high_before_low)
            || self.slice_over(config, now);
        let response_due = quota_reached(self.push_run, config.max_push_before_response);
        match ready {
            Ready { low: true, .. } if low_due => Some(Source::Low),
            Ready { response: true, .. } if response_due => Some(Source::Response),
            Ready { high: true, .. } => Some(Source::High),
            Ready { low: true, .. } => Some(Source::Low),
            Ready { response: true, .. } => Some(Source::Response),
            _ => None,
        }
    }

    fn slice_over(&self, config: &FairnessConfig, now: Instant) -> bool {
        match (config.time_slice, self.slice_start) {
            (Some(slice), Some(start)) => now.saturating_duration_since(start) >= slice,
            _ => false,
        }
    }
}

/// Whether a run has used up its quota; a quota of zero is no quota.
const fn quota_reached(run: u32, quota: u32) -> bool {
    quota != 0 && run >= quota
}

#[cfg(test)]
mod tests;
