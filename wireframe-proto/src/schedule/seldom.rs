//! A queue that most connections never use.

use alloc::{boxed::Box, collections::VecDeque};

/// Indices, first in, first out: a pointer's size as long as none has ever come.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "every connection has room for it, and few use it"
)]
pub(crate) struct Seldom(Option<Box<VecDeque<u32>>>);

impl Seldom {
    #[inline]
    pub(crate) fn front(&self) -> Option<u32> {
        self.0.as_deref()?.front().copied()
    }

    pub(crate) fn back(&self) -> Option<u32> {
        self.0.as_deref()?.back().copied()
    }

    pub(crate) fn push_back(&mut self, index: u32) {
        self.0.get_or_insert_default().push_back(index);
    }

    /// Takes the first out, if it is that one.
    #[inline]
    pub(crate) fn pop_front_if(&mut self, index: u32) -> bool {
        let Some(queue) = self.0.as_deref_mut() else {
            return false;
        };
        let is_first = queue.front() == Some(&index);
        if is_first {
            queue.pop_front();
        }
        is_first
    }

    /// Keeps so many of the first.
    pub(crate) fn truncate(&mut self, len: usize) {
        if let Some(queue) = &mut self.0 {
            queue.truncate(len);
        }
    }
}
