//! What the application asks of a connection: pushes, calls, answers.

use alloc::collections::VecDeque;

use super::{Connection, Phase, hooks::EngineSink};
use crate::{
    codec::Codec,
    context::PushSink,
    error::{AnswerError, CloseReason, Refusal, Rejected},
    event::End,
    ids::{CallId, CallKind, CorrelationId, Priority, RequestId},
    protocol::{AnswerOrder, Outcome, Reaction, RequestInfo, WireframeProtocol},
    schedule::{
        accepted::{Accepted, Released},
        commands::Stage,
    },
};

type Respond<P> = Result<(), Rejected<<P as WireframeProtocol>::Frame>>;

impl<P: WireframeProtocol> Connection<P> {
    /// Queues a frame of this end's own accord.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] if its queue has no slot for it, [`Refusal::Closed`] if the
    /// connection takes no more pushes.
    pub fn push(&mut self, priority: Priority, frame: P::Frame) -> Respond<P> {
        if self.in_user_code {
            return Err(Rejected::new(frame, Refusal::Closed));
        }
        self.in_user_code = true;
        let pushed = EngineSink::<P> {
            pushes: &mut self.pushes,
            codec: &self.codec,
        }
        .push(priority, frame);
        self.in_user_code = false;
        pushed
    }

    /// Takes pushes that the caller has accepted, and empties `batch`: for
    /// [`PushBound::Caller`](crate::PushBound::Caller). They are taken whatever there is, until
    /// [`end_pushes`](Self::end_pushes) or the end of the connection; after that `batch`
    /// is left as it is.
    pub fn accept_pushes(&mut self, priority: Priority, batch: &mut VecDeque<Accepted<P::Frame>>) {
        if !self.in_user_code && !self.pushes_ended && self.is_open() {
            self.pushes.accept_all(priority, batch);
        }
    }

    /// With [`PushBound::Caller`](crate::PushBound::Caller): every accepted push has been
    /// handed over, and no more will come.
    pub fn end_pushes(&mut self) {
        self.pushes_ended = true;
        self.pushes.open = false;
    }

    /// Slots that pushes of one priority have given back since this was last asked.
    pub fn take_released(&mut self, priority: Priority) -> Released {
        self.pushes.take_released(priority)
    }

    /// Whether a call with that id may be made now.
    pub fn is_call_free(&self, id: CorrelationId) -> bool {
        self.calls.is_free(id)
    }

    /// Sends a frame that the peer will reply to. It goes as a low push; with an id it is
    /// [correlated](WireframeProtocol::correlate) first, without one its reply is the one
    /// that comes in its turn.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push); [`Refusal::InUse`] if a call with that id is pending, or
    /// was forgotten and may still be answered; and [`Refusal::Full`] for a call without
    /// an id while more than 1 024 of those were forgotten and still await their turn.
    pub fn call(
        &mut self,
        frame: P::Frame,
        id: Option<CorrelationId>,
    ) -> Result<CallId, Rejected<P::Frame>> {
        self.call_as(CallKind::Single, frame, id)
    }

