//! Answers: what of them may go, and whose turn it is.

use alloc::collections::VecDeque;

use super::{Command, Commands, Stage};
use crate::{
    ids::RequestId,
    protocol::{AnswerOrder, Outcome},
};

/// Frames for which the queue of an answer keeps room, for the next command in its place.
const MOST_KEPT: usize = 64;

impl<F> Commands<F> {
    /// Whether the command's answer may go now, as far as order is concerned.
    fn in_turn(&self, index: u32) -> bool {
        match self.order {
            AnswerOrder::InOrder => self.live.head() == Some(index),
            AnswerOrder::Correlated => true,
        }
    }

    /// Whether the command has a frame that may be encoded now.
    pub(crate) fn sendable(&self, index: u32) -> bool {
        self.in_turn(index)
            && self.at(index).is_some_and(|command| {
                command.under_way
                    || !command.answer.is_empty()
                        && (!self.waits_for_body(command)
                            || command.body.as_ref().is_some_and(|b| b.sendable > 0))
            })
    }

    /// Frames of answers that wait, counted command by command.
    #[cfg(test)]
    pub(crate) fn count_answers(&self) -> usize {
        self.places.iter().map(|c| c.answer.len()).sum()
    }

    /// Whether the rest of the answer waits until the body has been discarded.
    fn waits_for_body(&self, command: &Command<F>) -> bool {
        self.order == AnswerOrder::InOrder
            && command
                .body
                .as_ref()
                .is_some_and(|body| body.discarding && !body.complete)
    }

    /// Whether the command has nothing left to do.
    #[inline]
    pub(crate) fn is_complete(&self, index: u32) -> Option<Outcome> {
        let command = self.at(index)?;
        match command.stage {
            Stage::Finished(outcome)
                if command.answer.is_empty()
                    && !command.under_way
                    && self.in_turn(index)
                    && !self.waits_for_body(command) =>
            {
                Some(outcome)
            }
            _ => None,
        }
    }

    /// Whose frame goes next, if any may.
    #[inline]
    pub(crate) fn next_answer(&self) -> Option<u32> {
        self.first_aside().or_else(|| self.next_in_turn())
    }

    /// Whose turn it is.
    #[inline]
    pub(crate) fn next_in_turn(&self) -> Option<u32> {
        match self.order {
            AnswerOrder::InOrder => self.live.head().filter(|&index| self.sendable(index)),
            AnswerOrder::Correlated => self.ring.front().copied(),
        }
    }

    /// Whose frame has stood aside for longest.
    #[inline]
    pub(crate) fn first_aside(&self) -> Option<u32> {
        self.aside.front().copied()
    }

    /// What the answer has next whose turn it is may not go: it stands aside, so that the
    /// others have their turns. Answers that go in order wait for it.
    pub(crate) fn set_aside(&mut self) {
        if let Some(index) = self.ring.pop_front() {
            self.aside.push_back(index);
        }
    }

    /// Appends a frame to a command's answer.
    pub(crate) fn queue_answer(&mut self, index: u32, frame: F) {
        let order = self.order;
        let Some(command) = self.at_mut(index) else {
            return;
        };
        command.answer.push_back(frame);
        if order == AnswerOrder::Correlated && !command.in_ring {
            command.in_ring = true;
            self.ring.push_back(index);
        }
    }

    /// Takes the next frame of a command's answer, and ends its turn.
    pub(crate) fn take_answer(&mut self, index: u32) -> Option<F> {
        let command = self.places.get_mut(index as usize)?;
        let frame = command.answer.pop_front();
        if command.answer.is_empty() && command.answer.capacity() > MOST_KEPT {
            command.answer = VecDeque::new();
        }
        if let Some(body) = &mut command.body {
            body.sendable = body.sendable.saturating_sub(1);
        }
        if !command.in_ring {
            return frame;
        }
        let mut had_turn = self.aside.pop_front_if(&index);
        if !had_turn && self.ring.front() == Some(&index) {
            self.ring.pop_front();
            had_turn = true;
        }
        if had_turn {
            command.in_ring = !command.answer.is_empty();
            if command.in_ring {
                self.ring.push_back(index);
            }
        }
        frame
    }

