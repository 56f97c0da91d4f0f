//! Answers: what the application says to a command, and how the command ends.

use super::{Connection, Respond};
use crate::{
    error::{AnswerError, CloseReason, Refusal, Rejected},
    event::End,
    ids::RequestId,
    protocol::{AnswerOrder, Outcome, Reaction, RequestInfo, WireframeProtocol},
    schedule::{begun::Origin, commands::Stage},
};

impl<P: WireframeProtocol> Connection<P> {
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
        self.correlate_answer(info, &mut frame);
        match self.encode(&mut frame, info) {
            Ok(None) => {}
            Ok(Some(rest)) => {
                self.begin_message(frame, Origin::Answer(index), rest);
                self.discard_body(index);
                return self.conclude(index, Outcome::Done);
            }
            Err(error) => {
                return self.fail_answer(index, AnswerError::Unencodable(error));
            }
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
    fn respond_in_turn(&mut self, id: RequestId, mut frame: P::Frame, at_once: bool) {
        self.correlate_answer(self.info(id.index), &mut frame);
        if at_once && self.would_be_picked(id) {
            // Spares the detour through the slot where it changes nothing.
            self.scheduler.response_went();
            self.send_answer(id.index, frame);
        } else {
            self.commands.queue_answer(id.index, frame);
        }
    }

    /// Marks a frame of the answer to that request: as it is given, because its length is
    /// asked for before its turn.
    #[inline]
    fn correlate_answer(&mut self, request: Option<RequestInfo>, frame: &mut P::Frame) {
        if let Some(id) = request.and_then(|info| info.correlation) {
            self.correlate(frame, id);
        }
    }

    /// Whether a frame for that command would be picked next, were it queued.
    fn would_be_picked(&self, id: RequestId) -> bool {
        self.transmit.len() < self.config.limits.high_water.get()
            && self.control.is_empty()
            && !self.ping_may_go()
            && !self.pushes_may_go()
            && self.last_command.is_none()
            && !self.is_between_fragments()
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
                if let Some(mut frame) = end {
                    self.correlate_answer(info, &mut frame);
                    self.commands.queue_answer(id.index, frame);
                }
                self.conclude(id.index, Outcome::Done);
            }
            End::Failed(error) => self.fail_answer(id.index, error),
            End::Cancelled => self.conclude(id.index, Outcome::Cancelled),
            End::Fatal(what) => {
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
        if let Some(mut frame) = frame {
            self.correlate_answer(self.info(index), &mut frame);
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
