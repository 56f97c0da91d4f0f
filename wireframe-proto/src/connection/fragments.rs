//! Messages that go in fragments, and what may go between these.

use alloc::boxed::Box;

use super::{Connection, outbound::at_most};
use crate::{
    codec::{Codec, FrameBuf},
    error::{CloseReason, Unencodable},
    fragment::{
        FragmentStrategy,
        splitter::{Cut, Splitter},
    },
    ids::Priority,
    protocol::{AnswerOrder, WireframeProtocol},
    schedule::{
        begun::{Begun, Message, Origin},
        scheduler::{Ready, Source},
    },
    transmit::Mark,
};

/// What goes next of a source.
enum Turn {
    /// The next frame of that command's answer begins.
    Begins(u32),
    /// The message that began there goes on.
    GoesOn(Origin),
}

impl<P: WireframeProtocol> Connection<P> {
    /// Whether messages have begun that have not ended.
    #[inline]
    pub(super) fn is_between_fragments(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| !begun.is_empty())
    }

    /// How the payload of that frame is cut, if it may be cut at all.
    #[inline]
    pub(super) fn cut(&self, frame: &P::Frame) -> Option<Cut> {
        let most = self.framing.max_fragment_payload(frame)?.get();
        let ends_short = self.framing.ends_with_short_fragment();
        let max_frame_len = self.config.limits.max_frame_len.get();
        let piece = match ends_short {
            true => most,
            false => most.min(max_frame_len),
        };
        Some(Cut { piece, ends_short })
    }

    /// Takes a payload of `len` bytes, which was encoded behind `mark` and the gap, back
    /// from the output and appends the first unit of it instead.
    #[cold]
    pub(super) fn encode_first_fragment(
        &mut self,
        frame: &P::Frame,
        (mark, gap): (Mark, usize),
        len: usize,
        cut: Cut,
    ) -> Result<Box<Splitter>, Unencodable> {
        let config = &self.config;
        at_most("max_message_size", config.message_size(), len)?;
        at_most("max_partial_bytes", config.partial_bytes(), len)?;
        at_most(
            "max_frame_len",
            config.limits.max_frame_len.get(),
            cut.piece,
        )?;
        // More than 32 bits cannot be numbered.
        let most = config.fragments_per_message().min(u32::MAX as usize);
        at_most("max_fragments_per_message", most, cut.units(len))?;
        let id = self.name_message(frame, len)?;
        let taken = self.transmit.take_since(mark, gap);
        let unsolicited = self.is_unsolicited();
        let mut splitter = Box::new(Splitter::new(taken, cut, id, unsolicited));
        self.header.clear();
        let meta = splitter.next_unit();
        self.framing.encode_header(&mut self.header, frame, &meta)?;
        self.transmit.copied().extend_from_slice(&self.header);
        splitter.put_unit(&mut FrameBuf::new(&mut self.transmit));
        Ok(splitter)
    }

    /// An id for a message that is split, where the framing has ids.
    ///
    /// Refuses a message that must not begin now. That was seen before, unless the frame
    /// has changed since, or its length was unknown.
    fn name_message(&mut self, frame: &P::Frame, len: usize) -> Result<Option<u64>, Unencodable> {
        let max = self.framing.max_message_id();
        let begun = self.begun.get_or_insert_with(Box::default);
        let most = self.config.fragments.max_partial_messages.get();
        at_most("max_partial_messages", most, begun.len() + 1)?;
        let together = self.config.partial_bytes();
        let mixes = max.is_some() && begun.all_have_ids() && begun.have_room(len, together);
        let may_interrupt = |m: &Message<P::Frame>| self.framing.may_interrupt(&m.frame, frame);
        let waits = !mixes || !begun.messages().all(may_interrupt);
        if waits && !begun.is_empty() {
            let what = "it has to be split, between two fragments of another message";
            return Err(Unencodable::new(what));
        }
        match max.map(|max| begun.free_id(max)) {
            Some(None) => Err(Unencodable::new("no message id is free")),
            Some(id) => Ok(id),
            None => Ok(None),
        }
    }

    /// The first fragment of that frame's message was encoded.
    #[cold]
    pub(super) fn begin_message(&mut self, frame: P::Frame, origin: Origin, rest: Box<Splitter>) {
        let begun = self.begun.get_or_insert_with(Box::default);
        self.in_user_code = true;
        let framing = &self.framing;
        let refuses = |m: &Message<P::Frame>| !framing.may_interrupt(&frame, &m.frame);
        let is_barrier = begun.messages().any(refuses);
        self.in_user_code = false;
        begun.insert(frame, origin, rest, is_barrier);
        if let Origin::Answer(index) = origin {
            self.commands.begin_message(index);
        }
    }

    /// What may go between two fragments of messages under way, or goes on with one.
    #[cold]
    pub(super) fn ready_between_fragments(&mut self) -> Ready {
        if self.last_command.is_none() {
            self.ask_for_ping();
        }
        self.in_user_code = true;
        self.set_answer_aside();
        let ready = Ready {
            control: self.is_ready_between(Source::Control),
            high: self.is_ready_between(Source::High),
            low: self.is_ready_between(Source::Low),
            response: self.answer_between_fragments().is_some(),
        };
        self.in_user_code = false;
        ready
    }

    /// Whether that source, which is not that of answers, may send.
    fn is_ready_between(&self, source: Source) -> bool {
        let Some(begun) = self.begun.as_deref() else {
            return false;
        };
        if begun.has(source) {
            return begun.next_of(source).is_some();
        }
        if self.last_command.is_some() {
            return false;
        }
        let push = |priority| {
            self.push_time()
                && self
                    .pushes
                    .front(priority)
                    .is_some_and(|push| self.may_begin(begun, &push.frame, push.is_encoded()))
        };
        match source {
            Source::Control => {
                let frame = self.control.front().or(begun.ping.as_ref());
                frame.is_some_and(|frame| self.may_begin(begun, frame, false))
            }
            Source::High => push(Priority::High),
            Source::Low => push(Priority::Low),
            Source::Response => false,
        }
    }

    /// An answer whose turn it is, and that may not begin what it has next, goes aside: what
    /// is behind it may be short. One at a time, so that each pick costs the same.
    fn set_answer_aside(&mut self) {
        if P::ANSWERS == AnswerOrder::Correlated
            && self.last_command.is_none()
            && let Some(begun) = self.begun.as_deref()
            && let Some(index) = self.commands.next_in_turn()
            && !self.commands.is_under_way(index)
            && self.turn_of(begun, index).is_none()
        {
            self.commands.set_aside();
        }
    }

    /// Which answer may send: one that has stood aside, the one whose turn it is, or, if
    /// neither may, one that has begun a message.
    fn answer_between_fragments(&self) -> Option<Turn> {
        let begun = self.begun.as_deref()?;
        if self.last_command.is_none() {
            let candidates = [self.commands.first_aside(), self.commands.next_in_turn()];
            let mut candidates = candidates.into_iter().flatten();
            let turn = candidates.find_map(|index| self.turn_of(begun, index));
            if turn.is_some() {
                return turn;
            }
        }
        let message = begun.next_of(Source::Response)?;
        Some(Turn::GoesOn(message.origin))
    }

    /// What that command's answer may send now.
    fn turn_of(&self, begun: &Begun<P::Frame>, index: u32) -> Option<Turn> {
        if self.commands.is_under_way(index) {
            let goes_on = begun.answer_goes_on(index);
            return goes_on.then_some(Turn::GoesOn(Origin::Answer(index)));
        }
        let frame = self.commands.peek_answer(index)?;
        let others_first = || {
            let first = self.commands.first_aside();
            first.is_some_and(|first| first != index) || self.is_short_of_room(begun)
        };
        let begins = !(self.is_split(frame) && others_first());
        (begins && self.may_begin(begun, frame, false)).then_some(Turn::Begins(index))
    }

    /// Whether that frame may go while those messages are under way.
    fn may_begin(&self, begun: &Begun<P::Frame>, frame: &P::Frame, is_encoded: bool) -> bool {
        let may_interrupt = |m: &Message<P::Frame>| self.framing.may_interrupt(&m.frame, frame);
        // What waits for room is looked at for each unit that goes meanwhile: no message is
        // asked about it.
        (is_encoded || self.may_mix(begun, frame)) && begun.messages().all(may_interrupt)
    }

    /// Whether that frame is to be split, as far as is known beforehand.
    fn is_split(&self, frame: &P::Frame) -> bool {
        let cut = self.cut(frame);
        cut.is_some_and(|cut| cut.splits(self.codec.encoded_len(frame)))
    }

    /// Whether something that goes before answers waits for room beside what is under way:
    /// answers that begin would take that again and again.
    fn is_short_of_room(&self, begun: &Begun<P::Frame>) -> bool {
        let push = |priority| {
            let front = self.pushes.front(priority).filter(|_| self.push_time());
            front.map(|push| (&push.frame, push.is_encoded()))
        };
        let control = self.control.front().map(|frame| (frame, false));
        [
            (Source::Control, control),
            (Source::High, push(Priority::High)),
            (Source::Low, push(Priority::Low)),
        ]
        .into_iter()
        .filter(|&(source, _)| !begun.has(source))
        .filter_map(|(_, front)| front)
        .any(|(frame, is_encoded)| !is_encoded && !self.may_mix(begun, frame))
    }

    /// Whether that frame is not split, or may be although others are.
    fn may_mix(&self, begun: &Begun<P::Frame>, frame: &P::Frame) -> bool {
        let config = &self.config;
        !self.is_split(frame)
            || (begun.all_have_ids()
                && self.framing.max_message_id().is_some()
                && begun.len() < config.fragments.max_partial_messages.get()
                && begun.have_room(self.codec.encoded_len(frame), config.partial_bytes()))
    }

    /// Asks the protocol for the ping that is owed, because only its frame tells whether
    /// it may go now.
    fn ask_for_ping(&mut self) {
        if !self.ping_may_go() {
            return self.forget_ping();
        }
        if self.control.is_empty() && self.begun.as_ref().is_some_and(|b| b.ping.is_none()) {
            match self.hook(None, P::ping) {
                None => self.note_ping(),
                ping => {
                    if let Some(begun) = &mut self.begun {
                        begun.ping = ping;
                    }
                }
            }
        }
    }

    /// The ping that was asked for is not owed any more.
    pub(super) fn forget_ping(&mut self) {
        if let Some(begun) = &mut self.begun {
            begun.ping = None;
        }
    }

    /// Sends what answers have next, or, of another source that was picked, the next fragment
    /// of its message under way. Returns whether there was any.
    #[cold]
    pub(super) fn go_on(&mut self, source: Source) -> bool {
        let turn = if source == Source::Response {
            self.in_user_code = true;
            let turn = self.answer_between_fragments();
            self.in_user_code = false;
            turn
        } else {
            let message = self.begun.as_ref().and_then(|begun| begun.next_of(source));
            message.map(|message| Turn::GoesOn(message.origin))
        };
        match turn {
            Some(Turn::Begins(index)) => self.send_answer_of(index),
            Some(Turn::GoesOn(origin)) => self.send_fragment(origin),
            None => return false,
        }
        true
    }

    /// Sends the next fragment of any message: nothing else goes any more.
    pub(super) fn finish_begun(&mut self) {
        let sources = [Source::Control, Source::High, Source::Low, Source::Response];
        let origin = self.begun.as_ref().and_then(|begun| {
            let message = sources.iter().find_map(|&source| begun.next_of(source));
            message.map(|message| message.origin)
        });
        match origin {
            Some(origin) => self.send_fragment(origin),
            // Cannot be: of several messages one may always go on.
            None => self.abandon_begun(),
        }
    }

    fn send_fragment(&mut self, origin: Origin) {
        self.note_output_begins();
        let Some(message) = self.begun.as_mut().and_then(|begun| begun.get_mut(origin)) else {
            return;
        };
        let meta = message.splitter.next_unit();
        self.header.clear();
        self.in_user_code = true;
        let frame = &message.frame;
        let written = self.framing.encode_header(&mut self.header, frame, &meta);
        self.in_user_code = false;
        if let Err(error) = written {
            // The peer cannot be told that the rest of the message will not come.
            return self.abort(CloseReason::Unencodable(error));
        }
        self.transmit.copied().extend_from_slice(&self.header);
        message
            .splitter
            .put_unit(&mut FrameBuf::new(&mut self.transmit));
        self.end_turn(origin, meta.is_final);
    }

    /// A fragment of that message has gone.
    fn end_turn(&mut self, origin: Origin, was_last: bool) {
        let Some(begun) = &mut self.begun else {
            return;
        };
        let Some(message) = begun.take(origin) else {
            return;
        };
        if let Origin::Answer(index) = origin {
            self.commands.fragment_went(index, was_last);
        }
        if !was_last {
            return begun.put_back(message);
        }
        begun.end(&message);
        match origin {
            Origin::Control => {}
            Origin::Push { priority, call } => {
                self.push_encoded(priority);
                if self.pushes.keeps_unsent() {
                    self.pushes.keep(priority, message.frame, call);
                }
            }
            Origin::Answer(index) => self.settle_commands(index),
        }
    }

    /// The connection ends: what is left of messages under way does not go.
    pub(super) fn abandon_begun(&mut self) {
        let Some(mut begun) = self.begun.take() else {
            return;
        };
        for message in begun.take_all() {
            crate::steps::step();
            if let Origin::Push { priority, call } = message.origin {
                self.pushes.abandon_begun(priority, message.frame, call);
            }
        }
    }
}
