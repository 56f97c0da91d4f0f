//! The codec of protocols whose frames are payloads as they are.

use bytes::Bytes;
use wireframe_proto::{Codec, FragmentMeta, FrameBuf, Malformed, Unencodable};

/// Takes and gives payloads as they are.
#[derive(Debug)]
pub struct BareCodec;

impl Codec for BareCodec {
    type Frame = Bytes;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Bytes, Malformed> {
        Ok(payload)
    }

    fn encode(&mut self, frame: &Bytes, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_bytes(frame);
        Ok(())
    }

    fn encoded_len(&self, frame: &Bytes) -> usize {
        frame.len()
    }
}
