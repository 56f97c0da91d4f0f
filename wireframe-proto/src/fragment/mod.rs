//! The header of a wire unit: reading it, writing it, and what it says.

mod due;
mod len_flag;
mod len_seq;
mod length_delimited;
mod limits;
mod multiplexed;
mod partial;
pub(crate) mod reassembler;
pub(crate) mod splitter;

use alloc::vec::Vec;
use core::num::NonZeroUsize;

pub use len_flag::LenFlag32K;
pub use len_seq::LenSeq16M;
pub use length_delimited::{ByteOrder, LengthDelimited, PrefixWidth};
pub use limits::FragmentLimits;
pub use multiplexed::Multiplexed;

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
    /// Whether the unit belongs to no message under way, whatever its id, and is delivered
    /// at once.
    pub alone: bool,
    /// Outbound: nothing was under way that the message could belong to when it began. No
    /// command was in flight, and no call of this end without an id had been sent and awaited
    /// its reply; or, for a last word, no command was in flight when the connection began to
    /// close. All its units say so.
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
    /// sent. The framing must not have changed its phase then. A framing that has
    /// accepted a message's first fragment must accept the others too: to refuse one of
    /// them ends the connection.
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &F,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable>;

    /// The most payload bytes of `frame` that one unit may carry. A longer payload is
    /// split into fragments of so many bytes, or of
    /// [`Limits::max_frame_len`](crate::Limits::max_frame_len) if that is less.
    ///
    /// With `None`, the default, there is no limit but that, and nothing is split.
    fn max_fragment_payload(&self, frame: &F) -> Option<NonZeroUsize> {
        let _ = frame;
        None
    }

    /// Whether only a fragment that is shorter than
    /// [`max_fragment_payload`](Self::max_fragment_payload) can end a message. A payload
    /// that fills its last fragment is followed by an empty one then, and fragments are
    /// never cut shorter for another reason.
    ///
    /// The default is no.
    fn ends_with_short_fragment(&self) -> bool {
        false
    }

    /// The largest message id that a header can say. Messages that are split get ids from
    /// 0 on, and from 0 again behind the largest; never that of a message under way.
    ///
    /// With `None`, the default, they have no id, and their fragments are sent one after
    /// the other.
    fn max_message_id(&self) -> Option<u64> {
        None
    }

    /// Whether the peer may use a message's id again while it is remembered here.
    ///
    /// The ids of messages that were dropped are remembered until 64 others have been, and
    /// what still comes of them is ignored. That may be for as long as the connection lasts. If
    /// ids may come round again within it the framing must say yes. Then a fragment whose [`seq`](FragmentMeta::seq) is 0 begins another message
    /// of an id whose message was dropped, also if it is the old one that comes twice; and a
    /// message that began without `seq` is not dropped alone, because what still comes of it
    /// could be another one: its loss ends the connection. Number every unit that has an id,
    /// those that are whole messages too, or none: one without a number is taken for the rest
    /// of a dropped message. An id whose message is under way cannot begin another: a first
    /// fragment that says something else ends the connection.
    ///
    /// The default is no.
    fn reuses_message_ids(&self) -> bool {
        false
    }

    /// Whether a unit of `other` may go between two fragments of `message`. Two messages
    /// that are both split never mix unless they have ids.
    ///
    /// The default is no. The answer must depend on the frames alone: while a message is
    /// under way it is asked for each frame that could go next. That has not passed
    /// [`before_send`](crate::WireframeProtocol::before_send) yet, so what this changes must
    /// not matter.
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
