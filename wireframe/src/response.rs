//! What handlers answer with.

use std::{
    convert::Infallible,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use wireframe_proto::Envelope;

use crate::{
    error::{ProtocolError, WireframeError},
    frame::{Frame, PayloadFrame},
};

/// A stream of an answer's frames.
pub type FrameStream<F, E> = Pin<Box<dyn Stream<Item = Result<F, WireframeError<E>>> + Send>>;

/// An answer.
///
/// Streams and channels are polled only while their frames can be taken: a slow peer
/// stops them, and memory does not grow with their length.
#[non_exhaustive]
pub enum Response<F = Envelope, E = Infallible> {
    /// One frame.
    Single(F),
    /// Several frames that are there already. The request ends with the last of them, also
    /// for a conversation that its handler has handed on.
    Vec(Vec<F>),
    /// Frames as they come. An error ends the answer.
    Stream(FrameStream<F, E>),
    /// Frames that another task sends; the answer ends when all senders are dropped.
    Channel(Receiver<F>),
    /// No frame.
    Empty,
}

impl<F, E> Response<F, E> {
    /// Answers with a stream of frames.
    ///
    /// The crate `async-stream` is the recommended way to write one:
    ///
    /// ```
    /// use wireframe::{Envelope, Response};
    ///
    /// async fn count() -> Response {
    ///     Response::frames(async_stream::stream! {
    ///         for n in 0..5u8 {
    ///             yield Envelope::new(2, vec![n]);
    ///         }
    ///     })
    /// }
    /// ```
    pub fn frames(stream: impl Stream<Item = F> + Send + 'static) -> Self
    where
        F: 'static,
        E: 'static,
    {
        Self::Stream(Box::pin(Infallibly {
            frames: stream,
            error: PhantomData,
        }))
    }

    /// Answers with a stream of frames that may fail.
    pub fn stream(
        stream: impl Stream<Item = Result<F, WireframeError<E>>> + Send + 'static,
    ) -> Self {
        Self::Stream(Box::pin(stream))
    }

    /// An answer that another task sends, with at most `capacity` frames, at least one,
    /// on their way.
    #[must_use]
    pub fn channel(capacity: usize) -> (Sender<F>, Self) {
        let (sender, receiver) = async_channel::bounded(capacity.max(1));
        (sender, Self::Channel(receiver))
    }
}

impl<F, E> fmt::Debug for Response<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(_) => f.write_str("Single"),
            Self::Vec(frames) => write!(f, "Vec({} frames)", frames.len()),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Channel(_) => f.write_str("Channel"),
            Self::Empty => f.write_str("Empty"),
        }
    }
}

pin_project! {
    /// A stream of frames as one that may fail.
    struct Infallibly<S, E> {
        #[pin]
        frames: S,
        error: PhantomData<fn() -> E>,
    }
}

impl<F, E, S: Stream<Item = F>> Stream for Infallibly<S, E> {
    type Item = Result<F, WireframeError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().frames.poll_next(cx).map(|next| next.map(Ok))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.frames.size_hint()
    }
}

/// What a handler may return.
///
/// The frame, a `Vec` of frames, `()`, a [`Response`]; bytes, text or a typed
/// [`Message`](crate::Message), as the payload of a frame that answers; or a `Result` of
/// any of these with the protocol's error or [`WireframeError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the answer of a handler whose frames are `{F}`",
    label = "not an answer",
    note = "answers are the frame, a `Vec` of frames, `()`, `Response`, or bytes, text or `Message<T>` as the payload of a frame",
    note = "and a `Result` of any of these, with the protocol's error `{E}` or `WireframeError<{E}>`"
)]
pub trait IntoResponse<F, E> {
    /// The answer to a request for `route`.
    ///
    /// # Errors
    ///
    /// What the handler failed with.
    fn into_response(self, route: u32) -> Result<Response<F, E>, WireframeError<E>>;
}

impl<F: Frame, E> IntoResponse<F, E> for F {
    fn into_response(self, _: u32) -> Result<Response<F, E>, WireframeError<E>> {
        Ok(Response::Single(self))
    }
}

impl<F, E> IntoResponse<F, E> for Response<F, E> {
    fn into_response(self, _: u32) -> Result<Self, WireframeError<E>> {
        Ok(self)
    }
}

impl<F: Frame, E> IntoResponse<F, E> for Vec<F> {
    fn into_response(self, _: u32) -> Result<Response<F, E>, WireframeError<E>> {
        Ok(Response::Vec(self))
    }
}

impl<F, E> IntoResponse<F, E> for () {
    fn into_response(self, _: u32) -> Result<Response<F, E>, WireframeError<E>> {
        Ok(Response::Empty)
    }
}

macro_rules! payloads {
    ($($payload:ty)*) => {$(
        impl<F: PayloadFrame, E> IntoResponse<F, E> for $payload {
            fn into_response(self, route: u32) -> Result<Response<F, E>, WireframeError<E>> {
                Ok(Response::Single(F::answering(route, self.into())))
            }
        }
    )*};
}

payloads!(Bytes Vec<u8> String &'static [u8] &'static str);

impl<F, E, T> IntoResponse<F, E> for Result<T, E>
where
    T: IntoResponse<F, E>,
    E: ProtocolError,
{
    fn into_response(self, route: u32) -> Result<Response<F, E>, WireframeError<E>> {
        self?.into_response(route)
    }
}

impl<F, E, T: IntoResponse<F, E>> IntoResponse<F, E> for Result<T, WireframeError<E>> {
    fn into_response(self, route: u32) -> Result<Response<F, E>, WireframeError<E>> {
        self?.into_response(route)
    }
}
