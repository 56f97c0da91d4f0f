//! Testing handlers and protocols: virtual time, a transport in memory, faults.
//!
//! Nothing here uses a thread, a socket or the time of day, so a test that passes once
//! passes always, and an hour of timeouts takes no time. The parts:
//!
//! * [`Simulation`] runs futures by hand, until nothing is left to do or a given time has
//!   passed on its [`ManualClock`]. A future that spins fails the test.
//! * [`link`] makes the two ends of a connection in memory. Each [`Link`] is a
//!   [`Transport`](crate::Transport), and can be worked by hand.
//! * [`Script`] makes an end misbehave: short writes, stalls, errors, an end in mid-frame.
//!   It also keeps a record of what was written.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use wireframe::{
//!     Client, Clock, Driver, Envelope, WireframeApp,
//!     testing::{Simulation, link},
//! };
//!
//! // The handler to be tested; it takes ten minutes.
//! async fn steep(tea: Bytes, clock: Clock) -> Vec<u8> {
//!     clock.sleep(Duration::from_secs(600)).await;
//!     [&b"hot "[..], &tea].concat()
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let simulation = Simulation::new();
//! let environment = simulation.environment();
//! let (near, far) = link(64 * 1024);
//!
//! let app = WireframeApp::new().route(1, steep).build()?;
//! let server = simulation.spawn(Driver::server(&app, near, None, &environment));
//!
//! let (client, driver) = Client::new(&WireframeApp::new().build()?, far, None, &environment);
//! simulation.spawn(driver);
//! let call = simulation.spawn(async move { client.call(Envelope::new(1, "tea")).await });
//!
//! simulation.advance(Duration::from_secs(599));
//! assert!(!call.is_done());
//! simulation.advance(Duration::from_secs(1));
//! assert_eq!(call.take().unwrap()?.payload, "hot tea");
//! // The client is gone with its task, so the connection has ended.
//! assert!(server.is_done());
//! # Ok(())
//! # }
//! ```

mod clock;
mod link;
mod script;
mod simulation;

pub use clock::ManualClock;
pub use link::{Link, link};
pub use script::{Fault, Script};
pub use simulation::{Simulation, Spawned};
