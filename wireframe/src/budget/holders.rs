//! Who holds memory, and who has to give it up.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use wireframe_proto::ConnectionId;

use super::{MemoryBudget, holding::Holder};
use crate::sync::{Arc, Ordering, lock};

/// Most connections among which the largest holder is looked for.
const SAMPLE: usize = 64;

/// The connections that something is, or was, charged to.
#[derive(Default)]
pub(super) struct Holders {
    all: BTreeMap<ConnectionId, Place>,
    /// The last one that was looked at. The next sample begins behind it.
    last: Option<ConnectionId>,
}

struct Place {
    holder: Arc<Holder>,
    /// So much of what it holds counts as condemned.
    condemned: usize,
}

impl Holders {
    /// The largest holder among those whose turn it is to be looked at, but for those that
    /// were told to close already. Of several that hold the same it is the first.
    fn largest(&mut self) -> Option<&mut Place> {
        let after = self.last.map_or(Unbounded, Excluded);
        let behind = self.all.range((after, Unbounded));
        let round = behind.chain(self.all.iter());
        let mut largest: Option<(usize, ConnectionId)> = None;
        // At most once each: the round has all of them, and some of them twice.
        for (&id, place) in round.take(SAMPLE.min(self.all.len())) {
            self.last = Some(id);
            let held = place.holder.held();
            if !place.holder.is_condemned() && held > largest.map_or(0, |(most, _)| most) {
                largest = Some((held, id));
            }
        }
        self.all.get_mut(&largest?.1)
    }
}

impl MemoryBudget {
    pub(super) fn enter(&self, holder: &Arc<Holder>) {
        let place = Place {
            holder: Arc::clone(holder),
            condemned: 0,
        };
        let mut holders = lock(&self.shared.holders);
        holders.all.insert(holder.control.id(), place);
    }

    /// Takes a connection out that has ended, and holds nothing any more.
    pub(super) fn leave(&self, id: ConnectionId) {
        let place = lock(&self.shared.holders).all.remove(&id);
        drop(place);
    }

    /// A connection that was told to close holds something else than it did.
    pub(super) fn update_condemned(&self, holder: &Holder) {
        let mut holders = lock(&self.shared.holders);
        if let Some(place) = holders.all.get_mut(&holder.control.id()) {
            self.condemn(place);
        }
    }

    /// What it holds now is what counts as condemned.
    fn condemn(&self, place: &mut Place) {
        let held = place.holder.held();
        let before = std::mem::replace(&mut place.condemned, held);
        let condemned = &self.shared.condemned;
        condemned.fetch_add(held.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Tells the largest holder to close, if more is used than may be even when all have
    /// closed who were told to. The cost is bounded, however many hold something.
    pub(crate) fn close_largest(&self) {
        let mut holders = lock(&self.shared.holders);
        // Somebody else may have seen to it meanwhile.
        if !self.is_over() {
            return;
        }
        let Some(place) = holders.largest() else {
            return;
        };
        let used = self.used();
        // In this order, see `Holder::held`.
        place.holder.condemn(used);
        self.condemn(place);
        let control = Arc::clone(&place.holder.control);
        drop(holders);
        control.condemn();
    }
}
