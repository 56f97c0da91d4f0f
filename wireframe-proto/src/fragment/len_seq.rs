//! MySQL's packets: a length of three bytes and a number.

use alloc::{format, vec::Vec};
use core::num::NonZeroUsize;

use super::{FragmentMeta, FragmentStrategy};
use crate::{
    config::nonzero,
    error::{Malformed, Unencodable},
};

/// A packet of this length is followed by more of its message.
const FULL: u64 = MAX_PAYLOAD as u64;
const MAX_PAYLOAD: usize = 0xff_ffff;

/// MySQL's framing: three bytes of length, little-endian, and a packet number.
///
/// A packet of 16 777 215 bytes is followed by more of its message, so a message whose
/// length is a multiple of that ends with an empty packet. Set
/// [`Limits::max_frame_len`](crate::Limits::max_frame_len) to as many bytes at least if
/// messages may be so long: what exceeds one packet cannot be split otherwise.
///
/// Both directions count packets with one counter, modulo 256. A message that this end
/// sends while no command is in flight, and no call awaits its reply, begins at 0; every
/// other packet has the number after the last. A packet that comes has that number too, or
/// begins a message at 0; any other is [`Malformed`]. So what comes must not be read before
/// its turn: a protocol over this framing classifies every command as `exclusive`, and its
/// client makes one call after the other, without ids.
///
/// # What goes on with a conversation
///
/// Commands and calls are all that the engine knows of. So a client that makes calls, and
/// sends what belongs to a call until its reply has ended, counts right, but for what answers
/// a greeting of the server: that is a call, which would begin at 0. A framing of your own
/// says so by the frame:
///
/// ```
/// # use std::num::NonZeroUsize;
/// use wireframe_proto::{FragmentMeta, FragmentStrategy, LenSeq16M, Malformed, Unencodable};
///
/// enum Packet {
///     HandshakeResponse,
///     Query,
/// }
///
/// #[derive(Clone, Default)]
/// struct MySql(LenSeq16M);
///
/// impl FragmentStrategy<Packet> for MySql {
///     fn encode_header(
///         &mut self,
///         dst: &mut Vec<u8>,
///         packet: &Packet,
///         meta: &FragmentMeta,
///     ) -> Result<(), Unencodable> {
///         let mut meta = meta.clone();
///         meta.unsolicited &= !matches!(packet, Packet::HandshakeResponse);
///         self.0.encode_header(dst, packet, &meta)
///     }
///
///     // The others hand on what they are asked.
///     fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
///         FragmentStrategy::<Packet>::decode_header(&mut self.0, src)
///     }
///
///     fn max_fragment_payload(&self, packet: &Packet) -> Option<NonZeroUsize> {
///         self.0.max_fragment_payload(packet)
///     }
///
///     fn ends_with_short_fragment(&self) -> bool {
///         FragmentStrategy::<Packet>::ends_with_short_fragment(&self.0)
///     }
/// }
///
/// // The server greets with packet 0, and says that all is well with packet 2.
/// let mut framing = MySql::default();
/// let mut wire = Vec::new();
/// let mut meta = FragmentMeta::whole(7);
/// meta.unsolicited = true;
/// framing.decode_header(&[74, 0, 0, 0])?;
/// framing.encode_header(&mut wire, &Packet::HandshakeResponse, &meta)?;
/// framing.decode_header(&[9, 0, 0, 2])?;
/// framing.encode_header(&mut wire, &Packet::Query, &meta)?;
/// assert_eq!(wire, [7, 0, 0, 1, 7, 0, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LenSeq16M {
    /// The number of the next packet of either direction.
    next: u8,
    /// A message of this end has begun and not ended.
    sending: bool,
    /// And one of the peer.
    receiving: bool,
}

