//! The ids of forgotten calls, those first that have been silent for longest.

use alloc::vec::Vec;

use crate::{
    ids::CorrelationId,
    schedule::list::{Linked, Links, List},
};

/// Ids that are remembered, each at a place by which it is found again. Every operation
/// takes constant time.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    places: Vec<Place>,
    ids: List,
    /// Places without an id.
    free: List,
}

#[derive(Debug)]
struct Place {
    id: CorrelationId,
    links: Links,
}

impl Linked for Vec<Place> {
    fn links(&mut self, index: u32) -> Option<&mut Links> {
        self.get_mut(index as usize).map(|place| &mut place.links)
    }
}

impl Forgotten {
    /// Ids that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Remembers an id, and says at which place.
    pub(crate) fn remember(&mut self, id: CorrelationId) -> u32 {
        let free = self.free.head();
        let index = free.unwrap_or(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        if let Some(place) = self.places.get_mut(index as usize) {
            place.id = id;
            self.free.remove(index, &mut self.places);
        } else {
            let links = Links::default();
            self.places.push(Place { id, links });
        }
        self.ids.push_back(index, &mut self.places);
        index
    }

    /// Something came for the id at that place.
    pub(crate) fn renew(&mut self, index: u32) {
        self.ids.remove(index, &mut self.places);
        self.ids.push_back(index, &mut self.places);
    }

    /// Remembers the id at that place no longer.
    pub(crate) fn release(&mut self, index: u32) {
        self.ids.remove(index, &mut self.places);
        self.free.push_back(index, &mut self.places);
    }

    /// Takes out the id for which nothing has come for longest.
    pub(crate) fn release_oldest(&mut self) -> Option<CorrelationId> {
        let oldest = self.ids.head()?;
        self.release(oldest);
        self.places.get(oldest as usize).map(|place| place.id)
    }
}
