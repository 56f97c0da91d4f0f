//! The header of a wire unit: reading it, writing it, and what it says.

mod length_delimited;

use alloc::vec::Vec;
use core::num::NonZeroUsize;

pub use length_delimited::{ByteOrder, LengthDelimited, PrefixWidth};

use crate::error::{Malformed, Unencodable};

/// What the header of one wire unit says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FragmentMeta {
    /// Bytes of payload that follow the header.
    pub payload_len: u64,
    /// Bytes of the whole message, where its first unit declares them.
    pub total_message_len: Option<u64>,
    /// Whether this unit ends its message.
    pub is_final: bool,
    /// The message that this unit belongs to; `None` for the one anonymous message.
    pub msg_id: Option<u64>,
    /// The unit's place in its message, from 0.
    pub seq: Option<u32>,
    /// The protocol's own word about the message, such as an opcode.
    pub tag: u32,
    /// Whether the unit belongs to no message under way and is delivered at once.
    pub alone: bool,
    /// Outbound: no command was in flight when the message began.
    pub unsolicited: bool,
}

impl FragmentMeta {
    /// A message that is one unit of `payload_len` bytes.
    #[must_use]
    pub const fn whole(payload_len: u64) -> Self {
        Self {
            payload_len,
            total_message_len: None,
            is_final: true,
            msg_id: None,
            seq: None,
            tag: 0,
            alone: false,
            unsolicited: false,
        }
    }
}

/// A framing: reads and writes the header of one wire unit.
///
/// One framing serves one connection. Like the [`Codec`](crate::Codec) it hears every
/// unit of both directions in wire order and may keep a phase or count units.
pub trait FragmentStrategy<F> {
    /// Reads the header at the front of `src`.
    ///
    /// Returns what it says and how many bytes it takes, or `None` if `src` does not
    /// yet hold all of it. `None` must leave the framing as it was: it is asked again
    /// with the same bytes and more. `Some` means that the header was consumed.
    ///
    /// A unit without a header of its own, such as a line of text, has a header of 0
    /// bytes and its whole length as payload.
    ///
    /// # Errors
    ///
    /// [`Malformed`] ends the connection; there is no resynchronisation by guess.
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed>;

    /// Appends the header of a unit of `frame` to `dst`, which is empty.
    ///
    /// # Errors
    ///
    /// [`Unencodable`] if no header can say what `meta` says; nothing of the frame is
    /// sent. The framing must not have changed its phase then.
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &F,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable>;

    /// The most payload bytes of `frame` that one unit may carry; `None` (the default)
    /// if there is no limit but [`Limits::max_frame_len`](crate::Limits::max_frame_len).
    fn max_fragment_payload(&self, frame: &F) -> Option<NonZeroUsize> {
        let _ = frame;
        None
    }

    /// Whether a unit of `other` may go between two fragments of `message`.
    ///
    /// The default is no.
    fn may_interrupt(&self, message: &F, other: &F) -> bool {
        let _ = (message, other);
        false
    }

    /// Undoes a transformation of the payload in place, such as WebSocket's mask.
    ///
    /// `bytes` begin `offset` bytes into the unit's payload. The default does nothing.
    fn unmask(&mut self, meta: &FragmentMeta, offset: usize, bytes: &mut [u8]) {
        let _ = (meta, offset, bytes);
    }
}
