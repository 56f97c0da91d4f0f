//! The outcome of a run, as one line that both people and `bench-compare` read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// What a run measured.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Measured {
    /// Frames received per second.
    pub rate: f64,
    /// Payload received per second, in units of 10^6 bytes.
    pub megabytes: f64,
    /// Frames received in all, warm-up included: what the server has worked for.
    pub total: u64,
    /// Half of the requests were answered sooner. Echo at depth 1 only.
    pub p50: Option<Duration>,
    /// All but one in a hundred were.
    pub p99: Option<Duration>,
}

/// A line that is not a [`Measured`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected a measurement as bench-load prints it, came {0:?}")]
pub struct ParseMeasuredError(String);

impl Measured {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a run has far fewer than 2^53 frames"
    )]
    pub(crate) fn new(frames: u64, elapsed: Duration, total: u64, size: u32) -> Self {
        let rate = frames as f64 / elapsed.as_secs_f64();
        Self {
            rate,
            megabytes: rate * f64::from(size) / 1e6,
            total,
            p50: None,
            p99: None,
        }
    }

    pub(crate) fn with_latencies(mut self, latencies: &mut [Duration]) -> Self {
        latencies.sort_unstable();
        let percentile = |percent| latencies.get(latencies.len() * percent / 100).copied();
        self.p50 = percentile(50);
        self.p99 = percentile(99);
        self
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rate,
            megabytes,
            total,
            ..
        } = self;
        write!(f, "rate={rate:.0} MB/s={megabytes:.1} total={total}")?;
        if let (Some(p50), Some(p99)) = (self.p50, self.p99) {
            let micros = |latency: Duration| latency.as_secs_f64() * 1e6;
            write!(f, " p50_us={:.1} p99_us={:.1}", micros(p50), micros(p99))?;
        }
        Ok(())
    }
}

impl FromStr for Measured {
    type Err = ParseMeasuredError;

    fn from_str(line: &str) -> Result<Self, ParseMeasuredError> {
        let value = |name: &str| {
            line.split_whitespace()
                .filter_map(|field| field.split_once('='))
                .find_map(|(key, value)| (key == name).then_some(value))
        };
        let number = |name| value(name)?.parse::<f64>().ok();
        let latency = |name| Duration::try_from_secs_f64(number(name)? / 1e6).ok();
        let parse = || {
            Some(Self {
                rate: number("rate")?,
                megabytes: number("MB/s")?,
                total: value("total")?.parse().ok()?,
                p50: latency("p50_us"),
                p99: latency("p99_us"),
            })
        };
        parse().ok_or_else(|| ParseMeasuredError(line.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Measured, ParseMeasuredError};

    #[test]
    fn a_measurement_comes_back_from_its_line() {
        let mut latencies = (1..=200)
            .rev()
            .map(Duration::from_micros)
            .collect::<Vec<_>>();
        let measured =
            Measured::new(50, Duration::from_secs(2), 60, 1_000_000).with_latencies(&mut latencies);
        assert_eq!(
            measured.to_string(),
            "rate=25 MB/s=25.0 total=60 p50_us=101.0 p99_us=199.0"
        );
        assert_eq!(measured.to_string().parse(), Ok(measured));
    }

    #[test]
    fn a_line_of_something_else_is_refused() {
        let refused = ParseMeasuredError("rate=1".to_owned());
        assert_eq!("rate=1".parse::<Measured>(), Err(refused));
    }
}
