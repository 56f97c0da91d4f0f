//! The driver of a connection, by its public API alone: over a link in memory, on
//! virtual time, without a runtime.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod accepting;
mod answers;
mod app;
mod bodies;
mod body_ends;
mod calls;
mod client;
mod conversations;
mod conversing;
mod ends;
mod fairness;
mod hooks;
mod idle;
mod panics;
mod pushed;
mod pushes;
mod random;
mod rig;
mod threads;
mod time;
mod transport;
