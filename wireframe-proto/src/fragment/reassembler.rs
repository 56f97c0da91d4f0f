//! Messages of the peer that come in fragments, until they are whole.

mod judge;

use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use judge::Place;
pub(super) use judge::at_most;

use super::{
    FragmentMeta,
    due::{Due, Moment},
    partial::Partial,
};
use crate::{
    config::Config,
    error::{CloseReason, DropReason, DroppedMessage, LimitExceeded},
    forgotten::Forgotten,
    stats::FragmentStats,
    steps::step,
    time::{Instant, ReadingClock},
};

/// Ids of dropped messages that are remembered.
const REMEMBERED: usize = 64;

/// What bounds the messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) message_size: usize,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) fragments: usize,
    pub(crate) timeout: Duration,
    /// The peer may use the id of a dropped message again at once. Only by its number can
    /// the first fragment of such a message be told from the rest of the other.
    pub(crate) reuses_ids: bool,
    /// No message may begin that is not whole at once.
    pub(crate) refused: Option<LimitExceeded>,
    /// A message with an id may be dropped alone.
    pub(crate) drops_alone: bool,
}

impl Bounds {
    pub(crate) fn new(config: &Config, reuses_ids: bool, drops_alone: bool) -> Self {
        Self {
            message_size: config.message_size(),
            messages: config.fragments.max_partial_messages.get(),
            bytes: config.partial_bytes(),
            // More cannot be numbered.
            fragments: config.fragments_per_message().min(u32::MAX as usize),
            timeout: config.fragments.reassembly_timeout,
            reuses_ids,
            refused: None,
            drops_alone,
        }
    }

    /// Whether a message that begins with that fragment may be dropped alone: nothing that
    /// still comes of it is taken for the beginning of another.
    fn may_drop(&self, first: &FragmentMeta) -> bool {
        let is_told_apart = first.msg_id.is_some() && (!self.reuses_ids || first.seq.is_some());
        self.drops_alone && is_told_apart
    }
}

/// What comes of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing yet, or nothing at all.
    Nothing,
    /// Its message is whole; with the header of the first fragment.
    Whole(FragmentMeta, Bytes),
    /// Its message was dropped.
    Dropped(DroppedMessage),
}

/// A message that was not whole in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) id: Option<u64>,
    /// The bytes of it that had come.
    pub(crate) received: u64,
    /// What still comes of it is taken for no other message: it may be dropped alone.
    pub(crate) is_alone: bool,
}

/// What is known of a message id.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// Its message is not whole, and has that place.
    Open(u32),
    /// Its message was dropped; where it stands among those.
    Dropped(u32),
}

/// Puts messages together.
///
/// Time is that of its clock.
#[derive(Debug, Default)]
pub(crate) struct Reassembler {
    places: Vec<Partial>,
    free: Vec<u32>,
    /// The one message without an id.
    anonymous: Option<u32>,
    by_id: HashMap<u64, Known>,
    /// Ids of messages that were dropped.
    dropped: Forgotten<u64>,
    /// Messages that are not whole: when each has to be, and its place. Changes when one
    /// begins or ends.
    open: BTreeSet<(Due, u32)>,
    /// Bytes that have come of them.
    received: usize,
    /// Bytes allocated for them.
    allocated: usize,
    /// Stands still whenever nothing is decoded: what has come of a message may wait.
    pub(crate) clock: ReadingClock,
    stats: FragmentStats,
}

impl Reassembler {
    pub(crate) const fn stats(&self) -> FragmentStats {
        self.stats
    }

    /// A fragment was refused, which ends the connection.
    pub(crate) const fn count_fatal(&mut self, reason: &CloseReason) {
        match reason {
            CloseReason::Limit(_) => self.stats.over_limit += 1,
            _ => self.stats.malformed += 1,
        }
    }

    /// Bytes allocated for the messages that are not whole.
    pub(crate) const fn allocated(&self) -> usize {
        self.allocated
    }

    /// Bytes allocated beside that, to keep account of them and of those that were dropped.
    pub(crate) fn account(&self) -> usize {
        let places = self.places.capacity() * size_of::<Partial>();
        let free = self.free.capacity() * size_of::<u32>();
        // Its nodes are at least half full.
        let open = 2 * self.open.len() * size_of::<(Due, u32)>();
        places + free + open + self.by_id.allocation_size() + self.dropped.allocated()
    }

    /// Its time at `now`, where the connection has received so many bytes.
    pub(crate) fn moment(&self, now: Instant, received: u64) -> Moment {
        let now = self.clock.at(now);
        Moment { now, received }
    }

    /// Whether a message without an id is open.
    pub(crate) const fn has_anonymous(&self) -> bool {
        self.anonymous.is_some()
    }

    /// When the first of the messages must be whole, as far as is known at that moment.
    pub(crate) fn deadline(&self, moment: Moment) -> Option<Instant> {
        self.open.first().map(|&(due, _)| due.at(moment))
    }

    /// The message that must be whole first: the bytes of it that have come, and that are
    /// known to be missing.
    pub(crate) fn cut_off(&self) -> Option<(u64, Option<u64>)> {
        let partial = self.first()?;
        let received = partial.len() as u64;
        Some((received, partial.total().map(|total| total - received)))
    }

