//! How a connection ends.

use alloc::{collections::VecDeque, string::String};
use core::time::Duration;

use bytes::BytesMut;

use super::{
    Connection,
    phase::{Closing, Phase},
};
use crate::{
    config::PushBound,
    error::CloseReason,
    event::{Discarded, Event, Undelivered, UndeliveredReason},
    protocol::{Outcome, WireframeProtocol},
    schedule::{accepted::Accepted, begun::Origin, commands::Stage},
    time::Instant,
};

/// How this end wants the connection to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Take on nothing new, finish what is under way, then close; by the deadline in any
    /// case.
    Drain {
        /// When it ends in any case.
        deadline: Instant,
    },
    /// End at once.
    Immediate,
}

impl<P: WireframeProtocol> Connection<P> {
    /// Ends the connection. A second call can only bring the end nearer.
    pub fn shutdown(&mut self, now: Instant, how: Shutdown) {
        self.observe(now);
        if self.in_user_code {
            return;
        }
        match how {
            Shutdown::Immediate => self.abort(CloseReason::Aborted),
            Shutdown::Drain { deadline } => self.drain(deadline),
        }
        self.update_clocks();
    }

    fn drain(&mut self, deadline: Instant) {
        match self.phase {
            Phase::Active => {}
            Phase::Draining(_) | Phase::Closing(_) => {
                self.close_at = Some(self.close_at.map_or(deadline, |at| at.min(deadline)));
                return;
            }
            Phase::Closed(_) => return,
        }
        self.set_up();
        self.phase = Phase::Draining(self.now);
        self.close_at = Some(self.close_at.map_or(deadline, |at| at.min(deadline)));
        if self.commands.holds_exclusive() {
            self.ignore_input();
        }
        self.drop_held();
        if let Some(notice) = self.hook(None, P::drain_notice) {
            self.control.push_back(notice);
        }
    }

    /// Requests that wait for others to end will not start any more.
    fn drop_held(&mut self) {
        let frames = self.commands.drop_held() as u64;
        self.counters.requests_dropped += frames;
        if frames > 0 {
            let (connection, kind) = (self.peer.id, Discarded::Request.name());
            tracing::debug!(%connection, kind, frames, "frame dropped");
        }
    }

    /// Runs the protocol's setup, before anything else of it.
    #[inline]
    pub(super) fn set_up(&mut self) {
        if !self.setup_ran && self.is_open() {
            self.setup_ran = true;
            self.hook(None, P::on_connection_setup);
        }
    }

    /// Begins the drain that a hook has asked for.
    #[inline]
    pub(super) fn heed_close(&mut self) {
        if self.close_asked {
            self.begin_asked_drain();
        }
    }

    #[cold]
    fn begin_asked_drain(&mut self) {
        self.close_asked = false;
        self.drain(self.now + self.config.timeouts.close);
    }

    /// Code of the application that serves no command has panicked: only this
    /// connection suffers, and closes.
    pub fn handle_panic(&mut self, now: Instant) {
        self.observe(now);
        if !self.in_user_code {
            self.close_with_goodbye(CloseReason::HandlerPanicked);
        }
    }

    /// The transport has failed, in either direction: the peer is gone.
    pub fn handle_transport_failed(&mut self, now: Instant, what: impl Into<String>) {
        self.observe(now);
        if !self.in_user_code {
            self.abort(CloseReason::Transport(what.into()));
        }
    }

    /// Our output has been ended, as [`Wants::half_close`](crate::Wants::half_close) asked.
    pub fn handle_half_closed(&mut self, now: Instant) {
        self.observe(now);
        if self.wants_half_close()
            && let Phase::Closing(closing) = &mut self.phase
        {
            closing.half_closed = true;
        }
    }

