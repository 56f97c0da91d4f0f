//! How often the same warning is logged.

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use crate::time::Instant;

/// Lets one warning through in each interval, and counts those between.
///
/// ```
/// use std::time::Duration;
/// use wireframe_proto::{Instant, Throttle};
///
/// let mut throttle = Throttle::default();
/// let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
/// assert_eq!(throttle.pass(at(5)), Some(0));
/// assert_eq!(throttle.pass(at(6)), None);
/// assert_eq!(throttle.pass(at(15)), Some(1));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttle {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// What is logged at most once in so much time: 10 s.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// Whether a warning may be logged now: with the number of those that were not since
    /// the last one that was.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        self.pass_after(Self::INTERVAL, now)
    }

    /// The same with another interval.
    pub fn pass_after(&mut self, interval: Duration, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + interval) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(core::mem::take(&mut self.suppressed))
    }
}

/// A [`Throttle`] for each kind of warning. There is one only for what has been warned of, and
/// the kinds are as many as the program has names for.
///
/// ```
/// use wireframe_proto::{Instant, Warnings};
///
/// let mut warnings = Warnings::default();
/// assert_eq!(warnings.pass("one", Instant::ZERO), Some(0));
/// assert_eq!(warnings.pass("one", Instant::ZERO), None);
/// assert_eq!(warnings.pass("another", Instant::ZERO), Some(0));
/// ```
#[derive(Debug, Default)]
pub struct Warnings {
    throttles: Option<Box<Kinds>>,
}

#[derive(Debug, Default)]
struct Kinds(Vec<(&'static str, Throttle)>);

impl Warnings {
    /// Whether a warning of that kind may be logged now, see [`Throttle::pass`].
    #[cold]
    pub fn pass(&mut self, kind: &'static str, now: Instant) -> Option<u64> {
        let Kinds(kinds) = &mut **self.throttles.get_or_insert_default();
        if let Some((_, throttle)) = kinds.iter_mut().find(|(known, _)| *known == kind) {
            return throttle.pass(now);
        }
        let mut throttle = Throttle::default();
        let first = throttle.pass(now);
        kinds.push((kind, throttle));
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn one_passes_in_each_interval_and_says_how_many_did_not() {
        // rule: OBS-3
        let mut throttle = Throttle::default();
        assert_eq!(throttle.pass(at(1_000)), Some(0));
        for between in [1_000, 1_001, 10_999] {
            assert_eq!(throttle.pass(at(between)), None);
        }
        assert_eq!(throttle.pass(at(11_000)), Some(3));
        assert_eq!(throttle.pass(at(20_999)), None);
        assert_eq!(throttle.pass(at(90_000)), Some(1));
        assert_eq!(throttle.pass(at(100_000)), Some(0));
    }

    #[test]
    fn time_that_goes_back_lets_nothing_through() {
        // rule: OBS-3, LIM-8
        let mut throttle = Throttle::default();
        assert_eq!(throttle.pass(at(10_000)), Some(0));
        assert_eq!(throttle.pass(at(0)), None);
        assert_eq!(throttle.pass(Instant::MAX), Some(1));
        // The end of time is past no interval.
        assert_eq!(throttle.pass(Instant::MAX), Some(0));
    }

    #[test]
    fn each_kind_has_its_own_interval() {
        // rule: OBS-3
        let mut warnings = Warnings::default();
        assert!(warnings.throttles.is_none(), "memory before the first");
        assert_eq!(warnings.pass("one", at(0)), Some(0));
        assert_eq!(warnings.pass("another", at(5_000)), Some(0));
        assert_eq!(warnings.pass("one", at(9_999)), None);
        assert_eq!(warnings.pass("one", at(10_000)), Some(1));
        assert_eq!(warnings.pass("another", at(10_000)), None);
    }
}
