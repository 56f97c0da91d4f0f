//! The accepting end: takes connections and runs an app on each.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use hashbrown::HashMap;
use wireframe_proto::ConnectionId;

use crate::{
    app::{App, WireframeApp},
    contain,
    driver::{Driver, Environment},
    error::BuildError,
    frame::Protocol,
    push::ConnectionHandle,
    sync::{Arc, Mutex, lock},
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

/// Serves an app to everyone who connects, until `handle` shuts it down. Every
/// connection has been drained, and every task has ended, when it returns.
///
/// # Errors
///
/// [`BuildError`], before any connection is taken.
///
/// # Cancel safety
///
/// Dropping it stops taking connections. Those there are go on.
pub async fn serve<P: Protocol, L: Listener>(
    mut listener: L,
    app: WireframeApp<P>,
    environment: Environment,
    handle: ServerHandle,
) -> Result<(), BuildError> {
    let app = app.build()?;
    let mut back_off = BackOff::default();
    while let Some(accepted) = handle.accept(&mut listener).await {
        match accepted {
            Ok(accepted) => {
                back_off = BackOff::default();
                start(&app, accepted, &environment, &handle);
            }
            Err(error) if concerns_one_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for now");
                let mut pause = pin!(environment.clock.sleep(back_off.next()));
                handle.until_shutdown(|cx| pause.as_mut().poll(cx)).await;
            }
        }
    }
    drop(listener);
    environment.tasks.wait().await;
    Ok(())
}

fn start<P: Protocol, T: Transport + 'static>(
    app: &App<P>,
    (transport, address): Accepted<T>,
    environment: &Environment,
    handle: &ServerHandle,
) {
    // It makes the protocol's codec, framing and session: code of the user.
    let driver = AssertUnwindSafe(|| Driver::server(app, transport, address, environment));
    let Ok(driver) = catch_unwind(driver) else {
        tracing::error!(
            ?address,
            "the protocol panicked over a new connection, which is dropped"
        );
        return;
    };
    let entry = handle.enter(driver.push_handle().connection());
    environment.tasks.spawn(Served {
        driver,
        _entry: entry,
    });
}

/// A connection of a server. Written by hand because an async block would keep room for
/// the driver twice.
struct Served<P: Protocol, T: Transport> {
    driver: Driver<P, T>,
    _entry: Entry,
}

impl<P: Protocol, T: Transport> Future for Served<P, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.driver).poll(cx).map(|reason| {
            tracing::debug!(%reason, "connection ended");
        })
    }
}

/// Whether accepting failed because of the connection that was being accepted, so that
/// the next can be taken at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// How long to wait when the process is short of something: 10 ms, doubling to 1 s.
struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl BackOff {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Duration::from_secs(1));
        now
    }
}

/// Shuts a server down. A clone is the same server.
#[derive(Clone, Default)]
pub struct ServerHandle {
    state: Arc<Mutex<ServerState>>,
}

#[derive(Default)]
struct ServerState {
    shut_down: bool,
    /// Who waits for connections.
    acceptor: Option<Waker>,
    connections: HashMap<ConnectionId, ConnectionHandle>,
}

impl ServerHandle {
    /// Stops taking connections and drains those there are. Returns at once; the future
    /// that serves ends when all is done.
    pub fn shutdown(&self) {
        let mut state = lock(&self.state);
        state.shut_down = true;
        let acceptor = state.acceptor.take();
        let connections: Vec<_> = state.connections.values().cloned().collect();
        drop(state);
        if let Some(acceptor) = acceptor {
            contain::wake(acceptor);
        }
        for connection in connections {
            connection.close();
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.state).connections.len()
    }

    /// The next connection; `None` once the server shuts down.
    async fn accept<L: Listener>(
        &self,
        listener: &mut L,
    ) -> Option<io::Result<Accepted<L::Transport>>> {
        self.until_shutdown(|cx| listener.poll_accept(cx)).await
    }

    /// What is waited for; `None` once the server shuts down.
    async fn until_shutdown<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        poll_fn(|cx| {
            let fresh = cx.waker().clone();
            let mut state = lock(&self.state);
            if state.shut_down {
                return Poll::Ready(None);
            }
            let stale = state.acceptor.replace(fresh);
            drop(state);
            drop(stale);
            poll(cx).map(Some)
        })
        .await
    }

    fn enter(&self, connection: ConnectionHandle) -> Entry {
        let id = connection.id();
        let mut state = lock(&self.state);
        let late = state.shut_down.then(|| connection.clone());
        state.connections.insert(id, connection);
        drop(state);
        if let Some(connection) = late {
            connection.close();
        }
        Entry {
            server: self.clone(),
            id,
        }
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// A connection's place among those of its server.
struct Entry {
    server: ServerHandle,
    id: ConnectionId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let gone = lock(&self.server.state).connections.remove(&self.id);
        drop(gone);
    }
}
