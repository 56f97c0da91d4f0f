//! Fragments behind a length of 15 bits and a flag.

use alloc::{format, vec::Vec};
use core::num::NonZeroUsize;

use super::{FragmentMeta, FragmentStrategy};
use crate::{
    config::nonzero,
    error::{Malformed, Unencodable},
};

/// The flag: this fragment ends its message.
const FINAL: u16 = 0x8000;
/// The most that the other bits can say.
const MAX_PAYLOAD: u16 = 0x7fff;

/// A framing that splits without naming messages: two bytes, big-endian, of which the
/// highest bit says that the fragment is its message's last, and 15 bits its length.
///
/// One fragment carries up to 32 767 bytes. Fragments of two messages never mix: what is
/// begun is finished before anything else is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LenFlag32K;

impl<F> FragmentStrategy<F> for LenFlag32K {
    #[inline]
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let Some(&word) = src.first_chunk() else {
            return Ok(None);
        };
        let word = u16::from_be_bytes(word);
        let mut meta = FragmentMeta::whole(u64::from(word & MAX_PAYLOAD));
        meta.is_final = word & FINAL != 0;
        Ok(Some((meta, 2)))
    }

    #[inline]
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        _frame: &F,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let word = match u16::try_from(meta.payload_len) {
            Ok(len @ 0..=MAX_PAYLOAD) if meta.is_final => len | FINAL,
            Ok(len @ 0..=MAX_PAYLOAD) => len,
            _ => {
                let len = meta.payload_len;
                let what = format!("fragment of {len} bytes exceeds {MAX_PAYLOAD}");
                return Err(Unencodable::new(what));
            }
        };
        dst.extend_from_slice(&word.to_be_bytes());
        Ok(())
    }

    #[inline]
    fn max_fragment_payload(&self, _frame: &F) -> Option<NonZeroUsize> {
        Some(nonzero(MAX_PAYLOAD as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_flag_and_fifteen_bits() {
        // rule: FRAG-3
        let mut framing = LenFlag32K;
        for (len, is_final, bytes) in [
            (0u64, true, [0x80, 0]),
            (0x0102, false, [1, 2]),
            (0x7fff, true, [0xff, 0xff]),
            (0x7fff, false, [0x7f, 0xff]),
        ] {
            let mut meta = FragmentMeta::whole(len);
            meta.is_final = is_final;
            let mut header = Vec::new();
            framing.encode_header(&mut header, &(), &meta).unwrap();
            assert_eq!(header, bytes);
            let decode = FragmentStrategy::<()>::decode_header;
            assert_eq!(decode(&mut framing, &bytes[..1]).unwrap(), None);
            assert_eq!(decode(&mut framing, &bytes).unwrap(), Some((meta, 2)));
        }
        let error = framing.encode_header(&mut Vec::new(), &(), &FragmentMeta::whole(0x8000));
        let what = "frame cannot be encoded: fragment of 32768 bytes exceeds 32767";
        assert_eq!(format!("{}", error.unwrap_err()), what);
    }
}
