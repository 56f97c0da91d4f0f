//! Fragments of named messages, which may be interleaved.

use alloc::{format, vec::Vec};
use core::num::NonZeroUsize;

use super::{FragmentMeta, FragmentStrategy};
use crate::{
    config::nonzero,
    error::{Malformed, Unencodable},
};

/// An id and a sequence number follow.
const FRAGMENT: u8 = 1;
/// The unit ends its message.
const FINAL: u8 = 2;
/// The length of the whole message follows.
const TOTAL: u8 = 4;

/// Bytes before the optional fields.
const HEAD: usize = 5;

/// A framing that names its messages, so that any other unit may go between two
/// fragments of one: a heartbeat is not held up by a large answer, and large answers
/// take turns.
///
/// All numbers are big-endian.
///
/// | field | bytes | when |
/// |---|---|---|
/// | payload length | 4 | always |
/// | flags | 1 | always |
/// | message id, sequence number from 0 | 4 + 4 | flag 1: a fragment |
/// | length of the whole message | 8 | flag 4: the first of several fragments |
///
/// Flag 2 says that the unit ends its message. It is set in a unit that is a whole
/// message by itself, which has no other flag. All other flags and combinations are
/// [`Malformed`].
///
/// ```
/// # use core::num::NonZeroUsize;
/// use wireframe_proto::Multiplexed;
///
/// // Fragments of 4 KiB let others go ahead sooner, and cost more headers.
/// let framing = Multiplexed::new().with_fragment_payload(NonZeroUsize::new(4096).unwrap());
/// # let _ = framing;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplexed {
    fragment_payload: NonZeroUsize,
}

impl Multiplexed {
    /// Up to 16 KiB of payload in a fragment.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            fragment_payload: nonzero(16 * 1024),
        }
    }

    /// Sets the most bytes of payload in a unit; what is longer is split.
    ///
    /// This is about what this end sends. What the peer's units may carry is bounded by
    /// [`Limits::max_frame_len`](crate::Limits::max_frame_len) alone.
    #[must_use]
    pub const fn with_fragment_payload(mut self, bytes: NonZeroUsize) -> Self {
        self.fragment_payload = bytes;
        self
    }
}

impl Default for Multiplexed {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> FragmentStrategy<F> for Multiplexed {
    #[inline]
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let Some((&[a, b, c, d, flags], rest)) = src.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let meta = FragmentMeta::whole(u64::from(u32::from_be_bytes([a, b, c, d])));
        if flags == FINAL {
            return Ok(Some((meta, HEAD)));
        }
        // A copy, so that what the usual case says need not be in memory.
        let fragment = decode_fragment(flags, rest, meta.payload_len)?;
        Ok(fragment.map(|(meta, len)| (meta.clone(), HEAD + len)))
    }

    #[inline]
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        _frame: &F,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let Ok(len) = u32::try_from(meta.payload_len) else {
            let len = meta.payload_len;
            let what = format!("unit of {len} bytes exceeds {}", u32::MAX);
            return Err(Unencodable::new(what));
        };
        match (meta.msg_id, meta.seq) {
            (None, None) if meta.is_final => {
                // Written at once, and what is too much taken back: of two pieces the processor
                // has to wait for both before it can copy across them.
                let end = dst.len() + HEAD;
                let head = u64::from(len) << 32 | u64::from(FINAL) << 24;
                dst.extend_from_slice(&head.to_be_bytes());
                dst.truncate(end);
                Ok(())
            }
            (Some(id), Some(seq)) => {
                encode_fragment(dst, len, (id, seq), meta.is_final, meta.total_message_len)
            }
            _ => Err(Unencodable::new("a fragment without an id or a number")),
        }
    }

    #[inline]
    fn max_fragment_payload(&self, _frame: &F) -> Option<NonZeroUsize> {
        Some(self.fragment_payload)
    }

    fn max_message_id(&self) -> Option<u64> {
        Some(u64::from(u32::MAX))
    }

    /// They come round after 2^32 messages, of which there need not have been 64 that were
    /// dropped. All fragments are numbered, and what has no id is whole.
    fn reuses_message_ids(&self) -> bool {
        true
    }

    fn may_interrupt(&self, _message: &F, _other: &F) -> bool {
        true
    }
}

