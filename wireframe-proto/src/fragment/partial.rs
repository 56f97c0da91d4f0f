//! One message of the peer, as far as it has come.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{FragmentMeta, due::Due, reassembler::at_most};
use crate::{error::CloseReason, steps::step};

/// Most empty fragments of a message in a row.
const MAX_EMPTY: usize = 32;

/// A message that is not whole.
#[derive(Debug)]
pub(super) struct Partial {
    /// The header of its first fragment.
    pub(super) first: FragmentMeta,
    bytes: Vec<u8>,
    /// Fragments that have come, which is the number of the next.
    pub(super) fragments: u32,
    /// Those at the end of which are empty.
    empty: usize,
    pub(super) due: Due,
}

impl Default for Partial {
    fn default() -> Self {
        Self::new(FragmentMeta::whole(0), Due::default())
    }
}

impl Partial {
    pub(super) const fn new(first: FragmentMeta, due: Due) -> Self {
        Self {
            first,
            bytes: Vec::new(),
            fragments: 0,
            empty: 0,
            due,
        }
    }

    /// Counts as a step: who looks for a message by its id asks each of them.
    pub(super) fn id(&self) -> Option<u64> {
        step();
        self.first.msg_id
    }

    /// The length that was declared.
    pub(super) const fn total(&self) -> Option<u64> {
        self.first.total_message_len
    }

    /// Bytes that have come of it.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether a fragment is not one empty one too many.
    pub(super) fn judge_emptiness(&self, meta: &FragmentMeta) -> Result<(), CloseReason> {
        match meta.payload_len {
            0 => at_most("max_empty_fragments", MAX_EMPTY, self.empty as u64 + 1),
            _ => Ok(()),
        }
    }

    /// Appends the payload of a fragment. The memory grows by half more than is needed, but
    /// not to more than the whole message, nor to more than one may take.
    ///
    /// So what is allocated for all messages is at most half more than what has come of
    /// them, and no byte is copied again more than twice on average.
    pub(super) fn append(&mut self, payload: &[u8], max_message_size: usize) {
        self.fragments = self.fragments.saturating_add(1);
        self.empty = match payload {
            [] => self.empty + 1,
            _ => 0,
        };
        let needed = self.bytes.len() + payload.len();
        if needed > self.bytes.capacity() {
            let total = self.total().map_or(usize::MAX, |total| {
                usize::try_from(total).unwrap_or(usize::MAX)
            });
            let most = total.min(max_message_size).max(needed);
            let grown = needed.saturating_add(needed / 2).min(most);
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
        self.bytes.extend_from_slice(payload);
    }

    /// The whole message. Memory that it does not need goes back if that is much.
    pub(super) fn into_message(mut self) -> (FragmentMeta, Bytes) {
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / 4 {
            self.bytes.shrink_to_fit();
        }
        (self.first, Bytes::from(self.bytes))
    }
}
