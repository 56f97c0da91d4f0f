//! The one trait that a user of the library implements.

mod reaction;
mod role;
mod view;

use core::fmt;

use bytes::Bytes;

pub use self::{
    reaction::{Preamble, Reaction},
    role::Role,
    view::View,
};
use crate::{
    codec::Codec,
    context::ConnectionContext,
    error::{AnswerError, CloseReason, DroppedMessage},
    fragment::FragmentStrategy,
    ids::{CorrelationId, RequestId},
};

/// The context that a protocol's hooks are given.
pub type Context<'a, P> =
    ConnectionContext<'a, <P as WireframeProtocol>::Frame, <P as WireframeProtocol>::Session>;

/// A protocol: its frames, how they look on the wire, what they mean, and what to do
/// at each turn of a connection's life.
///
/// One value serves every connection. What belongs to a connection is its
/// [`Session`](Self::Session), its codec and its framing.
///
/// Hooks are synchronous and must not block. What they ask for through their context
/// happens after they return. A hook, codec or framing that panics ends its connection.
pub trait WireframeProtocol {
    /// The logical frame, in both directions.
    type Frame;
    /// What a handler may fail with and still leave the connection usable.
    type Error;
    /// Turns payloads into frames and back.
    type Codec: Codec<Frame = Self::Frame>;
    /// Reads and writes headers of wire units.
    type Framing: FragmentStrategy<Self::Frame>;
    /// The protocol's own state of one connection.
    type Session: Default;

    /// In which order answers go. The default is [`AnswerOrder::InOrder`].
    const ANSWERS: AnswerOrder = AnswerOrder::InOrder;

    /// When pushes may go. The default is [`PushTiming::AnyTime`].
    const PUSHES: PushTiming = PushTiming::AnyTime;

    /// A codec for a new connection.
    fn codec(&self) -> Self::Codec;

    /// A framing for a new connection.
    fn framing(&self) -> Self::Framing;

    /// Says what an inbound frame is. Asked once per frame, when it is decoded; must
    /// depend on its arguments alone.
    fn classify(&self, frame: &Self::Frame, view: &View<'_, Self::Session>) -> Role;

    /// Runs first, before anything is read. Push here to speak first.
    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        let _ = ctx;
    }

    /// Takes what the peer says before its first frame: a magic, a version, a banner.
    ///
    /// Asked right after the setup with no bytes at all, and until it is through again
    /// whenever more have come, with everything that has come so far, at most
    /// [`Limits::max_preamble`](crate::Limits::max_preamble) bytes. There may be frames
    /// among them, behind the preamble. What it answers must depend on the bytes, not on
    /// how often it is asked. Both ends are asked; `ctx.peer().side` says which this is.
    /// The default is [`Preamble::Absent`].
    ///
    /// It is timed ([`Timeouts::preamble`](crate::Timeouts::preamble)). Until it is
    /// through nothing is decoded and no heartbeat beats, but this end may send. To refuse
    /// a peer with a last word answer with [`Reaction::Close`].
    ///
    /// ```
    /// # use wireframe_proto::{Malformed, Preamble, Reaction};
    /// /// A magic of four bytes and a version, which is kept.
    /// fn preamble<F>(received: &[u8], version: &mut u8) -> Preamble<F> {
    ///     const MAGIC: &[u8] = b"WIRE";
    ///     match received.split_at_checked(MAGIC.len()) {
    ///         None if MAGIC.starts_with(received) => Preamble::Incomplete,
    ///         Some((MAGIC, [])) => Preamble::Incomplete,
    ///         Some((MAGIC, [found, ..])) => {
    ///             *version = *found;
    ///             Preamble::Done { len: MAGIC.len() + 1, reaction: Reaction::Continue }
    ///         }
    ///         _ => Preamble::Malformed(Malformed::new("not the magic")),
    ///     }
    /// }
    /// # let mut version = 0;
    /// # assert_eq!(preamble::<()>(b"", &mut version), Preamble::Incomplete);
    /// # let done = Preamble::Done { len: 5, reaction: Reaction::Continue };
    /// # assert_eq!(preamble::<()>(b"WIRE\x02frame", &mut version), done);
    /// # assert_eq!(version, 2);
    /// # assert!(matches!(preamble::<()>(b"X", &mut version), Preamble::Malformed(_)));
    /// ```
    fn preamble(&self, received: &[u8], ctx: &mut Context<'_, Self>) -> Preamble<Self::Frame> {
        let _ = (received, ctx);
        Preamble::Absent
    }

