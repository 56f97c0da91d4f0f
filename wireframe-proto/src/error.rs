//! What can go wrong, sorted by culprit: the peer, a limit, or this end.

use alloc::{borrow::Cow, boxed::Box, string::String};
use core::{error::Error as StdError, fmt};

use thiserror::Error;

/// The peer sent bytes that the framing or codec cannot accept. It ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("malformed input: {what}")]
pub struct Malformed {
    /// The protocol's own error code, for its last word; 0 if it has none.
    pub code: u32,
    /// What was expected and what came.
    pub what: Cow<'static, str>,
}

impl Malformed {
    /// Malformed input, without a code of the protocol.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: 0,
            what: what.into(),
        }
    }

    /// Malformed input, with the protocol's own code for it.
    pub fn with_code(code: u32, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            what: what.into(),
        }
    }
}

/// A frame of this end that cannot be put on the wire. No byte of it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("frame cannot be encoded: {what}")]
pub struct Unencodable {
    /// What stood in the way.
    pub what: Cow<'static, str>,
}

impl Unencodable {
    /// An unencodable frame.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into() }
    }
}

impl From<LimitExceeded> for Unencodable {
    fn from(limit: LimitExceeded) -> Self {
        Self::new(alloc::format!("{limit}"))
    }
}

/// A limit, by name and value, and what would have crossed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{limit} is {value}, got {got}")]
pub struct LimitExceeded {
    /// The limit's name, as in [`Limits`](crate::Limits), or that of another who
    /// [bounds connections](crate::Connection::refuse_messages).
    pub limit: &'static str,
    /// Its value.
    pub value: u64,
    /// What was asked for.
    pub got: u64,
}

impl LimitExceeded {
    /// The name of a bound on the memory of many connections. What crosses it is no one
    /// peer's doing, see [`CloseReason::fault`].
    pub const MEMORY_BUDGET: &'static str = "memory_budget";
}

/// The peer ended its output inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub struct UnexpectedEof {
    /// Bytes of the frame's payload that had come; of its header, if that was not whole.
    pub received: u64,
    /// Bytes that were still missing, if the header had said.
    pub missing: Option<u64>,
}

impl fmt::Display for UnexpectedEof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, missing } = self;
        match missing {
            Some(missing) => write!(
                f,
                "peer closed inside a frame: {missing} of {} payload bytes missing",
                received.saturating_add(*missing)
            ),
            None => write!(f, "peer closed inside a header, after {received} bytes"),
        }
    }
}

/// A message that the peer sent in fragments, and that was dropped before it was whole.
/// The connection goes on, unless the protocol
/// [closes it](crate::WireframeProtocol::on_message_dropped).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("message {id} was dropped after {received} bytes: {why}")]
pub struct DroppedMessage {
    /// The message's id.
    pub id: u64,
    /// Bytes of it that had come.
    pub received: u64,
    /// Why it was dropped.
    pub why: DropReason,
}

/// Why a message was dropped before it was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum DropReason {
    /// A fragment is missing.
    #[error("sequence gap: expected fragment {expected}, got {got}")]
    SequenceGap {
        /// The number of the fragment that should have come.
        expected: u32,
        /// The number of the one that came.
        got: u32,
    },
    /// It was not whole in time.
    #[error("not whole in time")]
    TimedOut,
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The queue or slot has no room. Room comes as output is sent.
    #[error("full")]
    Full,
    /// The connection takes no more of this: it is closing or closed.
    #[error("closed")]
    Closed,
    /// No live command or call has that id, or it has been finished already.
    #[error("unknown id")]
    Unknown,
    /// A call with that correlation id is pending already.
    #[error("correlation id in use")]
    InUse,
}

/// A refused frame, given back with the reason.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("frame refused: {reason}")]
pub struct Rejected<F> {
    /// The frame, as it was given.
    pub frame: F,
    /// Why it was refused.
    pub reason: Refusal,
}

impl<F> Rejected<F> {
    pub(crate) const fn new(frame: F, reason: Refusal) -> Self {
        Self { frame, reason }
    }
}

impl<F> fmt::Debug for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// Why an answer ended before it was complete; given to
/// [`handle_error`](crate::WireframeProtocol::handle_error).
#[derive(Debug)]
#[non_exhaustive]
pub enum AnswerError<E> {
    /// The handler said so.
    Protocol(E),
    /// The request's payload is not what its handler takes. The framing and codec have
    /// accepted it, so the connection is sound.
    Malformed(Malformed),
    /// A frame of the answer, or what it was to carry, could not be encoded.
    Unencodable(Unencodable),
    /// Something else: what stands around the handlers refused the request, or a handler
    /// failed with an error that is not the protocol's.
    Other(Box<dyn StdError + Send + Sync>),
}

