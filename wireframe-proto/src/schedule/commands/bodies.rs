//! Bodies: who waits for one, for how long, and which are full.

use super::{Awaited, Commands};
use crate::{protocol::AnswerOrder, time::Instant};

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

    /// Keeps the count of full bodies after a body's frames went from or to `full`.
    pub(crate) fn note_fullness(&mut self, index: u32, full: bool) {
        let Some(body) = self.at_mut(index).and_then(|c| c.body.as_mut()) else {
            return;
        };
        let was = core::mem::replace(&mut body.full, full);
        self.full_bodies = self.full_bodies + usize::from(full) - usize::from(was);
    }

    /// Whether whoever awaits a body frame waits for the peer, although nothing is decoded:
    /// because no command can end before more of a body has come, or because the peer has
    /// filled another body first. Who is to read that one may be waiting for those.
    pub(crate) fn wait_for_peer(&self) -> bool {
        if self.full_bodies > 0 {
            return true;
        }
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
