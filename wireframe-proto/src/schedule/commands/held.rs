//! Commands that wait for others to end, and when they may start.

use alloc::collections::VecDeque;

use super::{Command, Commands, Stage};
use crate::protocol::{AnswerOrder, RequestInfo};

/// The frames of commands that wait for others to end.
#[derive(Debug)]
pub(super) struct HeldBack<F> {
    named: VecDeque<Held<F>>,
    /// Those without a correlation id, where those with one need not wait for them.
    unnamed: VecDeque<Held<F>>,
    bytes: usize,
}

#[derive(Debug)]
struct Held<F> {
    index: u32,
    frame: F,
    len: usize,
}

impl<F> Default for HeldBack<F> {
    fn default() -> Self {
        Self {
            named: VecDeque::new(),
            unnamed: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<F> HeldBack<F> {
    pub(super) fn len(&self) -> usize {
        self.named.len() + self.unnamed.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn queue(&mut self, runs_alone: bool) -> &mut VecDeque<Held<F>> {
        match runs_alone {
            false => &mut self.named,
            true => &mut self.unnamed,
        }
    }

    fn push(&mut self, held: Held<F>, runs_alone: bool) {
        self.bytes += held.len;
        self.queue(runs_alone).push_back(held);
    }

    fn pop(&mut self, runs_alone: bool) -> Option<Held<F>> {
        let held = self.queue(runs_alone).pop_front()?;
        self.bytes -= held.len;
        Some(held)
    }
}

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
        let runs_alone = self.runs_alone(index);
        let held_back = self.held_back.get_or_insert_default();
        held_back.push(Held { index, frame, len }, runs_alone);
    }

    /// Starts the command that has been held the longest of those that may start.
    pub(crate) fn start_held(&mut self, max_in_flight: usize) -> Option<(RequestInfo, F)> {
        let index = self.next_held(max_in_flight)?;
        let runs_alone = self.runs_alone(index);
        let held = self.held_back.as_mut()?.pop(runs_alone)?;
        self.start(index);
        Some((self.at(index)?.info, held.frame))
    }

    /// Whether [`start_held`](Self::start_held) would start one.
    pub(crate) fn can_start_held(&self, max_in_flight: usize) -> bool {
        self.next_held(max_in_flight).is_some()
    }

    #[inline]
    fn next_held(&self, max_in_flight: usize) -> Option<u32> {
        let held_back = self.held_back.as_ref()?;
        let age = |&index: &u32| self.at(index).map(|command| self.age(command));
        [held_back.named.front(), held_back.unnamed.front()]
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
        // All but the first are held.
        let started = self.exclusive().is_some_and(|c| c.stage != Stage::Held);
        self.exclusives.truncate(usize::from(started));
        let Some(held_back) = self.held_back.take() else {
            return 0;
        };
        let dropped = held_back.len();
        let HeldBack { named, unnamed, .. } = *held_back;
        for held in named.into_iter().chain(unnamed) {
            crate::steps::step();
            self.remove(held.index);
        }
        dropped
    }
}
