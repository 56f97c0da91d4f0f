//! The engine's own notion of time.
//!
//! The engine never reads a clock. Whoever drives it passes the present in, as
//! nanoseconds since an origin of the caller's choice.

use core::{fmt, ops, time::Duration};

/// A point in monotonic time: nanoseconds since an arbitrary origin.
///
/// All instants given to one [`Connection`](crate::Connection) must have the same
/// origin. Arithmetic saturates: a deadline past the end of time is never reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// The last instant there is; as a deadline it means "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Nanoseconds of a duration; what does not fit in 64 bits (584 years) is the maximum.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl ops::AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// What a [`Deadline`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadlineReason {
    /// The peer has sent and taken nothing for the idle limit.
    Idle,
    /// The preamble must be through by then.
    Preamble,
    /// The peer has been silent for so long that it is pinged.
    Ping,
    /// The peer has been silent for longer than the heartbeat allows.
    Heartbeat,
    /// A frame has begun to arrive and must be whole by then.
    FrameCompletion,
    /// A message has begun to arrive in fragments and must be whole by then.
    Reassembly,
    /// A handler awaits a body frame.
    Body,
    /// Output is waiting and the peer takes none of it.
    WriteStall,
    /// The end of a drain, or of waiting for the peer after the last frame.
    Shutdown,
}

/// When [`Connection::handle_timeout`](crate::Connection::handle_timeout) is next due, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The moment it is due.
    pub at: Instant,
    /// What it is for.
    pub reason: DeadlineReason,
}

/// A clock that can be stopped: it stands still while the engine itself does not read.
///
/// A deadline is kept in this clock's own time, so stopping it shifts every deadline
/// at once, however many there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadingClock {
    stood_still: u64,
    stopped_at: Option<Instant>,
}

impl ReadingClock {
    /// This clock's time at `now`.
    pub(crate) fn at(&self, now: Instant) -> Instant {
        let now = self.stopped_at.unwrap_or(now);
        Instant(now.0.saturating_sub(self.stood_still))
    }

    /// The moment at which this clock will show `deadline`; `None` while it is stopped, and
    /// if there is no such moment, because it has stood still and will not get there before
    /// the end of time.
    pub(crate) fn due(&self, deadline: Instant) -> Option<Instant> {
        match self.stopped_at {
            Some(_) => None,
            None => deadline.0.checked_add(self.stood_still).map(Instant),
        }
    }

    pub(crate) fn stop(&mut self, now: Instant) {
        self.stopped_at.get_or_insert(now);
    }

    pub(crate) fn run(&mut self, now: Instant) {
        if let Some(since) = self.stopped_at.take() {
            let still = now.0.saturating_sub(since.0);
            self.stood_still = self.stood_still.saturating_add(still);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_saturate() {
        // rule: LIM-8
        assert_eq!(Instant::from_millis(5) + Duration::MAX, Instant::MAX);
        assert_eq!(
            Instant::ZERO.saturating_duration_since(Instant::MAX),
            Duration::ZERO
        );
    }

    #[test]
    fn a_stopped_clock_shifts_every_deadline_by_the_time_it_stood() {
        let ms = Instant::from_millis;
        let mut clock = ReadingClock::default();
        let deadline = clock.at(ms(10)) + Duration::from_millis(30);
        assert_eq!(clock.due(deadline), Some(ms(40)));
        clock.stop(ms(15));
        clock.stop(ms(18));
        assert_eq!(clock.due(deadline), None);
        assert_eq!(clock.at(ms(100)), ms(15));
        clock.run(ms(115));
        assert_eq!(clock.due(deadline), Some(ms(140)));
        assert_eq!(clock.at(ms(120)), ms(20));
    }

    #[test]
    fn what_is_due_has_come_on_the_clock_also_at_the_end_of_time() {
        // rule: LIM-8
        let mut clock = ReadingClock::default();
        assert_eq!(clock.due(Instant::MAX), Some(Instant::MAX));
        clock.stop(Instant(1));
        clock.run(Instant(3));
        let last = clock.at(Instant::MAX);
        assert_eq!(clock.due(last), Some(Instant::MAX));
        assert_eq!(clock.due(last + Duration::from_nanos(1)), None);
        assert_eq!(clock.due(Instant::MAX), None);
    }
}
