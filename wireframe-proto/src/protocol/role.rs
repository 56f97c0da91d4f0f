//! What the frames of a peer are.

use crate::ids::CorrelationId;

/// What an inbound frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Starts a command.
    Request {
        /// Which handler serves it.
        route: u32,
        /// The protocol's name for the exchange, if it has one.
        correlation: Option<CorrelationId>,
        /// Starts when all before it have ended, and nothing behind it is decoded until
        /// it has ended, or while its handler awaits a body frame; no command behind it
        /// starts before. For commands that change what later bytes mean.
        exclusive: bool,
    },
    /// Belongs to a command in flight.
    Body {
        /// Which one; `None` is the oldest. Of several with one id, the newest.
        of: Option<CorrelationId>,
        /// Whether it is the last frame of the body.
        last: bool,
    },
    /// Goes to [`on_control`](crate::WireframeProtocol::on_control) at once.
    Control,
    /// Answers a call of this end.
    Reply {
        /// Which one; `None` is the oldest.
        to: Option<CorrelationId>,
        /// Whether it is the last frame of the answer.
        last: bool,
    },
    /// Ends the answer to a call of this end and is no part of it: only the end is
    /// handed on, the frame is dropped.
    ReplyEnd {
        /// Which one; `None` is the oldest.
        to: Option<CorrelationId>,
    },
    /// None of these: sent by the peer of its own accord.
    Push,
}

impl Role {
    /// As it is logged.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Request { .. } => "request",
            Self::Body { .. } => "body",
            Self::Control => "control",
            Self::Reply { .. } => "reply",
            Self::ReplyEnd { .. } => "reply_end",
            Self::Push => "push",
        }
    }
}
