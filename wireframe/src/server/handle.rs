//! What shuts a server down, and knows its connections.

use std::{
    fmt,
    future::poll_fn,
    io,
    task::{Context, Poll, Waker},
};

use hashbrown::HashMap;
use wireframe_proto::ConnectionId;

use super::{Accepted, Listener};
use crate::{
    contain,
    push::ConnectionHandle,
    sync::{Arc, Mutex, lock},
};

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
    pub(super) async fn accept<L: Listener>(
        &self,
        listener: &mut L,
    ) -> Option<io::Result<Accepted<L::Transport>>> {
        self.until_shutdown(|cx| listener.poll_accept(cx)).await
    }

    /// What is waited for; `None` once the server shuts down.
    pub(super) async fn until_shutdown<T>(
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

    pub(super) fn enter(&self, connection: ConnectionHandle) -> Entry {
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
pub(super) struct Entry {
    server: ServerHandle,
    id: ConnectionId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let gone = lock(&self.server.state).connections.remove(&self.id);
        drop(gone);
    }
}
