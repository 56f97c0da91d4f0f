//! Frames that the peer pushes: a client's, or a handler's.

use std::task::Context;

use super::{
    Driver,
    task::{self, Serves},
};
use crate::{
    app::{Parts, Started},
    backlog::Backlog,
    frame::Protocol,
    transport::Transport,
};

/// Handlers of pushed frames that may be at work at once on one connection.
const MAX_PUSHES_HANDLED: usize = 64;

impl<P: Protocol, T: Transport> Driver<P, T> {
    pub(super) fn serve_push(&mut self, frame: P::Frame, cx: &mut Context<'_>) {
        if self.app.on_push.is_none() {
            self.hand_over(frame);
        } else if self.waiting_pushes.is_none() && self.pushes_at_work() < MAX_PUSHES_HANDLED {
            self.start_push(frame, cx);
        } else if self.waiting_pushes.as_ref().is_none_or(|w| !w.is_full()) {
            let len = self.engine.measure(&frame);
            let most = self.app.config.body_bytes();
            let fresh = || Box::new(Backlog::new(most));
            let waiting = self.waiting_pushes.get_or_insert_with(fresh);
            // Events never wait for them: the handlers may be waiting for replies.
            waiting.push(frame, len);
        } else {
            self.discard_push(frame);
            if let Some(suppressed) = self.engine.may_warn("too_many_pushes") {
                let (connection, kind) = (self.mailbox.control().id(), "too_many_pushes");
                let waiting = self.waiting_pushes.as_ref().map_or(0, |w| w.len());
                tracing::warn!(%connection, kind, waiting, suppressed, "frame dropped");
            }
        }
    }

    /// Hands a frame to those of a client who listen for it.
    fn hand_over(&mut self, frame: P::Frame) {
        let len = self.engine.measure(&frame);
        while let Some(oldest) = self.caller.as_mut().and_then(|caller| caller.make_room()) {
            self.drop_push(oldest);
        }
        let unheard = match &mut self.caller {
            Some(caller) => caller.pushed(frame, len),
            None => Some(frame),
        };
        if let Some(unheard) = unheard {
            self.drop_push(unheard);
        }
    }

    /// Bytes of the frames that wait for their handlers.
    #[inline]
    pub(super) fn waiting_push_bytes(&self) -> usize {
        let waiting = self.waiting_pushes.as_ref();
        waiting.map_or(0, |waiting| waiting.bytes())
    }

    /// Drops the frames that wait for their handlers.
    pub(super) fn drop_waiting_pushes(&mut self) {
        let mut waiting = self.waiting_pushes.take();
        while let Some(frame) = waiting.as_mut().and_then(|waiting| waiting.pop()) {
            self.drop_push(frame);
        }
    }

    /// Drops a frame that the peer pushed and nobody takes.
    fn drop_push(&mut self, frame: P::Frame) {
        let (connection, kind) = (self.mailbox.control().id(), "unhandled_push");
        tracing::debug!(%connection, kind, "frame dropped");
        self.discard_push(frame);
    }

    fn discard_push(&mut self, frame: P::Frame) {
        self.mailbox.control().count_unhandled(1);
        task::discard(frame);
    }

    /// Whether a pushed frame waits although its handler may start.
    pub(super) fn may_start_push(&self) -> bool {
        self.waiting_pushes.is_some()
            && self.pushes_at_work() < MAX_PUSHES_HANDLED
            && self.is_open()
    }

    /// Starts handlers of pushed frames that had to wait for others to end.
    pub(super) fn start_waiting_pushes(&mut self, cx: &mut Context<'_>) {
        while self.may_start_push()
            && let Some(waiting) = &mut self.waiting_pushes
            && let Some(frame) = waiting.pop()
        {
            if waiting.is_empty() {
                self.waiting_pushes = None;
            }
            self.start_push(frame, cx);
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
                self.at_work().pushes += 1;
                self.go_on(Serves::Push, handling);
            }
            Started::Done(answer) => self.handled(answer),
        }
    }
}
