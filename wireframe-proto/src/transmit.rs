//! Encoded output on its way to the transport.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::{Buf, Bytes};

use crate::{heartbeat::Pulse, schedule::ledger::Ledger, time::Instant};

/// Encoded bytes in wire order: one contiguous buffer of small pieces, with large
/// payloads chained in between by reference.
#[derive(Debug, Default)]
pub(crate) struct TransmitQueue {
    /// Every copied piece, in order.
    copied: Vec<u8>,
    /// How much of `copied` has been sent.
    sent: usize,
    /// Chained payloads, each with its place in `copied`. Places never decrease, and
    /// none is below `sent`.
    chained: VecDeque<(usize, Bytes)>,
    /// Bytes in `chained`.
    chained_len: usize,
    /// Bytes ever removed from the front.
    sent_total: u64,
}

/// How far a [`TransmitQueue`] had been filled, to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    copied: usize,
    chained: usize,
    chained_len: usize,
}

impl TransmitQueue {
    /// Bytes waiting.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.copied.len() - self.sent + self.chained_len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated for copied pieces.
    #[inline]
    pub(crate) fn allocated(&self) -> usize {
        self.copied.capacity()
    }

    /// Bytes ever appended, which is where the next one will stand in the output.
    pub(crate) fn end(&self) -> u64 {
        self.sent_total + self.len() as u64
    }

    /// Bytes ever sent.
    pub(crate) fn sent_total(&self) -> u64 {
        self.sent_total
    }

    /// The buffer of small pieces, to append to.
    pub(crate) fn copied(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Appends a payload by reference.
    pub(crate) fn chain(&mut self, bytes: Bytes) {
        self.chained_len += bytes.len();
        self.chained.push_back((self.copied.len(), bytes));
    }

    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            copied: self.copied.len(),
            chained: self.chained.len(),
            chained_len: self.chained_len,
        }
    }

    /// Takes back everything appended since `mark`. Nothing was sent since.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.copied.truncate(mark.copied);
        self.chained.truncate(mark.chained);
        self.chained_len = mark.chained_len;
    }

    /// Takes back what was appended since `mark`, and gives it out but for the first
    /// `gap` bytes; with the bytes that are allocated for what was copied of it.
    #[cold]
    pub(crate) fn take_since(&mut self, mark: Mark, gap: usize) -> (VecDeque<Bytes>, usize) {
        let start = mark.copied + gap;
        let (mut copied, allocated) = self.take_copied(mark.copied, start);
        let mut at = start;
        let mut chunks = VecDeque::new();
        for (place, bytes) in self.chained.split_off(mark.chained) {
            if place > at {
                chunks.push_back(copied.split_to(place - at));
                at = place;
            }
            chunks.push_back(bytes);
        }
        if !copied.is_empty() {
            chunks.push_back(copied);
        }
        self.rewind(mark);
        self.copied.shrink_to(KEPT);
        (chunks, allocated)
    }

    /// What was copied from `start` on, to be taken back, and what is allocated for it. If
    /// that is much the buffer goes with it, and what stands before `end` gets another.
    fn take_copied(&mut self, end: usize, start: usize) -> (Bytes, usize) {
        let taken = self.copied.get(start..).unwrap_or_default();
        if taken.len() <= KEPT {
            return (Bytes::copy_from_slice(taken), taken.len());
        }
        let rest = self.copied.get(..end).unwrap_or_default().to_vec();
        let mut buffer = core::mem::replace(&mut self.copied, rest);
        buffer.shrink_to_fit();
        let allocated = buffer.capacity();
        (Bytes::from(buffer).split_off(start), allocated)
    }

    /// Bytes appended since `mark`.
    #[inline]
    pub(crate) fn since(&self, mark: Mark) -> usize {
        self.copied.len() - mark.copied + self.chained_len - mark.chained_len
    }

    /// Makes room for a header before what was appended since `mark`: leaves `gap`
    /// bytes there, which [`close_gap`](Self::close_gap) overwrites.
    #[inline]
    pub(crate) fn open_gap(&mut self, gap: usize) {
        if gap <= SHORT {
            self.put_prefix(&[0; SHORT], gap);
        } else {
            self.copied.resize(self.copied.len() + gap, 0);
        }
    }

    /// Appends the first `len` of some bytes whose number is known when this is compiled:
    /// faster than copying a number that is not.
    #[inline]
    pub(crate) fn put_prefix<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        let end = self.copied.len() + len.min(N);
        self.copied.extend_from_slice(bytes);
        self.copied.truncate(end);
    }

    /// Writes `header` into the gap that was opened at `mark`, whatever its length.
    #[inline]
    pub(crate) fn close_gap(&mut self, mark: Mark, gap: usize, header: &[u8]) {
        if header.len() != gap {
            return self.refit_gap(mark, gap, header);
        }
        let end = mark.copied + gap;
        if let Some(place) = self.copied.get_mut(mark.copied..end) {
            match (header.first_chunk(), header.last_chunk()) {
                // The most usual lengths, in two stores that may overlap.
                (Some(first), Some(last)) if gap <= 8 => {
                    if let Some(place) = place.first_chunk_mut::<4>() {
                        *place = *first;
                    }
                    if let Some(place) = place.last_chunk_mut::<4>() {
                        *place = *last;
                    }
                }
                _ => place.copy_from_slice(header),
            }
        }
    }

    #[cold]
    fn refit_gap(&mut self, mark: Mark, gap: usize, header: &[u8]) {
        let end = mark.copied + gap;
        self.copied
            .splice(mark.copied..end, header.iter().copied())
            .for_each(drop);
        for (place, _) in self.chained.iter_mut().skip(mark.chained) {
            *place = *place - gap + header.len();
        }
    }

    /// The chunks to send, in order; none of them is empty.
    pub(crate) fn chunks(&self) -> Chunks<'_> {
        Chunks {
            copied: &self.copied,
            at: self.sent,
            chained: self.chained.iter(),
            next: None,
        }
    }

    /// Removes `n` bytes, at most all, from the front.
    pub(crate) fn advance(&mut self, n: usize) -> usize {
        let n = n.min(self.len());
        self.sent_total += n as u64;
        let mut left = n;
        while left > 0 {
            crate::steps::step();
            let boundary = self.chained.front().map_or(self.copied.len(), |c| c.0);
            let small = left.min(boundary - self.sent);
            self.sent += small;
            left -= small;
            if left == 0 {
                break;
            }
            let Some((_, bytes)) = self.chained.front_mut() else {
                break;
            };
            let large = left.min(bytes.len());
            bytes.advance(large);
            self.chained_len -= large;
            left -= large;
            if bytes.is_empty() {
                self.chained.pop_front();
            }
        }
        self.reclaim();
        n
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.sent = 0;
        self.chained.clear();
        self.chained_len = 0;
    }

    /// Gives the empty buffer away, to be pooled.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.copied.capacity() > 0).then(|| {
            self.sent = 0;
            core::mem::take(&mut self.copied)
        })
    }

    pub(crate) fn lacks_buffer(&self) -> bool {
        self.copied.capacity() == 0
    }

    /// Installs a pooled buffer, unless there is one.
    pub(crate) fn give_buffer(&mut self, mut buffer: Vec<u8>) {
        if self.copied.capacity() == 0 {
            buffer.clear();
            self.copied = buffer;
        }
    }

    /// Reuses the front of the buffer once at least half of it has been sent, so that
    /// each byte is moved at most once.
    fn reclaim(&mut self) {
        if self.sent == self.copied.len() && self.chained.is_empty() {
            self.copied.clear();
            self.sent = 0;
        } else if self.sent >= RECLAIM && self.sent * 2 >= self.copied.len() {
            self.copied.drain(..self.sent);
            for (place, _) in &mut self.chained {
                crate::steps::step();
                *place -= self.sent;
            }
            self.sent = 0;
        }
    }
}

