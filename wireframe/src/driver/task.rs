//! What a connection's application has under way.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use async_channel::Receiver;
use futures_core::Stream;
use wireframe_proto::{RequestId, WireframeProtocol};

pub(super) use crate::contain::discard;
use crate::{
    app::{Answer, Handling, Parts, Serve, Started},
    contain,
    error::WireframeError,
    frame::Protocol,
    response::FrameStream,
};

/// Something of the application that the driver polls.
pub(super) enum Task<P: Protocol> {
    /// A handler, before it has answered.
    Handler(Serves, Handling<P>),
    /// An answer whose frames come one by one.
    Feed {
        id: RequestId,
        feed: Feed<P>,
        /// Whether it stands in one of the driver's lists of feeds to go on with.
        listed: bool,
    },
}

impl<P: Protocol> Task<P> {
    /// The command that it works for.
    pub(super) fn command(&self) -> Option<RequestId> {
        match self {
            Self::Handler(Serves::Request(id), _) | Self::Feed { id, .. } => Some(*id),
            Self::Handler(Serves::Connect | Serves::Push, _) => None,
        }
    }
}

/// What a handler is there for.
#[derive(Clone, Copy)]
pub(super) enum Serves {
    Request(RequestId),
    /// The connection's beginning.
    Connect,
    /// A pushed frame.
    Push,
}

/// Where the frames of an answer come from.
pub(super) enum Feed<P: Protocol> {
    Stream(FrameStream<P::Frame, P::Error>),
    Channel(Pin<Box<Receiver<P::Frame>>>),
}

/// A frame of an answer, or what ended it.
pub(super) type Item<P> =
    Result<<P as WireframeProtocol>::Frame, WireframeError<<P as WireframeProtocol>::Error>>;

/// What user code came to.
pub(super) enum Polled<T> {
    Pending,
    Ready(T),
    Panicked,
}

/// Polls user code; a panic in it ends here.
#[inline]
pub(super) fn contain<T>(poll: impl FnOnce() -> Poll<T>) -> Polled<T> {
    match contain::run(poll) {
        Some(Poll::Ready(value)) => Polled::Ready(value),
        Some(Poll::Pending) => Polled::Pending,
        None => Polled::Panicked,
    }
}

/// Starts a handler. One that is done without an answer has panicked.
#[inline]
pub(super) fn start<P: Protocol>(
    handler: &dyn Serve<P>,
    mut parts: Parts<'_, P>,
    cx: &mut Context<'_>,
) -> Started<Handling<P>, Option<Answer<P>>> {
    let start = AssertUnwindSafe(move || handler.start(&mut parts, cx));
    match std::panic::catch_unwind(start) {
        Ok(Started::AtWork(handling)) => Started::AtWork(handling),
        Ok(Started::Done(answer)) => Started::Done(Some(answer)),
        Err(_) => Started::Done(None),
    }
}

/// Polls a handler again.
pub(super) fn poll_handling<P: Protocol>(
    handling: &mut Handling<P>,
    cx: &mut Context<'_>,
) -> Started<(), Option<Answer<P>>> {
    match contain(|| handling.as_mut().poll(cx)) {
        Polled::Pending => Started::AtWork(()),
        Polled::Ready(answer) => Started::Done(Some(answer)),
        Polled::Panicked => Started::Done(None),
    }
}

impl<P: Protocol> Feed<P> {
    /// The next frame.
    #[inline]
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Polled<Option<Item<P>>> {
        match self {
            Self::Stream(stream) => contain(|| stream.as_mut().poll_next(cx)),
            Self::Channel(receiver) => {
                contain(|| receiver.as_mut().poll_next(cx).map(|next| next.map(Ok)))
            }
        }
    }
}
