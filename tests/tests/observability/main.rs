//! What is logged: spans and events, as a subscriber hears them. A binary of its own,
//! because `tracing` keeps for the whole process what a subscriber has said to an event.

#[macro_use(scenarios)]
extern crate wireframe_tests;

mod behind_proxies;
mod ends;
mod events;
mod hostile;
mod on_every_runtime;
mod recorder;
mod rig;
mod spans;
mod throttled;