    /// Marks an answer's frame as belonging to the request with this id. Called for
    /// each frame of an answer whose request had an id, as it is given and so before anything
    /// else is asked about it, and for each call with an id. The default does nothing.
    fn correlate(&self, frame: &mut Self::Frame, id: CorrelationId) {
        let _ = (frame, id);
    }

    /// Encodes a frame once for all the connections that it is broadcast to: whole wire
    /// units, headers included, of [`max_frame_len`](crate::Limits::max_frame_len) bytes
    /// together at most. They are sent as they are, so they pass neither
    /// [`before_send`](Self::before_send) nor the connection's codec and framing. They must
    /// carry no message id: each connection gives out its own.
    ///
    /// Asked once per broadcast. With `None`, the default, each connection encodes the
    /// frame as any other. That is also right for a frame whose payload is large: codecs
    /// chain it without a copy, which this cannot.
    ///
    /// Do not implement it for a protocol whose `before_send`, codec or framing has a
    /// phase, counts what goes by, or treats connections differently: they would miss a
    /// frame, and what they write next would be wrong.
    fn encode_shared(&self, frame: &Self::Frame) -> Option<Bytes> {
        let _ = frame;
        None
    }

    /// Sees every outbound frame once, in wire order, just before it is encoded; but for
    /// those that [`encode_shared`](Self::encode_shared) has encoded. The default does
    /// nothing.
    ///
    /// Where messages go in fragments, a frame that it makes so long that it has to be split,
    /// when none that is split may go, is [`Unencodable`](crate::Unencodable).
    fn before_send(&self, frame: &mut Self::Frame, ctx: &mut Context<'_, Self>) {
        let _ = (frame, ctx);
    }

    /// Reacts to a frame that [`classify`](Self::classify) called
    /// [`Role::Control`]. A frame it sends goes before everything else. The default
    /// continues.
    fn on_control(&self, frame: Self::Frame, ctx: &mut Context<'_, Self>) -> Reaction<Self::Frame> {
        let _ = (frame, ctx);
        Reaction::Continue
    }

    /// Reacts to the loss of a message that went in fragments: one of them was missing, or
    /// the last did not come in time. It may have been a request, a reply, or a part of a
    /// body; nobody knows, and who waits for it goes on waiting. A fragment that comes again
    /// after its message was whole is taken for the rest of one that was lost. A frame that it
    /// sends goes as that of [`on_control`](Self::on_control). The default continues.
    ///
    /// It is not asked where answers go [`InOrder`](AnswerOrder::InOrder), nor for a message
    /// without an id or one that cannot be told from
    /// [the next of its id](crate::FragmentStrategy::reuses_message_ids): the connection closes
    /// then. It should close as well where other frames
    /// could be taken for those of the message: replies and bodies that name no id.
    fn on_message_dropped(
        &self,
        message: &DroppedMessage,
        ctx: &mut Context<'_, Self>,
    ) -> Reaction<Self::Frame> {
        let _ = (message, ctx);
        Reaction::Continue
    }

    /// Reacts to an answer that failed. A frame it sends is the answer's last.
    /// [`stream_end_frame`](Self::stream_end_frame) is not asked for such an answer.
    /// The default says nothing to the peer, logs a warning, and continues.
    fn handle_error(
        &self,
        error: AnswerError<Self::Error>,
        ctx: &mut Context<'_, Self>,
    ) -> Reaction<Self::Frame> {
        let what: &dyn fmt::Display = match &error {
            AnswerError::Protocol(_) => &"protocol error",
            AnswerError::Malformed(error) => error,
            AnswerError::Unencodable(error) => error,
            AnswerError::Other(error) => error,
        };
        ctx.warn_of_failure(what);
        Reaction::Continue
    }

