//! What is sent next, and what waits to be.

pub(crate) mod commands;
mod list;
pub(crate) mod pushes;
pub(crate) mod scheduler;

pub use pushes::{Accepted, Released};
