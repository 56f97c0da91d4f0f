//! How envelopes look on the wire.

use alloc::format;

use bytes::{Buf, Bytes};

use super::Envelope;
use crate::{
    codec::{Codec, FrameBuf},
    error::{Malformed, Unencodable},
    fragment::FragmentMeta,
};

/// The codec of the [default protocol](super::EnvelopeProtocol). It copies no large payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvelopeCodec;

/// The most that the fields before the payload take: 5 for the id, 10 for the
/// correlation id, 9 for the payload's length.
const MAX_OVERHEAD: usize = 24;

impl Codec for EnvelopeCodec {
    type Frame = Envelope;

    #[inline]
    fn decode(&mut self, _: &FragmentMeta, mut src: Bytes) -> Result<Envelope, Malformed> {
        let mut rest = &src[..];
        let id = varint(&mut rest, "id")?;
        let id = u32::try_from(id)
            .map_err(|_| Malformed::new(format!("id {id} does not fit in 32 bits")))?;
        let correlation_id = match byte(&mut rest, "correlation id")? {
            0 => None,
            1 => Some(varint(&mut rest, "correlation id")?),
            tag => {
                let what = format!("correlation id starts with {tag}, expected 0 or 1");
                return Err(Malformed::new(what));
            }
        };
        let len = varint(&mut rest, "payload length")?;
        if len != rest.len() as u64 {
            let there = rest.len();
            let what = format!("payload length is {len}, but {there} bytes follow");
            return Err(Malformed::new(what));
        }
        let payload_at = src.len() - rest.len();
        src.advance(payload_at);
        Ok(Envelope {
            id,
            correlation_id,
            payload: src,
        })
    }

    #[inline]
    fn encode(&mut self, frame: &Envelope, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        let head = Head::of(frame);
        dst.put_prefix(&head.bytes, head.len);
        dst.put_bytes(&frame.payload);
        Ok(())
    }

    #[inline]
    fn encoded_len(&self, frame: &Envelope) -> usize {
        MAX_OVERHEAD + frame.payload.len()
    }
}

/// What precedes the payload, gathered so that it is appended in one piece.
#[derive(Default)]
pub(super) struct Head {
    bytes: [u8; MAX_OVERHEAD],
    len: usize,
}

impl Head {
    #[inline]
    pub(super) fn of(frame: &Envelope) -> Self {
        let mut head = Self::default();
        head.varint(u64::from(frame.id));
        match frame.correlation_id {
            None => head.put(&[0]),
            Some(id) => {
                head.put(&[1]);
                head.varint(id);
            }
        }
        head.varint(frame.payload.len() as u64);
        head
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }

    #[inline]
    fn varint(&mut self, n: u64) {
        if let Ok(n) = u8::try_from(n)
            && n <= 250
        {
            self.put(&[n]);
        } else if let Ok(n) = u16::try_from(n) {
            let [a, b] = n.to_le_bytes();
            self.put(&[0xFB, a, b]);
        } else if let Ok(n) = u32::try_from(n) {
            self.put(&[0xFC]);
            self.put(&n.to_le_bytes());
        } else {
            self.put(&[0xFD]);
            self.put(&n.to_le_bytes());
        }
    }
}

#[inline]
fn byte(src: &mut &[u8], field: &'static str) -> Result<u8, Malformed> {
    let (&first, rest) = src.split_first().ok_or_else(|| ends_inside(field))?;
    *src = rest;
    Ok(first)
}

#[inline]
fn varint(src: &mut &[u8], field: &'static str) -> Result<u64, Malformed> {
    match byte(src, field)? {
        n @ 0..=250 => Ok(u64::from(n)),
        tag => wide_varint(tag, src, field),
    }
}

/// A number that takes more than one byte; apart, so that the usual case is inlined.
fn wide_varint(tag: u8, src: &mut &[u8], field: &'static str) -> Result<u64, Malformed> {
    match tag {
        0xFB => Ok(u64::from(u16::from_le_bytes(array(src, field)?))),
        0xFC => Ok(u64::from(u32::from_le_bytes(array(src, field)?))),
        0xFD => Ok(u64::from_le_bytes(array(src, field)?)),
        _ => Err(no_number(tag, field)),
    }
}

