//! What the engine tells its driver.

use alloc::string::String;
use core::fmt;

use crate::{
    error::{AnswerError, CloseReason, DroppedMessage, Unencodable},
    ids::{CallId, Priority},
    protocol::RequestInfo,
};

/// One thing that happened. The connection's getters describe the state just after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<F> {
    /// A [preamble](crate::WireframeProtocol::preamble) is through: what follows is
    /// frames. It does not come where there is none, unless more bytes were needed to see
    /// that.
    Preamble,
    /// A command starts: run its handler, then finish it.
    Request {
        /// The command.
        info: RequestInfo,
        /// Its first frame.
        frame: F,
    },
    /// A command arrived and waits for others to end.
    HeldBack(RequestInfo),
    /// A command's body has something new for
    /// [`next_body`](crate::Connection::next_body): a frame, its end, or an error.
    Body(RequestInfo),
    /// A command has failed while its handler was at work, because a frame of its answer
    /// could not be encoded: stop the handler. Nothing of it is taken any more, and the
    /// command's place in flight is free, or will be once the protocol's word on the
    /// failure has gone.
    Failed(RequestInfo),
    /// A control frame arrived and its hook has run.
    Control,
    /// A reply to a call.
    Reply {
        /// The call.
        call: CallId,
        /// The frame.
        frame: F,
        /// Whether it is the answer's last frame. The call has ended then.
        last: bool,
    },
    /// The answer to a call has ended, with a frame that is no part of it.
    ReplyEnd {
        /// The call. It has ended.
        call: CallId,
    },
    /// The peer sent a frame of its own accord.
    Push(F),
    /// A frame arrived that nobody can take; it was dropped and counted.
    Discarded(Discarded),
    /// A message that went in fragments was dropped before it was whole, and its
    /// [hook](crate::WireframeProtocol::on_message_dropped) has run. What still comes of it
    /// is ignored.
    MessageDropped(DroppedMessage),
    /// An accepted push, or a call, was not sent. Its slot is free again.
    Undelivered(Undelivered<F>),
    /// The connection starts to close. No command is in flight any more: handlers that
    /// still run have nobody to answer.
    Closing(CloseReason),
    /// The connection has ended. The last event.
    Closed(CloseReason),
}

/// Which kind of inbound frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Discarded {
    /// A body frame of no live command, or of one that reads no body.
    Body,
    /// A reply to no pending call, or to one that was forgotten.
    Reply,
    /// A request that came during a drain.
    Request,
}

impl Discarded {
    /// As it is logged.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Reply => "reply",
            Self::Request => "request",
        }
    }
}

/// A push that was accepted and not sent.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered<F> {
    /// The frame; as [`before_send`](crate::WireframeProtocol::before_send) left it, if
    /// it got so far.
    pub frame: F,
    /// Its queue.
    pub priority: Priority,
    /// What it was charged.
    pub(crate) charge: usize,
    /// The call that it began, if it began one. The call has ended.
    pub call: Option<CallId>,
    /// Why it was not sent.
    pub why: UndeliveredReason,
}

impl<F> fmt::Debug for Undelivered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undelivered")
            .field("priority", &self.priority)
            .field("call", &self.call)
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

/// Why a push was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UndeliveredReason {
    /// It could not be encoded.
    Unencodable(Unencodable),
    /// The connection ended while it was queued; or was encoded and not sent, where
    /// [`UnsentPushes::Returned`](crate::UnsentPushes::Returned) asks for these.
    ConnectionEnded,
}

/// What a handler gets when it asks for its command's body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body<F> {
    /// The next frame.
    Frame(F),
    /// None yet: an [`Event::Body`] will follow, or an [`Event::Failed`].
    Pending,
    /// The last frame has been taken.
    End,
    /// None came for the body time limit; asking again starts it again.
    TimedOut,
    /// The peer ended its output inside the body.
    UnexpectedEof,
    /// The command is not live, or its body was dropped.
    Gone,
}

/// How a handler ended its command.
#[derive(Debug)]
#[non_exhaustive]
pub enum End<E> {
    /// The answer is complete.
    Complete,
    /// The answer was a stream, which ended normally:
    /// [`stream_end_frame`](crate::WireframeProtocol::stream_end_frame) is asked.
    StreamComplete,
    /// With an error that the protocol's
    /// [`handle_error`](crate::WireframeProtocol::handle_error) answers.
    Failed(AnswerError<E>),
    /// The handler gave up. What it sent before still goes.
    Cancelled,
    /// With an I/O error: closes the connection.
    Fatal(String),
    /// The handler panicked: closes the connection.
    Panicked,
}
