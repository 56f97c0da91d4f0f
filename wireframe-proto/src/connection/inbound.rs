//! From received bytes to events.

use bytes::Bytes;
use tracing::{Level, level_filters::LevelFilter};

use super::{Connection, Phase, preamble::Opening};
use crate::{
    codec::Codec,
    error::{CloseReason, Malformed},
    event::{Discarded, Event, Undelivered},
    fragment::FragmentMeta,
    ids::CorrelationId,
    protocol::{Reaction, Role, View, WireframeProtocol},
    time::Instant,
};

impl<P: WireframeProtocol> Connection<P> {
    /// The next thing that happened; decodes at most one frame.
    ///
    /// `None` means that there is nothing more until the driver reports something or
    /// the application asks for something. Where [`Wants::event`](crate::Wants::event) is
    /// still set it means that the input is flawed behind what was handed out. The
    /// application has this turn to answer that; the next poll goes on to close.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event<P::Frame>> {
        self.observe(now);
        if self.in_user_code {
            return self.poll_after_panic();
        }
        self.begin();
        self.heed_close();
        let event = self.next_event();
        self.serves = event.is_some();
        self.update_clocks();
        event
    }

    fn next_event(&mut self) -> Option<Event<P::Frame>> {
        if let Some(event) = self.take_event() {
            return Some(event);
        }
        if !self.is_open() {
            return self.next_closing_event();
        }
        if self.commands.held() > 0
            && let Some(event) = self.start_held()
        {
            return Some(event);
        }
        if let Some(event) = self.decode_next() {
            return Some(event);
        }
        if self.flaw.is_none() {
            self.end_input();
        }
        if self.flaw.is_some() {
            return self.heed_flaw();
        }
        if let Some(event) = self.next_unanswerable_body() {
            return Some(event);
        }
        self.finish_if_done();
        if self.is_open() {
            None
        } else {
            self.next_closing_event()
        }
    }

    /// Takes an event that waits. A push that could not be encoded has kept its slot
    /// until here, so that these events are bounded as the pushes are.
    #[inline]
    pub(super) fn take_event(&mut self) -> Option<Event<P::Frame>> {
        match self.events.is_empty() {
            false => self.take_first_event(),
            true => None,
        }
    }

    #[cold]
    fn take_first_event(&mut self) -> Option<Event<P::Frame>> {
        let event = self.events.pop_front()?;
        if let Event::Undelivered(undelivered) = &event {
            let Undelivered {
                priority, charge, ..
            } = *undelivered;
            self.pushes.ledger().unencodable(priority, charge);
        }
        Some(event)
    }

    /// Starts the command that was held back the longest of those that may start now.
    #[cold]
    pub(super) fn start_held(&mut self) -> Option<Event<P::Frame>> {
        if self.last_command.is_some() {
            return None;
        }
        let (info, frame) = self.commands.start_held(self.max_in_flight)?;
        self.counters.requests += 1;
        Some(Event::Request { info, frame })
    }

    /// Whether anything would come of [`poll_event`](Self::poll_event).
    pub(super) fn wants_event(&self) -> bool {
        if !self.events.is_empty() {
            return true;
        }
        if !self.is_open() {
            return self.is_unannounced() || !self.pushes.is_empty();
        }
        if self.opening == Opening::Unasked || self.close_asked || self.flaw.is_some() {
            return true;
        }
        (!self.receive.is_empty() && !self.is_starved() && self.may_decode())
            || self.input_is_over()
            || self.is_abandoned()
            || (self.last_command.is_none() && self.commands.can_start_held(self.max_in_flight))
            || (self.input_ended && self.commands.awaited() > 0)
            || self.is_done()
    }

    /// Whether the next frame may be decoded now, if it is there.
    #[inline]
    pub(super) fn may_decode(&self) -> bool {
        let limits = &self.config.limits;
        let behind_exclusive = self.commands.exclusive().is_some_and(|command| {
            // Its body is let through when somebody waits for it; what comes before that
            // is served as ever, but that no command begins.
            command
                .body
                .as_ref()
                .is_none_or(|body| body.deadline.is_none())
        });
        !behind_exclusive
            && !self.stopped.is_any()
            && !self.control_is_full()
            && self.commands.held() < limits.max_held_back.get()
            && self.commands.held_bytes() <= limits.max_frame_len.get()
            && !self.bodies_are_full()
    }

    /// Whether a body has as many frames as may wait, or all of them as many bytes.
    #[inline]
    pub(super) fn bodies_are_full(&self) -> bool {
        let (full, bytes) = (self.commands.full_bodies(), self.commands.body_bytes());
        // Most of the time no body waits.
        full as usize | bytes != 0 && (full > 0 || bytes >= self.config.body_bytes())
    }

    /// Whether input has provoked as much control output as may wait.
    pub(super) fn control_is_full(&self) -> bool {
        self.control.len() >= self.config.limits.max_control.get()
    }

    /// Whether the engine reads: it decodes, or an exclusive command is under way or the
    /// input is held, and there is room to read ahead, so that the peer's end is seen.
    pub(super) fn reads(&self) -> bool {
        self.may_decode()
            || ((self.stopped.is_held() || self.commands.exclusive().is_some())
                && !self.stopped.is_paused()
                && self.receive.len() < self.config.limits.read_buffer.get())
    }

    pub(super) fn wants_read(&self) -> bool {
        if self.peer_closed {
            return false;
        }
        match self.phase {
            Phase::Active | Phase::Draining(_) => {
                self.reads()
                    && (self.is_starved()
                        || self.receive.len() < self.config.limits.read_buffer.get())
            }
            // Read and drop: an unread byte would make the transport reset what we said.
            Phase::Closing(_) => true,
            Phase::Closed(_) => false,
        }
    }

    /// Whether there is nothing whole in what has been received.
    pub(super) fn is_starved(&self) -> bool {
        self.starved_at == self.receive.len()
    }

    /// Decodes one frame, if it is whole and allowed.
    fn decode_next(&mut self) -> Option<Event<P::Frame>> {
        if self.awaits_preamble() {
            self.take_preamble();
            if !self.is_open() {
                return self.next_closing_event();
            }
            let event = self.take_event();
            if event.is_some() || self.awaits_preamble() {
                return event;
            }
        }
        if self.is_starved() || !self.may_decode() {
            return None;
        }
        let header = match self.unit {
            None => self.read_header(),
            Some(_) => None,
        };
        let (meta, payload) = match header {
            // The usual case has a way of its own, straight to the codec: so what a header
            // says about fragments need not be kept for it.
            Some((meta, header_len)) if self.is_whole_frame(&meta, header_len) => {
                let payload = self.take_payload(&meta, header_len);
                (meta, payload)
            }
            // A copy, so that the header of the usual case need not be in memory.
            header => match self.next_in_parts(header.clone()) {
                Some(unit) => unit,
                None => return self.found_no_frame(),
            },
        };
        let len = payload.len();
        match self.decode_frame(&meta, payload) {
            Ok(frame) => {
                self.counters.frames_received += 1;
                Some(self.route_inbound(frame, len))
            }
            Err(error) => {
                self.refuse_input(CloseReason::Malformed(error));
                self.found_no_frame()
            }
        }
    }

    /// There is no whole frame in what has been received, or something else is to be told
    /// first.
    #[cold]
    fn found_no_frame(&mut self) -> Option<Event<P::Frame>> {
        if let Some(event) = self.take_event() {
            return Some(event);
        }
        if !self.is_open() {
            return self.next_closing_event();
        }
        self.starved_at = self.receive.len();
        self.note_frame_begun();
        None
    }

    fn decode_frame(&mut self, meta: &FragmentMeta, payload: Bytes) -> Result<P::Frame, Malformed> {
        self.in_user_code = true;
        let frame = self.codec.decode(meta, payload);
        self.in_user_code = false;
        frame
    }

    /// Gives a frame its role, and does what that asks for.
    fn route_inbound(&mut self, frame: P::Frame, len: usize) -> Event<P::Frame> {
        self.in_user_code = true;
        let role = self.protocol.classify(
            &frame,
            &View {
                session: &self.session,
                side: self.peer.side,
                in_flight: self.commands.live(),
                pending: &self.calls,
            },
        );
        self.in_user_code = false;
        if Level::TRACE <= LevelFilter::current() {
            self.log_received(role.name(), len);
        }
        match role {
            Role::Request {
                route,
                correlation,
                exclusive,
            } => self.begin_command(frame, len, route, correlation, exclusive),
            Role::Body { of, last } => self.take_body(frame, len, of, last),
            Role::Control => self.take_control(frame),
            Role::Reply { to, last } => match self.calls.reply(to, last) {
                Some(call) => Event::Reply { call, frame, last },
                None => self.discard_reply(),
            },
            Role::ReplyEnd { to } => match self.calls.reply(to, true) {
                Some(call) => Event::ReplyEnd { call },
                None => self.discard_reply(),
            },
            Role::Push => Event::Push(frame),
        }
    }

    /// Apart, so that the usual case has no room for it on its stack.
    #[cold]
    fn log_received(&self, kind: &'static str, len: usize) {
        tracing::trace!(connection = %self.peer.id, kind, len, "frame received");
    }

    fn discard_reply(&mut self) -> Event<P::Frame> {
        self.counters.replies_discarded += 1;
        self.discard(Discarded::Reply)
    }

    /// A frame of the peer is dropped, and counted by who calls this.
    #[cold]
    pub(super) fn discard(&self, what: Discarded) -> Event<P::Frame> {
        let (connection, kind) = (self.peer.id, what.name());
        tracing::debug!(%connection, kind, "frame dropped");
        Event::Discarded(what)
    }

    fn begin_command(
        &mut self,
        frame: P::Frame,
        len: usize,
        route: u32,
        correlation: Option<CorrelationId>,
        exclusive: bool,
    ) -> Event<P::Frame> {
        if matches!(self.phase, Phase::Draining(_)) {
            self.counters.requests_dropped += 1;
            if exclusive {
                self.ignore_input();
            }
            return self.discard(Discarded::Request);
        }
        let info = self.commands.insert(route, correlation, exclusive);
        let index = info.id.index;
        // Those that are held and may start have started before this one was decoded.
        if self.commands.may_start(index, self.max_in_flight) {
            self.commands.start(index);
            self.counters.requests += 1;
            Event::Request { info, frame }
        } else {
            self.commands.hold(index, frame, len);
            Event::HeldBack(info)
        }
    }

    fn take_control(&mut self, frame: P::Frame) -> Event<P::Frame> {
        let reaction = self.hook(None, |protocol, ctx| protocol.on_control(frame, ctx));
        self.react(reaction);
        Event::Control
    }

    /// Does what a hook wants done that concerns no command.
    pub(super) fn react(&mut self, reaction: Reaction<P::Frame>) {
        match reaction {
            Reaction::Continue => {}
            Reaction::Send(frame) => self.control.push_back(frame),
            Reaction::Close(last_word) => self.close_with(CloseReason::Protocol, last_word),
        }
    }
}