    /// Whether the connection still serves.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Draining(_))
    }

    pub(super) fn wants_half_close(&self) -> bool {
        match &self.phase {
            Phase::Closing(closing) => {
                !closing.half_closed
                    && closing.last_words.is_empty()
                    && self.transmit.is_empty()
                    && !self.is_between_fragments()
            }
            _ => false,
        }
    }

    /// Whether nothing is left to do before closing in good order, but for pushes that
    /// the caller may still hand over.
    pub(super) fn has_finished_all_but_pushes(&self) -> bool {
        let ending = match self.phase {
            Phase::Draining(_) => self.input_ended || self.calls.pending() == 0,
            Phase::Active => self.input_ended,
            Phase::Closing(_) | Phase::Closed(_) => false,
        };
        ending && self.commands.live() == 0
    }

    /// Whether nothing at all is left to do before closing in good order.
    pub(super) fn is_done(&self) -> bool {
        let no_more_pushes = match self.config.push_bound {
            PushBound::Engine(_) => true,
            PushBound::Caller => self.pushes_ended,
        };
        no_more_pushes
            && self.has_finished_all_but_pushes()
            && self.pushes.is_empty()
            && self.control.is_empty()
            && !self.is_between_fragments()
    }

    /// Closes in good order, if everything is done.
    pub(super) fn finish_if_done(&mut self) {
        if !self.has_finished_all_but_pushes() {
            return;
        }
        if matches!(self.config.push_bound, PushBound::Engine(_)) {
            self.pushes.open = false;
        }
        if !self.is_done() {
            return;
        }
        match self.phase {
            Phase::Draining(_) => self.close_with_goodbye(CloseReason::Drained),
            _ => self.close_with(CloseReason::PeerClosed, None),
        }
    }

    /// Asks the protocol for its last word, and closes with it.
    pub(super) fn close_with_goodbye(&mut self, reason: CloseReason) {
        if !self.is_open() {
            return;
        }
        if self.last_command.is_some() {
            return self.close_with(reason, None);
        }
        self.set_up();
        let goodbye = self.hook(None, |protocol, ctx| protocol.goodbye(&reason, ctx));
        self.close_with(reason, goodbye);
    }

    /// Picks nothing more; says `last_word`, flushes, half-closes, and waits for the
    /// peer or the deadline.
    ///
    /// If a reaction has decided to close already, after the answer whose turn it is,
    /// what is left of that answer is the last word, whatever else has come between.
    pub(super) fn close_with(&mut self, reason: CloseReason, last_word: Option<P::Frame>) {
        if !self.is_open() {
            return;
        }
        let mut closing = match self.last_command {
            None => Closing::new(reason, None, last_word.into_iter().collect()),
            Some(last) => Closing::new(
                CloseReason::Protocol,
                self.info(last.index),
                self.commands.take_answers(last.index),
            ),
        };
        closing.cuts_off = self.commands.live() > 0;
        self.set_close_deadline(self.config.timeouts.close);
        self.phase = Phase::Closing(closing);
        self.drop_work();
    }

    /// Everything that was under way ends here.
    fn drop_work(&mut self) {
        self.pushes.open = false;
        drop(self.control.take());
        self.calls.clear();
        self.receive.clear();
        self.counted = 0;
        self.unit = None;
        self.drop_partial_messages();
        self.last_command = None;
        let commands = self.commands.take_all();
        for (info, stage) in commands {
            crate::steps::step();
            let outcome = match stage {
                Stage::Free | Stage::Held => continue,
                Stage::Running | Stage::Finished(Outcome::Done) => Outcome::Disconnected,
                Stage::Finished(outcome) => outcome,
            };
            self.hook(Some(info), |protocol, ctx| {
                protocol.on_command_end(outcome, ctx);
            });
        }
    }

    /// Brings the end nearer: `within` from now, or sooner.
    pub(super) fn set_close_deadline(&mut self, within: Duration) {
        let at = self.now + within;
        self.close_at = Some(self.close_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Encodes the next of what is left to say, if there is anything.
    pub(super) fn say_last_word(&mut self) -> bool {
        let Phase::Closing(closing) = &mut self.phase else {
            return false;
        };
        let Some(mut frame) = closing.last_words.pop_front() else {
            return false;
        };
        let request = closing.request;
        match self.encode(&mut frame, request) {
            Ok(None) => {}
            Ok(Some(rest)) => self.begin_message(frame, Origin::Control, rest),
            Err(error) => self.warn_of_dropped("last_word", &error),
        }
        true
    }

    /// Ends at once.
    pub(super) fn abort(&mut self, reason: CloseReason) {
        match &self.phase {
            Phase::Closed(_) => return,
            // The reason that came first is the one that counts.
            Phase::Closing(_) => return self.close_now(),
            Phase::Active | Phase::Draining(_) => {}
        }
        self.phase = Phase::Closing(Closing::new(reason, None, VecDeque::new()));
        self.drop_work();
        self.close_now();
    }

    /// The last step of every way to end.
    pub(super) fn close_now(&mut self) {
        let closed = Phase::closed(CloseReason::ProtocolPanicked);
        let closing = match core::mem::replace(&mut self.phase, closed) {
            Phase::Closing(closing) => closing,
            other => {
                self.phase = other;
                return;
            }
        };
        self.transmit.clear();
        self.abandon_begun();
        self.pushes.abandon_encoded();
        self.close_at = None;
        if !closing.announced {
            let event = Event::Closing(closing.reason.clone());
            self.events.push_back(event);
        }
        if self.setup_ran {
            let reason = &closing.reason;
            self.hook(None, |protocol, ctx| protocol.on_disconnect(reason, ctx));
        }
        if let Phase::Closed(closed) = &mut self.phase {
            closed.reason = closing.reason;
        }
    }

    /// Whether the end, or the approach of it, has not been told yet.
    pub(super) fn is_unannounced(&self) -> bool {
        match &self.phase {
            _ if self.in_user_code && !matches!(self.phase, Phase::Closed(_)) => true,
            Phase::Active | Phase::Draining(_) => false,
            Phase::Closing(closing) => !closing.announced || self.is_over(closing),
            Phase::Closed(closed) => !closed.announced,
        }
    }

    /// Whether a closing connection has nothing left to wait for.
    fn is_over(&self, closing: &Closing<P::Frame>) -> bool {
        closing.half_closed && self.peer_closed
    }

    pub(super) fn next_closing_event(&mut self) -> Option<Event<P::Frame>> {
        if let Some(event) = self.take_event() {
            return Some(event);
        }
        if let Phase::Closing(closing) = &mut self.phase
            && !core::mem::replace(&mut closing.announced, true)
        {
            return Some(Event::Closing(closing.reason.clone()));
        }
        if let Some((priority, accepted)) = self.pushes.pop_undelivered() {
            let call = accepted.call();
            let Accepted { frame, charge, .. } = accepted;
            return Some(Event::Undelivered(Undelivered {
                frame,
                priority,
                charge,
                call,
                why: UndeliveredReason::ConnectionEnded,
            }));
        }
        if let Phase::Closing(closing) = &self.phase
            && self.is_over(closing)
        {
            self.close_now();
        }
        if let Phase::Closed(closed) = &mut self.phase
            && !core::mem::replace(&mut closed.announced, true)
        {
            return Some(Event::Closed(closed.reason.clone()));
        }
        None
    }

    /// After a panic of the protocol: of the protocol only `on_disconnect` still runs,
    /// and only once, even if it is what panicked.
    pub(super) fn poll_after_panic(&mut self) -> Option<Event<P::Frame>> {
        if !matches!(self.phase, Phase::Closed(_)) {
            self.phase = Phase::closed(CloseReason::ProtocolPanicked);
            self.pushes.open = false;
            drop(self.control.take());
            self.calls.clear();
            self.receive = BytesMut::new();
            self.drop_partial_messages();
            self.commands.take_all();
            self.transmit.clear();
            self.abandon_begun();
            self.pushes.abandon_encoded();
            self.events
                .retain(|event| matches!(event, Event::Undelivered(_)));
            self.close_at = None;
            self.note_no_pressure();
            if self.setup_ran {
                let reason = &CloseReason::ProtocolPanicked;
                self.hook(None, |protocol, ctx| protocol.on_disconnect(reason, ctx));
                self.in_user_code = true;
            }
        }
        self.next_closing_event()
    }
}
