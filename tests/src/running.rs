//! A server that serves in the background.

use std::net::SocketAddr;

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use wireframe::{
    BuildError, CloseReason, Driver, Environment, Protocol, PushHandle, WireframeApp,
    server::{ServerHandle, ShutdownReport},
    testing::ManualClock,
};
use wireframe_tokio::{Server, Tokio, environment};

use crate::{Gauge, Gauged, Raw, soon};

/// A server on a free port of the loopback.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// What shuts it down.
    pub handle: ServerHandle,
    /// Ends when it has.
    pub served: JoinHandle<Result<ShutdownReport, BuildError>>,
}

/// Starts to serve an app.
pub async fn start<P: Protocol>(app: WireframeApp<P>) -> Running {
    let server = Server::bind("127.0.0.1:0").await.expect("a free port");
    Running {
        address: server.local_addr().expect("a bound socket"),
        handle: server.handle(),
        served: tokio::spawn(server.serve(app)),
    }
}

impl Running {
    /// Shuts it down and waits for its end.
    pub async fn end(self) -> ShutdownReport {
        self.handle.shutdown();
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(self) -> ShutdownReport {
        let served = soon("the server ends", self.served).await;
        let report = served
            .expect("the server did not panic")
            .expect("the app was fit to serve");
        assert_eq!(
            self.handle.connections(),
            0,
            "connections outlive their server"
        );
        report
    }
}

/// Handles to the connections of a server.
#[derive(Debug)]
pub struct Handles<F>(mpsc::UnboundedReceiver<PushHandle<F>>);

/// The app, and handles to the connections that it will serve.
pub fn handing_out<P: Protocol>(app: WireframeApp<P>) -> (WireframeApp<P>, Handles<P::Frame>) {
    let (out, handles) = mpsc::unbounded_channel();
    let app = app.on_connect(move |push: PushHandle<P::Frame>| {
        // Refused only if the test does not look.
        let _ = out.send(push);
        async {}
    });
    (app, Handles(handles))
}

impl<F> Handles<F> {
    /// The handle to the next connection.
    pub async fn next(&mut self) -> PushHandle<F> {
        let handle = soon("a connection is served", self.0.recv()).await;
        handle.expect("a server serves")
    }
}

/// One connection whose driver the test runs itself, when it wants to.
#[derive(Debug)]
pub struct Lone<P: Protocol> {
    /// The other end.
    pub peer: Raw,
    /// To be run.
    pub driver: Driver<P, Gauged<Tokio<tokio::net::TcpStream>>>,
    /// What passes through its transport.
    pub gauge: watch::Receiver<Gauge>,
}

/// One connection over sockets whose buffers are as small as the system grants.
pub async fn narrow<P: Protocol>(app: WireframeApp<P>) -> Lone<P> {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    // Connections that it accepts have it too.
    socket.set_send_buffer_size(4096).expect("a small buffer");
    socket
        .bind(([127, 0, 0, 1], 0).into())
        .expect("a free port");
    let listener = socket.listen(1).expect("a bound socket");
    lone(app, listener, true, &environment()).await
}

/// One connection.
pub async fn single<P: Protocol>(app: WireframeApp<P>) -> Lone<P> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    lone(app, listener.expect("a free port"), false, &environment()).await
}

/// One connection, for which it is as late as that clock shows.
pub async fn timed<P: Protocol>(app: WireframeApp<P>, clock: &ManualClock) -> Lone<P> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let environment = Environment {
        clock: clock.clock(),
        ..environment()
    };
    lone(app, listener.expect("a free port"), false, &environment).await
}

async fn lone<P: Protocol>(
    app: WireframeApp<P>,
    listener: TcpListener,
    narrow: bool,
    environment: &Environment,
) -> Lone<P> {
    let app = app.build().expect("an app fit to serve");
    let address = listener.local_addr().expect("a bound socket");
    let peer = if narrow {
        Raw::connect_narrow(address).await
    } else {
        Raw::connect(address).await
    };
    let (stream, _) = soon("a peer connects", listener.accept())
        .await
        .expect("the listener is up");
    let (transport, gauge) = Gauged::new(Tokio(stream));
    let driver = Driver::server(&app, transport, None, environment);
    Lone {
        peer,
        driver,
        gauge,
    }
}

/// Waits for the end of a connection that runs in a task.
pub async fn ended(driver: JoinHandle<CloseReason>) -> CloseReason {
    soon("the connection ends", driver)
        .await
        .expect("the driver did not panic")
}
