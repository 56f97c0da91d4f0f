//! The default framing: a length, then as many bytes.

use alloc::vec::Vec;

use super::{FragmentMeta, FragmentStrategy};
use crate::error::{Malformed, Unencodable};

/// Which end of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The most significant byte first: network order.
    BigEndian,
    /// The least significant byte first.
    LittleEndian,
}

/// How many bytes a length takes: 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixWidth(u8);

impl PrefixWidth {
    /// Four bytes.
    pub const U32: Self = Self(4);

    /// A width of `bytes`; `None` unless that is 1 to 8.
    #[must_use]
    pub const fn new(bytes: u8) -> Option<Self> {
        match bytes {
            1..=8 => Some(Self(bytes)),
            _ => None,
        }
    }

    /// The width in bytes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// The largest length that fits.
    const fn max(self) -> u64 {
        u64::MAX >> (64 - 8 * self.0 as u32)
    }
}

/// A framing that never splits: an unsigned length of 1 to 8 bytes, which counts the
/// payload and not itself, then the payload.
///
/// The default is four bytes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthDelimited {
    width: PrefixWidth,
    order: ByteOrder,
}

impl LengthDelimited {
    /// A length of `width` bytes in `order`.
    #[must_use]
    pub const fn new(width: PrefixWidth, order: ByteOrder) -> Self {
        Self { width, order }
    }
}

impl Default for LengthDelimited {
    fn default() -> Self {
        Self::new(PrefixWidth::U32, ByteOrder::BigEndian)
    }
}

impl<F> FragmentStrategy<F> for LengthDelimited {
    #[inline]
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let width = self.width.get();
        let Some(prefix) = src.get(..width) else {
            return Ok(None);
        };
        let byte = |length: u64, &byte: &u8| length << 8 | u64::from(byte);
        let length = match (self.order, <[u8; 4]>::try_from(prefix)) {
            // What nearly everybody uses takes one load instead of a loop.
            (ByteOrder::BigEndian, Ok(prefix)) => u64::from(u32::from_be_bytes(prefix)),
            (ByteOrder::BigEndian, Err(_)) => prefix.iter().fold(0, byte),
            (ByteOrder::LittleEndian, _) => prefix.iter().rev().fold(0, byte),
        };
        Ok(Some((FragmentMeta::whole(length), width)))
    }

    #[inline]
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        _frame: &F,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let (length, width) = (meta.payload_len, self.width.get());
        if length > self.width.max() {
            return Err(Unencodable::new(alloc::format!(
                "payload of {length} bytes exceeds {}, the most a length prefix of {width} bytes can say",
                self.width.max()
            )));
        }
        // Left-aligned, so that what is appended has a length known beforehand.
        let prefix = match self.order {
            ByteOrder::BigEndian => length << (64 - 8 * width),
            ByteOrder::LittleEndian => length.swap_bytes(),
        };
        let end = dst.len() + width;
        dst.extend_from_slice(&prefix.to_be_bytes());
        dst.truncate(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn encode(framing: &mut LengthDelimited, length: u64) -> Result<Vec<u8>, Unencodable> {
        let mut header = Vec::new();
        framing.encode_header(&mut header, &(), &FragmentMeta::whole(length))?;
        Ok(header)
    }

    fn decode(framing: &mut LengthDelimited, bytes: &[u8]) -> Option<(FragmentMeta, usize)> {
        FragmentStrategy::<()>::decode_header(framing, bytes).unwrap()
    }

    #[test]
    fn every_width_in_either_order_round_trips() {
        // rule: WIRE-2
        for bytes in 1..=8 {
            let width = PrefixWidth::new(bytes).unwrap();
            for order in [ByteOrder::BigEndian, ByteOrder::LittleEndian] {
                let mut framing = LengthDelimited::new(width, order);
                let patterned = 0x0102_0304_0506_0708 & width.max();
                for length in [0, 1, patterned, width.max()] {
                    let header = encode(&mut framing, length).unwrap();
                    assert_eq!(header.len(), width.get());
                    let (last, partial) = header.split_last().unwrap();
                    assert_eq!(decode(&mut framing, partial), None, "{last}");
                    assert_eq!(
                        decode(&mut framing, &header),
                        Some((FragmentMeta::whole(length), width.get()))
                    );
                }
            }
        }
        assert_eq!(PrefixWidth::new(0), None);
        assert_eq!(PrefixWidth::new(9), None);
    }

    #[test]
    fn byte_order_is_as_named() {
        // rule: WIRE-2
        let width = PrefixWidth::new(3).unwrap();
        let mut big = LengthDelimited::new(width, ByteOrder::BigEndian);
        let mut little = LengthDelimited::new(width, ByteOrder::LittleEndian);
        assert_eq!(encode(&mut big, 0x01_0203).unwrap(), vec![1, 2, 3]);
        assert_eq!(encode(&mut little, 0x01_0203).unwrap(), vec![3, 2, 1]);
    }

    #[test]
    fn a_length_that_the_prefix_cannot_say_is_refused_with_both_numbers() {
        let width = PrefixWidth::new(1).unwrap();
        let mut framing = LengthDelimited::new(width, ByteOrder::BigEndian);
        let error = encode(&mut framing, 256).unwrap_err();
        assert_eq!(
            alloc::format!("{error}"),
            "frame cannot be encoded: payload of 256 bytes exceeds 255, \
             the most a length prefix of 1 bytes can say"
        );
    }
}
