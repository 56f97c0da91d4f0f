//! Bodies: who waits for one, for how long, and which are full.

use super::{Awaited, BodyState, Commands};
use crate::{protocol::AnswerOrder, time::Instant};

impl<F> BodyState<F> {
    /// How many frames wait.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
}

impl<F> Commands<F> {
    /// Whether no body of the command has begun.
    #[inline]
    pub(crate) fn has_no_body(&self, index: u32) -> bool {
        self.at(index).is_some_and(|command| command.body.is_none())
    }

    /// Starts the clock of a command's body, unless it runs.
    pub(crate) fn await_body(&mut self, index: u32, deadline: Instant) {
        let Some(body) = self.at_mut(index).and_then(|c| c.body.as_mut()) else {
            return;
        };
        if body.deadline.is_none() {
            body.deadline = Some(deadline);
            self.awaited
                .push_back(index, &mut Awaited(&mut self.places));
        }
    }

    /// Stops the clock of a command's body.
    pub(crate) fn stop_awaiting(&mut self, index: u32) {
        let Some(body) = self.at_mut(index).and_then(|c| c.body.as_mut()) else {
            return;
        };
        if body.deadline.take().is_some() {
            self.awaited.remove(index, &mut Awaited(&mut self.places));
        }
    }

    /// The body whose deadline comes first. All have the same time limit, so that is
    /// the one that has been awaited the longest.
    pub(crate) fn first_awaited(&self) -> Option<(u32, Instant)> {
        let index = self.awaited.head()?;
        Some((index, self.at(index)?.body.as_ref()?.deadline?))
    }

    /// Keeps a frame of a command's body; `len` is the length of its payload.
    pub(crate) fn push_body(&mut self, index: u32, frame: F, len: usize) {
        if let Some(body) = self.at_mut(index).and_then(|c| c.body.as_mut()) {
            body.frames.push_back((frame, len));
            body.bytes += len;
            self.body_bytes += len;
        }
    }

    /// Takes the first frame of a command's body.
    pub(crate) fn pop_body(&mut self, index: u32) -> Option<F> {
        let body = self.at_mut(index)?.body.as_mut()?;
        let (frame, len) = body.frames.pop_front()?;
        body.bytes -= len;
        self.body_bytes -= len;
        Some(frame)
    }

    /// Drops the frames of a command's body.
    pub(crate) fn clear_body(&mut self, index: u32) {
        if let Some(body) = self.at_mut(index).and_then(|c| c.body.as_mut()) {
            body.frames.clear();
            let bytes = core::mem::take(&mut body.bytes);
            self.body_bytes -= bytes;
        }
    }

    /// Keeps the count of full bodies after a body's frames went from or to `full`.
    pub(crate) fn note_fullness(&mut self, index: u32, full: bool) {
        let Some(body) = self.at_mut(index).and_then(|c| c.body.as_mut()) else {
            return;
        };
        let was = core::mem::replace(&mut body.full, full);
        self.full_bodies = self.full_bodies + u32::from(full) - u32::from(was);
    }

    /// Payload bytes of the body frames that wait, counted frame by frame.
    #[cfg(test)]
    pub(crate) fn count_body_bytes(&self) -> usize {
        let bodies = self.places.iter().filter_map(|c| c.body.as_ref());
        bodies.flat_map(|b| &b.frames).map(|(_, len)| len).sum()
    }

    /// Whether no command can end before more of a body has come.
    pub(crate) fn wait_for_peer(&self) -> bool {
        match self.order {
            // The others wait for the oldest.
            AnswerOrder::InOrder => self
                .live
                .head()
                .and_then(|index| self.at(index)?.body.as_ref()?.deadline)
                .is_some(),
            AnswerOrder::Correlated => self.running > 0 && self.awaited.len() == self.running,
        }
    }
}
