//! How often something may happen.

use core::num::NonZeroU32;

use crate::time::Instant;

/// How often something may happen: so many times per second in the long run, and so many
/// at once.
///
/// ```
/// use std::num::NonZeroU32;
/// use wireframe_proto::RateLimit;
///
/// const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();
/// assert_eq!(RateLimit::per_second(TEN).burst, TEN);
/// assert_eq!(RateLimit::per_second(TEN).with_burst(THREE).burst, THREE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RateLimit {
    /// Tokens per second.
    pub rate: NonZeroU32,
    /// Most tokens that are stored. Default: `rate`.
    pub burst: NonZeroU32,
}

impl RateLimit {
    /// So many per second, and as many at once.
    #[must_use]
    pub const fn per_second(rate: NonZeroU32) -> Self {
        Self { rate, burst: rate }
    }

    /// Sets how many may happen at once, after a time of silence.
    #[must_use]
    pub const fn with_burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = burst;
        self
    }
}

/// Tokens that come continuously, at a given rate, up to a given number; whatever is
/// limited takes one each time.
///
/// It is exact: nothing is rounded but the time of the next token, which is the first
/// nanosecond at which the token is there. In any time `t` at most `burst + rate × t`
/// tokens are taken, and not one less is there to be taken.
///
/// It reads no clock. A `now` before the last one counts as the last one.
///
/// ```
/// use std::num::NonZeroU32;
/// use wireframe_proto::{Instant, RateLimit, TokenBucket};
///
/// const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// let ms = Instant::from_millis;
/// let mut bucket = TokenBucket::new(RateLimit::per_second(TWO), ms(0));
/// assert_eq!(bucket.try_take(ms(0)), Ok(()));
/// assert_eq!(bucket.try_take(ms(0)), Ok(()));
/// assert_eq!(bucket.try_take(ms(100)), Err(ms(500)));
/// assert_eq!(bucket.try_take(ms(500)), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct TokenBucket {
    limit: RateLimit,
    /// What is there, in units of a thousand-millionth of a token: so many of them come
    /// in a nanosecond as tokens come in a second. At most [`full`](Self::full).
    level: u64,
    /// When the level was that.
    seen: Instant,
}

