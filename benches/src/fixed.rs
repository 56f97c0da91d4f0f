//! The fixed wire as a protocol of Wireframe: framing and codec as a user writes them.

use bytes::{Buf, Bytes};
use wireframe::{
    Codec, CorrelationId, FragmentMeta, FragmentStrategy, Frame, FrameBuf, Malformed, PayloadFrame,
    Role, Unencodable, View, WireframeProtocol,
};

/// A frame of the fixed wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Who handles the frame.
    pub route: u32,
    /// Ties an answer to its request.
    pub correlation: u64,
    /// Everything after the header.
    pub payload: Bytes,
}

impl Frame for Fixed {}

impl PayloadFrame for Fixed {
    fn into_payload(self) -> Bytes {
        self.payload
    }

    fn answering(route: u32, payload: Bytes) -> Self {
        Self {
            route,
            correlation: 0,
            payload,
        }
    }
}

/// The fixed wire: answers go in the order of the requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct FixedProtocol;

impl WireframeProtocol for FixedProtocol {
    type Frame = Fixed;
    type Error = std::convert::Infallible;
    type Codec = FixedCodec;
    type Framing = FixedFraming;
    type Session = ();

    fn codec(&self) -> FixedCodec {
        FixedCodec
    }

    fn framing(&self) -> FixedFraming {
        FixedFraming
    }

    #[inline]
    fn classify(&self, frame: &Fixed, _: &View<'_, ()>) -> Role {
        Role::Request {
            route: frame.route,
            correlation: Some(CorrelationId(frame.correlation)),
            exclusive: false,
        }
    }

    #[inline]
    fn correlate(&self, frame: &mut Fixed, id: CorrelationId) {
        frame.correlation = id.0;
    }
}

/// `[u32 body length]`, big-endian.
#[derive(Debug, Clone, Copy)]
pub struct FixedFraming;

impl FragmentStrategy<Fixed> for FixedFraming {
    #[inline]
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let Some(length) = src.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        Ok(Some((FragmentMeta::whole(u64::from(length)), 4)))
    }

    #[inline]
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        _: &Fixed,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let length = u32::try_from(meta.payload_len)
            .map_err(|_| Unencodable::new("body length exceeds 32 bits"))?;
        dst.extend_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

/// `[u32 route][u64 correlation id][payload]`, big-endian.
#[derive(Debug, Clone, Copy)]
pub struct FixedCodec;

impl Codec for FixedCodec {
    type Frame = Fixed;

    #[inline]
    fn decode(&mut self, _: &FragmentMeta, mut body: Bytes) -> Result<Fixed, Malformed> {
        let Some(header) = body.first_chunk::<12>() else {
            return Err(Malformed::new(format!(
                "body length is {}, expected at least 12",
                body.len()
            )));
        };
        let [a, b, c, d, correlation @ ..] = *header;
        let frame = Fixed {
            route: u32::from_be_bytes([a, b, c, d]),
            correlation: u64::from_be_bytes(correlation),
            payload: Bytes::new(),
        };
        body.advance(12);
        Ok(Fixed {
            payload: body,
            ..frame
        })
    }

    #[inline]
    fn encode(&mut self, frame: &Fixed, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_slice(&frame.route.to_be_bytes());
        dst.put_slice(&frame.correlation.to_be_bytes());
        dst.put_bytes(&frame.payload);
        Ok(())
    }

    #[inline]
    fn encoded_len(&self, frame: &Fixed) -> usize {
        12 + frame.payload.len()
    }
}
