//! From what waits to bytes for the transport.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use super::{Connection, Phase};
use crate::{
    codec::{Codec, FrameBuf},
    error::{AnswerError, LimitExceeded, Unencodable},
    escape::Escaped,
    event::{Event, Undelivered, UndeliveredReason},
    fragment::{FragmentMeta, FragmentStrategy, splitter::Splitter},
    ids::{CallId, Priority},
    protocol::{Outcome, PushTiming, RequestInfo, WireframeProtocol},
    schedule::{
        accepted::{Accepted, Special},
        begun::Origin,
        commands::Stage,
        scheduler::{Ready, Source},
    },
    time::Instant,
    transmit::{Sent, Transmit},
};

/// What is left to send of a frame that goes in fragments, after the first.
type Rest = Option<Box<Splitter>>;

/// Why [`Connection::fill`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Filled {
    /// Nothing more is ready. More comes if the application gives more.
    Ready,
    /// The high-water mark is reached. More goes once some of it has been sent.
    HighWater,
}

impl<P: WireframeProtocol> Connection<P> {
    /// Whether pushes may go as far as commands are concerned.
    pub(super) fn pushes_may_go(&self) -> bool {
        !self.pushes.is_empty() && self.push_time()
    }

    pub(super) fn push_time(&self) -> bool {
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
        self.begin();
        self.heed_close();
        let filled = self.fill_up_to(self.config.limits.high_water.get());
        self.update_clocks();
        filled
    }

