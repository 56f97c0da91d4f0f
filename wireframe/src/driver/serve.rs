//! Serving what the engine reports, and feeding it what handlers answer.

use std::task::Context;

use wireframe_proto::{End, Escaped, Event, RequestId, RequestInfo};

use super::{
    Driver, EVENTS_PER_TURN,
    at_work::AtWork,
    conversations::Conversations,
    spans,
    task::{self, Feed, Serves, Task},
};
use crate::{
    app::{Answer, Handling, Parts, Started},
    conversation::Offer,
    error::WireframeError,
    frame::Protocol,
    meter::ErrorKind,
    response::Response,
    transport::Transport,
};

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Takes events and serves them, until there are none or enough output waits. Says whether
    /// the engine wants a turn to be done before it goes on.
    pub(super) fn take_events(&mut self, cx: &mut Context<'_>) -> bool {
        if self.engine.wants().event {
            self.lend_write_buffer();
        }
        self.start_waiting_pushes(cx);
        for _ in 0..EVENTS_PER_TURN {
            if self.engine.is_at_high_water() && !self.write_blocked {
                return false;
            }
            match self.engine.poll_event(self.now) {
                Some(event) => {
                    self.serve_connect(cx);
                    self.serve(event, cx);
                }
                // An event that is left is for the next turn.
                None if self.engine.wants().event => return true,
                None if self.conversations.is_some() && self.converse() => {}
                None => return false,
            }
        }
        false
    }

    fn serve(&mut self, event: Event<P::Frame>, cx: &mut Context<'_>) {
        match event {
            Event::Request { info, frame } => self.serve_request(info, frame, cx),
            Event::Body(info) => self.serve_conversation(info.id),
            Event::Failed(info) => self.command_failed(info.id),
            Event::Push(frame) => self.serve_push(frame, cx),
            Event::Reply { call, frame, last } => {
                if let Some(caller) = &mut self.caller
                    && !caller.replied(call, frame, last, &mut self.engine)
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
                let connection = self.mailbox.control().id();
                tracing::debug!(%connection, reason = %Escaped(&reason), "connection closing");
                self.note_closing(&reason);
                self.drop_tasks();
                // First the reason, for calls that wait for room in the mailbox.
                if let Some(caller) = &self.caller {
                    caller.note_end(&reason);
                }
                self.mailbox.close_to_new();
                if let Some(caller) = &mut self.caller {
                    caller.fail_all(&reason);
                }
            }
            // What answers it goes before a reaction to the next one can close the connection,
            // also if both came in one read.
            Event::Preamble | Event::Control | Event::MessageDropped(_) => {
                let _ = self.engine.fill(self.now);
            }
            Event::Closed(reason) => self.ended = Some(Box::new(reason)),
            _ => {}
        }
    }

    pub(super) fn drop_tasks(&mut self) {
        self.drop_waiting_pushes();
        self.drop_at_work();
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
                .get_or_insert_with(|| Box::new(Conversations::new(self.mailbox.control())));
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
        let started = match spans::request(&info) {
            None => task::start(handler.service, parts, cx),
            Some(span) => spans::start(span, handler.service, parts, cx),
        };
        match started {
            Started::AtWork(handling) => {
                if !converses {
                    self.engine.drop_body(info.id);
                }
                self.go_on(Serves::Request(info.id), handling);
                if converses {
                    self.serve_conversation(info.id);
                }
            }
            Started::Done(answer) => self.answered(info.id, answer),
        }
    }

    /// Starts the handler of the connection's beginning, once nothing of the protocol's
    /// goes before it.
    #[inline]
    pub(super) fn serve_connect(&mut self, cx: &mut Context<'_>) {
        if !self.connected {
            self.connect(cx);
        }
    }

    fn connect(&mut self, cx: &mut Context<'_>) {
        if self.is_open() && !self.engine.awaits_preamble() {
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
            Started::AtWork(handling) => self.go_on(Serves::Connect, handling),
            Started::Done(answer) => self.handled(answer),
        }
    }

    /// Goes on with a handler that was not done at its first poll.
    pub(super) fn go_on(&mut self, serves: Serves, handling: Handling<P>) {
        let index = self.at_work().tasks.insert(Task::Handler(serves, handling));
        if let Serves::Request(id) = serves {
            self.note_at_work(id, index);
        }
        self.poll_task(index);
    }

    /// Polls the tasks that were woken since the last turn.
    pub(super) fn poll_woken(&mut self) {
        let Some(at_work) = &mut self.at_work else {
            return;
        };
        let mut woken = at_work.tasks.take_woken();
        for index in woken.drain(..) {
            self.poll_task(index);
        }
        if let Some(at_work) = &self.at_work {
            at_work.tasks.reuse_list(woken);
        }
    }

    /// Polls one task.
    pub(super) fn poll_task(&mut self, index: u32) {
        let Some(at_work) = self.at_work.as_deref_mut() else {
            return;
        };
        let AtWork {
            tasks, runnable, ..
        } = at_work;
        let polled = tasks.poll(index, |task, cx| match task {
            Task::Handler(serves, handling) => {
                Some((*serves, task::poll_handling::<P>(handling, cx)))
            }
            Task::Feed { listed, .. } => {
                if !std::mem::replace(listed, true) {
                    runnable.push_back(index);
                }
                None
            }
        });
        let Some((serves, Started::Done(answer))) = polled.flatten() else {
            return;
        };
        self.remove(index);
        match serves {
            Serves::Request(id) => self.answered(id, answer),
            Serves::Connect => self.handled(answer),
            Serves::Push => {
                if let Some(at_work) = &mut self.at_work {
                    at_work.pushes -= 1;
                }
                self.handled(answer);
            }
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        if let Some(at_work) = &mut self.at_work {
            task::discard(at_work.tasks.remove(index));
        }
    }

    /// A handler whose answer is not sent is done, or has panicked.
    pub(super) fn handled(&mut self, answer: Option<Answer<P>>) {
        match answer {
            None => {
                self.metrics().handler_panicked();
                self.engine.handle_panic(self.now);
            }
            Some(Err(error)) => {
                self.metrics().error(ErrorKind::of_handler(&error));
                if let Some(suppressed) = self.engine.may_warn("handler_failed") {
                    let (connection, error) = (self.mailbox.control().id(), Escaped(&error));
                    tracing::warn!(%connection, %error, suppressed, "a handler failed");
                }
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
        let feed = match response {
            Response::Single(frame) if !converses => {
                // Refused only for a command that has ended; its frame has no place.
                match self.engine.answer(id, frame) {
                    Ok(()) => self.meter.request_ended(id, self.now),
                    Err(refused) => task::discard(refused),
                }
                return;
            }
            Response::Single(frame) => return self.answer_whole(id, [frame]),
            Response::Vec(frames) => return self.answer_whole(id, frames),
            Response::Empty => return self.finish(id, End::Complete),
            Response::Stream(stream) => Feed::Stream(stream),
            Response::Channel(receiver) => Feed::Channel(Box::pin(receiver)),
        };
        if !converses {
            self.engine.drop_body(id);
        }
        let listed = true;
        let index = self.at_work().tasks.insert(Task::Feed { id, feed, listed });
        self.note_at_work(id, index);
        if converses {
            self.note_feed(id, index);
        }
        self.at_work().runnable.push_back(index);
    }

    /// Hands over an answer that is there already, whatever room there is: it takes no less
    /// here, and with the engine it survives what the peer sends next.
    fn answer_whole(&mut self, id: RequestId, frames: impl IntoIterator<Item = P::Frame>) {
        self.engine.drop_body(id);
        for frame in frames {
            // Refused only for a command that has ended, be it because a frame before this
            // one did not encode.
            if let Err(refused) = self.engine.accept_response(id, frame) {
                task::discard(refused);
            }
        }
        self.finish(id, End::Complete);
    }

    pub(super) fn failed(&mut self, id: RequestId, error: WireframeError<P::Error>) {
        let end = match error.into_answer_error() {
            Ok(error) => End::Failed(error),
            Err(error) => End::Fatal(error.to_string()),
        };
        self.finish(id, end);
    }

    pub(super) fn finish(&mut self, id: RequestId, end: End<P::Error>) {
        if matches!(end, End::Panicked) {
            self.metrics().handler_panicked();
        }
        // Refused only for a command that has ended already.
        if self.engine.finish(id, end).is_ok() {
            self.meter.request_ended(id, self.now);
        }
        self.end_conversation(id);
    }
}