#[inline]
fn array<const N: usize>(src: &mut &[u8], field: &'static str) -> Result<[u8; N], Malformed> {
    let (bytes, rest) = src.split_first_chunk().ok_or_else(|| ends_inside(field))?;
    *src = rest;
    Ok(*bytes)
}

#[cold]
fn no_number(tag: u8, field: &'static str) -> Malformed {
    let what = format!("{field} starts with {tag}, which no number of 64 bits does");
    Malformed::new(what)
}

#[cold]
fn ends_inside(field: &'static str) -> Malformed {
    Malformed::new(format!("envelope ends inside its {field}"))
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::transmit::TransmitQueue;

    fn encode(frame: &Envelope) -> Vec<u8> {
        let mut queue = TransmitQueue::default();
        EnvelopeCodec
            .encode(frame, &mut FrameBuf::new(&mut queue))
            .unwrap();
        queue.chunks().flatten().copied().collect()
    }

    fn decode(bytes: &[u8]) -> Result<Envelope, Malformed> {
        let payload = Bytes::copy_from_slice(bytes);
        EnvelopeCodec.decode(&FragmentMeta::whole(bytes.len() as u64), payload)
    }

    #[test]
    fn an_envelope_is_the_bytes_that_0_3_0_sends() {
        // rule: WIRE-1
        let frame = Envelope::new(1, vec![1, 2, 3]).with_correlation_id(42);
        assert_eq!(encode(&frame), [0x01, 0x01, 0x2a, 0x03, 1, 2, 3]);
        assert_eq!(
            encode(&Envelope::new(251, vec![9])),
            [0xFB, 251, 0, 0, 1, 9]
        );
        let wide = Envelope::new(65_536, vec![]).with_correlation_id(1 << 32);
        let bytes = [0xFC, 0, 0, 1, 0, 1, 0xFD, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(encode(&wide), bytes);
    }

    #[test]
    fn malformed_envelopes_say_what_was_expected() {
        let what = |bytes: &[u8]| decode(bytes).unwrap_err().what;
        assert_eq!(what(&[]), "envelope ends inside its id");
        assert_eq!(what(&[0xFC, 1]), "envelope ends inside its id");
        assert_eq!(
            what(&[0xFD, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]),
            "id 4294967296 does not fit in 32 bits"
        );
        assert_eq!(what(&[1]), "envelope ends inside its correlation id");
        assert_eq!(
            what(&[1, 2]),
            "correlation id starts with 2, expected 0 or 1"
        );
        assert_eq!(
            what(&[0xFE, 0, 0]),
            "id starts with 254, which no number of 64 bits does"
        );
        assert_eq!(
            what(&[1, 0, 4, 1, 2, 3]),
            "payload length is 4, but 3 bytes follow"
        );
        assert_eq!(
            what(&[1, 0, 2, 1, 2, 3]),
            "payload length is 2, but 3 bytes follow"
        );
        // Would allocate 2^62 bytes if it were believed.
        let huge = [1, 0, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0x40, 7];
        assert_eq!(
            what(&huge),
            "payload length is 4611686018427387904, but 1 bytes follow"
        );
    }

    fn boundary() -> impl Strategy<Value = u64> {
        prop_oneof![
            0u64..300,
            65_500u64..65_600,
            (1u64 << 32) - 10..(1 << 32) + 10,
            any::<u64>(),
        ]
    }

    proptest! {
        #[test]
        fn envelopes_round_trip_within_their_announced_length(
            id in boundary(),
            correlation_id in proptest::option::of(boundary()),
            payload in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            #[expect(clippy::cast_possible_truncation, reason = "any id will do")]
            let id = id as u32;
            let frame = Envelope { id, correlation_id, payload: payload.into() };
            let bytes = encode(&frame);
            prop_assert!(bytes.len() <= EnvelopeCodec.encoded_len(&frame));
            prop_assert_eq!(decode(&bytes), Ok(frame));
        }

        #[test]
        fn no_bytes_make_the_codec_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(frame) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&frame)), Ok(frame));
            }
        }
    }
}
