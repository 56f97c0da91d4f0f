//! The reading half of a conversation.

use std::{
    fmt,
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_io::{AsyncBufRead, AsyncRead};
use wireframe_proto::Envelope;

use super::{error::BodyError, exchange::Exchange};
use crate::{frame::PayloadFrame, sync::Arc};

/// The rest of a request, in frames of its own: an argument of a handler, or the reading
/// half of a [`Conversation`](super::Conversation).
///
/// What a frame of the body is, is said by the protocol's
/// [`classify`](wireframe_proto::WireframeProtocol::classify). At most
/// [`Limits::max_body_frames`](wireframe_proto::Limits::max_body_frames) of them wait for
/// the handler, and of all bodies of the connection about
/// [`Limits::max_body_bytes`](wireframe_proto::Limits::max_body_bytes), then the peer has
/// to. Whether the handler takes frames
/// ([`next`](Self::next), or as a [`Stream`]) or, where frames carry payloads, bytes (as an
/// [`AsyncRead`]), it gets each of them once, in order. Dropped, or when the command ends,
/// what is left of the body is read and discarded.
///
/// Frames and bytes may be taken in turn, but a frame that was read in part is read to its
/// end before the next one is asked for: until then that is an error. An empty frame adds
/// no bytes, and is not the end of them.
///
/// A stream ends behind every error but [`BodyError::TimedOut`].
///
/// # Cancel safety
///
/// A `read` that is dropped before it completes takes no byte, and neither does a stream
/// that is not polled any more. But only [`next`](Self::next) tells that nobody waits any
/// more: behind the others the time that a frame may take to come
/// ([`Timeouts::body`](wireframe_proto::Timeouts::body)) runs on, and whoever asks next
/// may be told that it is over.
///
/// ```
/// use wireframe::{RequestBody, WireframeError};
///
/// async fn count(mut body: RequestBody) -> Result<String, WireframeError<std::convert::Infallible>> {
///     let mut bytes = 0;
///     while let Some(frame) = body.next().await? {
///         bytes += frame.payload.len();
///     }
///     Ok(bytes.to_string())
/// }
/// # assert!(wireframe::WireframeApp::new().route(1, count).build().is_ok());
/// ```
pub struct RequestBody<F = Envelope> {
    exchange: Arc<Exchange<F>>,
    /// What has not been read of the frame that came last.
    rest: Bytes,
    /// As a stream it has ended.
    over: bool,
}

impl<F> RequestBody<F> {
    pub(super) fn new(exchange: Arc<Exchange<F>>) -> Self {
        Self {
            exchange,
            rest: Bytes::new(),
            over: false,
        }
    }

    /// The next frame of the body: the last one too, and then `None`, however often it is
    /// asked.
    ///
    /// # Errors
    ///
    /// [`BodyError::TimedOut`] if none came in time, [`BodyError::UnexpectedEof`] if the
    /// peer ended its output inside the body, [`BodyError::Closed`] once the command has
    /// ended, [`BodyError::PartlyRead`] if bytes of the frame before are still to be read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no frame, and the time that a frame may take to come
    /// stops to run.
    pub async fn next(&mut self) -> Result<Option<F>, BodyError> {
        self.check_rest()?;
        let next = NextFrame {
            exchange: &self.exchange,
            waits: false,
        };
        next.await
    }

    /// The frame that follows must not overtake the bytes that are left of another.
    fn check_rest(&self) -> Result<(), BodyError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(BodyError::PartlyRead { left }),
        }
    }
}

impl<F: PayloadFrame> RequestBody<F> {
    /// Sees to it that `rest` has bytes, if there are more.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.exchange.poll_next(cx))? {
                Some(frame) => self.rest = frame.into_payload(),
                None => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<F> Drop for RequestBody<F> {
    fn drop(&mut self) {
        self.exchange.drop_body();
    }
}

impl<F> Stream for RequestBody<F> {
    type Item = Result<F, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = match self.check_rest() {
            Ok(()) => ready!(self.exchange.poll_next(cx)),
            Err(error) => Err(error),
        };
        self.over = !matches!(next, Ok(Some(_)) | Err(BodyError::TimedOut));
        Poll::Ready(next.transpose())
    }
}

impl<F: PayloadFrame> AsyncBufRead for RequestBody<F> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_rest(cx))?;
        Poll::Ready(Ok(&this.rest))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        let amount = amount.min(self.rest.len());
        self.rest.advance(amount);
    }
}

impl<F: PayloadFrame> AsyncRead for RequestBody<F> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_rest(cx))?;
        Poll::Ready((&mut this.rest).reader().read(into))
    }
}

impl<F> fmt::Debug for RequestBody<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

/// The future of [`RequestBody::next`].
struct NextFrame<'a, F> {
    exchange: &'a Exchange<F>,
    waits: bool,
}

impl<F> Future for NextFrame<'_, F> {
    type Output = Result<Option<F>, BodyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let next = self.exchange.poll_next(cx);
        self.waits = next.is_pending();
        next
    }
}

impl<F> Drop for NextFrame<'_, F> {
    fn drop(&mut self) {
        if self.waits {
            self.exchange.stop_awaiting();
        }
    }
}
