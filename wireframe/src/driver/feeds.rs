//! Answers whose frames come one by one: from where they come to the engine, and on to its output.

use wireframe_proto::{End, Filled};

use super::{
    Driver,
    at_work::AtWork,
    task::{self, Polled, Task},
};
use crate::{frame::Protocol, transport::Transport};

/// Polls of answers in one turn. Usually the high-water mark is nearer, but frames may be
/// of no bytes at all.
const FEEDS_PER_TURN: usize = 16 * 1024;

/// What came of trying to move one frame of an answer.
enum Fed {
    Moved,
    /// The feed will wake us.
    Pending,
    /// The engine takes no more for now.
    Blocked,
    Done,
}

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Moves frames from answers to the engine and from its queues to its output, until
    /// nothing more is ready or enough output waits.
    pub(super) fn produce(&mut self) {
        let mut budget = FEEDS_PER_TURN;
        loop {
            let conversed = self.converse();
            let mut moved = conversed;
            budget = budget.saturating_sub(usize::from(conversed));
            while budget > 0
                && let Some(index) = self.next_runnable()
            {
                budget -= 1;
                match self.feed(index) {
                    Fed::Moved => {
                        moved = true;
                        // One frame each, in turn.
                        self.at_work().runnable.push_back(index);
                    }
                    Fed::Blocked => self.at_work().blocked.push(index),
                    Fed::Pending => {}
                    Fed::Done => self.remove(index),
                }
            }
            self.more_output = self.engine.fill(self.now) == Filled::HighWater;
            if self.more_output {
                return;
            }
            if !self.has_blocked() {
                if budget > 0 && (conversed || self.may_converse()) {
                    continue;
                }
                return;
            }
            let AtWork {
                runnable, blocked, ..
            } = self.at_work();
            let had = blocked.len();
            runnable.extend(blocked.drain(..));
            let all_were_blocked = had == runnable.len();
            if budget == 0 {
                return;
            }
            let has_room = self.any_has_room() || self.may_converse();
            if !moved && all_were_blocked && !has_room {
                let AtWork {
                    runnable, blocked, ..
                } = self.at_work();
                blocked.extend(runnable.drain(..));
                return;
            }
        }
    }

    /// The answer whose turn it is to be fed.
    #[inline]
    fn next_runnable(&mut self) -> Option<u32> {
        self.at_work.as_mut()?.runnable.pop_front()
    }

    /// Whether any answer that is about to be fed could be.
    fn any_has_room(&self) -> bool {
        let has_room = |at_work: &AtWork<P>| {
            let mut runnable = at_work.runnable.iter();
            runnable.any(|&index| match at_work.tasks.get(index) {
                Some(Task::Feed { id, .. }) => self.engine.response_capacity(*id) > 0,
                _ => true,
            })
        };
        self.at_work.as_deref().is_some_and(has_room)
    }

    /// Moves one frame of an answer to the engine, if both sides are ready.
    fn feed(&mut self, index: u32) -> Fed {
        let Self {
            at_work, engine, ..
        } = self;
        let Some(at_work) = at_work else {
            return Fed::Pending;
        };
        let fed = at_work.tasks.poll(index, |task, cx| {
            let Task::Feed { id, feed, listed } = task else {
                return None;
            };
            if engine.response_capacity(*id) == 0 {
                let stays = engine.is_running(*id);
                let fed = if stays { Fed::Blocked } else { Fed::Done };
                return Some((*id, Err(fed)));
            }
            let polled = feed.poll_next(cx);
            *listed = !matches!(polled, Polled::Pending);
            Some((*id, Ok(polled)))
        });
        let (id, polled) = match fed.flatten() {
            None => return Fed::Pending,
            Some((_, Err(fed))) => return fed,
            Some((id, Ok(polled))) => (id, polled),
        };
        // As in `answered`.
        self.take_pushes();
        if !matches!(polled, Polled::Pending) {
            self.send_what_precedes(id);
        }
        match polled {
            Polled::Pending => return Fed::Pending,
            Polled::Ready(Some(Ok(frame))) => {
                // There was room for it before it was made.
                return match self.engine.accept_response(id, frame) {
                    Ok(()) => Fed::Moved,
                    Err(refused) => {
                        // What was sent before it has failed the command meanwhile.
                        task::discard(refused);
                        Fed::Done
                    }
                };
            }
            Polled::Ready(Some(Err(error))) => self.failed(id, error),
            Polled::Ready(None) => self.finish(id, End::StreamComplete),
            Polled::Panicked => self.finish(id, End::Panicked),
        }
        Fed::Done
    }
}
