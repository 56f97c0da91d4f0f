//! Frames of the peer's own accord that wait for this end's application.

use std::collections::VecDeque;

/// Most frames that wait.
const MAX_FRAMES: usize = 256;

/// Frames that wait, oldest first, each with its length. Bounded in number and in bytes; the
/// frame that crosses the bound in bytes is kept.
pub(crate) struct Backlog<F> {
    frames: VecDeque<(F, usize)>,
    bytes: usize,
    max_bytes: usize,
}

impl<F> Backlog<F> {
    pub(crate) const fn new(max_bytes: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Whether no more may be added before one is taken out.
    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() >= MAX_FRAMES || self.bytes >= self.max_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes of those that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, frame: F, len: usize) {
        self.frames.push_back((frame, len));
        self.bytes = self.bytes.saturating_add(len);
    }

    /// Takes the oldest out.
    pub(crate) fn pop(&mut self) -> Option<F> {
        let (frame, len) = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(len);
        Some(frame)
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.max_bytes))
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
}
