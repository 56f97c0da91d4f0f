//! Pushing frames to a connection from anywhere.
//!
//! A [`PushHandle`] puts frames into the connection's mailbox; the driver moves them to
//! the engine in bulk and reports back what the transport has taken. One bound covers
//! the whole way, see
//! [`PushCapacity`](wireframe_proto::PushCapacity).

mod capacity;
mod common;
mod control;
mod dead_letter;
mod disposal;
mod driver_side;
mod encoding;
mod error;
mod handle;
mod inner;
mod lane;
mod mailbox;
mod memory;
mod permit;
mod policy;
mod published;
mod rate;
mod signal;
mod stats;
mod turn;
mod wait;
mod waiters;

#[cfg(test)]
mod tests;

pub use capacity::PushLimits;
pub(crate) use common::Common;
pub use control::ConnectionHandle;
pub(crate) use control::{Asked, Command, Control};
pub use dead_letter::{
    DeadLetter, DeadLetterLog, DeadLetterReason, DeadLetterSender, DeadLetters, dead_letter_queue,
};
pub(crate) use driver_side::{Batch, Buried, Settled};
pub(crate) use encoding::ProtocolEncoding;
pub use error::{PushError, TryPushError};
pub use handle::{PushHandle, WeakPushHandle};
pub(crate) use mailbox::{AnyMailbox, Mailbox, QueuedCall};
pub use permit::Permit;
pub use policy::{PushPolicy, Pushed};
pub(crate) use published::Progress;
pub(crate) use signal::Signal;
pub use stats::PushStats;
pub(crate) use wait::PushCall;
pub use wait::{Push, Reserve};
