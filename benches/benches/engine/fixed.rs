//! `[u32 body length][u32 route][u64 correlation][payload]`, big-endian, as a user of
//! the library would write it. The body length counts everything after itself.

use bytes::{Buf, Bytes};
use wireframe_proto::{
    AnswerOrder, Codec, CorrelationId, FragmentMeta, FragmentStrategy, FrameBuf, Malformed, Role,
    Unencodable, View, WireframeProtocol,
};

#[derive(Debug)]
pub(crate) struct FixedFrame {
    pub(crate) route: u32,
    pub(crate) correlation: u64,
    pub(crate) payload: Bytes,
}

#[derive(Debug, Default)]
pub(crate) struct Fixed;

#[derive(Debug)]
pub(crate) struct FixedFraming;

#[derive(Debug)]
pub(crate) struct FixedCodec;

impl FragmentStrategy<FixedFrame> for FixedFraming {
    #[inline]
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let Some((len, _)) = src.split_first_chunk() else {
            return Ok(None);
        };
        let len = u64::from(u32::from_be_bytes(*len));
        Ok(Some((FragmentMeta::whole(len), 4)))
    }

    #[inline]
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        _: &FixedFrame,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let len = u32::try_from(meta.payload_len);
        let len = len.map_err(|_| Unencodable::new("more than a u32 can say"))?;
        dst.extend_from_slice(&len.to_be_bytes());
        Ok(())
    }
}

impl Codec for FixedCodec {
    type Frame = FixedFrame;

    #[inline]
    fn decode(&mut self, _: &FragmentMeta, mut body: Bytes) -> Result<FixedFrame, Malformed> {
        if body.len() < 12 {
            return Err(Malformed::new("expected at least 12 bytes of body"));
        }
        Ok(FixedFrame {
            route: body.get_u32(),
            correlation: body.get_u64(),
            payload: body,
        })
    }

    #[inline]
    fn encode(&mut self, frame: &FixedFrame, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_slice(&frame.route.to_be_bytes());
        dst.put_slice(&frame.correlation.to_be_bytes());
        dst.put_bytes(&frame.payload);
        Ok(())
    }

    #[inline]
    fn encoded_len(&self, frame: &FixedFrame) -> usize {
        12 + frame.payload.len()
    }
}

impl WireframeProtocol for Fixed {
    type Frame = FixedFrame;
    type Error = std::convert::Infallible;
    type Codec = FixedCodec;
    type Framing = FixedFraming;
    type Session = ();

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> FixedCodec {
        FixedCodec
    }

    fn framing(&self) -> FixedFraming {
        FixedFraming
    }

    #[inline]
    fn classify(&self, frame: &FixedFrame, _: &View<'_, ()>) -> Role {
        Role::Request {
            route: frame.route,
            correlation: Some(CorrelationId(frame.correlation)),
            exclusive: false,
        }
    }

    #[inline]
    fn correlate(&self, frame: &mut FixedFrame, id: CorrelationId) {
        frame.correlation = id.0;
    }
}
