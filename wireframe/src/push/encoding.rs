//! What pushing has to know of the bytes of frames.

use bytes::Bytes;
use wireframe_proto::Codec;

use crate::{app::Framed, frame::Protocol, sync::Arc};

/// What pushing has to know of the bytes of frames. All connections of an app have the
/// same.
pub(crate) trait Encoding<F>: Send + Sync {
    /// How many bytes a frame is charged with: `Codec::encoded_len`.
    fn encoded_len(&self, frame: &F) -> usize;

    /// The frame, encoded for all connections of the app, if it can be.
    fn encode_shared(&self, frame: &F) -> Option<Bytes>;
}

/// That of a protocol.
pub(crate) struct ProtocolEncoding<P: Protocol> {
    framed: Arc<Framed<P>>,
    codec: P::Codec,
    max_frame_len: usize,
}

impl<P: Protocol> ProtocolEncoding<P> {
    pub(crate) fn new(framed: Arc<Framed<P>>, max_frame_len: usize) -> Self {
        Self {
            codec: framed.protocol.codec(),
            framed,
            max_frame_len,
        }
    }
}

impl<P: Protocol> Encoding<P::Frame> for ProtocolEncoding<P> {
    #[inline]
    fn encoded_len(&self, frame: &P::Frame) -> usize {
        self.codec.encoded_len(frame)
    }

    fn encode_shared(&self, frame: &P::Frame) -> Option<Bytes> {
        // What is larger may still be a unit that is not, without its header, or several.
        // Each connection finds out for itself.
        if !self.framed.is_own() {
            return None;
        }
        let encoded = self.framed.protocol.encode_shared(frame)?;
        (encoded.len() <= self.max_frame_len).then_some(encoded)
    }
}

/// Tests measure with a closure, and share nothing.
#[cfg(test)]
impl<F, M: Fn(&F) -> usize + Send + Sync> Encoding<F> for M {
    fn encoded_len(&self, frame: &F) -> usize {
        self(frame)
    }

    fn encode_shared(&self, _: &F) -> Option<Bytes> {
        None
    }
}