/// Reads what follows the flags of a fragment; returns also how many bytes that takes.
#[cold]
fn decode_fragment(
    flags: u8,
    rest: &[u8],
    payload_len: u64,
) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
    let malformed = |what: &str| Err(Malformed::new(format!("flags {flags:#04x}: {what}")));
    if flags & !(FRAGMENT | FINAL | TOTAL) != 0 {
        return malformed("unknown");
    }
    if flags & FRAGMENT == 0 {
        return malformed("neither a fragment nor a whole message");
    }
    let Some((&[a, b, c, d, e, f, g, h], rest)) = rest.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let seq = u32::from_be_bytes([e, f, g, h]);
    let mut meta = FragmentMeta::whole(payload_len);
    meta.is_final = flags & FINAL != 0;
    meta.msg_id = Some(u64::from(u32::from_be_bytes([a, b, c, d])));
    meta.seq = Some(seq);
    let declares = flags & TOTAL != 0;
    if declares != (seq == 0 && !meta.is_final) {
        return malformed("a total length goes with the first of several fragments");
    }
    if !declares {
        return Ok(Some((meta, 8)));
    }
    let Some(&total) = rest.first_chunk() else {
        return Ok(None);
    };
    meta.total_message_len = Some(u64::from_be_bytes(total));
    Ok(Some((meta, 16)))
}

#[cold]
fn encode_fragment(
    dst: &mut Vec<u8>,
    len: u32,
    (id, seq): (u64, u32),
    is_final: bool,
    total_message_len: Option<u64>,
) -> Result<(), Unencodable> {
    let Ok(id) = u32::try_from(id) else {
        let what = format!("message id {id} exceeds {}", u32::MAX);
        return Err(Unencodable::new(what));
    };
    let first_of_several = seq == 0 && !is_final;
    let (flags, total) = match total_message_len {
        Some(total) if first_of_several => (TOTAL, total),
        None if !first_of_several => (0, 0),
        _ => {
            let what = "a total length goes with the first of several fragments";
            return Err(Unencodable::new(what));
        }
    };
    let flags = flags | FRAGMENT | if is_final { FINAL } else { 0 };
    dst.extend_from_slice(&len.to_be_bytes());
    dst.push(flags);
    dst.extend_from_slice(&id.to_be_bytes());
    dst.extend_from_slice(&seq.to_be_bytes());
    if flags & TOTAL != 0 {
        dst.extend_from_slice(&total.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(len: u64, seq: u32, total: Option<u64>, is_final: bool) -> FragmentMeta {
        let mut meta = FragmentMeta::whole(len);
        meta.msg_id = Some(0x0a0b_0c0d);
        meta.seq = Some(seq);
        meta.total_message_len = total;
        meta.is_final = is_final;
        meta
    }

    fn decode(bytes: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        FragmentStrategy::<()>::decode_header(&mut Multiplexed::new(), bytes)
    }

    #[test]
    fn headers_stand_on_the_wire_as_documented() {
        // rule: FRAG-3
        for (meta, bytes) in [
            (FragmentMeta::whole(7), &[0, 0, 0, 7, 2][..]),
            (
                fragment(5, 0, Some(9), false),
                &[
                    0, 0, 0, 5, 5, 10, 11, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
                ],
            ),
            (
                fragment(3, 1, None, false),
                &[0, 0, 0, 3, 1, 10, 11, 12, 13, 0, 0, 0, 1],
            ),
            (
                fragment(1, 0x0102, None, true),
                &[0, 0, 0, 1, 3, 10, 11, 12, 13, 0, 0, 1, 2],
            ),
        ] {
            let mut header = Vec::new();
            let mut framing = Multiplexed::new();
            framing.encode_header(&mut header, &(), &meta).unwrap();
            assert_eq!(header, bytes);
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "{cut} of {bytes:?}");
            }
            assert_eq!(decode(bytes), Ok(Some((meta, bytes.len()))));
        }
    }

    #[test]
    fn flags_that_mean_nothing_are_malformed_by_value() {
        // rule: FRAG-3
        for flags in 0..=255u8 {
            let mut bytes = [0; 21];
            bytes[4] = flags;
            for seq in [0, 1] {
                bytes[12] = seq;
                let valid = match flags {
                    2 | 3 => true,
                    1 => seq > 0,
                    5 => seq == 0,
                    _ => false,
                };
                match decode(&bytes) {
                    Ok(_) => assert!(valid, "{flags} {seq}"),
                    Err(error) => {
                        assert!(!valid, "{flags} {seq}");
                        assert!(error.what.starts_with(&format!("flags {flags:#04x}: ")));
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_header_cannot_say_is_refused() {
        let mut wide = fragment(1, 1, None, true);
        wide.msg_id = Some(1 << 32);
        let mut unnamed = FragmentMeta::whole(1);
        unnamed.is_final = false;
        for meta in [
            FragmentMeta::whole(1 << 32),
            wide,
            unnamed,
            fragment(1, 0, None, false),
            fragment(1, 1, Some(2), false),
        ] {
            let mut header = Vec::new();
            let refused = Multiplexed::new().encode_header(&mut header, &(), &meta);
            assert!(refused.is_err(), "{meta:?}");
            assert_eq!(header, []);
        }
    }
}
