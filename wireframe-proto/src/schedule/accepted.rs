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
    /// What there is to it besides, if it is not a plain push. One pointer, because every
    /// push is moved with it.
    pub(crate) special: Option<Arc<Special>>,
}

/// What there is to an accepted push besides its frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// It begins this call.
    Call(CallId),
    /// It is encoded already.
    Shared(Bytes),
}

/// The bytes of a frame that was encoded once for many connections; a clone is the same
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedUnits {
    units: Arc<Special>,
    len: usize,
}

impl SharedUnits {
    /// What [`WireframeProtocol::encode_shared`](crate::WireframeProtocol::encode_shared)
    /// gave: whole wire units.
    #[must_use]
    pub fn new(units: Bytes) -> Self {
        Self {
            len: units.len(),
            units: Arc::new(Special::Shared(units)),
        }
    }
}

impl<F> Accepted<F> {
    /// An accepted push.
    pub const fn new(frame: F, charge: usize) -> Self {
        Self {
            frame,
            charge,
            special: None,
        }
    }

    /// An accepted push of a frame that is encoded already, by
    /// [`WireframeProtocol::encode_shared`](crate::WireframeProtocol::encode_shared): it
    /// is charged with the length of these bytes, and they are sent as they are.
    pub fn shared(frame: F, units: SharedUnits) -> Self {
        Self {
            frame,
            charge: units.len,
            special: Some(units.units),
        }
    }

    /// Lets the push begin a call, see
    /// [`Connection::register_call`](crate::Connection::register_call).
    pub fn begin_call(&mut self, call: CallId) {
        self.special = Some(Arc::new(Special::Call(call)));
    }

    /// Whether it is encoded already.
    pub(crate) fn is_encoded(&self) -> bool {
        matches!(self.special.as_deref(), Some(Special::Shared(_)))
    }

    /// The call that it begins.
    pub(crate) fn call(&self) -> Option<CallId> {
        match self.special.as_deref() {
            Some(Special::Call(call)) => Some(*call),
            Some(Special::Shared(_)) | None => None,
        }
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
