use std::net::SocketAddr;

use tokio::net::TcpStream;
use wireframe_0_3::{
    app::Envelope,
    client::{ClientError, WireframeClient},
    rewind_stream::RewindStream,
    serializer::BincodeSerializer,
};

use super::{MAX_BODY, soon};

/// A connected 0.3.0 client.
#[derive(Debug)]
pub(crate) struct OldClient(WireframeClient<BincodeSerializer, RewindStream<TcpStream>>);

impl OldClient {
    /// Sends `request` and awaits the next frame, which must carry the same correlation id.
    ///
    /// 0.3.0 picks the id itself where the request has none: 1, 2, 3 and so on.
    pub(crate) async fn call(&mut self, request: Envelope) -> Result<Envelope, ClientError> {
        soon("the old client calls", self.0.call_correlated(request)).await
    }

    /// Sends `request` without awaiting an answer, and returns its correlation id.
    pub(crate) async fn send(&mut self, request: Envelope) -> Result<u64, ClientError> {
        soon("the old client sends", self.0.send_envelope(request)).await
    }

    /// Sends `request` as it is: without a correlation id if it has none.
    pub(crate) async fn send_as_is(&mut self, request: &Envelope) -> Result<(), ClientError> {
        soon("the old client sends", self.0.send(request)).await
    }

    /// Awaits the next frame, whatever its correlation id.
    pub(crate) async fn receive(&mut self) -> Result<Envelope, ClientError> {
        soon("the old client receives", self.0.receive_envelope()).await
    }

    /// Closes the connection.
    pub(crate) async fn close(self) {
        soon("the old client closes", self.0.close()).await;
    }
}

/// Connects a client that sends and takes bodies up to [`MAX_BODY`].
pub(crate) async fn old_client(addr: SocketAddr) -> OldClient {
    let builder = WireframeClient::builder().max_frame_length(MAX_BODY);
    OldClient(
        soon("the old client connects", builder.connect(addr))
            .await
            .expect("the server listens"),
    )
}

/// Connects a client with the limits 0.3.0 has when nothing is set.
pub(crate) async fn old_client_with_its_defaults(addr: SocketAddr) -> OldClient {
    let builder = WireframeClient::builder();
    OldClient(
        soon("the old client connects", builder.connect(addr))
            .await
            .expect("the server listens"),
    )
}
