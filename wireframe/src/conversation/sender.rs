//! The writing half of a conversation.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use wireframe_proto::Envelope;

use super::{error::SendError, exchange::Exchange};
use crate::sync::Arc;

/// Sends frames of an answer while its handler is still at work: the writing half of a
/// [`Conversation`](super::Conversation).
pub struct ResponseSender<F = Envelope> {
    exchange: Arc<Exchange<F>>,
}

impl<F> ResponseSender<F> {
    pub(super) fn new(exchange: Arc<Exchange<F>>) -> Self {
        Self { exchange }
    }

    /// Sends a frame as [`Conversation::send`](super::Conversation::send) does.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] with the frame once the command has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has sent nothing, and the frame is dropped with it.
    pub async fn send(&mut self, frame: F) -> Result<(), SendError<F>> {
        let send = SendFrame {
            exchange: &self.exchange,
            frame: Some(frame),
            waits: false,
        };
        send.await
    }
}

impl<F> fmt::Debug for ResponseSender<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseSender").finish_non_exhaustive()
    }
}

/// The future of [`ResponseSender::send`].
struct SendFrame<'a, F> {
    exchange: &'a Exchange<F>,
    frame: Option<F>,
    waits: bool,
}

// The frame is only ever moved, never pinned.
impl<F> Unpin for SendFrame<'_, F> {}

impl<F> Future for SendFrame<'_, F> {
    type Output = Result<(), SendError<F>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let sent = this.exchange.poll_send(cx, &mut this.frame);
        this.waits = sent.is_pending();
        sent
    }
}

impl<F> Drop for SendFrame<'_, F> {
    fn drop(&mut self) {
        if self.waits {
            self.exchange.stop_sending();
        }
    }
}
