//! A doubly linked list through the entries of a slab.

/// No entry.
const NONE: u32 = u32::MAX;

/// An entry's neighbours in one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            prev: NONE,
            next: NONE,
        }
    }
}

impl Links {
    /// The entry after this one.
    pub(crate) fn next(self) -> Option<u32> {
        (self.next != NONE).then_some(self.next)
    }
}

/// The ends of a list. Its entries stand in a slab, which finds the links of an entry.
///
/// Every operation takes constant time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            len: 0,
        }
    }
}

/// Finds the links of an entry; entries that are not there have none.
pub(crate) trait Linked {
    fn links(&mut self, index: u32) -> Option<&mut Links>;
}

impl List {
    pub(crate) fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push_back(&mut self, index: u32, slab: &mut impl Linked) {
        let prev = self.tail;
        if let Some(links) = slab.links(index) {
            *links = Links { prev, next: NONE };
        }
        match slab.links(prev) {
            Some(last) => last.next = index,
            None => self.head = index,
        }
        self.tail = index;
        self.len += 1;
    }

    /// Takes out an entry that is in this list.
    pub(crate) fn remove(&mut self, index: u32, slab: &mut impl Linked) {
        let Some(links) = slab.links(index) else {
            return;
        };
        let Links { prev, next } = core::mem::take(links);
        match slab.links(prev) {
            Some(before) => before.next = next,
            None => self.head = next,
        }
        match slab.links(next) {
            Some(after) => after.prev = prev,
            None => self.tail = prev,
        }
        self.len -= 1;
    }
}
