//! The rest of a command, in frames of its own.

use alloc::boxed::Box;

use super::Connection;
use crate::{
    event::{Body, Discarded, Event},
    ids::{CorrelationId, RequestId},
    protocol::{AnswerOrder, WireframeProtocol},
    schedule::commands::{BodyState, Stage},
    time::Instant,
};

impl<P: WireframeProtocol> Connection<P> {
    /// The next frame of a command's body.
    ///
    /// [`Body::Pending`] starts the body clock
    /// ([`Timeouts::body`](crate::Timeouts::body)), unless it runs already.
    pub fn next_body(&mut self, id: RequestId, now: Instant) -> Body<P::Frame> {
        self.observe(now);
        if self.in_user_code {
            return Body::Gone;
        }
        let max_body_frames = self.config.limits.max_body_frames.get();
        let deadline = self.body_deadline();
        let input_ended = self.input_ended;
        let frame = match self.commands.get_mut(id) {
            Some(command) if command.stage == Stage::Running && !command.body_dropped => {
                self.commands.pop_body(id.index)
            }
            _ => return Body::Gone,
        };
        let Some(command) = self.commands.get_mut(id) else {
            return Body::Gone;
        };
        let body = command.body.get_or_insert_with(Box::default);
        let next = match frame {
            Some(frame) => Body::Frame(frame),
            None if body.complete => Body::End,
            None if core::mem::take(&mut body.timed_out) => Body::TimedOut,
            None if input_ended => Body::UnexpectedEof,
            None => Body::Pending,
        };
        let full = body.len() >= max_body_frames;
        self.commands.note_fullness(id.index, full);
        if matches!(next, Body::Pending) {
            self.commands.await_body(id.index, deadline);
        }
        self.update_clocks();
        next
    }

    /// The handler no longer waits for the body frame that it asked for: stops the body
    /// clock. That none came in time is not told any more.
    pub fn stop_awaiting_body(&mut self, id: RequestId) {
        let Some(command) = self.commands.get_mut(id) else {
            return;
        };
        // The rest of a discarded body must come in time all the same.
        if command.stage != Stage::Running || command.body_dropped {
            return;
        }
        if let Some(body) = &mut command.body {
            body.timed_out = false;
        }
        self.commands.stop_awaiting(id.index);
        self.update_clocks();
    }

    /// The handler will read no more of its command's body: what is left of it is
    /// discarded as it arrives.
    ///
    /// Where answers go in order, what the handler answers from now on waits until the
    /// last frame of a body that has begun was discarded. A body has begun when a frame
    /// of it has arrived or the handler has asked for one.
    pub fn drop_body(&mut self, id: RequestId) {
        if self.is_running(id) {
            self.discard_body(id.index);
            self.update_clocks();
        }
    }

    /// The body will not be read any further.
    #[inline]
    pub(super) fn discard_body(&mut self, index: u32) {
        if let Some(command) = self.commands.at_mut(index)
            && !core::mem::replace(&mut command.body_dropped, true)
            && command.body.is_some()
        {
            self.discard_rest(index);
        }
    }

    fn discard_rest(&mut self, index: u32) {
        self.begin_discarding(index);
        self.commands.stop_awaiting(index);
        self.commands.note_fullness(index, false);
        self.await_rest(index);
    }

    /// Drops what has come of a body, and what will. What has been answered so far does
    /// not wait for that.
    fn begin_discarding(&mut self, index: u32) {
        let Some(command) = self.commands.at_mut(index) else {
            return;
        };
        let body = command.body.get_or_insert_with(Box::default);
        body.discarding = true;
        body.sendable = command.answer.len();
        self.commands.clear_body(index);
    }

    /// Where the answer waits for the rest of a discarded body, that must come in time.
    fn await_rest(&mut self, index: u32) {
        let comes = |body: &BodyState<P::Frame>| !body.complete;
        let body = self.commands.at(index).and_then(|c| c.body.as_deref());
        if P::ANSWERS == AnswerOrder::InOrder && body.is_some_and(comes) {
            self.commands.await_body(index, self.body_deadline());
        }
    }

    /// The rest of a body will not come, or does not matter: nothing waits for it.
    pub(super) fn give_up_body(&mut self, index: u32) {
        self.commands.stop_awaiting(index);
        if let Some(body) = self.commands.at_mut(index).and_then(|c| c.body.as_mut()) {
            body.complete = true;
        }
    }

    fn body_deadline(&self) -> Instant {
        self.reading.at(self.now) + self.config.timeouts.body
    }

    /// A body frame has arrived, with a payload of `len` bytes.
    pub(super) fn take_body(
        &mut self,
        frame: P::Frame,
        len: usize,
        of: Option<CorrelationId>,
        last: bool,
    ) -> Event<P::Frame> {
        let max_body_frames = self.config.limits.max_body_frames.get();
        let index = self.commands.find(of);
        let Some((index, command)) = index.and_then(|i| Some((i, self.commands.at_mut(i)?))) else {
            return self.discard_body_frame();
        };
        let info = command.info;
        let begins_dropped = command.body_dropped && command.body.is_none();
        if begins_dropped {
            self.begin_discarding(index);
        }
        let Some(command) = self.commands.at_mut(index) else {
            return self.discard_body_frame();
        };
        let body = command.body.get_or_insert_with(Box::default);
        if body.complete {
            return self.discard_body_frame();
        }
        body.complete = last;
        body.timed_out = false;
        let discarding = body.discarding;
        let full = !discarding && body.len() + 1 >= max_body_frames && !last;
        if !discarding {
            self.commands.push_body(index, frame, len);
        }
        self.commands.stop_awaiting(index);
        self.commands.note_fullness(index, full);
        if !discarding {
            return Event::Body(info);
        }
        if last {
            self.settle_commands(index);
        } else {
            self.await_rest(index);
        }
        self.discard_body_frame()
    }

    fn discard_body_frame(&mut self) -> Event<P::Frame> {
        self.counters.bodies_discarded += 1;
        self.discard(Discarded::Body)
    }

    /// The peer has ended its output: bodies that are waited for will not come.
    pub(super) fn next_unanswerable_body(&mut self) -> Option<Event<P::Frame>> {
        if !self.input_ended {
            return None;
        }
        while let Some((index, _)) = self.commands.first_awaited() {
            crate::steps::step();
            self.commands.stop_awaiting(index);
            let Some(command) = self.commands.at_mut(index) else {
                continue;
            };
            let discarding = command.body.as_ref().is_some_and(|b| b.discarding);
            if !discarding {
                return Some(Event::Body(command.info));
            }
            self.give_up_body(index);
            self.settle_commands(index);
        }
        None
    }

    /// Tells the handlers whose body time limit is over, at the given time of the
    /// reading clock.
    pub(super) fn expire_bodies(&mut self, at: Instant) {
        while let Some((index, deadline)) = self.commands.first_awaited() {
            crate::steps::step();
            if deadline > at {
                return;
            }
            self.commands.stop_awaiting(index);
            let Some(command) = self.commands.at_mut(index) else {
                continue;
            };
            let info = command.info;
            let Some(body) = &mut command.body else {
                continue;
            };
            if body.discarding {
                self.close_with_goodbye(crate::CloseReason::BodyTimedOut);
                return;
            }
            body.timed_out = true;
            self.events.push_back(Event::Body(info));
        }
    }
}
