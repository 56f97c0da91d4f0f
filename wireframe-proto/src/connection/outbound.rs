//! From commands of the application to bytes for the transport.

use alloc::{collections::VecDeque, vec::Vec};

use super::{Connection, Phase, hooks::EngineSink};
use crate::{
    codec::{Codec, FrameBuf},
    context::PushSink,
    error::{AnswerError, CloseReason, LimitExceeded, Refusal, Rejected, Unencodable},
    event::{End, Event, Undelivered, UndeliveredReason},
    fragment::{FragmentMeta, FragmentStrategy},
    ids::{CallId, CorrelationId, Priority, RequestId},
    protocol::{AnswerOrder, Outcome, PushTiming, Reaction, RequestInfo, WireframeProtocol},
    schedule::{
        commands::Stage,
        pushes::{Accepted, Released},
        scheduler::{Ready, Source},
    },
    time::Instant,
    transmit::{Sent, Transmit},
};

/// Why [`Connection::fill`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Filled {
    /// Nothing more is ready. More comes if the application gives more.
    Ready,
    /// The high-water mark is reached. More goes once some of it has been sent.
    HighWater,
}

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
        match self.register_call(&mut frame, id) {
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
        Ok(self.calls.insert(id))
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
        // With others at work each gets one unit per turn, so it has to queue.
        let at_once = P::ANSWERS == AnswerOrder::InOrder || self.commands.running() == 1;
        self.respond_in_turn(id, frame, at_once);
        Ok(())
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
        self.discard_body(id.index);
        self.respond_in_turn(id, frame, true);
        self.conclude(id.index, Outcome::Done);
        Ok(())
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
            End::Failed(error) => self.fail_answer(id.index, AnswerError::Protocol(error)),
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
    fn fail_answer(&mut self, index: u32, error: AnswerError<P::Error>) {
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
            self.hook(info, |protocol, ctx| protocol.on_command_end(outcome, ctx));
            self.commands.remove(index);
            self.last_activity = self.now;
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

    /// Whether pushes may go as far as commands are concerned.
    fn pushes_may_go(&self) -> bool {
        !self.pushes.is_empty() && self.push_time()
    }

    fn push_time(&self) -> bool {
        match P::PUSHES {
            PushTiming::AnyTime => true,
            PushTiming::BetweenCommands => self.commands.live() == 0,
        }
    }

    /// Picks and encodes frames until nothing more is ready or the high-water mark is
    /// reached.
    pub fn fill(&mut self, now: Instant) -> Filled {
        self.observe(now);
        if self.in_user_code {
            return Filled::Ready;
        }
        self.set_up();
        self.heed_close();
        let filled = self.fill_up();
        self.update_clocks();
        filled
    }

    fn fill_up(&mut self) -> Filled {
        loop {
            if self.transmit.len() >= self.config.limits.high_water.get() {
                return Filled::HighWater;
            }
            if !self.is_open() {
                self.say_last_words();
                return Filled::Ready;
            }
            let ready = self.ready();
            match self.scheduler.pick(ready, self.now) {
                Some(Source::Control) => self.send_control(),
                Some(Source::High) => self.send_push(Priority::High),
                Some(Source::Low) => self.send_push(Priority::Low),
                Some(Source::Response) => self.send_next_answer(),
                None => {
                    self.finish_if_done();
                    if self.is_open() {
                        return Filled::Ready;
                    }
                }
            }
        }
    }

    #[inline]
    fn ready(&self) -> Ready {
        if let Some(last) = self.last_command {
            return Ready {
                response: self.commands.sendable(last.index),
                ..Ready::default()
            };
        }
        let push_time = self.push_time();
        Ready {
            control: !self.control.is_empty(),
            high: push_time && self.pushes.has(Priority::High),
            low: push_time && self.pushes.has(Priority::Low),
            response: self.commands.next_answer().is_some(),
        }
    }

    fn send_control(&mut self) {
        if let Some(mut frame) = self.control.pop_front()
            && let Err(error) = self.encode(&mut frame, None)
        {
            tracing::warn!(connection = %self.peer.id, %error, "a control frame was dropped");
        }
    }

    #[inline]
    fn send_push(&mut self, priority: Priority) {
        let Some(accepted) = self.pushes.pop(priority) else {
            return;
        };
        if priority == Priority::High && !self.pushes.has(Priority::High) {
            self.scheduler.high_ran_dry();
        }
        let Accepted {
            mut frame,
            charge,
            call,
        } = accepted;
        self.pushes.ledger.encoding(priority, charge);
        match self.encode(&mut frame, None) {
            Ok(()) => {
                let end = self.transmit.end();
                self.pushes.ledger.encoded(priority, end);
                if end == self.transmit.sent_total() {
                    self.pushes.ledger.settle(end);
                }
                if let Some(call) = call {
                    self.calls.sent(call);
                }
            }
            Err(error) => {
                self.pushes.ledger.refused(priority);
                if let Some(call) = call {
                    self.calls.cancel(call);
                }
                self.events.push_back(Event::Undelivered(Undelivered {
                    frame,
                    priority,
                    charge,
                    call,
                    why: UndeliveredReason::Unencodable(error),
                }));
            }
        }
    }

    fn send_next_answer(&mut self) {
        let index = match self.last_command {
            Some(last) => Some(last.index),
            None => self.commands.next_answer(),
        };
        if let Some(index) = index
            && let Some(frame) = self.commands.take_answer(index)
        {
            self.send_answer(index, frame);
            self.settle_commands(index);
        }
    }

    /// Encodes a frame of an answer.
    #[inline]
    fn send_answer(&mut self, index: u32, mut frame: P::Frame) {
        let Some(command) = self.commands.at(index) else {
            return;
        };
        let (info, failed) = (
            command.info,
            command.stage == Stage::Finished(Outcome::Failed),
        );
        let Err(error) = self.encode(&mut frame, Some(info)) else {
            return;
        };
        if failed {
            // What the protocol had to say to the failure is itself unencodable.
            tracing::warn!(connection = %self.peer.id, %error, "an error answer was dropped");
        } else {
            self.commands.discard_answer(index);
            self.fail_answer(index, AnswerError::Unencodable(error));
        }
    }

    /// Encodes one frame at the end of the transmit queue, or leaves no trace of it.
    #[inline]
    pub(super) fn encode(
        &mut self,
        frame: &mut P::Frame,
        request: Option<RequestInfo>,
    ) -> Result<(), Unencodable> {
        let correlation = request.and_then(|info| info.correlation);
        self.hook(request, |protocol, ctx| {
            if let Some(id) = correlation {
                protocol.correlate(frame, id);
            }
            protocol.before_send(frame, ctx);
        });
        if self.transmit.is_empty() {
            self.last_progress = self.now;
        }
        let mark = self.transmit.mark();
        self.in_user_code = true;
        let encoded = self.encode_unit(frame);
        self.in_user_code = false;
        match encoded {
            Ok(()) => self.counters.frames_sent += 1,
            Err(_) => self.transmit.rewind(mark),
        }
        encoded
    }

    #[inline]
    fn encode_unit(&mut self, frame: &P::Frame) -> Result<(), Unencodable> {
        let (mark, gap) = (self.transmit.mark(), self.header_len);
        self.transmit.open_gap(gap);
        self.codec
            .encode(frame, &mut FrameBuf::new(&mut self.transmit))?;
        let len = self.transmit.since(mark) - gap;
        at_most("max_frame_len", self.config.limits.max_frame_len.get(), len)?;
        if let Some(most) = self.framing.max_fragment_payload(frame) {
            at_most("max_fragment_payload", most.get(), len)?;
        }
        let mut meta = FragmentMeta::whole(len as u64);
        meta.unsolicited = self.commands.live() == 0;
        self.header.clear();
        self.framing.encode_header(&mut self.header, frame, &meta)?;
        self.transmit.close_gap(mark, gap, &self.header);
        self.header_len = self.header.len();
        Ok(())
    }

    /// Whether the high-water mark is reached: nothing is encoded until some of the
    /// output has been sent.
    pub fn is_at_high_water(&self) -> bool {
        self.transmit.len() >= self.config.limits.high_water.get()
    }

    /// Lends the bytes to send; `None` if there are none.
    pub fn transmit(&mut self) -> Option<Transmit<'_>> {
        if self.in_user_code || self.transmit.is_empty() {
            return None;
        }
        Some(Transmit {
            queue: &mut self.transmit,
            on_sent: Sent {
                ledger: &mut self.pushes.ledger,
                last_progress: &mut self.last_progress,
                last_activity: &mut self.last_activity,
                now: self.now,
            },
        })
    }

    /// Takes the empty output buffer away, so that an idle connection holds none.
    pub fn take_transmit_buffer(&mut self) -> Option<Vec<u8>> {
        self.transmit.take_buffer()
    }

    /// Whether the connection holds no output buffer.
    pub fn lacks_transmit_buffer(&self) -> bool {
        self.transmit.lacks_buffer()
    }

    /// Gives the connection an output buffer to use, unless it has one.
    pub fn give_transmit_buffer(&mut self, buffer: Vec<u8>) {
        self.transmit.give_buffer(buffer);
    }

    /// Frees what only a busy connection needs: call it when the connection goes idle.
    pub fn shrink(&mut self) {
        self.commands.shrink();
        self.pushes.shrink();
        self.header = Vec::new();
        if self.control.is_empty() {
            self.control = VecDeque::new();
        }
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }
}

/// Refuses a frame that crosses a limit.
fn at_most(limit: &'static str, value: usize, got: usize) -> Result<(), Unencodable> {
    if got <= value {
        return Ok(());
    }
    Err(Unencodable::from(LimitExceeded {
        limit,
        value: value as u64,
        got: got as u64,
    }))
}
