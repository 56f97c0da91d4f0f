//! Pushing frames to a connection from anywhere.
//!
//! A [`PushHandle`] puts frames into the connection's mailbox; the driver moves them to
//! the engine in bulk and reports back what the transport has taken. One bound covers
//! the whole way, see
//! [`PushCapacity`](wireframe_proto::PushCapacity).

mod capacity;
mod control;
mod driver_side;
mod error;
mod handle;
mod lane;
mod mailbox;
mod permit;
mod policy;
mod signal;
mod stats;
mod wait;
mod waiters;

#[cfg(test)]
mod tests;

pub use capacity::PushLimits;
pub use control::ConnectionHandle;
pub(crate) use control::{Command, Control};
pub(crate) use driver_side::{Batch, Settled};
pub use error::{PushError, TryPushError};
pub use handle::PushHandle;
pub(crate) use mailbox::{EncodedLen, Mailbox, QueuedCall};
pub use permit::Permit;
pub use policy::{PushPolicy, Pushed};
pub use stats::PushStats;
pub use wait::{Push, Reserve};
