//! What a peer says before its first frame.

use bytes::Buf;

use super::{Connection, units::limit_exceeded};
use crate::{
    error::{CloseReason, Malformed},
    event::Event,
    protocol::{Preamble, WireframeProtocol},
    time::Instant,
};

/// How far the preamble has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The protocol has not been asked whether there is one.
    Unasked,
    /// Not all of it has arrived.
    Awaited,
    /// What arrives now are frames.
    Done,
}

impl<P: WireframeProtocol> Connection<P> {
    /// Whether what the peer sends is not taken for frames yet, because the protocol's
    /// [`preamble`](WireframeProtocol::preamble) is not through.
    #[inline]
    pub fn awaits_preamble(&self) -> bool {
        self.opening != Opening::Done
    }

    /// Runs the protocol's setup, and asks it for the first time for a preamble.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.opening == Opening::Unasked && self.is_open() {
            self.set_up();
            self.ask_preamble(0);
            if self.opening == Opening::Unasked {
                self.opening = Opening::Awaited;
            }
        }
    }

    /// Takes the preamble, if it has come and may be looked at. After that frames are
    /// decoded, unless it closed the connection.
    #[cold]
    pub(super) fn take_preamble(&mut self) {
        if !self.receive.is_empty() && !self.is_starved() && self.may_decode() {
            let most = self.config.limits.max_preamble.get();
            self.ask_preamble(most.min(self.receive.len()));
        }
    }

    /// Shows the protocol the first `len` of the bytes that have come.
    fn ask_preamble(&mut self, len: usize) {
        let received = core::mem::take(&mut self.receive);
        let front = received.get(..len).unwrap_or_default();
        let preamble = self.hook(None, |protocol, ctx| protocol.preamble(front, ctx));
        self.receive = received;
        let max_preamble = self.config.limits.max_preamble.get();
        match preamble {
            Preamble::Absent => {
                let before = core::mem::replace(&mut self.opening, Opening::Done);
                if before == Opening::Awaited {
                    self.events.push_back(Event::Preamble);
                }
            }
            Preamble::Incomplete if len >= max_preamble => {
                let at_least = len as u64 + 1;
                let reason = limit_exceeded("max_preamble", max_preamble, at_least);
                self.refuse_input(reason);
            }
            Preamble::Incomplete => self.starved_at = len,
            Preamble::Done { len: taken, .. } if taken > len => {
                let what = "the preamble is longer than what there was of it";
                self.refuse_input(CloseReason::Malformed(Malformed::new(what)));
            }
            Preamble::Done { len, reaction } => {
                self.receive.advance(len);
                self.counted = self.receive.len();
                self.opening = Opening::Done;
                self.events.push_back(Event::Preamble);
                self.react(reaction);
            }
            Preamble::Malformed(malformed) => {
                self.refuse_input(CloseReason::Malformed(malformed));
            }
        }
    }

    /// When the preamble must be through, on the reading clock.
    pub(super) fn preamble_deadline(&self) -> Option<Instant> {
        let awaited = self.opening == Opening::Awaited && self.is_open() && !self.peer_closed;
        awaited.then(|| self.began + self.config.timeouts.preamble)
    }
}
