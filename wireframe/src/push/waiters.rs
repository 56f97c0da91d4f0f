//! The line of those who wait for room.

use std::task::Waker;

use super::lane::Slots;

/// Those who wait for room, first come first served.
///
/// A doubly linked list inside a slab, in the order of arrival: joining, waking and
/// leaving cost the same however many wait, and memory follows the number that wait at
/// once. A waiter keeps its node from the moment it waits until its future completes or
/// is dropped. While it is asleep the node is linked; once woken it is out of line and
/// holds nothing but its place in the slab. Going back in line passes those who went back
/// before it, and starts at the last of them.
#[derive(Default)]
pub(super) struct Waiters {
    nodes: Vec<Node>,
    vacant: Option<usize>,
    first: Option<usize>,
    last: Option<usize>,
    occupied: usize,
    arrivals: u64,
    /// The last that went back in line: the next to do so most likely goes behind it.
    rejoined: Option<usize>,
    /// What those who were woken, and have not come, may count on. Others may take it
    /// first, so it is never more than there is room for, nor more than they ask for.
    pub(super) promised: Slots,
}

/// A waiter's node; whoever has it gives it back with [`Waiters::leave`].
#[derive(Debug)]
pub(super) struct Key(usize);

enum Node {
    Vacant {
        next: Option<usize>,
    },
    Woken {
        arrival: u64,
        charge: usize,
    },
    Asleep {
        waker: Waker,
        arrival: u64,
        charge: usize,
        previous: Option<usize>,
        next: Option<usize>,
    },
}

impl Waiters {
    /// What the first in line asks for, in bytes.
    pub(super) fn first_charge(&self) -> Option<usize> {
        match self.nodes.get(self.first?)? {
            Node::Asleep { charge, .. } => Some(*charge),
            Node::Vacant { .. } | Node::Woken { .. } => None,
        }
    }

    /// Joins the end of the line.
    pub(super) fn join(&mut self, charge: usize, waker: Waker) -> Key {
        self.arrivals += 1;
        let asleep = Node::Asleep {
            waker,
            arrival: self.arrivals,
            charge,
            previous: self.last,
            next: None,
        };
        let index = self.insert(asleep);
        match self.last.replace(index) {
            Some(before) => self.set_next(before, Some(index)),
            None => self.first = Some(index),
        }
        Key(index)
    }

    /// Puts a woken waiter that found no room back, before all who came after it.
    ///
    /// One that is still asleep keeps its place and gets the new waker; the old one comes
    /// back, to be dropped unlocked.
    #[must_use = "a waker is dropped outside the lock"]
    pub(super) fn rejoin(&mut self, key: &Key, waker: Waker) -> Option<Waker> {
        let (arrival, charge) = match self.nodes.get_mut(key.0)? {
            Node::Asleep { waker: kept, .. } => return Some(std::mem::replace(kept, waker)),
            Node::Woken { arrival, charge } => (*arrival, *charge),
            Node::Vacant { .. } => return None,
        };
        self.promised.subtract(charge);
        let previous = self.last_before(arrival);
        let next = match previous {
            Some(before) => self.after(before),
            None => self.first,
        };
        if let Some(node) = self.nodes.get_mut(key.0) {
            *node = Node::Asleep {
                waker,
                arrival,
                charge,
                previous,
                next,
            };
        }
        match previous {
            Some(before) => self.set_next(before, Some(key.0)),
            None => self.first = Some(key.0),
        }
        match next {
            Some(after) => self.set_previous(after, Some(key.0)),
            None => self.last = Some(key.0),
        }
        self.rejoined = Some(key.0);
        None
    }

    /// The last in line of those who came earlier. All of them have been woken once, and
    /// have gone back: the others are woken in the order of arrival.
    fn last_before(&self, arrival: u64) -> Option<usize> {
        let is_earlier = |&index: &usize| match self.nodes.get(index) {
            Some(Node::Asleep { arrival: its, .. }) => *its < arrival,
            _ => false,
        };
        // Whoever has the place now: if it is in line, and earlier, it will do.
        let start = self.rejoined.filter(is_earlier).or(self.first);
        let mut last = start.filter(is_earlier)?;
        while let Some(next) = self.after(last).filter(is_earlier) {
            last = next;
        }
        Some(last)
    }

    /// Whether this waiter was woken.
    pub(super) fn is_woken(&self, key: &Key) -> bool {
        matches!(self.nodes.get(key.0), Some(Node::Woken { .. }))
    }

    /// Whether the waiter sleeps with this very waker.
    pub(super) fn sleeps_with(&self, key: &Key, waker: &Waker) -> bool {
        match self.nodes.get(key.0) {
            Some(Node::Asleep { waker: kept, .. }) => kept.will_wake(waker),
            _ => false,
        }
    }

    /// Takes the first out of the line; its waker is to be woken, unlocked.
    pub(super) fn wake_first(&mut self) -> Option<Waker> {
        let index = self.first?;
        let Some(&Node::Asleep {
            arrival, charge, ..
        }) = self.nodes.get(index)
        else {
            return None;
        };
        self.promised.add(charge);
        self.unlink(index, Node::Woken { arrival, charge })
    }

    /// Ends a wait, whether asleep or woken; a waker is to be dropped unlocked.
    #[must_use = "a waker is dropped outside the lock"]
    pub(super) fn leave(&mut self, key: &Key) -> Option<Waker> {
        if let Some(&Node::Woken { charge, .. }) = self.nodes.get(key.0) {
            self.promised.subtract(charge);
        }
        let vacant = Node::Vacant { next: self.vacant };
        let waker = self.unlink(key.0, vacant);
        self.vacant = Some(key.0);
        self.occupied = self.occupied.saturating_sub(1);
        waker
    }

    /// Whether nobody waits, woken or asleep.
    pub(super) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    fn insert(&mut self, node: Node) -> usize {
        self.occupied += 1;
        if let Some(index) = self.vacant
            && let Some(place) = self.nodes.get_mut(index)
            && let Node::Vacant { next } = *place
        {
            self.vacant = next;
            *place = node;
            return index;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Replaces a node; if it was linked its neighbours close the gap.
    fn unlink(&mut self, index: usize, replacement: Node) -> Option<Waker> {
        let node = self.nodes.get_mut(index)?;
        let Node::Asleep {
            waker,
            previous,
            next,
            ..
        } = std::mem::replace(node, replacement)
        else {
            return None;
        };
        match previous {
            Some(before) => self.set_next(before, next),
            None => self.first = next,
        }
        match next {
            Some(after) => self.set_previous(after, previous),
            None => self.last = previous,
        }
        Some(waker)
    }

    fn after(&self, index: usize) -> Option<usize> {
        match self.nodes.get(index)? {
            Node::Asleep { next, .. } => *next,
            Node::Vacant { .. } | Node::Woken { .. } => None,
        }
    }

    fn set_next(&mut self, index: usize, to: Option<usize>) {
        if let Some(Node::Asleep { next, .. }) = self.nodes.get_mut(index) {
            *next = to;
        }
    }

    fn set_previous(&mut self, index: usize, to: Option<usize>) {
        if let Some(Node::Asleep { previous, .. }) = self.nodes.get_mut(index) {
            *previous = to;
        }
    }
}
