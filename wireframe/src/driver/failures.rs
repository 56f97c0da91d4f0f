//! Commands that fail while somebody is at work for them.

use wireframe_proto::RequestId;

use super::{
    Driver,
    task::{Serves, Task},
};
use crate::{frame::Protocol, transport::Transport};

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// A frame of the command could not be encoded. Whoever is at work for it ends here:
    /// the command's place in flight is another's from now on, and so must theirs be.
    pub(super) fn command_failed(&mut self, id: RequestId) {
        self.end_conversation(id);
        self.meter.request_ended(id, self.now);
        let task = self.at_work.as_ref().and_then(|at_work| at_work.find(id));
        if let Some((index, Task::Handler(Serves::Request(_), _))) = task {
            // It may learn of it, and say so to others. What it answers is refused.
            self.poll_task(index);
        }
        let Some(at_work) = &mut self.at_work else {
            return;
        };
        let Some((index, task)) = at_work.find(id) else {
            return;
        };
        if let Task::Feed { listed: true, .. } = task {
            // The next task of that place must not find itself there.
            at_work.runnable.retain(|&listed| listed != index);
            at_work.blocked.retain(|&listed| listed != index);
        }
        self.remove(index);
    }
}
