//! The accepting end: takes connections and runs an app on each.

mod accept;
mod back_off;
mod handle;
mod limits;
mod prepare;
mod report;
#[cfg(all(unix, feature = "signals"))]
mod signals;
mod snapshot;
mod sockets;
#[cfg(unix)]
mod unix;

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
};

pub use accept::serve;
pub use handle::ServerHandle;
pub use limits::{ConnectionLimits, WhenFull};
pub use report::ShutdownReport;
pub use snapshot::{ConnectionSnapshot, ServerSnapshot};
pub use sockets::{ListenOptions, Stream};

use self::sockets::Sockets;
use crate::{
    app::WireframeApp,
    error::BuildError,
    frame::Protocol,
    rt::{Address, Runtime},
    transport::Transport,
};

/// Where connections come from.
pub trait Listener: Send {
    /// Their transport.
    type Transport: Transport + 'static;

    /// Takes the next connection.
    ///
    /// # Errors
    ///
    /// Taking it failed. The listener can be used again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<Self::Transport>>>;
}

/// An accepted connection: its transport and the peer's address, if it has one.
pub type Accepted<T> = (T, Option<SocketAddr>);

/// A server over TCP, or sockets of the file system. The adapter of each runtime has its own.
pub struct Server<R: Runtime> {
    sockets: Sockets<R>,
    handle: ServerHandle,
    limits: ConnectionLimits,
    triggers: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<R: Runtime> Server<R> {
    /// Listens on `address`, or, if that is a name that stands for several, on the first
    /// that can be listened on. Port 0 is any free port.
    ///
    /// # Errors
    ///
    /// The address cannot be resolved or listened on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no socket open.
    pub async fn bind(address: impl Into<Address>) -> io::Result<Self> {
        Self::bind_with(address, &ListenOptions::default()).await
    }

    /// As [`bind`](Self::bind), with options.
    ///
    /// # Errors
    ///
    /// The address cannot be resolved or listened on, or an option cannot be set.
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with(
        address: impl Into<Address>,
        options: &ListenOptions,
    ) -> io::Result<Self> {
        let server = Self {
            sockets: Sockets::new(),
            handle: ServerHandle::default(),
            limits: ConnectionLimits::default(),
            triggers: Vec::new(),
        };
        server.and_bind_with(address, options).await
    }

    /// Listens on one more address, for the same app.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn and_bind(self, address: impl Into<Address>) -> io::Result<Self> {
        self.and_bind_with(address, &ListenOptions::default()).await
    }

    /// As [`and_bind`](Self::and_bind), with options.
    ///
    /// # Errors
    ///
    /// As [`bind_with`](Self::bind_with).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn and_bind_with(
        mut self,
        address: impl Into<Address>,
        options: &ListenOptions,
    ) -> io::Result<Self> {
        self.sockets.listen(address.into(), options).await?;
        Ok(self)
    }

    /// The TCP address that it listens on, the first one if there are several.
    ///
    /// # Errors
    ///
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if it listens on none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let none = io::ErrorKind::AddrNotAvailable;
        self.sockets.tcp_address().ok_or_else(|| none.into())
    }

    /// All that it listens on, in the order of the calls.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        self.sockets.addresses()
    }

    /// What shuts it down.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Sets how many connections it has at once.
    #[must_use]
    pub const fn limits(mut self, limits: ConnectionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Shuts the server down when `trigger` is done: a signal, a
    /// [`ShutdownToken`](crate::ShutdownToken), a token of another library, or anything else
    /// that can be awaited. Of several the first one counts.
    ///
    /// ```
    /// # use wireframe::{ShutdownToken, rt::Runtime, server::Server};
    /// # async fn run<R: Runtime>() -> std::io::Result<()> {
    /// let token = ShutdownToken::new();
    /// let server = Server::<R>::bind("127.0.0.1:0").await?.shutdown_on(token.triggered());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn shutdown_on(mut self, trigger: impl Future + Send + 'static) -> Self {
        self.triggers.push(Box::pin(async move {
            trigger.await;
        }));
        self
    }

    /// Serves an app to everyone who connects, until its [`handle`](Self::handle) shuts
    /// it down. By then every connection has been drained and every task has ended, see
    /// [`serve`].
    ///
    /// # Errors
    ///
    /// [`BuildError`], before any connection is taken.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops taking connections. Those there are go on.
    pub async fn serve<P: Protocol>(
        self,
        app: WireframeApp<P>,
    ) -> Result<ShutdownReport, BuildError> {
        let (handle, mut triggers) = (self.handle, self.triggers);
        let environment = R::environment();
        let served = serve(self.sockets, app, environment, handle.clone(), self.limits);
        let mut served = pin!(served);
        poll_fn(|cx| {
            if triggers
                .iter_mut()
                .any(|trigger| trigger.as_mut().poll(cx).is_ready())
            {
                triggers.clear();
                handle.shutdown();
            }
            served.as_mut().poll(cx)
        })
        .await
    }
}

impl<R: Runtime> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses().collect::<Vec<_>>())
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
