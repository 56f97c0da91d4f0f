//! How long requests take.

use ::metrics::Histogram;
use wireframe_proto::{Instant, RequestId};

/// How long the requests of one connection take: from the beginning of the turn in which one
/// was taken to the end of that in which its last frame was given to the engine. So nothing
/// is timed by itself: the clock is read once per turn, and a request is never said to have
/// been faster than it was.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// Requests that have begun and ended in this turn, as most do.
    at_once: usize,
    /// When it began.
    turn: Instant,
    /// Boxed because only requests that outlast a turn need it.
    others: Option<Box<Others>>,
}

#[derive(Debug, Default)]
struct Others {
    /// When those under way began, by their slots.
    began: Vec<Option<(RequestId, Instant)>>,
    /// When those began that have ended in this turn.
    ended: Vec<Instant>,
}

impl Others {
    fn place(&mut self, id: RequestId) -> Option<&mut Option<(RequestId, Instant)>> {
        self.began.get_mut(id.slot())
    }
}

impl Latency {
    /// The request is not done at once. Where that is known already nothing changes.
    pub(super) fn goes_on(&mut self, id: RequestId, now: Instant) {
        let others = self.others.get_or_insert_default();
        if others.began.len() <= id.slot() {
            others.began.resize(id.slot() + 1, None);
        }
        if let Some(place) = others.place(id)
            && place.is_none_or(|(known, _)| known != id)
        {
            *place = Some((id, now));
        }
    }

    pub(super) fn ended(&mut self, id: RequestId, now: Instant) {
        if let Some(others) = &mut self.others
            && let Some(place) = others.place(id)
            && let Some((_, began)) = place.take_if(|(known, _)| *known == id)
        {
            others.ended.push(began);
            return;
        }
        self.at_once += 1;
        self.turn = now;
    }

    #[inline]
    pub(super) fn any_ended(&self) -> bool {
        let ended = |others: &Others| !others.ended.is_empty();
        self.at_once > 0 || self.others.as_deref().is_some_and(ended)
    }

    /// Tells of those that have ended in the turn that ends now.
    pub(super) fn tell(&self, histogram: &Histogram, now: Instant) {
        let took = |began| now.saturating_duration_since(began).as_secs_f64();
        if self.at_once > 0 {
            histogram.record_many(took(self.turn), self.at_once);
        }
        let others = self.others.iter();
        for &began in others.flat_map(|others| &others.ended) {
            histogram.record(took(began));
        }
    }

    /// A turn begins.
    pub(super) fn forget_ended(&mut self) {
        self.at_once = 0;
        if let Some(others) = &mut self.others {
            others.ended.clear();
        }
    }

    /// Gives up what only requests under way need.
    pub(super) fn rest(&mut self) {
        self.others = None;
    }
}
