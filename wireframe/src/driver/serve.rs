//! Serving what the engine reports, and feeding it what handlers answer.

use std::{collections::VecDeque, task::Context};

use wireframe_proto::{End, Event, Filled, RequestId, RequestInfo};

use super::{
    Driver, EVENTS_PER_TURN,
    conversations::Conversations,
    pool,
    task::{self, Feed, Polled, Task},
};
use crate::{
    app::{Answer, Parts, Started},
    conversation::Offer,
    error::WireframeError,
    frame::Protocol,
    transport::Transport,
};

/// Handlers of pushed frames that may be at work at once on one connection.
const MAX_PUSHES_HANDLED: usize = 64;

/// Pushed frames that may wait for their handlers to start. Events never wait for them:
/// the handlers may be waiting for replies.
const MAX_PUSHES_WAITING: usize = 256;

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
    /// Takes events and serves them, until there are none or enough output waits.
    pub(super) fn take_events(&mut self, cx: &mut Context<'_>) {
        if self.engine.lacks_transmit_buffer()
            && self.engine.wants().event
            && let Some(buffer) = pool::take_write()
        {
            self.engine.give_transmit_buffer(buffer);
        }
        self.start_waiting_pushes(cx);
        for _ in 0..EVENTS_PER_TURN {
            if self.engine.is_at_high_water() && !self.write_blocked {
                return;
            }
            match self.engine.poll_event(self.now) {
                Some(event) => {
                    self.serve_connect(cx);
                    self.serve(event, cx);
                }
                None if self.converse() => {}
                None => return,
            }
        }
    }

    fn serve(&mut self, event: Event<P::Frame>, cx: &mut Context<'_>) {
        match event {
            Event::Request { info, frame } => self.serve_request(info, frame, cx),
            Event::Body(info) => self.serve_conversation(info.id),
            Event::Push(frame) => self.serve_push(frame, cx),
            Event::Reply { call, frame, last } => {
                if let Some(caller) = &mut self.caller
                    && !caller.replied(call, frame, last, &*self.app.encoding)
                {
                    self.engine.hold_input(true, self.now);
                }
            }
            Event::ReplyEnd { call } => {
                if let Some(caller) = &mut self.caller {
                    caller.reply_ended(call);
                }
            }
            Event::Undelivered(undelivered) => self.undelivered(undelivered),
            Event::Closing(reason) => {
                tracing::debug!(connection = %self.control.id(), %reason, "closing");
                self.drop_tasks();
                // First the reason, for calls that wait for room in the mailbox.
                if let Some(caller) = &mut self.caller {
                    caller.fail_all(&reason);
                }
                self.mailbox.close_to_new();
            }
            Event::Closed(reason) => self.ended = Some(reason),
            _ => {}
        }
    }

    pub(super) fn drop_tasks(&mut self) {
        self.runnable.clear();
        self.blocked.clear();
        self.pushes_handled = 0;
        for frame in std::mem::take(&mut self.waiting_pushes) {
            self.drop_push(frame);
        }
        self.tasks.clear(task::discard);
        self.conversations = None;
    }

    /// Starts the handler of a request.
    ///
    /// Most handlers are done at their first poll, which is with the driver's own waker.
    /// One that is not gets a place with a waker of its own, and is polled once more so
    /// that it knows that one.
    fn serve_request(&mut self, info: RequestInfo, frame: P::Frame, cx: &mut Context<'_>) {
        let Some(handler) = self.app.handler(info.route) else {
            // Refused only for a command that has ended, which this has not.
            let _ = self.engine.finish_unrouted(info.id, frame);
            return;
        };
        let exchange = handler.takes_body.then(|| {
            let conversations = self
                .conversations
                .get_or_insert_with(|| Box::new(Conversations::new(&self.control)));
            let slot = self.app.config.limits.response_slot.get();
            conversations.open(info.id, slot)
        });
        let converses = exchange.is_some();
        let parts = Parts {
            surroundings: &self.surroundings,
            info: Some(info),
            frame: Some(frame),
            offer: exchange.map(Offer::new),
        };
        match task::start(handler.service, parts, cx) {
            Started::AtWork(handling) => {
                if !converses {
                    self.engine.drop_body(info.id);
                }
                self.go_on(Task::Handler(info.id, handling));
                if converses {
                    self.serve_conversation(info.id);
                }
            }
            Started::Done(answer) => self.answered(info.id, answer),
        }
    }

    fn serve_push(&mut self, frame: P::Frame, cx: &mut Context<'_>) {
        if let Some(caller) = &mut self.caller
            && self.app.on_push.is_none()
        {
            if let Some(dropped) = caller.pushed(frame) {
                self.drop_push(dropped);
            }
            return;
        }
        if self.app.on_push.is_none() {
            self.drop_push(frame);
        } else if self.pushes_handled < MAX_PUSHES_HANDLED && self.waiting_pushes.is_empty() {
            self.start_push(frame, cx);
        } else if self.waiting_pushes.len() < MAX_PUSHES_WAITING {
            self.waiting_pushes.push_back(frame);
        } else {
            let dropped = self.drop_push(frame);
            if dropped.is_power_of_two() {
                let connection = self.control.id();
                tracing::warn!(%connection, dropped, "too many pushes to handle, one dropped");
            }
        }
    }

    /// Drops a frame that the peer pushed, and says how many that makes.
    fn drop_push(&mut self, frame: P::Frame) -> u64 {
        let dropped = self.control.count_unhandled(1);
        task::discard(frame);
        dropped
    }

    /// Starts handlers of pushed frames that had to wait for others to end.
    fn start_waiting_pushes(&mut self, cx: &mut Context<'_>) {
        if self.waiting_pushes.is_empty() {
            return;
        }
        while self.pushes_handled < MAX_PUSHES_HANDLED
            && self.is_open()
            && let Some(frame) = self.waiting_pushes.pop_front()
        {
            self.start_push(frame, cx);
        }
        if self.waiting_pushes.is_empty() {
            self.waiting_pushes = VecDeque::new();
        }
    }

    fn start_push(&mut self, frame: P::Frame, cx: &mut Context<'_>) {
        let on_push = self.app.on_push.as_ref();
        let Some(handler) = on_push.filter(|_| !self.peer_gone) else {
            self.drop_push(frame);
            return;
        };
        let parts = Parts {
            surroundings: &self.surroundings,
            info: None,
            frame: Some(frame),
            offer: None,
        };
        match task::start(&**handler, parts, cx) {
            Started::AtWork(handling) => {
                self.pushes_handled += 1;
                self.go_on(Task::Pushed(handling));
            }
            Started::Done(answer) => self.handled(answer),
        }
    }

    /// Starts the handler of the connection's beginning, once nothing of the protocol's
    /// goes before it.
    #[inline]
    pub(super) fn serve_connect(&mut self, cx: &mut Context<'_>) {
        if !self.connected && self.is_open() && !self.engine.awaits_preamble() {
            self.connected = true;
            self.register();
            self.start_connect(cx);
        }
    }

    fn start_connect(&mut self, cx: &mut Context<'_>) {
        let Some(handler) = &self.app.on_connect else {
            return;
        };
        let parts = Parts {
            surroundings: &self.surroundings,
            info: None,
            frame: None,
            offer: None,
        };
        match task::start(&**handler, parts, cx) {
            Started::AtWork(handling) => self.go_on(Task::Connected(handling)),
            Started::Done(answer) => self.handled(answer),
        }
    }

    /// Goes on with a handler that was not done at its first poll.
    fn go_on(&mut self, task: Task<P>) {
        let index = self.tasks.insert(task);
        self.poll_task(index);
    }

    /// Polls the tasks that were woken since the last turn.
    pub(super) fn poll_woken(&mut self) {
        let mut woken = self.tasks.take_woken();
        for index in woken.drain(..) {
            self.poll_task(index);
        }
        self.tasks.reuse_list(woken);
    }

    /// Polls one task.
    fn poll_task(&mut self, index: u32) {
        let Self {
            tasks, runnable, ..
        } = self;
        let polled = tasks.poll(index, |task, cx| match task {
            Task::Handler(id, handling) => {
                Some((Some(*id), false, task::poll_handling::<P>(handling, cx)))
            }
            Task::Connected(handling) => {
                Some((None, false, task::poll_handling::<P>(handling, cx)))
            }
            Task::Pushed(handling) => Some((None, true, task::poll_handling::<P>(handling, cx))),
            Task::Feed { listed, .. } => {
                if !std::mem::replace(listed, true) {
                    runnable.push_back(index);
                }
                None
            }
        });
        match polled {
            None | Some(None) => {}
            Some(Some((_, _, Started::AtWork(())))) => {}
            Some(Some((Some(id), _, Started::Done(answer)))) => {
                self.remove(index);
                self.answered(id, answer);
            }
            Some(Some((None, pushed, Started::Done(answer)))) => {
                self.remove(index);
                self.pushes_handled -= usize::from(pushed);
                self.handled(answer);
            }
        }
    }

    fn remove(&mut self, index: u32) {
        task::discard(self.tasks.remove(index));
    }

    /// A handler whose answer is not sent is done, or has panicked.
    fn handled(&mut self, answer: Option<Answer<P>>) {
        match answer {
            None => self.engine.handle_panic(self.now),
            Some(Err(error)) => {
                tracing::warn!(connection = %self.control.id(), %error, "a handler failed");
                task::discard(error);
            }
            Some(answer) => task::discard(answer),
        }
    }

    /// A handler has answered, or has panicked.
    fn answered(&mut self, id: RequestId, answer: Option<Answer<P>>) {
        // What it pushed goes before what it answered after that.
        self.take_pushes();
        let converses = self.send_what_precedes(id);
        let response = match answer {
            None => return self.finish(id, End::Panicked),
            Some(Err(error)) => return self.failed(id, error),
            Some(Ok(response)) => response,
        };
        match Feed::of(response) {
            Err(Some(frame)) if converses => {
                self.engine.drop_body(id);
                // What it sent may have filled its slot. Refused as below.
                let _ = self.engine.accept_response(id, frame);
                self.finish(id, End::Complete);
            }
            Err(Some(frame)) => {
                // Refused only for a command that has ended; its frame has no place.
                let _ = self.engine.answer(id, frame);
            }
            Err(None) => self.finish(id, End::Complete),
            Ok(feed) => {
                if !converses {
                    self.engine.drop_body(id);
                }
                let listed = true;
                let index = self.tasks.insert(Task::Feed { id, feed, listed });
                if converses {
                    self.note_feed(id, index);
                }
                self.runnable.push_back(index);
            }
        }
    }

    fn failed(&mut self, id: RequestId, error: WireframeError<P::Error>) {
        let end = match error.into_answer_error() {
            Ok(error) => End::Failed(error),
            Err(error) => End::Fatal(error.to_string()),
        };
        self.finish(id, end);
    }

    fn finish(&mut self, id: RequestId, end: End<P::Error>) {
        // Refused only for a command that has ended already.
        let _ = self.engine.finish(id, end);
        self.end_conversation(id);
    }

    /// Moves frames from answers to the engine and from its queues to its output, until
    /// nothing more is ready or enough output waits.
    pub(super) fn produce(&mut self) {
        let mut budget = FEEDS_PER_TURN;
        loop {
            let conversed = self.converse();
            let mut moved = conversed;
            budget = budget.saturating_sub(usize::from(conversed));
            while budget > 0
                && let Some(index) = self.runnable.pop_front()
            {
                budget -= 1;
                match self.feed(index) {
                    Fed::Moved => {
                        moved = true;
                        // One frame each, in turn.
                        self.runnable.push_back(index);
                    }
                    Fed::Blocked => self.blocked.push(index),
                    Fed::Pending => {}
                    Fed::Done => self.remove(index),
                }
            }
            self.more_output = self.engine.fill(self.now) == Filled::HighWater;
            if self.more_output {
                return;
            }
            if self.blocked.is_empty() {
                if budget > 0 && (conversed || self.may_converse()) {
                    continue;
                }
                return;
            }
            let had = self.blocked.len();
            self.runnable.extend(self.blocked.drain(..));
            if budget == 0 {
                return;
            }
            let has_room = self.any_has_room() || self.may_converse();
            if !moved && had == self.runnable.len() && !has_room {
                self.blocked.extend(self.runnable.drain(..));
                return;
            }
        }
    }

    /// Whether any answer that is about to be fed could be.
    fn any_has_room(&mut self) -> bool {
        let Self {
            runnable,
            tasks,
            engine,
            ..
        } = self;
        runnable.iter().any(|&index| match tasks.get(index) {
            Some(Task::Feed { id, .. }) => engine.response_capacity(*id) > 0,
            _ => true,
        })
    }

    /// Moves one frame of an answer to the engine, if both sides are ready.
    fn feed(&mut self, index: u32) -> Fed {
        let Self { tasks, engine, .. } = self;
        let fed = tasks.poll(index, |task, cx| {
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
            Some((*id, Ok((polled, feed.is_stream()))))
        });
        let (id, polled, streamed) = match fed.flatten() {
            None => return Fed::Pending,
            Some((id, Err(fed))) => {
                if matches!(fed, Fed::Done) {
                    self.end_conversation(id);
                }
                return fed;
            }
            Some((id, Ok((polled, streamed)))) => (id, polled, streamed),
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
                    // The answer has ended in an error meanwhile.
                    Err(_) => Fed::Done,
                };
            }
            Polled::Ready(Some(Err(error))) => self.failed(id, error),
            Polled::Ready(None) if streamed => self.finish(id, End::StreamComplete),
            Polled::Ready(None) => self.finish(id, End::Complete),
            Polled::Panicked => self.finish(id, End::Panicked),
        }
        Fed::Done
    }
}
