//! A push as it enters the engine, and its slot as it leaves.

use alloc::sync::Arc;

use bytes::Bytes;

use crate::ids::CallId;

/// An accepted push: the frame and what it is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<F> {
    /// The frame.
    pub frame: F,
    /// Bytes that it takes of its queue's bound, as
    /// [`Codec::encoded_len`](crate::Codec::encoded_len) says.
    pub charge: usize,
    pub(crate) kind: Kind,
}

/// What there is to an accepted push besides its frame. No push is two of these: it is
/// one field, because every push is moved with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Plain,
    /// It begins this call.
    Call(CallId),
    /// It is encoded already.
    Shared(Arc<Bytes>),
}

impl Kind {
    pub(crate) const fn call(&self) -> Option<CallId> {
        match self {
            Self::Call(call) => Some(*call),
            Self::Plain | Self::Shared(_) => None,
        }
    }
}

impl<F> Accepted<F> {
    /// An accepted push.
    pub const fn new(frame: F, charge: usize) -> Self {
        Self {
            frame,
            charge,
            kind: Kind::Plain,
        }
    }

    /// An accepted push of a frame that is encoded already, by
    /// [`WireframeProtocol::encode_shared`](crate::WireframeProtocol::encode_shared): it
    /// is charged with the length of these bytes, and they are sent as they are.
    pub fn shared(frame: F, encoded: Arc<Bytes>) -> Self {
        Self {
            frame,
            charge: encoded.len(),
            kind: Kind::Shared(encoded),
        }
    }

    /// Lets the push begin a call, see
    /// [`Connection::register_call`](crate::Connection::register_call).
    pub fn begin_call(&mut self, call: CallId) {
        self.kind = Kind::Call(call);
    }
}

/// Slots that a queue has given back, by what became of their frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Frames whose last byte the transport has taken.
    pub sent: u64,
    /// Frames that could not be encoded.
    pub unencodable: u64,
    /// Frames that were queued or under way when the connection ended.
    pub ended: u64,
    /// The charges of all of these.
    pub bytes: usize,
}

impl Released {
    /// Slots given back.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.sent + self.unencodable + self.ended
    }
}
