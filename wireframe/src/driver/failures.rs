//! Commands that fail while somebody is at work for them.

use wireframe_proto::RequestId;

use super::{
    Driver,
    task::{Serves, Task},
};
use crate::{frame::Protocol, transport::Transport};

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// A handler or an answer of several frames is at work for the command, there among
    /// the tasks.
    pub(super) fn note_at_work(&mut self, id: RequestId, index: u32) {
        let slot = id.slot();
        if self.at_work.len() <= slot {
            self.at_work.resize(slot + 1, index);
        }
        if let Some(place) = self.at_work.get_mut(slot) {
            *place = index;
        }
        self.meter.request_goes_on(id, self.now);
    }

    /// The task that is at work for a command.
    fn at_work(&self, id: RequestId) -> Option<u32> {
        let index = *self.at_work.get(id.slot())?;
        (self.tasks.get(index)?.command() == Some(id)).then_some(index)
    }

    /// A frame of the command could not be encoded. Whoever is at work for it ends here:
    /// the command's place in flight is another's from now on, and so must theirs be.
    pub(super) fn command_failed(&mut self, id: RequestId) {
        self.end_conversation(id);
        self.meter.request_ended(id, self.now);
        if let Some(index) = self.at_work(id)
            && let Some(Task::Handler(Serves::Request(_), _)) = self.tasks.get(index)
        {
            // It may learn of it, and say so to others. What it answers is refused.
            self.poll_task(index);
        }
        let Some(index) = self.at_work(id) else {
            return;
        };
        if let Some(Task::Feed { listed: true, .. }) = self.tasks.get(index) {
            // The next task of that place must not find itself there.
            self.runnable.retain(|&listed| listed != index);
            self.blocked.retain(|&listed| listed != index);
        }
        self.remove(index);
    }
}
