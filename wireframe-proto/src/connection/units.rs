//! Wire units, taken from the read buffer.

use bytes::{Buf, Bytes};

use super::{Connection, NOT_STARVED};
use crate::{
    error::{CloseReason, LimitExceeded, Malformed},
    fragment::{FragmentMeta, FragmentStrategy, reassembler::Taken},
    ids::Side,
    protocol::WireframeProtocol,
};

/// A header that has not ended after so many bytes is refused.
const MAX_HEADER_LEN: usize = 64 * 1024;

/// Payloads below this are copied out when the library keeps them, so that they do not
/// pin the read buffer they came in.
pub(super) const COPY_BELOW: usize = 4 * 1024;

impl<P: WireframeProtocol> Connection<P> {
    /// Whether a unit is a frame by itself and has come whole.
    #[inline]
    pub(super) fn is_whole_frame(&self, meta: &FragmentMeta, header_len: usize) -> bool {
        to_usize(meta.payload_len) <= self.receive.len() - header_len && !self.is_fragment(meta)
    }

    /// Takes units until there is a frame, from one whose header has come on.
    #[cold]
    pub(super) fn next_in_parts(
        &mut self,
        mut header: Option<(FragmentMeta, usize)>,
    ) -> Option<(FragmentMeta, Bytes)> {
        loop {
            if let Some((meta, header_len)) = header {
                self.keep_header(meta, header_len);
            }
            let arrived = self.receive.len();
            let is_whole = |unit: &mut FragmentMeta| to_usize(unit.payload_len) <= arrived;
            let meta = self.unit.take_if(is_whole)?;
            let payload = self.take_payload(&meta, 0);
            if !self.is_fragment(&meta) {
                return Some((meta, payload));
            }
            match self.take_fragment(meta, payload) {
                Ok(Taken::Nothing) => {}
                Ok(Taken::Whole(meta, message)) => return Some((meta, message)),
                Ok(Taken::Dropped(message)) => {
                    let event = self.note_gap(message);
                    self.events.push_back(event);
                    return None;
                }
                Err(reason) => {
                    self.refuse_input(reason);
                    return None;
                }
            }
            header = self.read_header();
        }
    }

    /// Consumes a header whose unit cannot be taken yet, or is a fragment.
    #[cold]
    fn keep_header(&mut self, meta: FragmentMeta, header_len: usize) {
        if to_usize(meta.payload_len) > self.receive.len() - header_len
            && let Err(reason) = self.check_fragment(&meta)
        {
            return self.refuse_input(reason);
        }
        self.receive.advance(header_len);
        self.counted = self.receive.len();
        self.unit = Some(meta);
    }

    /// Takes the payload of a unit that is whole, with what is left of its header. Always
    /// inlined, because one of its two callers is on the way of every frame.
    #[inline(always)]
    pub(super) fn take_payload(&mut self, meta: &FragmentMeta, header_len: usize) -> Bytes {
        let payload_len = to_usize(meta.payload_len);
        let mut unit = self.receive.split_to(header_len + payload_len);
        self.counted = self.receive.len();
        self.starved_at = NOT_STARVED;
        self.frame_since = None;
        self.in_user_code = true;
        let payload = unit.get_mut(header_len..).unwrap_or_default();
        self.framing.unmask(meta, 0, payload);
        self.in_user_code = false;
        // A fragment is copied into its message anyway.
        if payload_len < COPY_BELOW && meta.is_final && self.keeps_frames() {
            return Bytes::copy_from_slice(payload);
        }
        let mut payload = unit.freeze();
        payload.advance(header_len);
        payload
    }

    /// Reads and checks the header at the front of the read buffer. Always inlined, as
    /// [`take_payload`](Self::take_payload) is.
    #[inline(always)]
    pub(super) fn read_header(&mut self) -> Option<(FragmentMeta, usize)> {
        if self.receive.is_empty() {
            return None;
        }
        // A header that ends further on is not found, however many bytes came at once.
        let front = self.receive.get(..MAX_HEADER_LEN).unwrap_or(&self.receive);
        self.in_user_code = true;
        let header = self.framing.decode_header(front);
        self.in_user_code = false;
        match header {
            Ok(Some((meta, header_len))) if self.accepts(&meta, header_len) => {
                Some((meta, header_len))
            }
            Ok(header) => {
                self.refuse_header(header.map(|(meta, len)| (meta.payload_len, len)));
                None
            }
            Err(error) => {
                self.refuse_input(CloseReason::Malformed(error));
                None
            }
        }
    }

    /// Whether a header says what may be.
    #[inline]
    fn accepts(&self, meta: &FragmentMeta, header_len: usize) -> bool {
        meta.payload_len <= self.config.limits.max_frame_len.get() as u64
            && header_len <= self.receive.len()
            && (header_len > 0 || meta.payload_len > 0)
            && (meta.is_final || !meta.alone)
    }

    /// Refuses a header that says what must not be, or that has not ended where it must
    /// have.
    #[cold]
    fn refuse_header(&mut self, header: Option<(u64, usize)>) {
        let max_frame_len = self.config.limits.max_frame_len.get();
        let malformed = |what| CloseReason::Malformed(Malformed::new(what));
        let reason = match header {
            None if self.receive.len() < MAX_HEADER_LEN => return,
            None => limit_exceeded("max_header_len", MAX_HEADER_LEN, MAX_HEADER_LEN as u64 + 1),
            Some((payload_len, _)) if payload_len > max_frame_len as u64 => {
                limit_exceeded("max_frame_len", max_frame_len, payload_len)
            }
            Some((_, len)) if len > self.receive.len() => {
                malformed("the framing consumed more than there was")
            }
            Some((0, 0)) => malformed("the framing found a unit of no bytes"),
            Some(_) => malformed("a unit that stands alone and is not final"),
        };
        self.refuse_input(reason);
    }

    /// Whether the library may keep the next frame itself: held back, as a body, or in
    /// a client's queue.
    fn keeps_frames(&self) -> bool {
        self.commands.live() > 0 || self.peer.side == Side::Client
    }
}

/// A length of the wire as one of memory; what does not fit is more than any limit.
pub(super) fn to_usize(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

pub(super) fn limit_exceeded(limit: &'static str, value: usize, got: u64) -> CloseReason {
    let value = value as u64;
    CloseReason::Limit(LimitExceeded { limit, value, got })
}
