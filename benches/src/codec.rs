//! The fixed wire as a codec for [`tokio_util::codec::Framed`], written as the
//! documentation of `Decoder` and `Encoder` suggests.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::wire::{HEADER_LEN, Header};

/// A frame of the fixed wire with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Who handles the frame.
    pub route: u32,
    /// Ties an answer to its request.
    pub correlation: u64,
    /// Everything after the header.
    pub payload: Bytes,
}

/// Decodes and encodes [`Frame`]s.
#[derive(Debug, Clone, Copy)]
pub struct FixedCodec {
    max_frame: usize,
}

impl FixedCodec {
    /// A codec that takes frames of up to `max_frame` bytes, header included.
    #[must_use]
    pub const fn new(max_frame: usize) -> Self {
        Self { max_frame }
    }
}

impl Decoder for FixedCodec {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Frame>> {
        let header = Header::parse(src, self.max_frame)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Some(header) = header else {
            return Ok(None);
        };
        if src.len() < header.frame_len() {
            src.reserve(header.frame_len() - src.len());
            return Ok(None);
        }
        let mut frame = src.split_to(header.frame_len()).freeze();
        frame.advance(HEADER_LEN);
        Ok(Some(Frame {
            route: header.route,
            correlation: header.correlation,
            payload: frame,
        }))
    }
}

impl Encoder<Frame> for FixedCodec {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> io::Result<()> {
        let payload_len = u32::try_from(frame.payload.len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let header = Header {
            route: frame.route,
            correlation: frame.correlation,
            payload_len,
        };
        dst.reserve(header.frame_len());
        dst.put_slice(&header.encode());
        dst.put_slice(&frame.payload);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use tokio_util::codec::{Decoder, Encoder};

    use super::{FixedCodec, Frame};

    fn frame(payload: &'static [u8]) -> Frame {
        Frame {
            route: 1,
            correlation: 7,
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn frames_come_back_one_by_one_from_bytes_that_trickle_in() {
        let mut codec = FixedCodec::new(64);
        let mut sent = BytesMut::new();
        for payload in [&b"first"[..], b"", b"third"] {
            codec.encode(frame(payload), &mut sent).unwrap();
        }
        let mut received = BytesMut::new();
        let mut frames = Vec::new();
        for byte in sent {
            received.extend_from_slice(&[byte]);
            frames.extend(codec.decode(&mut received).unwrap());
        }
        assert_eq!(frames, [frame(b"first"), frame(b""), frame(b"third")]);
    }

    #[test]
    fn a_frame_over_the_limit_ends_the_connection() {
        let mut bytes = BytesMut::new();
        FixedCodec::new(64)
            .encode(frame(b"payload"), &mut bytes)
            .unwrap();
        assert!(FixedCodec::new(22).decode(&mut bytes).is_err());
    }
}
