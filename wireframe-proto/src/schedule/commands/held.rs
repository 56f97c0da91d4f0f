//! Commands that wait for others to end, and when they may start.

use super::{Command, Commands, Held, Stage};
use crate::protocol::{AnswerOrder, RequestInfo};

impl<F> Commands<F> {
    /// Whether a command that came last and whose frame is not in the queue may start.
    pub(crate) fn may_start(&self, index: u32, max_in_flight: usize) -> bool {
        let Some(command) = self.at(index) else {
            return false;
        };
        self.running < max_in_flight
            && !self.is_behind_exclusive(command)
            && (!self.runs_alone(index) || self.unnamed_running == 0)
            && (!command.exclusive || self.live.head() == Some(index))
    }

    /// Whether an older command that is exclusive has not ended.
    #[inline]
    fn is_behind_exclusive(&self, command: &Command<F>) -> bool {
        self.exclusive()
            .is_some_and(|exclusive| self.age(exclusive) > self.age(command))
    }

    /// How many commands have been entered since that one.
    fn age(&self, command: &Command<F>) -> u32 {
        self.entered.wrapping_sub(command.info.id.generation)
    }

    /// Marks a command as running.
    pub(crate) fn start(&mut self, index: u32) {
        let Some(command) = self.at_mut(index) else {
            return;
        };
        command.stage = Stage::Running;
        let unnamed = command.info.correlation.is_none();
        self.running += 1;
        self.unnamed_running += u32::from(unnamed);
    }

    /// Keeps the frame of a held command; `len` is the length of its payload.
    pub(crate) fn hold(&mut self, index: u32, frame: F, len: usize) {
        self.held_bytes += len;
        let held = Held { index, frame, len };
        if self.runs_alone(index) {
            self.held_unnamed.push_back(held);
        } else {
            self.held.push_back(held);
        }
    }

    /// Starts the command that has been held the longest of those that may start.
    pub(crate) fn start_held(&mut self, max_in_flight: usize) -> Option<(RequestInfo, F)> {
        let index = self.next_held(max_in_flight)?;
        let held = if self.runs_alone(index) {
            self.held_unnamed.pop_front()?
        } else {
            self.held.pop_front()?
        };
        self.held_bytes -= held.len;
        self.start(index);
        Some((self.at(index)?.info, held.frame))
    }

    /// Whether [`start_held`](Self::start_held) would start one.
    pub(crate) fn can_start_held(&self, max_in_flight: usize) -> bool {
        self.next_held(max_in_flight).is_some()
    }

    #[inline]
    fn next_held(&self, max_in_flight: usize) -> Option<u32> {
        if self.held() == 0 {
            return None;
        }
        self.oldest_that_may_start(max_in_flight)
    }

    fn oldest_that_may_start(&self, max_in_flight: usize) -> Option<u32> {
        let age = |&index: &u32| self.at(index).map(|command| self.age(command));
        [self.held.front(), self.held_unnamed.front()]
            .into_iter()
            .filter_map(|held| Some(held?.index))
            .filter(|&index| self.may_start(index, max_in_flight))
            .max_by_key(age)
    }

    /// Whether the command takes turns with others like it, and only with them.
    fn runs_alone(&self, index: u32) -> bool {
        self.order == AnswerOrder::Correlated
            && self.at(index).is_some_and(|c| c.info.correlation.is_none())
    }

    /// Drops all commands that are held.
    pub(crate) fn drop_held(&mut self) -> usize {
        let dropped = self.held();
        // All but the first are held.
        let started = self.exclusive().is_some_and(|c| c.stage != Stage::Held);
        self.exclusives.truncate(usize::from(started));
        let mut held = core::mem::take(&mut self.held);
        held.append(&mut self.held_unnamed);
        for held in held {
            crate::steps::step();
            self.remove(held.index);
        }
        self.held_bytes = 0;
        dropped
    }
}
