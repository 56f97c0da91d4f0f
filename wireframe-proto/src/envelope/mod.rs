//! The default protocol: envelopes behind a length.

mod codec;

use alloc::vec::Vec;

use bytes::Bytes;
use codec::Head;

pub use self::codec::EnvelopeCodec;
use crate::{
    codec::FrameBuf,
    error::AnswerError,
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
        let head = head.as_slice();
        let len = head.len() + frame.payload.len();
        let mut unit = Vec::with_capacity(size_of::<u64>() + len);
        let mut framing = self.framing;
        framing
            .encode_header(&mut unit, frame, &FragmentMeta::whole(len as u64))
            .ok()?;
        unit.extend_from_slice(head);
        unit.extend_from_slice(&frame.payload);
        Some(unit.into())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::fragment::{ByteOrder, PrefixWidth};

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
}
