//! What the async half asks of a protocol's types.

use bytes::Bytes;
use wireframe_proto::{Envelope, WireframeProtocol};

use crate::error::ProtocolError;

/// Marks the frame type of a protocol.
///
/// It has nothing to implement. It exists so that a handler can return a frame, and a
/// good many other things, without ambiguity.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not marked as a frame",
    label = "not marked as a frame",
    note = "mark the frame type of your protocol with `impl wireframe::Frame for {Self} {{}}`"
)]
pub trait Frame: Send + 'static {}

/// A frame that carries bytes: handlers can take and return just these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a frame that carries bytes",
    label = "not a frame that carries bytes",
    note = "implement `wireframe::PayloadFrame` for `{Self}`, or take and return whole frames"
)]
pub trait PayloadFrame: Frame {
    /// What the frame carries.
    fn into_payload(self) -> Bytes;

    /// A frame that answers a request for `route` with these bytes. The request's
    /// correlation id is added later, by
    /// [`correlate`](WireframeProtocol::correlate).
    fn answering(route: u32, payload: Bytes) -> Self;
}

impl Frame for Envelope {}

impl PayloadFrame for Envelope {
    fn into_payload(self) -> Bytes {
        self.payload
    }

    fn answering(route: u32, payload: Bytes) -> Self {
        Self::new(route, payload)
    }
}

/// A protocol that can be served: a [`WireframeProtocol`] whose parts may move between
/// threads. It is implemented for every such protocol.
pub trait Protocol:
    WireframeProtocol<
        Frame: Frame,
        Error: ProtocolError,
        Codec: Send + Sync + 'static,
        Framing: Send + 'static,
        Session: Send + 'static,
    > + Send
    + Sync
    + 'static
{
}

impl<P> Protocol for P where
    P: WireframeProtocol<
            Frame: Frame,
            Error: ProtocolError,
            Codec: Send + Sync + 'static,
            Framing: Send + 'static,
            Session: Send + 'static,
        > + Send
        + Sync
        + 'static
{
}
