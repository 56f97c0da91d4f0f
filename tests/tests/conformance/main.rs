//! The same behaviour on every runtime: each scenario is a test of each of them.

#[macro_use(scenarios)]
extern crate wireframe_tests;

mod addresses;
mod calls;
mod clients;
mod ends;
mod failures;
mod payloads;
mod proxies;
mod pushes;
mod shutdown;
mod silence;
mod snapshots;
mod streams;
mod support;
mod timers;
mod tls;
mod traces;
