//! What is logged when the peer has to wait, and when it no longer has to.

use super::Connection;
use crate::protocol::WireframeProtocol;

/// Why the engine does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressure {
    /// The driver has paused reading.
    Paused,
    /// The driver holds the input, and as much as may be has been read ahead.
    Held,
    /// So it has behind an exclusive request.
    Exclusive,
    ControlOutput,
    HeldRequests,
    HeldBytes,
    BodyFrames,
    BodyBytes,
}

impl Pressure {
    /// As it is logged; where it is a limit, that is the limit's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Exclusive => "exclusive",
            Self::ControlOutput => "max_control",
            Self::HeldRequests => "max_held_back",
            Self::HeldBytes => "max_frame_len",
            Self::BodyFrames => "max_body_frames",
            Self::BodyBytes => "max_body_bytes",
        }
    }
}

impl<P: WireframeProtocol> Connection<P> {
    /// The engine reads, or is about to end: the peer waits no more.
    #[inline]
    pub(super) fn note_no_pressure(&mut self) {
        if self.pressure.is_some() {
            self.lift_pressure();
        }
    }

    #[cold]
    fn lift_pressure(&mut self) {
        if let Some(cause) = self.pressure.take() {
            let (connection, cause) = (self.peer.id, cause.name());
            tracing::debug!(%connection, cause, "back-pressure lifted");
        }
    }

    /// The engine does not read. Of several causes the first is named, until it reads again.
    pub(super) fn note_pressure(&mut self) {
        if self.pressure.is_none() && !self.peer_closed {
            let cause = self.cause_of_pressure();
            self.pressure = Some(cause);
            let (connection, cause) = (self.peer.id, cause.name());
            tracing::debug!(%connection, cause, "back-pressure applied");
        }
    }

    fn cause_of_pressure(&self) -> Pressure {
        let limits = &self.config.limits;
        if self.stopped.is_paused() {
            Pressure::Paused
        } else if self.stopped.is_held() {
            Pressure::Held
        } else if self.control_is_full() {
            Pressure::ControlOutput
        } else if self.commands.held() >= limits.max_held_back.get() {
            Pressure::HeldRequests
        } else if self.commands.held_bytes() > limits.max_frame_len.get() {
            Pressure::HeldBytes
        } else if self.commands.full_bodies() > 0 {
            Pressure::BodyFrames
        } else if self.bodies_are_full() {
            Pressure::BodyBytes
        } else {
            Pressure::Exclusive
        }
    }
}