/// Gaps up to this length are opened by appending a constant.
const SHORT: usize = 16;

/// Below this many sent bytes moving the rest to the front is not worth it.
const RECLAIM: usize = 16 * 1024;

/// What is kept of the buffer behind a message that was copied into it, to be split. A
/// longer message takes the buffer along.
const KEPT: usize = 256 * 1024;

/// Iterator over the chunks of a transmit queue.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    copied: &'a [u8],
    at: usize,
    chained: alloc::collections::vec_deque::Iter<'a, (usize, Bytes)>,
    next: Option<&'a [u8]>,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if let Some(large) = self.next.take() {
            return Some(large);
        }
        let (end, large) = match self.chained.next() {
            Some((place, bytes)) => (*place, Some(&bytes[..])),
            None => (self.copied.len(), None),
        };
        let small = self.copied.get(self.at..end).unwrap_or_default();
        self.at = end;
        if small.is_empty() {
            large
        } else {
            self.next = large;
            Some(small)
        }
    }
}

/// Bytes lent for sending. What is not reported sent is lent again.
#[derive(Debug)]
pub struct Transmit<'a> {
    pub(crate) queue: &'a mut TransmitQueue,
    pub(crate) on_sent: Sent<'a>,
}

/// What the engine keeps about output that has left.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    /// None if there has been no push.
    pub(crate) ledger: Option<&'a mut Ledger>,
    /// Whether the transport holds earlier output: what it takes is not with the peer then.
    pub(crate) held: bool,
    /// When the peer last took a byte.
    pub(crate) last_progress: &'a mut Instant,
    pub(crate) last_activity: &'a mut Instant,
    pub(crate) pulse: Option<&'a mut Pulse>,
    pub(crate) now: Instant,
    /// The same on the reading clock.
    pub(crate) reading_now: Instant,
}

impl Transmit<'_> {
    /// The chunks to send, in order; none is empty. Send as many as fit one vectored write.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        self.queue.chunks()
    }

    /// Bytes waiting.
    #[expect(clippy::len_without_is_empty, reason = "never empty: it would be None")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Reports that the transport has taken the first `n` bytes. More than there are
    /// count as all.
    pub fn advance(self, n: usize) {
        let before = self.queue.sent_total();
        if self.queue.advance(n) > 0 {
            let on_sent = self.on_sent;
            if let Some(ledger) = on_sent.ledger {
                ledger.settle(self.queue.sent_total());
            }
            if on_sent.held {
                return;
            }
            *on_sent.last_progress = on_sent.now;
            *on_sent.last_activity = on_sent.reading_now;
            if let Some(pulse) = on_sent.pulse {
                pulse.output_taken(before, on_sent.now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