    /// The next frame of a command's answer.
    pub(crate) fn peek_answer(&self, index: u32) -> Option<&F> {
        self.at(index)?.answer.front()
    }

    /// Whether a message of the command's answer has begun and not ended.
    pub(crate) fn is_under_way(&self, index: u32) -> bool {
        self.at(index).is_some_and(|command| command.under_way)
    }

    /// The first fragment of a message has gone, whose frame was the last to be taken.
    pub(crate) fn begin_message(&mut self, index: u32) {
        let order = self.order;
        let Some(command) = self.at_mut(index) else {
            return;
        };
        command.under_way = true;
        if order == AnswerOrder::Correlated && !command.in_ring {
            command.in_ring = true;
            self.ring.push_back(index);
        }
    }

    /// Another fragment has gone: the command's turn ends, if it was in its turn.
    pub(crate) fn fragment_went(&mut self, index: u32, was_last: bool) {
        let Some(command) = self.places.get_mut(index as usize) else {
            return;
        };
        command.under_way = !was_last;
        if !command.in_ring {
            return;
        }
        command.in_ring = command.under_way || !command.answer.is_empty();
        if self.ring.front() == Some(&index) {
            self.ring.pop_front();
            if command.in_ring {
                self.ring.push_back(index);
            }
        } else if !command.in_ring {
            // It went because what has its turn may not go now; most likely it went last.
            let is_it = |&other: &u32| {
                crate::steps::step();
                other == index
            };
            let place = self.ring.iter().rposition(is_it);
            place.and_then(|place| self.ring.remove(place));
        }
    }

    /// Drops what waits of a command's answer, whose turn has just ended.
    pub(crate) fn discard_answer(&mut self, index: u32) {
        let Some(command) = self.places.get_mut(index as usize) else {
            return;
        };
        command.answer.clear();
        if core::mem::take(&mut command.in_ring) {
            // So it stands last.
            debug_assert_eq!(self.ring.back(), Some(&index));
            self.ring.pop_back();
        }
    }

    /// The connection closes after that command's last frame.
    pub(crate) fn mark_closing(&mut self, index: u32) {
        if let Some(command) = self.at_mut(index) {
            command.closes = true;
        }
    }

    /// That command, or the one whose turn it is, if the connection closes after it.
    pub(crate) fn closing_in_turn(&self, index: u32) -> Option<RequestId> {
        let index = self.oldest_in_order().unwrap_or(index);
        let command = self.at(index).filter(|command| command.closes)?;
        Some(command.info.id)
    }

    /// Where answers go in order, the command whose turn it is.
    pub(crate) fn oldest_in_order(&self) -> Option<u32> {
        match self.order {
            AnswerOrder::InOrder => self.live.head(),
            AnswerOrder::Correlated => None,
        }
    }

    /// Whether the command is the only one whose answer could have something to send.
    pub(crate) fn has_turn_alone(&self, index: u32) -> bool {
        let nothing_queued = self
            .at(index)
            .is_some_and(|c| c.answer.is_empty() && !c.under_way && !self.waits_for_body(c));
        nothing_queued
            && match self.order {
                AnswerOrder::InOrder => self.live.head() == Some(index),
                AnswerOrder::Correlated => self.ring.is_empty() && self.aside.is_empty(),
            }
    }

    /// Takes what waits of a command's answer, out of its turn.
    pub(crate) fn take_answers(&mut self, index: u32) -> VecDeque<F> {
        let answer = self.at_mut(index).map(|c| core::mem::take(&mut c.answer));
        answer.unwrap_or_default()
    }
}
