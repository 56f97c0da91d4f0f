//! What a header encloses: turning payloads into frames and back.

use bytes::Bytes;

use crate::{
    error::{Malformed, Unencodable},
    fragment::FragmentMeta,
    transmit::TransmitQueue,
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
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.queue.copied().extend_from_slice(bytes);
    }

    /// Appends `bytes`, without a copy if there are at least
    /// [`CHAIN_THRESHOLD`](Self::CHAIN_THRESHOLD) of them.
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
