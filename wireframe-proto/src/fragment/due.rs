//! When a message has to be whole.

use core::time::Duration;

use crate::time::Instant;

/// There is a second more for each [`PIECE`] bytes that are received meanwhile.
const PIECE: u64 = 256 * 1024;
const NANOS_PER_PIECE: i128 = 1_000_000_000;

/// A time, and how many bytes the connection had received by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) received: u64,
}

impl Moment {
    /// The time that was given for what had been received.
    fn given(self) -> i128 {
        i128::from(self.received / PIECE) * NANOS_PER_PIECE
    }
}

/// When a message has to be whole if nothing were received any more: in nanoseconds, which
/// may be before all time.
///
/// Messages take turns on the line. So what comes of any of them gives time to all, and
/// which is due first stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due(i128);

impl Due {
    pub(super) fn new(began: Moment, timeout: Duration) -> Self {
        let due = began.now + timeout;
        Self(i128::from(due.as_nanos()) - began.given())
    }

    /// The same for what has been received at that moment.
    pub(super) fn at(self, moment: Moment) -> Instant {
        let nanos = (self.0 + moment.given()).max(0);
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(millis: u64, received: u64) -> Moment {
        Moment {
            now: Instant::from_millis(millis),
            received,
        }
    }

    #[test]
    fn what_is_received_gives_time_and_what_had_been_does_not() {
        // rule: REASM-2
        let timeout = Duration::from_millis(100);
        // More had come than the clock has seconds.
        for before in [0, 1_000 * PIECE] {
            let due = Due::new(moment(10, before), timeout);
            let at = |received| due.at(moment(50, before + received));
            assert_eq!(at(PIECE - 1), Instant::from_millis(110));
            assert_eq!(at(3 * PIECE), Instant::from_millis(3_110));
        }
    }

    #[test]
    fn time_without_end_saturates() {
        // rule: LIM-8
        let due = Due::new(moment(0, 0), Duration::MAX);
        assert_eq!(due.at(moment(0, u64::MAX)), Instant::MAX);
    }
}
