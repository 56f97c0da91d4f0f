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
    /// Most bytes of memory that the peer's messages may take together until they are
    /// whole, counted as they are allocated. Default `None`: 4 times the most bytes of a
    /// message.
    pub max_partial_bytes: Option<NonZeroUsize>,
    /// Most fragments of one message of the peer. Default `None`: the most bytes of a
    /// message divided by 256, and 16 more.
    pub max_fragments_per_message: Option<NonZeroUsize>,
    /// From the first fragment of a message to its last, plus 1 s per 256 KiB received of
    /// it. A message with an id is dropped then, one without ends the connection.
    /// Default 30 s.
    pub reassembly_timeout: Duration,
}

impl FragmentLimits {
    /// [`max_message_size`](Self::max_message_size), or what stands for it.
    pub(crate) fn message_size(&self, max_frame_len: NonZeroUsize) -> usize {
        let default = max_frame_len.get().saturating_mul(16);
        self.max_message_size.map_or(default, NonZeroUsize::get)
    }

    /// [`max_partial_bytes`](Self::max_partial_bytes), or what stands for it.
    pub(crate) fn partial_bytes(&self, max_frame_len: NonZeroUsize) -> usize {
        let default = self.message_size(max_frame_len).saturating_mul(4);
        self.max_partial_bytes.map_or(default, NonZeroUsize::get)
    }

    /// [`max_fragments_per_message`](Self::max_fragments_per_message), or what stands for
    /// it.
    pub(crate) fn fragments_per_message(&self, max_frame_len: NonZeroUsize) -> usize {
        let default = (self.message_size(max_frame_len) / 256).saturating_add(16);
        self.max_fragments_per_message
            .map_or(default, NonZeroUsize::get)
    }
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
