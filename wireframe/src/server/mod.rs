//! The accepting end: takes connections and runs an app on each.

mod accept;
mod handle;
mod limits;
mod report;
#[cfg(all(unix, feature = "signals"))]
mod signals;

use std::{
    fmt,
    future::poll_fn,
    io,
    net::{self, SocketAddr},
    pin::{Pin, pin},
    task::{Context, Poll},
};

pub use accept::serve;
pub use handle::ServerHandle;
pub use limits::{ConnectionLimits, WhenFull};
pub use report::ShutdownReport;

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

/// A server on a TCP socket. The adapter of each runtime has its own.
pub struct Server<R: Runtime> {
    listener: R::TcpListener,
    address: SocketAddr,
    handle: ServerHandle,
    limits: ConnectionLimits,
    triggers: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<R: Runtime> Server<R> {
    /// Listens on `address`, or, if that stands for several, on the first that can be
    /// listened on. Port 0 is any free port.
    ///
    /// # Errors
    ///
    /// The address cannot be resolved or listened on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no socket open.
    pub async fn bind(address: impl Into<Address>) -> io::Result<Self> {
        let address = address.into();
        let listener = net::TcpListener::bind(&*address.resolve::<R>().await?)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener: R::listen(listener)?,
            handle: ServerHandle::default(),
            limits: ConnectionLimits::default(),
            triggers: Vec::new(),
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
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
    pub fn shutdown_on<T: Future>(mut self, trigger: T) -> Self
    where
        T: Send + 'static,
    {
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
        let served = serve(self.listener, app, environment, handle.clone(), self.limits);
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
            .field("address", &self.address)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