    fn first(&self) -> Option<&Partial> {
        self.places.get(self.open.first()?.1 as usize)
    }

    /// Takes a fragment, whose payload began at the moment `from`.
    pub(crate) fn take(
        &mut self,
        meta: FragmentMeta,
        payload: Bytes,
        from: Moment,
        bounds: &Bounds,
    ) -> Result<Taken, CloseReason> {
        step();
        let place = self.place(&meta, bounds);
        self.judge(&meta, place, bounds)?;
        if let Place::BeginsAgain(id) = place {
            self.forget(id);
        }
        match place {
            Place::Duplicate => self.stats.duplicates += 1,
            Place::Late => self.stats.late += 1,
            Place::Gap { index, expected } => {
                return Ok(self.take_gap(&meta, index, expected));
            }
            Place::Begins | Place::BeginsAgain(_) if meta.is_final => {
                self.stats.messages += 1;
                return Ok(Taken::Whole(meta, payload));
            }
            Place::Begins | Place::BeginsAgain(_) => {
                let index = self.begin(meta, from, bounds);
                self.append(index, &payload, bounds);
            }
            Place::Continues(index) => {
                self.append(index, &payload, bounds);
                if meta.is_final {
                    return Ok(self.complete(index));
                }
            }
        }
        Ok(Taken::Nothing)
    }

    fn begin(&mut self, first: FragmentMeta, from: Moment, bounds: &Bounds) -> u32 {
        let id = first.msg_id;
        let due = Due::new(from, bounds.timeout);
        let partial = Partial::new(first, due);
        let index = match self.free.pop() {
            Some(index) => index,
            None => u32::try_from(self.places.len()).unwrap_or(u32::MAX),
        };
        match self.places.get_mut(index as usize) {
            Some(place) => *place = partial,
            None => self.places.push(partial),
        }
        match id {
            Some(id) => drop(self.by_id.insert(id, Known::Open(index))),
            None => self.anonymous = Some(index),
        }
        self.open.insert((due, index));
        index
    }

    fn append(&mut self, index: u32, payload: &[u8], bounds: &Bounds) {
        let Some(partial) = self.places.get_mut(index as usize) else {
            return;
        };
        self.allocated -= partial.capacity();
        partial.append(payload, bounds.message_size);
        self.allocated += partial.capacity();
        self.received += payload.len();
    }

    fn complete(&mut self, index: u32) -> Taken {
        match self.remove(index) {
            Some(partial) => {
                self.stats.messages += 1;
                let (meta, payload) = partial.into_message();
                Taken::Whole(meta, payload)
            }
            None => Taken::Nothing,
        }
    }

    fn take_gap(&mut self, meta: &FragmentMeta, index: Option<u32>, expected: u32) -> Taken {
        let partial = index.and_then(|index| self.remove(index));
        let Some(id) = meta.msg_id else {
            return Taken::Nothing;
        };
        self.stats.gaps += 1;
        self.remember(id);
        Taken::Dropped(DroppedMessage {
            id,
            received: partial.map_or(0, |partial| partial.len() as u64),
            why: DropReason::SequenceGap {
                expected,
                got: meta.seq.unwrap_or_default(),
            },
        })
    }

    /// Drops a message that is not whole at that moment, though it should be.
    pub(crate) fn expire(&mut self, at: Moment, bounds: &Bounds) -> Option<Expired> {
        let &(due, index) = self.open.first()?;
        if due.at(at) > at.now {
            return None;
        }
        let partial = self.remove(index)?;
        self.stats.timed_out += 1;
        let id = partial.id();
        let is_alone = bounds.may_drop(&partial.first);
        if let Some(id) = id.filter(|_| is_alone) {
            self.remember(id);
        }
        Some(Expired {
            id,
            received: partial.len() as u64,
            is_alone,
        })
    }

    /// What still comes of that message is late.
    fn remember(&mut self, id: u64) {
        if self.dropped.len() >= REMEMBERED
            && let Some(oldest) = self.dropped.release_oldest()
        {
            self.by_id.remove(&oldest);
        }
        let place = self.dropped.remember(id);
        self.by_id.insert(id, Known::Dropped(place));
    }

    /// Another message has that id now.
    fn forget(&mut self, id: u64) {
        if let Some(Known::Dropped(place)) = self.by_id.remove(&id) {
            self.dropped.release(place);
        }
    }

    fn remove(&mut self, index: u32) -> Option<Partial> {
        let partial = core::mem::take(self.places.get_mut(index as usize)?);
        self.open.remove(&(partial.due, index));
        self.free.push(index);
        self.received -= partial.len();
        self.allocated -= partial.capacity();
        match partial.id() {
            Some(id) => drop(self.by_id.remove(&id)),
            None => self.anonymous = None,
        }
        Some(partial)
    }

    /// Frees what is only needed while messages are open.
    pub(crate) fn shrink(&mut self) {
        if self.open.is_empty() {
            self.places = Vec::new();
            self.free = Vec::new();
            self.by_id.shrink_to_fit();
            self.dropped.shrink();
        }
    }

    /// Drops all messages.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            clock: self.clock,
            stats: self.stats,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests;
