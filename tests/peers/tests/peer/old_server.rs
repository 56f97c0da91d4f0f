use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{sync::oneshot, task::JoinHandle};
use wireframe_0_3::{
    app::{Envelope, Handler, WireframeApp},
    server::{ServerError, WireframeServer},
};

use super::{ECHO, MAX_BODY, soon};

/// A running 0.3.0 server that echoes envelopes on route [`ECHO`].
///
/// Dropped without [`OldServer::shut_down`], it ends with the runtime of its test.
#[derive(Debug)]
pub(crate) struct OldServer {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<(), ServerError>>,
}

impl OldServer {
    /// The loopback address to connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting and waits for the connections, which 0.3.0 leaves to their clients to end.
    ///
    /// # Panics
    ///
    /// If a client is still connected, or if the server failed.
    pub(crate) async fn shut_down(self) {
        // A server that has already ended has dropped the receiver; its result tells why.
        let _ = self.stop.send(());
        soon("the old server shuts down", self.run)
            .await
            .expect("the server task panicked")
            .expect("the server failed");
    }
}

/// Starts an echo server that takes bodies up to [`MAX_BODY`].
pub(crate) fn old_server() -> OldServer {
    start(|| echo_app().buffer_capacity(MAX_BODY))
}

/// Starts an echo server with the limits 0.3.0 has when nothing is set.
pub(crate) fn old_server_with_its_defaults() -> OldServer {
    start(echo_app)
}

fn start(app: impl Fn() -> WireframeApp + Send + Sync + Clone + 'static) -> OldServer {
    let server = WireframeServer::new(app)
        .workers(1)
        .bind((Ipv4Addr::LOCALHOST, 0).into())
        .expect("a free loopback port");
    let addr = server
        .local_addr()
        .expect("a bound listener has an address");
    let (stop, stopped) = oneshot::channel();
    let run = tokio::spawn(server.run_with_shutdown(async {
        // A dropped sender is no order to stop: the test just does not need the handle.
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    }));
    OldServer { addr, stop, run }
}

/// 0.3.0 answers with the request's payload once the handler returns, so an echo does nothing.
fn echo_app() -> WireframeApp {
    let echo: Handler<Envelope> = Arc::new(|_| Box::pin(async {}));
    WireframeApp::new()
        .and_then(|app| app.route(ECHO, echo))
        .expect("one route cannot clash")
}
