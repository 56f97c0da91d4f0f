//! What is measured of a server's connections, for the crate `metrics`.
//!
//! [`Metrics`] is what an app counts with, and [`Meter`] what a driver has told of its
//! connection so far. Without the feature `metrics` both are empty and do nothing, so that
//! those who call them are the same either way, and nothing is left of it.

mod kinds;
#[cfg(feature = "metrics")]
mod latency;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;
#[cfg(feature = "metrics")]
mod told;

pub(crate) use kinds::{Dropped, ErrorKind};
#[cfg(not(feature = "metrics"))]
pub(crate) use off::{Meter, Metrics};
#[cfg(feature = "metrics")]
pub(crate) use {on::Metrics, told::Meter};
