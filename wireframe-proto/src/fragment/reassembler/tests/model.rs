//! What a reader of the rules would write who has all the time in the world.

use alloc::{
    collections::{BTreeSet, VecDeque},
    string::ToString,
    vec::Vec,
};

use super::super::{Bounds, Expired, FragmentMeta, FragmentStats, Taken};
use crate::error::CloseReason;

/// Most empty fragments in a row.
const EMPTY: usize = 32;
/// Bytes for which every message has another second.
const PIECE: usize = 256 * 1024;
/// Ids of dropped messages that are remembered.
const REMEMBERED: usize = 64;

/// What comes of a fragment, in few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    Whole(Vec<u8>),
    Gap(u64),
    Limit(&'static str),
    Malformed(&'static str),
}

impl Outcome {
    /// The connection goes on.
    pub(super) const fn is_harmless(&self) -> bool {
        matches!(self, Self::Nothing | Self::Whole(_) | Self::Gap(_))
    }
}

const GAP: &str = "sequence gap";
const AGAIN: &str = "declared in the middle";
const TOTAL: &str = "declared with";
const OTHER: &str = "another first fragment";

impl From<Result<Taken, CloseReason>> for Outcome {
    fn from(taken: Result<Taken, CloseReason>) -> Self {
        match taken {
            Ok(Taken::Nothing) => Self::Nothing,
            Ok(Taken::Whole(_, bytes)) => Self::Whole(bytes.to_vec()),
            Ok(Taken::Dropped(message)) => Self::Gap(message.id),
            Err(CloseReason::Limit(limit)) => Self::Limit(limit.limit),
            Err(CloseReason::Malformed(error)) => {
                let error = error.to_string();
                let says = |what: &&str| error.contains(*what);
                Self::Malformed([GAP, AGAIN, TOTAL, OTHER].into_iter().find(says).unwrap())
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// A message that is not whole.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub(super) id: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) bytes: Vec<u8>,
    pub(super) fragments: u32,
    empty: usize,
    began: u64,
    first: FragmentMeta,
    /// Its first fragment had a number.
    is_numbered: bool,
    /// Pieces that the connection had received by then.
    pieces: usize,
    /// Fragments of others have come since it began.
    is_interleaved: bool,
}

impl Plain {
    /// Nothing else that comes can be taken for a part of it, nor its rest for another; and
    /// its answer, if there is one, for that of another.
    const fn may_be_dropped(&self, bounds: &Bounds) -> bool {
        bounds.drops_alone && self.id.is_some() && (self.is_numbered || !bounds.reuses_ids)
    }

    fn due(&self, bounds: &Bounds, received: usize) -> u64 {
        let millis = u64::try_from(bounds.timeout.as_millis()).unwrap();
        let seconds = received / PIECE - self.pieces;
        self.began + millis + 1_000 * seconds as u64
    }
}

/// Times are milliseconds.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) open: Vec<Plain>,
    /// Bytes that the connection has received.
    pub(super) received: usize,
    /// Ids, and why each was dropped.
    dropped: VecDeque<(u64, &'static str)>,
    forgotten: BTreeSet<u64>,
    ended: BTreeSet<u64>,
    pub(super) stats: FragmentStats,
    /// What has happened so far, by name.
    pub(super) seen: BTreeSet<&'static str>,
}

impl Model {
    pub(super) fn find(&self, id: Option<u64>) -> Option<&Plain> {
        self.open.iter().find(|message| message.id == id)
    }

    pub(super) fn take(
        &mut self,
        meta: &FragmentMeta,
        payload: &[u8],
        now: u64,
        bounds: &Bounds,
    ) -> Outcome {
        let outcome = self.outcome(meta, payload, now, bounds);
        let pieces = self.received / PIECE;
        self.received += payload.len();
        if self.received / PIECE > pieces && !self.open.is_empty() {
            self.saw("more time");
        }
        match outcome {
            Outcome::Limit("max_message_size") => {}
            Outcome::Limit(what) | Outcome::Malformed(what) => self.saw(what),
            _ => {}
        }
        outcome
    }

    pub(super) fn saw(&mut self, what: &'static str) {
        self.seen.insert(what);
    }

    fn outcome(
        &mut self,
        meta: &FragmentMeta,
        payload: &[u8],
        now: u64,
        bounds: &Bounds,
    ) -> Outcome {
        let id = meta.msg_id;
        let dropped = self.dropped.iter().find(|(other, _)| id == Some(*other));
        if let Some(&(dropped, why)) = dropped {
            if !bounds.reuses_ids || meta.seq != Some(0) {
                self.saw(why);
                if bounds.reuses_ids {
                    self.saw("late, though the id may be used again");
                }
                self.stats.late += 1;
                return Outcome::Nothing;
            }
            self.saw("id again after a drop");
            self.dropped.retain(|&(id, _)| id != dropped);
        }
        let at = self.open.iter().position(|message| message.id == id);
        let fresh = Plain {
            id,
            total: meta.total_message_len,
            bytes: Vec::new(),
            fragments: 0,
            empty: 0,
            began: now,
            first: meta.clone(),
            is_numbered: meta.seq.is_some(),
            pieces: self.received / PIECE,
            is_interleaved: false,
        };
        let mut message = at.map_or(fresh, |at| self.open[at].clone());
        match meta.seq {
            Some(0)
                if id.is_some() && bounds.reuses_ids && at.is_some() && *meta != message.first =>
            {
                return Outcome::Malformed(OTHER);
            }
            Some(seq) if seq < message.fragments => {
                self.saw("duplicate");
                self.stats.duplicates += 1;
                return Outcome::Nothing;
            }
            Some(seq) if seq > message.fragments => return self.gap(&message, at, bounds),
            _ => {}
        }
        if let Some(refused) = self.refusal(meta, &message, at, bounds) {
            return refused;
        }
        if at.is_none() && meta.is_final {
            self.saw("whole at once");
            self.stats.messages += 1;
            return Outcome::Whole(payload.to_vec());
        }
        self.append(&mut message, payload);
        self.note(at, id, payload);
        match at {
            Some(at) if meta.is_final => {
                self.open.remove(at);
                return self.whole(message);
            }
            Some(at) => self.open[at] = message,
            None => self.open.push(message),
        }
        Outcome::Nothing
    }

    fn gap(&mut self, message: &Plain, at: Option<usize>, bounds: &Bounds) -> Outcome {
        let Some(id) = message.id.filter(|_| message.may_be_dropped(bounds)) else {
            match message.id {
                Some(_) if !bounds.drops_alone => self.saw("gap where answers go in order"),
                Some(_) => self.saw("gap in a message without a number"),
                None => {}
            }
            return Outcome::Malformed(GAP);
        };
        self.saw(match at {
            Some(_) => "gap",
            None => "gap before the beginning",
        });
        self.stats.gaps += 1;
        self.open.retain(|message| message.id != Some(id));
        self.remember(id, "late after a gap");
        Outcome::Gap(id)
    }

    fn refusal(
        &mut self,
        meta: &FragmentMeta,
        message: &Plain,
        at: Option<usize>,
        bounds: &Bounds,
    ) -> Option<Outcome> {
        let len = usize::try_from(meta.payload_len).unwrap();
        let size = message.bytes.len() + len;
        let again = meta.total_message_len;
        if again.is_some() && again != message.total {
            return Some(Outcome::Malformed(AGAIN));
        }
        if let Some(total) = message.total {
            let more = size as u64 > total;
            if more || (meta.is_final && (size as u64) < total) {
                self.saw(if more { "more" } else { "less" });
                return Some(Outcome::Malformed(TOTAL));
            }
        }
        let announced = message
            .total
            .is_some_and(|t| t > bounds.message_size as u64);
        if size > bounds.message_size || announced {
            self.saw(if announced {
                "too much announced"
            } else {
                "too large"
            });
            return Some(Outcome::Limit("max_message_size"));
        }
        if message.fragments as usize + 1 > bounds.fragments {
            return Some(Outcome::Limit("max_fragments_per_message"));
        }
        if at.is_some() && len == 0 && message.empty == EMPTY {
            return Some(Outcome::Limit("max_empty_fragments"));
        }
        if at.is_none() && meta.is_final {
            return None;
        }
        if at.is_none() && self.open.len() == bounds.messages {
            return Some(Outcome::Limit("max_partial_messages"));
        }
        let announced = message.total.is_some_and(|t| t > bounds.bytes as u64);
        if announced || len > self.room(bounds) {
            if announced {
                self.saw("more announced than all may be");
            }
            return Some(Outcome::Limit("max_partial_bytes"));
        }
        None
    }

    /// Bytes that may still come of messages that are not whole.
    fn room(&self, bounds: &Bounds) -> usize {
        let all: usize = self.open.iter().map(|other| other.bytes.len()).sum();
        bounds.bytes - all
    }

    fn append(&mut self, message: &mut Plain, payload: &[u8]) {
        message.empty = match payload {
            [] => message.empty + 1,
            _ => 0,
        };
        message.fragments += 1;
        message.bytes.extend_from_slice(payload);
    }

    /// Names what such a fragment shows.
    fn note(&mut self, at: Option<usize>, id: Option<u64>, payload: &[u8]) {
        for (n, other) in self.open.iter_mut().enumerate() {
            other.is_interleaved |= at != Some(n);
        }
        if payload.is_empty() {
            self.saw("empty");
        }
        if at.is_none()
            && let Some(id) = id
        {
            if self.forgotten.remove(&id) {
                self.saw("id again that was forgotten");
            }
            if self.ended.contains(&id) {
                self.saw("id again");
            }
        }
    }

    fn whole(&mut self, message: Plain) -> Outcome {
        self.stats.messages += 1;
        self.ended.extend(message.id);
        let named = [
            (message.is_interleaved, "whole and interleaved"),
            (message.fragments > 2, "whole of several"),
            (message.id.is_none(), "whole without an id"),
            (message.total.is_some(), "whole as declared"),
            (message.bytes.is_empty(), "whole and empty"),
        ];
        let named = named.into_iter().filter(|(is, _)| *is);
        self.seen.extend(named.map(|(_, what)| what));
        Outcome::Whole(message.bytes)
    }

    pub(super) fn deadline(&self, bounds: &Bounds) -> Option<u64> {
        let due = |message: &Plain| message.due(bounds, self.received);
        self.open.iter().map(due).min()
    }

    /// Time passes that no message loses.
    pub(super) fn postpone(&mut self, millis: u64) {
        self.open
            .iter_mut()
            .for_each(|message| message.began += millis);
        if !self.open.is_empty() {
            self.saw("paused");
        }
    }

    /// One message is dropped in time: it must be open and none may be due before it.
    pub(super) fn expire(&mut self, expired: Expired, bounds: &Bounds) {
        let Expired { id, received, .. } = expired;
        let first = self.deadline(bounds);
        let at = self.open.iter().position(|message| message.id == id);
        let message = self.open.remove(at.unwrap());
        assert_eq!(Some(message.due(bounds, self.received)), first);
        assert_eq!(message.bytes.len() as u64, received);
        assert_eq!(message.may_be_dropped(bounds), expired.is_alone);
        self.stats.timed_out += 1;
        self.saw("timed out");
        match id {
            Some(id) if expired.is_alone => self.remember(id, "late after its time"),
            Some(_) if !bounds.drops_alone => self.saw("timed out where answers go in order"),
            Some(_) => self.saw("timed out without a number"),
            None => self.saw("timed out without an id"),
        }
    }

    fn remember(&mut self, id: u64, why: &'static str) {
        self.dropped.push_back((id, why));
        if self.dropped.len() > REMEMBERED {
            let oldest = self.dropped.pop_front();
            self.forgotten.extend(oldest.map(|(id, _)| id));
        }
    }
}
