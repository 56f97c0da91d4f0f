//! Handlers that converse: they send while they are at work, and read the rest of their
//! request.

mod body;
mod error;
mod exchange;
mod sender;
#[cfg(test)]
mod tests;

use std::fmt;

use wireframe_proto::Envelope;

pub use body::RequestBody;
pub use error::{BodyError, SendError};
pub(crate) use exchange::{Exchange, Wanted};
pub use sender::ResponseSender;

use crate::{
    app::{Extract, Parts},
    error::WireframeError,
    frame::Protocol,
    sync::Arc,
};

/// Converses with the peer within one command: an argument of a handler.
///
/// What it sends goes before what the handler returns, whatever that is, and before what a
/// stream yields later. It may be moved: into the stream that the handler returns, or to
/// another task. Once the command has ended it is closed.
///
/// ```
/// use wireframe::{Conversation, Envelope, WireframeError};
///
/// /// Asks for a file, reads it, and says how long it was.
/// async fn load(
///     mut peer: Conversation,
/// ) -> Result<String, WireframeError<std::convert::Infallible>> {
///     peer.send(Envelope::new(2, "the file, please")).await?;
///     let mut bytes = 0;
///     while let Some(packet) = peer.next().await? {
///         bytes += packet.payload.len();
///     }
///     Ok(bytes.to_string())
/// }
/// # assert!(wireframe::WireframeApp::new().route(1, load).build().is_ok());
/// ```
pub struct Conversation<F = Envelope> {
    sender: ResponseSender<F>,
    body: RequestBody<F>,
}

impl<F> Conversation<F> {
    fn new(exchange: Arc<Exchange<F>>) -> Self {
        Self {
            sender: ResponseSender::new(Arc::clone(&exchange)),
            body: RequestBody::new(exchange),
        }
    }

    /// Sends a frame of the answer. It waits while
    /// [`Limits::response_slot`](wireframe_proto::Limits::response_slot) frames that were
    /// sent before wait for room in the answer, as many as may wait there.
    ///
    /// A frame that turns out to be unencodable fails the command, see
    /// [`handle_error`](wireframe_proto::WireframeProtocol::handle_error). The handler is
    /// dropped then, after it was polled once more.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] with the frame once the command has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has sent nothing, and the frame is dropped with it.
    pub async fn send(&mut self, frame: F) -> Result<(), SendError<F>> {
        self.sender.send(frame).await
    }

    /// The next frame of the body: [`RequestBody::next`].
    ///
    /// # Errors
    ///
    /// As [`RequestBody::next`].
    ///
    /// # Cancel safety
    ///
    /// As [`RequestBody::next`].
    pub async fn next(&mut self) -> Result<Option<F>, BodyError> {
        self.body.next().await
    }

    /// The two halves, to send and to read at the same time.
    #[must_use]
    pub fn split(self) -> (ResponseSender<F>, RequestBody<F>) {
        (self.sender, self.body)
    }
}

impl<F> fmt::Debug for Conversation<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").finish_non_exhaustive()
    }
}

impl<P: Protocol> Extract<P> for Conversation<P::Frame> {
    const TAKES_BODY: bool = true;

    fn extract(parts: &mut Parts<'_, P>) -> Result<Self, WireframeError<P::Error>> {
        parts.take_exchange::<Self>().map(Self::new)
    }
}

impl<P: Protocol> Extract<P> for RequestBody<P::Frame> {
    const TAKES_BODY: bool = true;

    fn extract(parts: &mut Parts<'_, P>) -> Result<Self, WireframeError<P::Error>> {
        parts.take_exchange::<Self>().map(Self::new)
    }
}

/// A conversation on its way to the handler. If it does not get there, nobody reads the
/// body.
pub(crate) struct Offer<F> {
    exchange: Arc<Exchange<F>>,
    accepted: bool,
}

impl<F> Offer<F> {
    pub(crate) fn new(exchange: Arc<Exchange<F>>) -> Self {
        Self {
            exchange,
            accepted: false,
        }
    }

    pub(crate) fn accept(mut self) -> Arc<Exchange<F>> {
        self.accepted = true;
        Arc::clone(&self.exchange)
    }
}

impl<F> Drop for Offer<F> {
    fn drop(&mut self) {
        if !self.accepted {
            self.exchange.drop_body();
        }
    }
}