/// One token.
const TOKEN: u64 = 1_000_000_000;

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub const fn new(limit: RateLimit, now: Instant) -> Self {
        Self {
            limit,
            level: Self::full(limit),
            seen: now,
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// When there will be one, if there is none.
    pub fn try_take(&mut self, now: Instant) -> Result<(), Instant> {
        self.refill(now);
        match self.level.checked_sub(TOKEN) {
            Some(rest) => {
                self.level = rest;
                Ok(())
            }
            None => Err(self.completion()),
        }
    }

    /// Puts a token back that was not used after all. What passes the burst is lost.
    pub fn give_back(&mut self) {
        let full = Self::full(self.limit);
        self.level = self.level.saturating_add(TOKEN).min(full);
    }

    /// How many tokens are there.
    pub fn available(&mut self, now: Instant) -> u32 {
        self.refill(now);
        // The level is at most a `u32` of tokens.
        u32::try_from(self.level / TOKEN).unwrap_or(u32::MAX)
    }

    /// When there will be one token more than there is now; `None` if the bucket is full.
    pub fn next_token(&mut self, now: Instant) -> Option<Instant> {
        self.refill(now);
        (self.level < Self::full(self.limit)).then(|| self.completion())
    }

    /// When the token that is under way will be there, were there room for it.
    fn completion(&self) -> Instant {
        let missing = TOKEN - self.level % TOKEN;
        let wait = missing.div_ceil(u64::from(self.limit.rate.get()));
        Instant::from_nanos(self.seen.as_nanos().saturating_add(wait))
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.as_nanos().saturating_sub(self.seen.as_nanos());
        let come = passed.saturating_mul(u64::from(self.limit.rate.get()));
        self.level = self.level.saturating_add(come).min(Self::full(self.limit));
        self.seen = self.seen.max(now);
    }

    /// Below 2^62.
    const fn full(limit: RateLimit) -> u64 {
        limit.burst.get() as u64 * TOKEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn limit(rate: u32, burst: u32) -> RateLimit {
        let of = |n| NonZeroU32::new(n).unwrap();
        RateLimit::per_second(of(rate)).with_burst(of(burst))
    }

    #[test]
    fn the_burst_goes_at_once_and_then_one_goes_per_period() {
        // rule: RATE-1, RATE-2
        let ms = Instant::from_millis;
        let mut bucket = TokenBucket::new(limit(4, 2), ms(1_000));
        let taken: Vec<_> = (1_000..3_000)
            .filter(|&now| bucket.try_take(ms(now)).is_ok())
            .collect();
        // In each millisecond one is asked for.
        assert_eq!(
            taken,
            [
                1_000, 1_001, 1_250, 1_500, 1_750, 2_000, 2_250, 2_500, 2_750
            ]
        );
    }

    #[test]
    fn silence_stores_no_more_than_the_burst() {
        // rule: RATE-2
        let mut bucket = TokenBucket::new(limit(u32::MAX, 3), Instant::ZERO);
        assert_eq!(bucket.available(Instant::MAX), 3);
        assert_eq!(bucket.next_token(Instant::MAX), None);
        let most = limit(1, u32::MAX);
        let mut bucket = TokenBucket::new(most, Instant::ZERO);
        assert_eq!(bucket.available(Instant::MAX), u32::MAX);
        bucket.give_back();
        assert_eq!(bucket.available(Instant::MAX), u32::MAX);
    }

    #[test]
    fn time_that_goes_back_brings_nothing_and_takes_nothing() {
        // rule: RATE-2, LIM-8
        let ms = Instant::from_millis;
        let mut bucket = TokenBucket::new(limit(1, 1), ms(500));
        assert_eq!(bucket.try_take(ms(0)), Ok(()));
        assert_eq!(bucket.try_take(ms(1_499)), Err(ms(1_500)));
        assert_eq!(bucket.try_take(ms(0)), Err(ms(1_500)));
        assert_eq!(bucket.try_take(ms(1_500)), Ok(()));
    }

    #[test]
    fn the_end_of_time_brings_no_token() {
        // rule: LIM-8
        let mut bucket = TokenBucket::new(limit(1, 1), Instant::MAX);
        assert_eq!(bucket.try_take(Instant::MAX), Ok(()));
        assert_eq!(bucket.try_take(Instant::MAX), Err(Instant::MAX));
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Take,
        GiveBack,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![4 => Just(Op::Take), 1 => Just(Op::GiveBack)]
    }

    fn step() -> impl Strategy<Value = i64> {
        prop_oneof![
            Just(0),
            -1_000_000_000i64..0,
            0..50i64,
            0..2_000_000_000i64,
            0..1_000_000_000_000i64,
        ]
    }

    proptest! {
        /// The model keeps the level in 128 bits and looks for the next token by trying.
        #[test]
        fn it_agrees_with_plain_rational_arithmetic(
            rate in prop_oneof![1u32..10, 1u32..5_000_000, Just(u32::MAX)],
            burst in prop_oneof![1u32..5, 1u32..1_000_000],
            program in proptest::collection::vec((op(), step()), 1..80),
        ) {
            // rule: RATE-1, RATE-2
            const ONE: u128 = 1_000_000_000;
            let full = u128::from(burst) * ONE;
            let start = 1_000_000_000_000u64;
            let mut bucket = TokenBucket::new(limit(rate, burst), Instant::from_nanos(start));
            let (mut now, mut seen, mut level) = (start, start, full);
            for (op, step) in program {
                now = now.saturating_add_signed(step);
                let passed = now.saturating_sub(seen);
                seen = seen.max(now);
                level = full.min(level + u128::from(passed) * u128::from(rate));
                let at = |wait: u64| level + u128::from(wait) * u128::from(rate);
                match op {
                    Op::GiveBack => {
                        // As a permit does: after a look at the time.
                        bucket.available(Instant::from_nanos(now));
                        bucket.give_back();
                        level = full.min(level + ONE);
                    }
                    Op::Take => match bucket.try_take(Instant::from_nanos(now)) {
                        Ok(()) => {
                            prop_assert!(level >= ONE);
                            level -= ONE;
                        }
                        Err(next) => {
                            prop_assert!(level < ONE);
                            let wait = next.as_nanos() - seen;
                            prop_assert!(at(wait) >= ONE, "it is not there yet");
                            prop_assert!(at(wait - 1) < ONE, "it was there before");
                        }
                    },
                }
                prop_assert_eq!(u128::from(bucket.available(Instant::from_nanos(now))), level / ONE);
                let next = bucket.next_token(Instant::from_nanos(now));
                prop_assert_eq!(next.is_none(), level == full);
                if let Some(next) = next {
                    let wait = next.as_nanos() - seen;
                    let more = (level / ONE + 1) * ONE;
                    let at = |wait: u64| level + u128::from(wait) * u128::from(rate);
                    prop_assert!(at(wait) >= more && at(wait - 1) < more);
                }
            }
        }
    }
}
