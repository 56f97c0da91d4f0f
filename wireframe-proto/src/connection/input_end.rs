//! How the peer's input ends: in good order, or with a flaw.

use alloc::boxed::Box;

use super::{Connection, NOT_STARVED};
use crate::{
    config::HalfClose,
    error::{CloseReason, UnexpectedEof},
    event::Event,
    protocol::WireframeProtocol,
};

impl<P: WireframeProtocol> Connection<P> {
    /// From here on the peer's input is dropped unread.
    pub(super) fn ignore_input(&mut self) {
        self.ignores_input = true;
        self.receive.clear();
        self.counted = 0;
        self.starved_at = NOT_STARVED;
        self.unit = None;
        self.frame_since = None;
        self.drop_partial_messages();
    }

    /// Whether it has come to light that nothing more can be decoded: the peer has ended
    /// its output, and nothing whole is left of it.
    pub(super) fn input_is_over(&self) -> bool {
        self.peer_closed
            && !self.input_ended
            && (self.receive.is_empty() || (self.is_starved() && self.may_decode()))
    }

    /// Whether the peer is gone and there is no waiting for what it left behind. The
    /// application that holds its input still wants that.
    pub(super) fn is_abandoned(&self) -> bool {
        self.peer_closed
            && !self.stopped.is_any()
            && self.config.half_close == HalfClose::Ends
            && !self.receive.is_empty()
            && !self.may_decode()
    }

    pub(super) fn end_input(&mut self) {
        if self.is_abandoned() {
            return self.abort(CloseReason::PeerClosed);
        }
        if !self.input_is_over() {
            return;
        }
        let received = self.receive.len() as u64;
        let cut = match &self.unit {
            Some(unit) => Some(Some(unit.payload_len.saturating_sub(received))),
            None => (received > 0).then_some(None),
        };
        let message = self.partial_message();
        let reason = match cut {
            Some(_) if self.awaits_preamble() => CloseReason::PreambleEof { received },
            Some(missing) => CloseReason::UnexpectedEof(UnexpectedEof { received, missing }),
            None => match message {
                Some((received, missing)) => CloseReason::MessageEof { received, missing },
                None => CloseReason::PeerClosed,
            },
        };
        let is_cut_off = cut.is_some() || message.is_some();
        match self.config.half_close {
            HalfClose::Ends => self.abort(reason),
            HalfClose::Answers if is_cut_off => self.refuse_input(reason),
            HalfClose::Answers => self.input_ended = true,
        }
    }

    /// What comes next is no input of this protocol: the connection closes for that reason.
    /// What came before it is served first, as if the flaw had come in a read of its own.
    #[cold]
    pub(super) fn refuse_input(&mut self, reason: CloseReason) {
        self.ignore_input();
        self.flaw = Some(Box::new(reason));
    }

    /// Serves what came before the flaw and, when nothing comes of that any more, closes.
    ///
    /// Behind events the driver does a usual turn, so that handlers answer which are about
    /// to; that happens once, for a flaw must not wait for those that never do.
    #[cold]
    pub(super) fn heed_flaw(&mut self) -> Option<Event<P::Frame>> {
        if self.serves {
            return None;
        }
        // Commands end by that, and others may start that were held back.
        let _ = self.fill_up_to(usize::MAX);
        if let Some(event) = self.start_held() {
            return Some(event);
        }
        if let Some(reason) = self.flaw.take() {
            self.close_with_goodbye(*reason);
        }
        self.next_closing_event()
    }
}
