//! What is sent next, and what waits to be.

pub(crate) mod accepted;
pub(crate) mod begun;
pub(crate) mod commands;
pub(crate) mod ledger;
pub(crate) mod list;
pub(crate) mod pushes;
pub(crate) mod scheduler;
pub(crate) mod seldom;
mod token_bucket;
mod unsent;

pub use accepted::{Accepted, Released, SharedUnits};
pub use token_bucket::{RateLimit, TokenBucket};
