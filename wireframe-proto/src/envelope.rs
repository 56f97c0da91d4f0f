//! The default protocol: envelopes behind a length.

use alloc::{format, vec::Vec};

use bytes::{Buf, Bytes};

use crate::{
    codec::{Codec, FrameBuf},
    error::{AnswerError, Malformed, Unencodable},
    fragment::{FragmentMeta, FragmentStrategy, LengthDelimited},
    ids::{CorrelationId, Side},
    protocol::{AnswerOrder, Context, Reaction, Role, View, WireframeProtocol},
};

/// The frame of the [default protocol](EnvelopeProtocol).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// Which handler it is for; on an answer, which it is from.
    pub id: u32,
    /// Ties an answer to its request.
    pub correlation_id: Option<u64>,
    /// What it carries.
    pub payload: Bytes,
}

impl Envelope {
    /// An envelope without a correlation id.
    pub fn new(id: u32, payload: impl Into<Bytes>) -> Self {
        Self {
            id,
            correlation_id: None,
            payload: payload.into(),
        }
    }

    /// The same envelope with a correlation id.
    #[must_use]
    pub fn with_correlation_id(self, id: u64) -> Self {
        Self {
            correlation_id: Some(id),
            ..self
        }
    }
}

/// The default protocol: a `u32` big-endian length, then an [`Envelope`] in the bytes
/// that wireframe 0.3.0 sends, so that its clients and servers interoperate.
///
/// An envelope is `{ id: u32, correlation_id: Option<u64>, payload: bytes }` in the
/// *standard* layout of bincode 2: an unsigned number up to 250 is one byte; a larger
/// one is `0xFB` and a `u16`, `0xFC` and a `u32`, or `0xFD` and a `u64`, little-endian;
/// an option is a byte 0 or 1 and then the value; the payload is its length and then
/// the bytes.
///
/// An inbound envelope whose correlation id is that of a pending call is its reply. Any
/// other is a request on a server, and a push on a client. Answers carry their request's
/// correlation id and go in any order; requests without one run one at a time.
///
/// Version 0.3.0 has no mark for the end of a streamed answer. Two ends that both use
/// [`with_stream_end`](Self::with_stream_end) have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeProtocol {
    framing: LengthDelimited,
    /// The id of the envelope that ends a streamed answer.
    stream_end: Option<u32>,
}

impl EnvelopeProtocol {
    /// The protocol behind another length prefix.
    #[must_use]
    pub const fn with_framing(framing: LengthDelimited) -> Self {
        Self {
            framing,
            stream_end: None,
        }
    }

    /// Ends streamed answers with an empty envelope of that id, which no stream may use
    /// for anything else. Both ends have to know it. Default: none.
    ///
    /// The answering end sends it behind each stream or channel that ends well, and behind
    /// no other answer. The calling end takes every reply to a streaming call for one of
    /// several, until that envelope comes; it is not handed out. So a streaming call to a
    /// handler that answers with single frames does not end by itself. Without this setting the first reply to a
    /// streaming call is its last. Calls that are not streaming are the same either way:
    /// their first reply is their last.
    ///
    /// *Every* answer that fails then closes the connection, that to a plain call too:
    /// this protocol has no word for a failure, and the answering end cannot know whether
    /// the caller waits for a stream, which would have no end.
    ///
    /// ```
    /// use wireframe_proto::EnvelopeProtocol;
    ///
    /// let protocol = EnvelopeProtocol::default().with_stream_end(0);
    /// ```
    #[must_use]
    pub const fn with_stream_end(mut self, id: u32) -> Self {
        self.stream_end = Some(id);
        self
    }

    /// What a reply to a pending call is.
    #[inline]
    fn reply(self, frame: &Envelope, id: CorrelationId, view: &View<'_, ()>) -> Role {
        let to = Some(id);
        match self.stream_end {
            Some(end) if view.is_streaming(to) => {
                if frame.id == end && frame.payload.is_empty() {
                    Role::ReplyEnd { to }
                } else {
                    Role::Reply { to, last: false }
                }
            }
            _ => Role::Reply { to, last: true },
        }
    }
}

