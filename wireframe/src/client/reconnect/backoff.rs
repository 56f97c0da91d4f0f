//! How long to wait before connecting again.

use std::{num::NonZeroU32, time::Duration};

use fastrand::Rng;

/// No bound is below this, so that nobody connects in a busy loop.
const LEAST: Duration = Duration::from_millis(1);

/// How long a [`Reconnecting`](super::Reconnecting) client waits between attempts:
/// exponential back-off with jitter.
///
/// The n-th failure in a row is followed by a wait of at most `first × factor^(n - 1)`,
/// and never more than `max`, from the time of that failure. A connection that dies counts
/// as one, so that only the very first attempt is made at once. With [`Jitter::Full`], the default, the wait is a random part
/// of that, so that the many clients of a server that has come back do not come all at
/// once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The bound after the first failure. Default 100 ms; at least 1 ms.
    pub first: Duration,
    /// The highest bound. The end of a connection that has lived so long is the first
    /// failure of a new row.
    /// Default 30 s; at least 1 ms.
    pub max: Duration,
    /// What the bound grows by with each failure. Default 2.
    pub factor: NonZeroU32,
    /// How the wait is drawn. Default [`Jitter::Full`].
    pub jitter: Jitter,
    /// Where the random numbers begin: the same seed gives the same waits. Default
    /// `None`: somewhere.
    pub seed: Option<u64>,
}

/// How a wait is drawn below its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Anything from nothing to the bound.
    #[default]
    Full,
    /// Half of the bound, and anything up to the other half on top.
    Equal,
    /// The bound itself.
    None,
}

impl Backoff {
    /// 100 ms, doubling up to 30 s, with full jitter.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            first: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: match NonZeroU32::new(2) {
                Some(two) => two,
                None => NonZeroU32::MIN,
            },
            jitter: Jitter::Full,
            seed: None,
        }
    }

    /// Sets the bound after the first failure.
    #[must_use]
    pub const fn with_first(mut self, first: Duration) -> Self {
        self.first = first;
        self
    }

    /// Sets the highest bound.
    #[must_use]
    pub const fn with_max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Sets what the bound grows by with each failure.
    #[must_use]
    pub const fn with_factor(mut self, factor: NonZeroU32) -> Self {
        self.factor = factor;
        self
    }

    /// Sets how the wait is drawn.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets where the random numbers begin.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(super) fn rng(&self) -> Rng {
        self.seed.map_or_else(Rng::new, Rng::with_seed)
    }

    /// The wait after so many failures in a row; none before the first.
    pub(super) fn wait(&self, failures: u32, rng: &mut Rng) -> Duration {
        let Some(growths) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let bound = self.bound(growths);
        match self.jitter {
            Jitter::None => bound,
            Jitter::Full => random(bound, rng),
            Jitter::Equal => bound / 2 + random(bound / 2, rng),
        }
    }

    fn bound(&self, growths: u32) -> Duration {
        let grown = self
            .factor
            .checked_pow(growths)
            .map_or(u32::MAX, NonZeroU32::get);
        let first = self.first.max(LEAST);
        first.saturating_mul(grown).min(self.max.max(LEAST))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// Anything from nothing to `bound`, which is included.
fn random(bound: Duration, rng: &mut Rng) -> Duration {
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.u64(0..=nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn waits(backoff: &Backoff, failures: u32) -> Vec<Duration> {
        let mut rng = backoff.rng();
        (0..=failures).map(|n| backoff.wait(n, &mut rng)).collect()
    }

    #[test]
    fn the_bound_grows_by_its_factor_up_to_the_highest() {
        // rule: CLI-6
        let backoff = Backoff::new().with_jitter(Jitter::None).with_max(ms(1000));
        let expected = [0, 100, 200, 400, 800, 1000, 1000].map(ms);
        assert_eq!(waits(&backoff, 6), expected);
        let three = NonZeroU32::new(3).unwrap();
        let backoff = backoff.with_factor(three).with_first(ms(7));
        assert_eq!(waits(&backoff, 4), [0, 7, 21, 63, 189].map(ms));
        let ceiling = Backoff::new().with_jitter(Jitter::None);
        let mut rng = ceiling.rng();
        assert_eq!(ceiling.wait(u32::MAX, &mut rng), Duration::from_secs(30));
        let longest = ceiling.with_max(Duration::MAX).with_first(Duration::MAX);
        assert_eq!(longest.wait(u32::MAX, &mut rng), Duration::MAX);
    }

    #[test]
    fn full_jitter_is_anything_below_the_bound_and_equal_jitter_its_upper_half() {
        // rule: CLI-6
        let mut rng = Rng::with_seed(1);
        for (jitter, least) in [(Jitter::Full, 0), (Jitter::Equal, 100)] {
            let backoff = Backoff::new().with_jitter(jitter);
            let mut drawn: Vec<_> = (0..1000).map(|_| backoff.wait(2, &mut rng)).collect();
            drawn.sort();
            assert!(drawn[0] >= ms(least) && drawn[0] < ms(least + 10));
            assert!(drawn[999] <= ms(200) && drawn[999] > ms(190));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        // rule: CLI-6
        let [one, same, other] = [1, 1, 2].map(|seed| waits(&Backoff::new().with_seed(seed), 20));
        assert_eq!(one, same);
        assert_ne!(one, other);
    }

    #[test]
    fn no_bound_is_nothing() {
        // rule: CLI-6
        let backoff = Backoff::new().with_jitter(Jitter::None);
        let backoff = backoff.with_first(ms(0)).with_max(ms(0));
        assert_eq!(waits(&backoff, 3), [ms(0), LEAST, LEAST, LEAST]);
    }
}