impl<F> FragmentStrategy<F> for LenSeq16M {
    #[inline]
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let Some(&[a, b, c, number]) = src.first_chunk() else {
            return Ok(None);
        };
        if number != self.next && (self.receiving || number != 0) {
            let what = format!("packet number {number}, expected {}", self.next);
            return Err(Malformed::new(what));
        }
        let mut meta = FragmentMeta::whole(u64::from(u32::from_le_bytes([a, b, c, 0])));
        meta.is_final = meta.payload_len < FULL;
        self.next = number.wrapping_add(1);
        self.receiving = !meta.is_final;
        Ok(Some((meta, 4)))
    }

    #[inline]
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        _frame: &F,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let len = meta.payload_len;
        if meta.is_final != (len < FULL) || len > FULL {
            let what = format!("packet of {len} bytes, where only the last is shorter than {FULL}");
            return Err(Unencodable::new(what));
        }
        let number = match meta.unsolicited && !self.sending {
            true => 0,
            false => self.next,
        };
        let [a, b, c, ..] = len.to_le_bytes();
        dst.extend_from_slice(&[a, b, c, number]);
        self.next = number.wrapping_add(1);
        self.sending = !meta.is_final;
        Ok(())
    }

    #[inline]
    fn max_fragment_payload(&self, _frame: &F) -> Option<NonZeroUsize> {
        Some(nonzero(MAX_PAYLOAD))
    }

    #[inline]
    fn ends_with_short_fragment(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(len: u64, unsolicited: bool) -> FragmentMeta {
        let mut meta = FragmentMeta::whole(len);
        meta.is_final = len < FULL;
        meta.unsolicited = unsolicited;
        meta
    }

    fn encode(framing: &mut LenSeq16M, len: u64, unsolicited: bool) -> Vec<u8> {
        let mut header = Vec::new();
        let meta = meta(len, unsolicited);
        framing.encode_header(&mut header, &(), &meta).unwrap();
        header
    }

    fn decode(framing: &mut LenSeq16M, header: [u8; 4]) -> Result<FragmentMeta, Malformed> {
        let header = FragmentStrategy::<()>::decode_header(framing, &header)?;
        Ok(header.unwrap().0)
    }

    #[test]
    fn one_counter_numbers_the_packets_of_both_directions() {
        // rule: FRAG-4
        let mut framing = LenSeq16M::default();
        assert_eq!(encode(&mut framing, 5, true), [5, 0, 0, 0], "a greeting");
        assert_eq!(decode(&mut framing, [9, 0, 0, 1]), Ok(meta(9, false)));
        assert_eq!(encode(&mut framing, 0x0004_0302, false), [2, 3, 4, 2]);
        // A new command begins at 0, and so does what nobody asked for.
        assert_eq!(decode(&mut framing, [1, 0, 0, 0]), Ok(meta(1, false)));
        assert_eq!(encode(&mut framing, 1, false), [1, 0, 0, 1]);
        assert_eq!(encode(&mut framing, 1, true), [1, 0, 0, 0]);
    }

    #[test]
    fn a_full_packet_is_followed_by_the_next_number() {
        // rule: FRAG-4
        let mut framing = LenSeq16M::default();
        assert_eq!(encode(&mut framing, FULL, true), [255, 255, 255, 0]);
        assert_eq!(encode(&mut framing, 0, true), [0, 0, 0, 1]);
        assert!(!decode(&mut framing, [255, 255, 255, 2]).unwrap().is_final);
        // Inside a message there is no beginning anew.
        let error = decode(&mut framing, [0, 0, 0, 0]).unwrap_err();
        assert_eq!(error.what, "packet number 0, expected 3");
        assert!(decode(&mut framing, [0, 0, 0, 3]).unwrap().is_final);
    }

    #[test]
    fn a_wrong_number_is_malformed_by_value() {
        // rule: FRAG-4
        let mut framing = LenSeq16M::default();
        let error = decode(&mut framing, [0, 0, 0, 1]).unwrap_err();
        assert_eq!(error.what, "packet number 1, expected 0");
    }

    #[test]
    fn a_full_packet_does_not_end_a_message() {
        // rule: FRAG-4
        let mut framing = LenSeq16M::default();
        for meta in [FragmentMeta::whole(FULL), FragmentMeta::whole(FULL + 1)] {
            let mut header = Vec::new();
            assert!(framing.encode_header(&mut header, &(), &meta).is_err());
            assert_eq!(header, []);
        }
        assert_eq!(framing, LenSeq16M::default());
    }
}
