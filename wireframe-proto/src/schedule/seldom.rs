//! A queue that most connections never use.

use alloc::{boxed::Box, collections::VecDeque};

/// First in, first out: a pointer's size as long as nothing has ever come.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "every connection has room for it, and few use it"
)]
pub(crate) struct Seldom<T>(Option<Box<VecDeque<T>>>);

// By hand, because a derived one would demand `T: Default`.
impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Seldom<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        self.0.as_ref()?.front()
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.0.as_ref()?.back()
    }

    pub(crate) fn push_back(&mut self, value: T) {
        self.0.get_or_insert_default().push_back(value);
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.0.as_mut()?.pop_front()
    }

    /// Takes the first out, if it is that one.
    #[inline]
    pub(crate) fn pop_front_if(&mut self, value: &T) -> bool
    where
        T: PartialEq,
    {
        let is_first = self.front() == Some(value);
        if is_first {
            self.pop_front();
        }
        is_first
    }

    /// Keeps so many of the first.
    pub(crate) fn truncate(&mut self, len: usize) {
        if let Some(queue) = &mut self.0 {
            queue.truncate(len);
        }
    }

    /// Keeps those that `stays` says.
    pub(crate) fn retain(&mut self, stays: impl FnMut(&T) -> bool) {
        if let Some(queue) = &mut self.0 {
            queue.retain(stays);
        }
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> VecDeque<T> {
        self.0.take().map_or_else(VecDeque::new, |queue| *queue)
    }

    /// Frees the memory, if it is empty.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seldom;

    #[test]
    fn it_takes_a_pointer_until_something_comes_and_when_it_is_freed() {
        // rule: LIM-5
        assert_eq!(size_of::<Seldom<[u64; 9]>>(), size_of::<usize>());
        let mut queue = Seldom::default();
        for value in [1, 2] {
            queue.push_back(value);
        }
        queue.shrink();
        assert_eq!((queue.pop_front(), queue.pop_front()), (Some(1), Some(2)));
        assert!(queue.is_empty() && queue.0.is_some());
        queue.shrink();
        assert!(queue.0.is_none());
    }
}
