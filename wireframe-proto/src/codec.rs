//! What a header encloses: turning payloads into frames and back.

use bytes::Bytes;

use crate::{
    error::{Malformed, Unencodable},
    fragment::FragmentMeta,
    transmit::{Chunks, TransmitQueue},
};

/// Turns what a header encloses, whole, into a frame, and a frame into bytes.
///
/// One codec serves one connection. It hears every frame of both directions in wire
/// order, so it may keep a phase: what it has decoded and encoded so far decides what
/// the next bytes mean.
pub trait Codec {
    /// The logical frame.
    type Frame;

    /// Decodes one whole payload.
    ///
    /// `meta` is the header of the payload's unit; of the first unit, if it came in
    /// fragments.
    ///
    /// # Errors
    ///
    /// [`Malformed`] ends the connection.
    fn decode(&mut self, meta: &FragmentMeta, payload: Bytes) -> Result<Self::Frame, Malformed>;

    /// Appends the frame's payload to `dst`.
    ///
    /// # Errors
    ///
    /// [`Unencodable`] drops the frame: what was appended is taken back and nothing of
    /// it reaches the wire. A codec that refuses a frame must not have changed its
    /// phase.
    fn encode(&mut self, frame: &Self::Frame, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable>;

    /// The length of the frame's payload in bytes, in constant time.
    ///
    /// Push queues are charged by it. It may be more than `encode` will append, never
    /// less, and must give the same for the same frame in every phase.
    fn encoded_len(&self, frame: &Self::Frame) -> usize;
}

/// Where a codec writes a payload.
///
/// Small pieces are copied into one contiguous buffer. Large ones are chained by
/// reference and leave in a vectored write.
#[derive(Debug)]
pub struct FrameBuf<'a> {
    queue: &'a mut TransmitQueue,
}

impl<'a> FrameBuf<'a> {
    pub(crate) fn new(queue: &'a mut TransmitQueue) -> Self {
        Self { queue }
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.queue.copied().extend_from_slice(bytes);
    }

    /// Appends a copy of the first `len` of `bytes`: for a head whose length varies a
    /// little, put together on the stack.
    #[inline]
    pub(crate) fn put_prefix<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        self.queue.put_prefix(bytes, len);
    }

    /// Appends `bytes`, without a copy if there are at least
    /// [`CHAIN_THRESHOLD`](Self::CHAIN_THRESHOLD) of them.
    #[inline]
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < Self::CHAIN_THRESHOLD {
            self.put_slice(bytes);
        } else {
            self.queue.chain(bytes.clone());
        }
    }

    /// From this many bytes on a payload is chained instead of copied: 4 KiB.
    pub const CHAIN_THRESHOLD: usize = 4 * 1024;
}

/// A place of its own to encode into: for testing and measuring a codec by itself.
///
/// ```
/// use wireframe_proto::{Codec, EncodeBuffer, Envelope, EnvelopeCodec};
///
/// let mut buffer = EncodeBuffer::default();
/// let frame = Envelope::new(1, vec![1, 2, 3]).with_correlation_id(42);
/// EnvelopeCodec.encode(&frame, &mut buffer.frame_buf()).unwrap();
/// let bytes: Vec<u8> = buffer.chunks().flatten().copied().collect();
/// assert_eq!(bytes, [1, 1, 42, 3, 1, 2, 3]);
/// ```
#[derive(Debug, Default)]
pub struct EncodeBuffer {
    queue: TransmitQueue,
}

impl EncodeBuffer {
    /// Where the codec writes, behind what was written before.
    pub fn frame_buf(&mut self) -> FrameBuf<'_> {
        FrameBuf::new(&mut self.queue)
    }

    /// What was written, in order; no chunk is empty.
    pub fn chunks(&self) -> Chunks<'_> {
        self.queue.chunks()
    }

    /// Drops what was written, and keeps the memory.
    pub fn clear(&mut self) {
        self.queue.clear();
    }
}
