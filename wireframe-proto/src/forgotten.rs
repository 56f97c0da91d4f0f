//! Ids of what is done with, in case something more comes for them: of calls, and of messages.

use alloc::vec::Vec;

use crate::schedule::list::{Linked, Links, List};

/// Ids that are remembered, oldest first, each at a place by which it is found again. Every
/// operation takes constant time.
#[derive(Debug)]
pub(crate) struct Forgotten<Id> {
    places: Vec<Place<Id>>,
    ids: List,
    /// Places without an id.
    free: List,
}

#[derive(Debug)]
struct Place<Id> {
    id: Id,
    links: Links,
}

// By hand, because a derived one would demand `Id: Default`.
impl<Id> Default for Forgotten<Id> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            ids: List::default(),
            free: List::default(),
        }
    }
}

impl<Id> Linked for Vec<Place<Id>> {
    fn links(&mut self, index: u32) -> Option<&mut Links> {
        self.get_mut(index as usize).map(|place| &mut place.links)
    }
}

impl<Id: Copy> Forgotten<Id> {
    /// Ids that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Remembers an id, and says at which place.
    pub(crate) fn remember(&mut self, id: Id) -> u32 {
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

    /// Bytes allocated.
    pub(crate) fn allocated(&self) -> usize {
        self.places.capacity() * size_of::<Place<Id>>()
    }

    /// Frees what is allocated and holds nothing.
    pub(crate) fn shrink(&mut self) {
        self.places.shrink_to_fit();
    }

    /// Takes out the oldest id: that for which nothing has come for longest.
    pub(crate) fn release_oldest(&mut self) -> Option<Id> {
        let oldest = self.ids.head()?;
        self.release(oldest);
        self.places.get(oldest as usize).map(|place| place.id)
    }
}
