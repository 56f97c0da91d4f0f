//! What is left to send of a message that goes in fragments.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::FragmentMeta;
use crate::codec::FrameBuf;

/// Cuts a message into units, one at a time.
///
/// What it gives out shares the message's bytes.
#[derive(Debug)]
pub(crate) struct Splitter {
    /// What is left of the payload, and its length.
    chunks: VecDeque<Bytes>,
    left: usize,
    total: usize,
    /// Bytes allocated for what was copied of it.
    copied: usize,
    /// Most bytes of payload in a unit.
    piece: usize,
    /// Only a unit that is shorter than that ends the message.
    ends_short: bool,
    id: Option<u64>,
    /// The next unit's place in the message.
    seq: u32,
    unsolicited: bool,
}

/// How a message is to be cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Most bytes of payload in a unit.
    pub(crate) piece: usize,
    /// Only a unit that is shorter than that ends the message.
    pub(crate) ends_short: bool,
}

impl Cut {
    /// Whether a payload of that length takes more than one unit.
    #[inline]
    pub(crate) const fn splits(self, len: usize) -> bool {
        len > self.piece || (len == self.piece && self.ends_short)
    }

    /// How many units a payload of that length takes.
    pub(crate) const fn units(self, len: usize) -> usize {
        match self.ends_short {
            true => (len / self.piece).saturating_add(1),
            false => len.div_ceil(self.piece),
        }
    }
}

impl Splitter {
    pub(crate) fn new(
        (chunks, copied): (VecDeque<Bytes>, usize),
        cut: Cut,
        id: Option<u64>,
        unsolicited: bool,
    ) -> Self {
        let total = chunks.iter().map(Bytes::len).sum();
        Self {
            chunks,
            left: total,
            total,
            copied,
            piece: cut.piece,
            ends_short: cut.ends_short,
            id,
            seq: 0,
            unsolicited,
        }
    }

    /// Bytes of the whole message.
    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    /// Bytes that are allocated for the message, and not only shared.
    pub(crate) const fn copied(&self) -> usize {
        self.copied
    }

    /// The message's id.
    pub(crate) const fn id(&self) -> Option<u64> {
        self.id
    }

    /// What the header of the next unit says.
    pub(crate) fn next_unit(&self) -> FragmentMeta {
        let mut meta = FragmentMeta::whole(self.left.min(self.piece) as u64);
        let cut = Cut {
            piece: self.piece,
            ends_short: self.ends_short,
        };
        meta.is_final = !cut.splits(self.left);
        meta.msg_id = self.id;
        meta.seq = Some(self.seq);
        meta.total_message_len = (self.seq == 0).then_some(self.total as u64);
        meta.unsolicited = self.unsolicited;
        meta
    }

    /// Appends the payload of the next unit, which is gone then.
    pub(crate) fn put_unit(&mut self, dst: &mut FrameBuf<'_>) {
        let mut wanted = self.left.min(self.piece);
        self.left -= wanted;
        self.seq = self.seq.saturating_add(1);
        while wanted > 0 {
            let Some(chunk) = self.chunks.front_mut() else {
                return;
            };
            if chunk.len() > wanted {
                dst.put_bytes(&chunk.split_to(wanted));
                return;
            }
            wanted -= chunk.len();
            dst.put_bytes(chunk);
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EncodeBuffer;
    use alloc::{vec, vec::Vec};

    /// Every unit: the length and whether it is final, and its chunks.
    fn units(chunks: &[&'static [u8]], piece: usize, ends_short: bool) -> Vec<(u64, Vec<u8>)> {
        let chunks = chunks.iter().map(|bytes| Bytes::from_static(bytes));
        let cut = Cut { piece, ends_short };
        let mut splitter = Splitter::new((chunks.collect(), 0), cut, Some(7), false);
        let mut units = vec![];
        loop {
            let meta = splitter.next_unit();
            assert_eq!(meta.seq, Some(u32::try_from(units.len()).unwrap()));
            assert_eq!(meta.total_message_len.is_some(), units.is_empty());
            let mut buffer = EncodeBuffer::default();
            splitter.put_unit(&mut buffer.frame_buf());
            units.push((
                meta.payload_len,
                buffer.chunks().flatten().copied().collect(),
            ));
            if meta.is_final {
                return units;
            }
        }
    }

    #[test]
    fn units_are_full_but_for_the_last() {
        // rule: FRAG-1
        let expected: Vec<(u64, Vec<u8>)> =
            vec![(4, b"abcd".into()), (4, b"efgh".into()), (2, b"ij".into())];
        assert_eq!(units(&[b"abcdefghij"], 4, false), expected);
        assert_eq!(
            units(&[b"a", b"bcdef", b"", b"g", b"hij"], 4, true),
            expected
        );
    }

    #[test]
    fn a_multiple_ends_with_an_empty_unit_where_the_end_has_to_be_short() {
        // rule: FRAG-4
        let full: Vec<(u64, Vec<u8>)> = vec![(2, b"ab".into()), (2, b"cd".into())];
        assert_eq!(units(&[b"abcd"], 2, false), full);
        let mut with_end = full;
        with_end.push((0, vec![]));
        assert_eq!(units(&[b"abcd"], 2, true), with_end);
    }

    #[test]
    fn large_pieces_share_the_bytes_of_the_message() {
        // rule: FRAG-1
        let message = Bytes::from(vec![1; 20_000]);
        let cut = Cut {
            piece: 8_000,
            ends_short: false,
        };
        let mut splitter = Splitter::new(([message.clone()].into(), 0), cut, None, false);
        for at in [0, 8_000] {
            let mut buffer = EncodeBuffer::default();
            splitter.put_unit(&mut buffer.frame_buf());
            let chunk = buffer.chunks().next().unwrap();
            assert_eq!(chunk.as_ptr(), message[at..].as_ptr());
        }
    }
}
