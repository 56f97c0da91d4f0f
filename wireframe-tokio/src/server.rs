//! The server.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use wireframe::{
    BuildError, Protocol, WireframeApp,
    server::{self, Accepted, Listener, ServerHandle},
};

use crate::{Tokio, environment};

/// A server on a TCP socket.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    handle: ServerHandle,
}

impl Server {
    /// Listens on `address`. Port 0 is any free port.
    ///
    /// # Errors
    ///
    /// The address cannot be resolved or listened on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no socket open.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            handle: ServerHandle::default(),
        })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// The operating system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What shuts it down.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves an app to everyone who connects, until its [`handle`](Self::handle) shuts
    /// it down. By then every connection has been drained and every task has ended.
    ///
    /// # Errors
    ///
    /// [`BuildError`], before any connection is taken.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops taking connections. Those there are go on.
    pub async fn serve<P: Protocol>(self, app: WireframeApp<P>) -> Result<(), BuildError> {
        let listener = Tcp(self.listener);
        server::serve(listener, app, environment(), self.handle).await
    }
}

struct Tcp(TcpListener);

impl Listener for Tcp {
    type Transport = Tokio<TcpStream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<Self::Transport>>> {
        self.0.poll_accept(cx).map_ok(|(stream, address)| {
            no_delay(&stream);
            (Tokio(stream), Some(address))
        })
    }
}

/// Sends what there is at once: the driver gathers writes itself.
pub(crate) fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}
