//! Handlers and answers that were not done at once.

use std::collections::VecDeque;

use wireframe_proto::RequestId;

use super::{
    Driver,
    task::{self, Task},
    task_set::TaskSet,
};
use crate::{frame::Protocol, push::Control, sync::Arc, transport::Transport};

/// The handlers and answers that the driver polls. Most connections have none at most times,
/// so this is there only while there are any.
pub(super) struct AtWork<P: Protocol> {
    pub(super) tasks: TaskSet<Task<P>>,
    /// Where among the tasks those of commands are, by the slots of these. Nothing is
    /// taken out: what stands here may have ended.
    by_slot: Vec<u32>,
    /// Answers to be fed in this turn.
    pub(super) runnable: VecDeque<u32>,
    /// Answers that have more than could be taken.
    pub(super) blocked: Vec<u32>,
    /// Handlers of pushed frames among the tasks.
    pub(super) pushes: usize,
}

impl<P: Protocol> AtWork<P> {
    fn new(control: &Arc<Control>) -> Self {
        Self {
            tasks: TaskSet::new(control),
            by_slot: Vec::new(),
            runnable: VecDeque::new(),
            blocked: Vec::new(),
            pushes: 0,
        }
    }

    /// A handler or an answer of several frames is at work for the command, there among
    /// the tasks.
    fn note(&mut self, id: RequestId, index: u32) {
        let slot = id.slot();
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, index);
        }
        if let Some(place) = self.by_slot.get_mut(slot) {
            *place = index;
        }
    }

    /// The task that is at work for a command, and where it is.
    pub(super) fn find(&self, id: RequestId) -> Option<(u32, &Task<P>)> {
        let index = *self.by_slot.get(id.slot())?;
        let task = self.tasks.get(index)?;
        (task.command() == Some(id)).then_some((index, task))
    }
}

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// What is at work, or will be in a moment.
    #[inline]
    pub(super) fn at_work(&mut self) -> &mut AtWork<P> {
        let Self {
            at_work, mailbox, ..
        } = self;
        at_work.get_or_insert_with(|| Box::new(AtWork::new(mailbox.control())))
    }

    /// A handler or an answer of several frames is at work for the command, there among
    /// the tasks.
    pub(super) fn note_at_work(&mut self, id: RequestId, index: u32) {
        self.at_work().note(id, index);
        self.meter.request_goes_on(id, self.now);
    }

    /// Whether anything at work has woken the driver.
    pub(super) fn is_woken(&self) -> bool {
        let at_work = self.at_work.as_ref();
        at_work.is_some_and(|at_work| at_work.tasks.has_woken())
    }

    /// Whether answers are to be fed in this turn.
    pub(super) fn has_runnable(&self) -> bool {
        let at_work = self.at_work.as_ref();
        at_work.is_some_and(|at_work| !at_work.runnable.is_empty())
    }

    /// Whether answers have more than could be taken.
    pub(super) fn has_blocked(&self) -> bool {
        let at_work = self.at_work.as_ref();
        at_work.is_some_and(|at_work| !at_work.blocked.is_empty())
    }

    /// How many handlers of pushed frames are at work.
    pub(super) fn pushes_at_work(&self) -> usize {
        self.at_work.as_ref().map_or(0, |at_work| at_work.pushes)
    }

    /// Drops all that is at work.
    pub(super) fn drop_at_work(&mut self) {
        if let Some(at_work) = self.at_work.take() {
            at_work.tasks.end(task::discard);
        }
    }

    /// No command is in flight: what is left may be at work for none.
    pub(super) fn rest_from_work(&mut self) {
        match &mut self.at_work {
            Some(at_work) if at_work.tasks.is_empty() => self.at_work = None,
            Some(at_work) => at_work.by_slot = Vec::new(),
            None => {}
        }
    }
}