    /// Reacts to a request that nobody serves. A frame it sends is the whole answer.
    ///
    /// The default logs a warning and closes the connection, because a peer that waits
    /// for an answer which never comes is worse off. Its peer may come again with the same,
    /// so what this [may warn of](crate::ConnectionContext::may_warn) is, in the async half,
    /// counted for all connections of an app together, by kind.
    fn unknown_route(
        &self,
        frame: Self::Frame,
        ctx: &mut Context<'_, Self>,
    ) -> Reaction<Self::Frame> {
        let _ = frame;
        if let Some(suppressed) = ctx.may_warn("unknown_route") {
            let (connection, route) = (ctx.connection_id(), ctx.route());
            tracing::warn!(%connection, route, suppressed, "no handler for this route");
        }
        Reaction::Close(None)
    }

    /// The frame that marks the normal end of a streamed answer; asked once per
    /// stream. The default is none.
    fn stream_end_frame(&self, ctx: &mut Context<'_, Self>) -> Option<Self::Frame> {
        let _ = ctx;
        None
    }

    /// Runs once for every command that was handed to the application, after its last
    /// frame was encoded. The default does nothing.
    ///
    /// When the connection closes all commands end at once, with
    /// [`Outcome::Disconnected`] unless they had failed before; so does one whose last frame
    /// is under way in fragments, though all of these still go.
    fn on_command_end(&self, outcome: Outcome, ctx: &mut Context<'_, Self>) {
        let _ = (outcome, ctx);
    }

    /// What to ask a silent peer, so that it shows that it is alive; asked when the ping
    /// of a [`Heartbeat`](crate::Heartbeat) is about to be encoded, or, between two
    /// fragments of a message, to see whether it may go there. It goes as control,
    /// but not while a command is in flight where pushes go
    /// [`BetweenCommands`](PushTiming::BetweenCommands).
    ///
    /// The default is none: nothing goes out, and the heartbeat's timeout counts from
    /// then all the same.
    fn ping(&self, ctx: &mut Context<'_, Self>) -> Option<Self::Frame> {
        let _ = ctx;
        None
    }

    /// What to tell the peer when a drain begins. The default is nothing.
    fn drain_notice(&self, ctx: &mut Context<'_, Self>) -> Option<Self::Frame> {
        let _ = ctx;
        None
    }

    /// The last word to the peer, asked once before every close that it can still
    /// hear and that no [`Reaction::Close`] decided. The default is none.
    fn goodbye(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) -> Option<Self::Frame> {
        let _ = (reason, ctx);
        None
    }

    /// Runs last, exactly once for every connection whose setup ran. The default does
    /// nothing.
    fn on_disconnect(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) {
        let _ = (reason, ctx);
    }
}

/// The order of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOrder {
    /// In the order of the requests, each whole before the next.
    InOrder,
    /// In any order, taking turns: frames carry their request's correlation id.
    /// Requests without one run one at a time.
    Correlated,
}

/// When pushes may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushTiming {
    /// Whenever it is their turn.
    AnyTime,
    /// Only while no command is in flight or held back.
    BetweenCommands,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Its answer was sent to the end.
    Done,
    /// Its answer ended with an error.
    Failed,
    /// Its handler gave up.
    Cancelled,
    /// Its handler panicked.
    Panicked,
    /// The connection ended first.
    Disconnected,
}

/// A command, as hooks and handlers know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestInfo {
    /// This end's name for it.
    pub id: RequestId,
    /// Which handler serves it.
    pub route: u32,
    /// The protocol's name for it.
    pub correlation: Option<CorrelationId>,
}