    pub(super) fn fill_up_to(&mut self, high_water: usize) -> Filled {
        loop {
            if self.transmit.len() >= high_water {
                return Filled::HighWater;
            }
            let between = self.is_between_fragments();
            if !self.is_open() {
                if between {
                    self.finish_begun();
                } else if !self.say_last_word() {
                    return Filled::Ready;
                }
                continue;
            }
            let ready = match between {
                false => self.ready(),
                true => self.ready_between_fragments(),
            };
            match self.scheduler.pick(&self.config.fairness, ready, self.now) {
                Some(source) if between && self.go_on(source) => {}
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
            control: !self.control.is_empty() || self.ping_may_go(),
            high: push_time && self.pushes.has(Priority::High),
            low: push_time && self.pushes.has(Priority::Low),
            response: self.commands.next_answer().is_some(),
        }
    }

    fn send_control(&mut self) {
        match self.control.pop_front() {
            Some(frame) => self.send_as_control(frame),
            None => self.send_ping(),
        }
    }

    pub(super) fn send_as_control(&mut self, mut frame: P::Frame) {
        match self.encode(&mut frame, None) {
            Ok(None) => {}
            Ok(Some(rest)) => self.begin_message(frame, Origin::Control, rest),
            Err(error) => self.warn_of_dropped("control", &error),
        }
    }

    /// A frame of this end cannot be encoded, and nobody else is told.
    #[cold]
    pub(super) fn warn_of_dropped(&mut self, kind: &'static str, error: &Unencodable) {
        if let Some(suppressed) = self.may_warn(kind) {
            let (connection, error) = (self.peer.id, Escaped(error));
            tracing::warn!(%connection, kind, %error, suppressed, "frame dropped");
        }
    }

    #[inline]
    fn send_push(&mut self, priority: Priority) {
        let Some(Accepted {
            mut frame,
            charge,
            special,
        }) = self.pushes.pop(priority)
        else {
            return;
        };
        self.pushes.ledger().encoding(priority, charge);
        let (call, shared) = match special.as_deref() {
            None => (None, None),
            Some(Special::Call(call)) => (Some(*call), None),
            Some(Special::Shared(units)) => (None, Some(units)),
        };
        let encoded = match shared {
            None => self.encode(&mut frame, None),
            Some(units) => self.append_shared(units).map(|()| None),
        };
        let rest = match encoded {
            Ok(rest) => rest,
            Err(error) => return self.push_refused(priority, frame, charge, call, error),
        };
        if let Some(call) = call {
            self.calls.sent(call);
        }
        if let Some(rest) = rest {
            return self.begin_message(frame, Origin::Push { priority, call }, rest);
        }
        self.push_encoded(priority);
        if self.pushes.keeps_unsent() {
            self.pushes.keep(priority, frame, call);
        }
    }

    /// A push cannot be encoded.
    #[cold]
    fn push_refused(
        &mut self,
        priority: Priority,
        frame: P::Frame,
        charge: usize,
        call: Option<CallId>,
        error: Unencodable,
    ) {
        self.pushes.ledger().refused(priority);
        self.note_high_dry(priority);
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

    /// All of a push was encoded.
    #[inline]
    pub(super) fn push_encoded(&mut self, priority: Priority) {
        self.note_high_dry(priority);
        let end = self.transmit.end();
        self.pushes.ledger().encoded(priority, end);
        if end == self.transmit.sent_total() {
            self.pushes.ledger().settle(end);
        }
    }

    /// A push has gone, or was refused: perhaps it was the last of the high ones.
    #[inline]
    fn note_high_dry(&mut self, priority: Priority) {
        if priority == Priority::High && !self.pushes.has(Priority::High) {
            self.scheduler.high_ran_dry();
        }
    }

    fn send_next_answer(&mut self) {
        let index = match self.last_command {
            Some(last) => Some(last.index),
            None => self.commands.next_answer(),
        };
        if let Some(index) = index {
            self.send_answer_of(index);
        }
    }

    /// Sends the next frame of a command's answer.
    pub(super) fn send_answer_of(&mut self, index: u32) {
        if let Some(frame) = self.commands.take_answer(index) {
            self.send_answer(index, frame);
            self.settle_commands(index);
        }
    }

    /// Encodes a frame of an answer.
    #[inline]
    pub(super) fn send_answer(&mut self, index: u32, mut frame: P::Frame) {
        let Some(command) = self.commands.at(index) else {
            return;
        };
        let (info, stage) = (command.info, command.stage);
        let error = match self.encode(&mut frame, Some(info)) {
            Ok(None) => return,
            Ok(Some(rest)) => return self.begin_message(frame, Origin::Answer(index), rest),
            Err(error) => error,
        };
        if stage == Stage::Finished(Outcome::Failed) {
            // What the protocol had to say to the failure is itself unencodable.
            self.warn_of_dropped("error_answer", &error);
        } else {
            self.commands.discard_answer(index);
            if stage == Stage::Running {
                self.events.push_back(Event::Failed(info));
            }
            self.fail_answer(index, AnswerError::Unencodable(error));
        }
    }

    /// Encodes one frame, or the first fragment of it, at the end of the transmit queue,
    /// or leaves no trace of it.
    #[inline]
    pub(super) fn encode(
        &mut self,
        frame: &mut P::Frame,
        request: Option<RequestInfo>,
    ) -> Result<Rest, Unencodable> {
        self.hook(request, |protocol, ctx| protocol.before_send(frame, ctx));
        self.note_output_begins();
        let mark = self.transmit.mark();
        self.in_user_code = true;
        let encoded = self.encode_unit(frame);
        self.in_user_code = false;
        match encoded {
            Ok(_) => self.counters.frames_sent += 1,
            Err(_) => self.transmit.rewind(mark),
        }
        encoded
    }

    #[inline]
    fn encode_unit(&mut self, frame: &P::Frame) -> Result<Rest, Unencodable> {
        let (mark, gap) = (self.transmit.mark(), self.header_len);
        self.transmit.open_gap(gap);
        self.codec
            .encode(frame, &mut FrameBuf::new(&mut self.transmit))?;
        let len = self.transmit.since(mark) - gap;
        if let Some(cut) = self.cut(frame)
            && cut.splits(len)
        {
            let rest = self.encode_first_fragment(frame, (mark, gap), len, cut)?;
            return Ok(Some(rest));
        }
        at_most("max_frame_len", self.config.limits.max_frame_len.get(), len)?;
        let mut meta = FragmentMeta::whole(len as u64);
        meta.unsolicited = self.is_unsolicited();
        self.header.clear();
        self.framing.encode_header(&mut self.header, frame, &meta)?;
        self.transmit.close_gap(mark, gap, &self.header);
        self.header_len = self.header.len();
        Ok(None)
    }

    /// Whether nothing is under way that a frame could belong to as it goes: no command, nor
    /// was there one when the connection began to close, and no call without an id.
    #[inline]
    pub(super) fn is_unsolicited(&self) -> bool {
        let cuts_off = || matches!(&self.phase, Phase::Closing(closing) if closing.cuts_off);
        self.commands.live() == 0 && !self.calls.awaits_unnamed() && !cuts_off()
    }

    /// Appends wire units that were encoded elsewhere, as they are.
    fn append_shared(&mut self, bytes: &Bytes) -> Result<(), Unencodable> {
        let limit = self.config.limits.max_frame_len.get();
        at_most("max_frame_len", limit, bytes.len())?;
        self.note_output_begins();
        FrameBuf::new(&mut self.transmit).put_bytes(bytes);
        self.counters.frames_sent += 1;
        Ok(())
    }

    /// Whether the high-water mark is reached: nothing is encoded until some of the
    /// output has been sent.
    pub fn is_at_high_water(&self) -> bool {
        self.transmit.len() >= self.config.limits.high_water.get()
    }

    /// Lends the bytes to send; `None` if there are none.
    pub fn transmit(&mut self) -> Option<Transmit<'_>> {
        self.pushes.forget_sent();
        if self.in_user_code || self.transmit.is_empty() {
            return None;
        }
        let reading_now = self.reading.at(self.now);
        Some(Transmit {
            queue: &mut self.transmit,
            on_sent: Sent {
                ledger: self.pushes.used_ledger(),
                held: self.held.bytes != 0,
                last_progress: &mut self.last_progress,
                last_activity: &mut self.last_activity,
                pulse: self.pulse.as_deref_mut(),
                now: self.now,
                reading_now,
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
        if let Some(begun) = &mut self.begun {
            begun.shrink();
        }
        if let Some(reassembler) = &mut self.reassembler {
            reassembler.shrink();
        }
        self.header = Vec::new();
        self.control.shrink();
        self.events.shrink();
    }
}

/// Refuses a frame that crosses a limit.
pub(super) fn at_most(limit: &'static str, value: usize, got: usize) -> Result<(), Unencodable> {
    if got <= value {
        return Ok(());
    }
    Err(Unencodable::from(LimitExceeded {
        limit,
        value: value as u64,
        got: got as u64,
    }))
}
