//! Where fragments belong, and whether they are within all bounds.

use alloc::format;

use super::{super::partial::Partial, Bounds, FragmentMeta, Known, Reassembler};
use crate::error::{CloseReason, DropReason, LimitExceeded, Malformed};

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// It begins a message.
    Begins,
    /// It begins a message that has the id of one that was dropped.
    BeginsAgain(u64),
    /// It is the next of the message in that place.
    Continues(u32),
    /// One before it is missing. The message may not even have begun.
    Gap { index: Option<u32>, expected: u32 },
    /// It has come before.
    Duplicate,
    /// Its message was dropped.
    Late,
}

impl Reassembler {
    /// Refuses a fragment of which only the header has come, if all of it would be.
    pub(crate) fn check(&self, meta: &FragmentMeta, bounds: &Bounds) -> Result<(), CloseReason> {
        let place = self.place(meta, bounds);
        self.judge(meta, place, bounds)
    }

    pub(super) fn place(&self, meta: &FragmentMeta, bounds: &Bounds) -> Place {
        let index = match meta.msg_id {
            None => self.anonymous,
            Some(id) => match self.by_id.get(&id) {
                Some(Known::Dropped(_)) if bounds.reuses_ids && meta.seq == Some(0) => {
                    return Place::BeginsAgain(id);
                }
                Some(Known::Dropped(_)) => return Place::Late,
                Some(Known::Open(index)) => Some(*index),
                None => None,
            },
        };
        let partial = index.and_then(|index| self.places.get(index as usize));
        let expected = partial.map_or(0, |partial| partial.fragments);
        match (meta.seq, index) {
            (Some(seq), _) if seq < expected => Place::Duplicate,
            (Some(seq), _) if seq > expected => Place::Gap { index, expected },
            (_, Some(index)) => Place::Continues(index),
            (_, None) => Place::Begins,
        }
    }

    /// Whether a fragment in that place is within all bounds. Says so from its header
    /// alone, before anything is allocated.
    pub(super) fn judge(
        &self,
        meta: &FragmentMeta,
        place: Place,
        bounds: &Bounds,
    ) -> Result<(), CloseReason> {
        let partial = match place {
            Place::Begins | Place::BeginsAgain(_) => None,
            Place::Continues(index) => self.places.get(index as usize),
            Place::Gap { index, expected } => {
                return self.judge_gap(meta, index, expected, bounds);
            }
            Place::Duplicate if bounds.reuses_ids => return self.judge_duplicate(meta),
            Place::Duplicate | Place::Late => return Ok(()),
        };
        let received = partial.map_or(0, Partial::len);
        let size = (received as u64).saturating_add(meta.payload_len);
        let total = self.judge_total(meta, partial, size)?;
        let max_size = bounds.message_size;
        at_most("max_message_size", max_size, size.max(total.unwrap_or(0)))?;
        let fragments = partial.map_or(0, |partial| u64::from(partial.fragments)) + 1;
        at_most("max_fragments_per_message", bounds.fragments, fragments)?;
        if let Some(partial) = partial {
            partial.judge_emptiness(meta)?;
        } else if !meta.is_final {
            let messages = self.open.len() as u64 + 1;
            at_most("max_partial_messages", bounds.messages, messages)?;
            if let Some(limit) = bounds.refused {
                return Err(CloseReason::Limit(limit));
            }
        } else {
            return Ok(());
        }
        // What the sender can reckon: not the memory, of which each message has some to spare.
        let others = (self.received - received) as u64;
        let together = others.saturating_add(size).max(total.unwrap_or(0));
        at_most("max_partial_bytes", bounds.bytes, together)
    }

    /// Refuses a first fragment that is not the one of the message under way by that id: its
    /// peer has given that message up for another, and what is there of both is no message.
    fn judge_duplicate(&self, meta: &FragmentMeta) -> Result<(), CloseReason> {
        let Some(Known::Open(index)) = meta.msg_id.and_then(|id| self.by_id.get(&id)) else {
            return Ok(());
        };
        match self.places.get(*index as usize) {
            Some(partial) if meta.seq == Some(0) && *meta != partial.first => {
                let what = "another first fragment before the message of that id has ended";
                Err(malformed(what.into()))
            }
            _ => Ok(()),
        }
    }

    fn judge_gap(
        &self,
        meta: &FragmentMeta,
        index: Option<u32>,
        expected: u32,
        bounds: &Bounds,
    ) -> Result<(), CloseReason> {
        let partial = index.and_then(|index| self.places.get(index as usize));
        if bounds.may_drop(partial.map_or(meta, |partial| &partial.first)) {
            return Ok(());
        }
        let got = meta.seq.unwrap_or_default();
        let gap = DropReason::SequenceGap { expected, got };
        Err(malformed(format!("{gap}")))
    }

    /// Whether a message that has `size` bytes with this fragment is as long as was
    /// declared, as far as can be said by now; returns what was declared.
    fn judge_total(
        &self,
        meta: &FragmentMeta,
        partial: Option<&Partial>,
        size: u64,
    ) -> Result<Option<u64>, CloseReason> {
        let declared = match partial {
            Some(partial) => partial.total(),
            None => meta.total_message_len,
        };
        if let Some(again) = meta.total_message_len
            && declared != Some(again)
        {
            let what = format!("a total of {again} bytes, declared in the middle of a message");
            return Err(malformed(what));
        }
        match declared {
            Some(total) if size > total || (meta.is_final && size < total) => {
                let what = format!("message of {size} bytes, declared with {total}");
                Err(malformed(what))
            }
            _ => Ok(declared),
        }
    }
}

fn malformed(what: alloc::string::String) -> CloseReason {
    CloseReason::Malformed(Malformed::new(what))
}

pub(in crate::fragment) fn at_most(
    limit: &'static str,
    value: usize,
    got: u64,
) -> Result<(), CloseReason> {
    let value = value as u64;
    if got <= value {
        return Ok(());
    }
    Err(CloseReason::Limit(LimitExceeded { limit, value, got }))
}
