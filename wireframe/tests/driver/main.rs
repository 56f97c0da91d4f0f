//! The driver of a connection, by its public API alone: over a link in memory, on
//! virtual time, without a runtime.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod accept_panics;
mod accepting;
mod answers;
mod app;
mod bodies;
mod body_ends;
mod broadcast;
mod calls;
mod client;
mod conversations;
mod conversing;
mod crowded;
mod dead;
mod dead_letters;
mod deadlines;
mod draining;
mod ends;
mod errors;
mod fairness;
mod flaws;
mod foreign;
mod fragments;
mod handlers;
mod heartbeat;
mod holding;
mod hooks;
mod idle;
mod late;
mod layers;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod panics;
mod preamble;
mod programs;
mod proxies;
mod pushed;
mod pushes;
mod random;
mod rates;
mod reconnecting;
mod registry;
mod replies;
mod rig;
mod serving;
mod shutdowns;
mod snapshots;
mod threads;
mod time;
mod transport;
mod typed;