impl<E: fmt::Display> fmt::Display for AnswerError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::Unencodable(error) => error.fmt(f),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for AnswerError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Protocol(error) => error.source(),
            Self::Malformed(error) => error.source(),
            Self::Unencodable(error) => error.source(),
            Self::Other(error) => error.source(),
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended its output between two frames.
    #[error("closed by the peer")]
    PeerClosed,
    /// The peer ended its output inside a frame.
    #[error(transparent)]
    UnexpectedEof(UnexpectedEof),
    /// The peer ended its output between two fragments of a message.
    #[error(
        "peer closed inside a message, after {received} bytes{}",
        missing.map_or(String::new(), |missing| alloc::format!(", {missing} are missing"))
    )]
    MessageEof {
        /// Bytes of the message that had come.
        received: u64,
        /// Bytes that were still missing, if their number had been declared.
        missing: Option<u64>,
    },
    /// The peer ended its output inside the preamble.
    #[error("peer closed inside the preamble, after {received} bytes")]
    PreambleEof {
        /// Bytes of it that had come.
        received: u64,
    },
    /// The peer sent what the framing or codec cannot accept.
    #[error(transparent)]
    Malformed(Malformed),
    /// The peer crossed a limit.
    #[error(transparent)]
    Limit(LimitExceeded),
    /// The framing refused a fragment of a message that had begun to go.
    #[error("a fragment of a message that has begun: {0}")]
    Unencodable(Unencodable),
    /// Reading or writing failed.
    #[error("transport failed: {0}")]
    Transport(String),
    /// Nothing was received or sent for the idle limit.
    #[error("idle")]
    Idle,
    /// Nothing was received for longer than the [`Heartbeat`](crate::Heartbeat) allows.
    #[error("the peer is silent")]
    HeartbeatTimedOut,
    /// The peer took no byte of waiting output for the write stall limit.
    #[error("the peer takes no output")]
    WriteStalled,
    /// The preamble was not through in time.
    #[error("the preamble was not completed in time")]
    PreambleTimedOut,
    /// A frame was not whole in time.
    #[error("a frame was not completed in time")]
    FrameTimedOut,
    /// A message was not whole in time, and could not be dropped alone: it has no id, or
    /// answers go in order, or its rest could be taken for another message.
    #[error("a message was not completed in time")]
    MessageTimedOut,
    /// The rest of a body that nobody reads did not come in time.
    #[error("a discarded body was not completed in time")]
    BodyTimedOut,
    /// A hook answered with [`Reaction::Close`](crate::Reaction::Close).
    #[error("closed by the protocol")]
    Protocol,
    /// This end asked for a drain, which ran to its end.
    #[error("drained")]
    Drained,
    /// This end asked for a drain, whose deadline passed.
    #[error("drain deadline passed{}", match fault {
        Fault::Peer => ", the peer was waited for",
        _ => "",
    })]
    DrainTimedOut {
        /// Whom it waited for: [`Fault::Peer`] if the peer took none of what waited for it
        /// since the drain began, or had only to take it, no command being at work any more;
        /// or no command could end before the peer sent more of a body, or nothing was left
        /// but replies of the peer. Else [`Fault::Own`].
        fault: Fault,
    },
    /// This end asked for an immediate end.
    #[error("aborted")]
    Aborted,
    /// A handler failed with an I/O error, which is fatal.
    #[error("a handler failed: {0}")]
    HandlerFailed(String),
    /// A handler panicked.
    #[error("a handler panicked")]
    HandlerPanicked,
    /// A hook, framing or codec panicked.
    #[error("the protocol panicked")]
    ProtocolPanicked,
}

/// Whose fault it was that a connection ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody's: it ended in good order, or because this end asked for it.
    Nobody,
    /// The peer's, or the network's between.
    Peer,
    /// This end's: its handlers or its protocol failed or took too long, or it lacked memory.
    Own,
}

impl CloseReason {
    /// Whose fault the end of the connection was. The limit [`LimitExceeded::MEMORY_BUDGET`]
    /// counts as this end's, whichever peers fill it: it is for who runs it to mend.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Limit(limit) if limit.limit == LimitExceeded::MEMORY_BUDGET => Fault::Own,
            Self::PeerClosed | Self::Idle | Self::Protocol | Self::Drained | Self::Aborted => {
                Fault::Nobody
            }
            Self::UnexpectedEof(_)
            | Self::MessageEof { .. }
            | Self::PreambleEof { .. }
            | Self::Malformed(_)
            | Self::Limit(_)
            | Self::Transport(_)
            | Self::HeartbeatTimedOut
            | Self::WriteStalled
            | Self::PreambleTimedOut
            | Self::FrameTimedOut
            | Self::MessageTimedOut
            | Self::BodyTimedOut => Fault::Peer,
            Self::DrainTimedOut { fault } => *fault,
            Self::Unencodable(_)
            | Self::HandlerFailed(_)
            | Self::HandlerPanicked
            | Self::ProtocolPanicked => Fault::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(limit: &'static str) -> CloseReason {
        let (value, got) = (1, 2);
        CloseReason::Limit(LimitExceeded { limit, value, got })
    }

    #[test]
    fn what_the_operator_has_to_mend_is_no_fault_of_the_peer() {
        // rule: OBS-3
        assert_eq!(over("memory_budget").fault(), Fault::Own);
        assert_eq!(over("max_frame_len").fault(), Fault::Peer);
        assert_eq!(CloseReason::Drained.fault(), Fault::Nobody);
    }
}