    /// The same for a call that is answered with any number of frames:
    /// [`View::is_streaming`](crate::View::is_streaming) tells it from others.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_streaming(
        &mut self,
        frame: P::Frame,
        id: Option<CorrelationId>,
    ) -> Result<CallId, Rejected<P::Frame>> {
        self.call_as(CallKind::Streaming, frame, id)
    }

    fn call_as(
        &mut self,
        kind: CallKind,
        mut frame: P::Frame,
        id: Option<CorrelationId>,
    ) -> Result<CallId, Rejected<P::Frame>> {
        if self.in_user_code || !self.pushes.open {
            return Err(Rejected::new(frame, Refusal::Closed));
        }
        self.in_user_code = true;
        let charge = self.codec.encoded_len(&frame);
        self.in_user_code = false;
        if !self.pushes.has_room(Priority::Low, charge) {
            return Err(Rejected::new(frame, Refusal::Full));
        }
        match self.register_call(&mut frame, id, kind) {
            Ok(call) => {
                let mut accepted = Accepted::new(frame, charge);
                accepted.begin_call(call);
                self.pushes.accept(Priority::Low, accepted);
                Ok(call)
            }
            Err(refusal) => Err(Rejected::new(frame, refusal)),
        }
    }

    /// Enters a call whose frame the caller will hand over itself, with
    /// [`accept_pushes`](Self::accept_pushes), marked with [`Accepted::begin_call`]: for
    /// [`PushBound::Caller`](crate::PushBound::Caller). The frame is correlated here.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closed`] if the connection does not begin calls any more, and
    /// [`Refusal::InUse`] and [`Refusal::Full`] as for [`call`](Self::call).
    pub fn register_call(
        &mut self,
        frame: &mut P::Frame,
        id: Option<CorrelationId>,
        kind: CallKind,
    ) -> Result<CallId, Refusal> {
        if self.in_user_code || !matches!(self.phase, Phase::Active) {
            return Err(Refusal::Closed);
        }
        if let Some(id) = id {
            if !self.calls.is_free(id) {
                return Err(Refusal::InUse);
            }
            self.in_user_code = true;
            self.protocol.correlate(frame, id);
            self.in_user_code = false;
        } else if self.calls.unnamed_are_full() {
            return Err(Refusal::Full);
        }
        Ok(self.calls.insert(id, kind))
    }

    /// Nobody waits for the call's reply any more: should it come, it is discarded, and
    /// no other call can receive it.
    pub fn forget(&mut self, call: CallId) -> bool {
        self.calls.forget(call)
    }

    /// How many more frames [`respond`](Self::respond) would take for that command; 0 if
    /// it is not live or not yet begun, or while the high-water mark is reached.
    pub fn response_capacity(&self, id: RequestId) -> usize {
        if self.in_user_code || self.transmit.len() >= self.config.limits.high_water.get() {
            return 0;
        }
        match self.commands.get(id) {
            Some(command) if command.stage == Stage::Running => {
                let slot = self.config.limits.response_slot.get();
                slot.saturating_sub(command.answer.len())
            }
            _ => 0,
        }
    }

    /// Adds a frame to a command's answer.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] if the answer has as many frames waiting as
    /// [`Limits::response_slot`](crate::Limits::response_slot) allows;
    /// [`Refusal::Unknown`] if the command is not live, or is finished already.
    pub fn respond(&mut self, id: RequestId, frame: P::Frame) -> Respond<P> {
        if let Err(refusal) = self.may_respond(id) {
            return Err(Rejected::new(frame, refusal));
        }
        self.respond_among_others(id, frame);
        Ok(())
    }

    /// Adds a frame to a command's answer, however many wait: for a caller that has
    /// accepted it from the application before, within a bound of its own.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`] if the command is not live, or is finished already.
    pub fn accept_response(&mut self, id: RequestId, frame: P::Frame) -> Respond<P> {
        match self.may_respond(id) {
            Ok(()) | Err(Refusal::Full) => {
                self.respond_among_others(id, frame);
                Ok(())
            }
            Err(refusal) => Err(Rejected::new(frame, refusal)),
        }
    }

    /// Answers a command with one frame, which is all of its answer.
    ///
    /// # Errors
    ///
    /// As [`respond`](Self::respond).
    pub fn answer(&mut self, id: RequestId, frame: P::Frame) -> Respond<P> {
        if let Err(refusal) = self.may_respond(id) {
            return Err(Rejected::new(frame, refusal));
        }
        if self.would_be_picked(id) && self.commands.has_no_body(id.index) {
            self.answer_at_once(id.index, frame);
            return Ok(());
        }
        self.discard_body(id.index);
        self.respond_in_turn(id, frame, true);
        self.conclude(id.index, Outcome::Done);
        Ok(())
    }

    /// The usual case of [`answer`](Self::answer): the frame goes now, and with it all of
    /// the command.
    #[inline]
    fn answer_at_once(&mut self, index: u32, mut frame: P::Frame) {
        self.scheduler.response_went();
        let info = self.info(index);
        if let Err(error) = self.encode(&mut frame, info) {
            return self.fail_answer(index, AnswerError::Unencodable(error));
        }
        self.end_command(index, info, Outcome::Done);
        if let Some(next) = self.commands.oldest_in_order() {
            self.note_last_command(next);
            self.settle_commands(next);
        }
    }

    fn may_respond(&self, id: RequestId) -> Result<(), Refusal> {
        let slot = self.config.limits.response_slot.get();
        match self.commands.get(id) {
            _ if self.in_user_code => Err(Refusal::Closed),
            Some(command) if command.stage == Stage::Running => {
                if command.answer.len() < slot {
                    Ok(())
                } else {
                    Err(Refusal::Full)
                }
            }
            _ => Err(Refusal::Unknown),
        }
    }

    #[inline]
    fn respond_among_others(&mut self, id: RequestId, frame: P::Frame) {
        // With others at work each gets one unit per turn, so it has to queue.
        let at_once = P::ANSWERS == AnswerOrder::InOrder || self.commands.running() == 1;
        self.respond_in_turn(id, frame, at_once);
    }

    #[inline]
    fn respond_in_turn(&mut self, id: RequestId, frame: P::Frame, at_once: bool) {
        if at_once && self.would_be_picked(id) {
            // Spares the detour through the slot where it changes nothing.
            self.scheduler.response_went();
            self.send_answer(id.index, frame);
        } else {
            self.commands.queue_answer(id.index, frame);
        }
    }

    /// Whether a frame for that command would be picked next, were it queued.
    fn would_be_picked(&self, id: RequestId) -> bool {
        self.transmit.len() < self.config.limits.high_water.get()
            && self.control.is_empty()
            && !self.ping_may_go()
            && !self.pushes_may_go()
            && self.last_command.is_none()
            && self.commands.has_turn_alone(id.index)
    }

    /// Ends a command.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`] if it is not live, not yet begun, or finished already.
    pub fn finish(&mut self, id: RequestId, end: End<P::Error>) -> Result<(), Refusal> {
        if self.in_user_code {
            return Err(Refusal::Closed);
        }
        if !self.is_running(id) {
            return Err(Refusal::Unknown);
        }
        self.discard_body(id.index);
        match end {
            End::Complete => self.conclude(id.index, Outcome::Done),
            End::StreamComplete => {
                let info = self.info(id.index);
                let end = self.hook(info, P::stream_end_frame);
                if let Some(frame) = end {
                    self.commands.queue_answer(id.index, frame);
                }
                self.conclude(id.index, Outcome::Done);
            }
            End::Failed(error) => self.fail_answer(id.index, error),
            End::Cancelled => self.conclude(id.index, Outcome::Cancelled),
            End::Fatal(what) => {
                tracing::warn!(connection = %self.peer.id, what, "a handler failed");
                self.mark_finished(id.index, Outcome::Failed);
                self.close_with_goodbye(CloseReason::HandlerFailed(what));
            }
            End::Panicked => {
                self.mark_finished(id.index, Outcome::Panicked);
                self.close_with_goodbye(CloseReason::HandlerPanicked);
            }
        }
        Ok(())
    }

    /// Ends a command that no handler serves, as the protocol's
    /// [`unknown_route`](WireframeProtocol::unknown_route) says.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`] if it is not live or finished already; the frame comes back.
    pub fn finish_unrouted(&mut self, id: RequestId, frame: P::Frame) -> Respond<P> {
        if self.in_user_code {
            return Err(Rejected::new(frame, Refusal::Closed));
        }
        if !self.is_running(id) {
            return Err(Rejected::new(frame, Refusal::Unknown));
        }
        self.discard_body(id.index);
        let info = self.info(id.index);
        let reaction = self.hook(info, |protocol, ctx| protocol.unknown_route(frame, ctx));
        self.end_answer(id.index, reaction);
        Ok(())
    }

    pub(super) fn info(&self, index: u32) -> Option<RequestInfo> {
        self.commands.at(index).map(|command| command.info)
    }

    /// The answer failed, even if the application was done with it: asks the protocol
    /// what to say.
    pub(super) fn fail_answer(&mut self, index: u32, error: AnswerError<P::Error>) {
        let info = self.info(index);
        if let Some(command) = self.commands.at_mut(index) {
            command.stage = Stage::Finished(Outcome::Failed);
        }
        self.discard_body(index);
        let reaction = self.hook(info, |protocol, ctx| protocol.handle_error(error, ctx));
        self.end_answer(index, reaction);
    }

    /// Ends an answer that failed with what the protocol says to it.
    fn end_answer(&mut self, index: u32, reaction: Reaction<P::Frame>) {
        let (frame, closes) = match reaction {
            Reaction::Continue => (None, false),
            Reaction::Send(frame) => (Some(frame), false),
            Reaction::Close(frame) => (frame, true),
        };
        if let Some(frame) = frame {
            self.commands.queue_answer(index, frame);
        }
        if closes {
            self.commands.mark_closing(index);
            self.note_last_command(index);
        }
        self.conclude(index, Outcome::Failed);
    }

    /// Nothing more is picked once the answer has its turn after which the connection
    /// closes.
    pub(super) fn note_last_command(&mut self, index: u32) {
        if self.last_command.is_some() {
            return;
        }
        let Some(id) = self.commands.closing_in_turn(index) else {
            return;
        };
        self.last_command = Some(id);
        self.ignore_input();
        self.give_up_body(id.index);
        self.set_close_deadline(self.config.timeouts.close);
    }

    /// The application is done with a command.
    fn conclude(&mut self, index: u32, outcome: Outcome) {
        self.mark_finished(index, outcome);
        self.settle_commands(index);
    }

    fn mark_finished(&mut self, index: u32, outcome: Outcome) {
        if let Some(command) = self.commands.at_mut(index)
            && matches!(command.stage, Stage::Running)
        {
            command.stage = Stage::Finished(outcome);
        }
    }

    #[inline]
    fn end_command(&mut self, index: u32, info: Option<RequestInfo>, outcome: Outcome) {
        self.hook(info, |protocol, ctx| protocol.on_command_end(outcome, ctx));
        self.commands.remove(index);
        self.last_activity = self.reading.at(self.now);
    }

    /// Ends the command if nothing of it is left, and those whose turn comes by that.
    pub(super) fn settle_commands(&mut self, index: u32) {
        let mut next = Some(index);
        while let Some(index) = next {
            let Some(outcome) = self.commands.is_complete(index) else {
                break;
            };
            crate::steps::step();
            let info = self.info(index);
            let closes = self.last_command.is_some_and(|last| last.index == index);
            self.end_command(index, info, outcome);
            if closes {
                self.close_with(CloseReason::Protocol, None);
                return;
            }
            // Where answers go in order, the next may have waited for this one.
            next = self.commands.oldest_in_order();
            if let Some(oldest) = next {
                self.note_last_command(oldest);
            }
        }
    }
}