impl WireframeProtocol for EnvelopeProtocol {
    type Frame = Envelope;
    type Error = core::convert::Infallible;
    type Codec = EnvelopeCodec;
    type Framing = LengthDelimited;
    type Session = ();

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec
    }

    fn framing(&self) -> LengthDelimited {
        self.framing
    }

    #[inline]
    fn classify(&self, frame: &Envelope, view: &View<'_, ()>) -> Role {
        let correlation = frame.correlation_id.map(CorrelationId);
        match correlation {
            Some(id) if view.is_pending(id) => self.reply(frame, id, view),
            _ if view.side() == Side::Client => Role::Push,
            correlation => Role::Request {
                route: frame.id,
                correlation,
                exclusive: false,
            },
        }
    }

    #[inline]
    fn correlate(&self, frame: &mut Envelope, id: CorrelationId) {
        frame.correlation_id = Some(id.0);
    }

    fn stream_end_frame(&self, _: &mut Context<'_, Self>) -> Option<Envelope> {
        self.stream_end.map(|id| Envelope::new(id, Bytes::new()))
    }

    fn handle_error(
        &self,
        error: AnswerError<Self::Error>,
        ctx: &mut Context<'_, Self>,
    ) -> Reaction<Envelope> {
        ctx.warn_of_failure(&error);
        match self.stream_end {
            Some(_) => Reaction::Close(None),
            None => Reaction::Continue,
        }
    }

    fn encode_shared(&self, frame: &Envelope) -> Option<Bytes> {
        if frame.payload.len() >= FrameBuf::CHAIN_THRESHOLD {
            // Each connection chains it, which copies nothing.
            return None;
        }
        let head = Head::of(frame);
        let len = head.len + frame.payload.len();
        let mut unit = Vec::with_capacity(size_of::<u64>() + len);
        let mut framing = self.framing;
        framing
            .encode_header(&mut unit, frame, &FragmentMeta::whole(len as u64))
            .ok()?;
        unit.extend_from_slice(head.bytes.get(..head.len)?);
        unit.extend_from_slice(&frame.payload);
        Some(unit.into())
    }
}

/// The codec of the [default protocol](EnvelopeProtocol). It copies no large payload.
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
struct Head {
    bytes: [u8; MAX_OVERHEAD],
    len: usize,
}

impl Head {
    #[inline]
    fn of(frame: &Envelope) -> Self {
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
    use super::*;
    use crate::{
        fragment::{ByteOrder, PrefixWidth},
        transmit::TransmitQueue,
    };
    use alloc::vec;
    use proptest::prelude::*;

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
    fn an_envelope_that_is_shared_is_the_unit_that_a_connection_would_send() {
        // rule: REG-3
        let shared = |protocol: EnvelopeProtocol, frame: &Envelope| protocol.encode_shared(frame);
        let frame = Envelope::new(1, vec![1, 2, 3]).with_correlation_id(42);
        let unit = [0, 0, 0, 7, 0x01, 0x01, 0x2a, 0x03, 1, 2, 3];
        assert_eq!(
            shared(EnvelopeProtocol::default(), &frame).unwrap(),
            unit[..]
        );
        let one = PrefixWidth::new(1).unwrap();
        let framing = LengthDelimited::new(one, ByteOrder::BigEndian);
        let narrow = EnvelopeProtocol::with_framing(framing);
        assert_eq!(shared(narrow, &frame).unwrap(), unit[3..]);
        // Its connections say why, each for itself.
        assert_eq!(shared(narrow, &Envelope::new(1, vec![0; 256])), None);
        // A payload that is chained would be copied here.
        let large = |len| shared(EnvelopeProtocol::default(), &Envelope::new(1, vec![0; len]));
        assert!(large(FrameBuf::CHAIN_THRESHOLD - 1).is_some());
        assert!(large(FrameBuf::CHAIN_THRESHOLD).is_none());
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
