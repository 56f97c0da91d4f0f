//! What bounds messages that go in fragments.

use core::{num::NonZeroUsize, time::Duration};

use crate::config::nonzero;

/// Bounds on messages that go in fragments, of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FragmentLimits {
    /// Most bytes of a message that goes in fragments, in either direction. Default
    /// `None`: 16 times [`max_frame_len`](crate::Limits::max_frame_len).
    pub max_message_size: Option<NonZeroUsize>,
    /// Most messages that have begun and not ended, in each direction. One without an id
    /// counts too. Default 64.
    pub max_partial_messages: NonZeroUsize,
    /// Most bytes that may have come of all of the peer's messages that are not whole; the
    /// memory for them is at most half more. Nor may one declare to be longer. Messages of
    /// this end go beside each other up to so many bytes, and a longer one not at all. Default
    /// `None`: 4 times the most bytes of a message.
    pub max_partial_bytes: Option<NonZeroUsize>,
    /// Most fragments of one message, in either direction. Default `None`: the most bytes
    /// of a message divided by 256, and 16 more.
    pub max_fragments_per_message: Option<NonZeroUsize>,
    /// From the first fragment of a message to its last, plus 1 s per 256 KiB that the
    /// connection receives meanwhile. Where answers are
    /// [`Correlated`](crate::AnswerOrder::Correlated) a message with an id is dropped then;
    /// any other ends the connection. Default 30 s.
    pub reassembly_timeout: Duration,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            max_message_size: None,
            max_partial_messages: nonzero(64),
            max_partial_bytes: None,
            max_fragments_per_message: None,
            reassembly_timeout: Duration::from_secs(30),
        }
    }
}
