//! The line of those who wait for room.

use std::task::Waker;

/// Those who wait for room, first come first served.
///
/// A doubly linked list inside a slab: joining, waking and leaving cost the same however
/// many wait, and memory follows the number that wait at once. A waiter keeps its node
/// from the moment it waits until its future completes or is dropped. While it is asleep
/// the node is linked; once woken it is out of line and holds nothing but its place in
/// the slab.
#[derive(Default)]
pub(super) struct Waiters {
    nodes: Vec<Node>,
    vacant: Option<usize>,
    first: Option<usize>,
    last: Option<usize>,
    occupied: usize,
}

/// A waiter's node; whoever has it gives it back with [`Waiters::leave`].
#[derive(Debug)]
pub(super) struct Key(usize);

enum Node {
    Vacant {
        next: Option<usize>,
    },
    Woken,
    Asleep {
        waker: Waker,
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
            Node::Vacant { .. } | Node::Woken => None,
        }
    }

    /// Joins the end of the line.
    pub(super) fn join(&mut self, charge: usize, waker: Waker) -> Key {
        let asleep = Node::Asleep {
            waker,
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

    /// Puts a woken waiter that found no room back, at the head of the line.
    ///
    /// One that is still asleep keeps its place and gets the new waker; the old one comes
    /// back, to be dropped unlocked.
    #[must_use = "a waker is dropped outside the lock"]
    pub(super) fn rejoin(&mut self, key: &Key, charge: usize, waker: Waker) -> Option<Waker> {
        let next = self.first;
        let node = self.nodes.get_mut(key.0)?;
        if let Node::Asleep { waker: kept, .. } = node {
            return Some(std::mem::replace(kept, waker));
        }
        *node = Node::Asleep {
            waker,
            charge,
            previous: None,
            next,
        };
        match self.first.replace(key.0) {
            Some(after) => self.set_previous(after, Some(key.0)),
            None => self.last = Some(key.0),
        }
        None
    }

    /// Whether it is this waiter's turn to try again.
    pub(super) fn is_woken(&self, key: &Key) -> bool {
        matches!(self.nodes.get(key.0), Some(Node::Woken))
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
        self.unlink(self.first?, Node::Woken)
    }

    /// Ends a wait, whether asleep or woken; a waker is to be dropped unlocked.
    #[must_use = "a waker is dropped outside the lock"]
    pub(super) fn leave(&mut self, key: &Key) -> Option<Waker> {
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
