//! What shuts a server down, and knows its connections.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use hashbrown::HashMap;
use wireframe_proto::{CloseReason, ConnectionId};

use super::ShutdownReport;
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
    stage: Stage,
    /// That of the future that serves.
    server: Option<Waker>,
    connections: HashMap<ConnectionId, ConnectionHandle>,
    report: ShutdownReport,
}

/// How far a server's life has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Serving,
    Draining,
    Aborting,
}

impl ServerHandle {
    /// Stops taking connections and drains those there are. Returns at once; the future
    /// that serves ends when all is done, at the latest after
    /// [`Timeouts::close`](crate::Timeouts::close), when what is left is aborted.
    pub fn shutdown(&self) {
        self.enter_stage(Stage::Draining, ConnectionHandle::close);
    }

    /// Stops taking connections and ends those there are at once, with their handlers, and
    /// the tasks that these have started. Returns at once; the future that serves ends when
    /// all is done.
    pub fn abort(&self) {
        self.enter_stage(Stage::Aborting, ConnectionHandle::abort);
    }

    fn enter_stage(&self, stage: Stage, tell: fn(&ConnectionHandle)) {
        let mut state = lock(&self.state);
        state.stage = state.stage.max(stage);
        let server = state.server.take();
        let connections: Vec<_> = state.connections.values().cloned().collect();
        drop(state);
        if let Some(server) = server {
            contain::wake(server);
        }
        for connection in connections {
            tell(&connection);
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.state).connections.len()
    }

    pub(super) fn report(&self) -> ShutdownReport {
        lock(&self.state).report
    }

    /// What is waited for; `None` once the server is past that stage.
    pub(super) async fn during<T>(
        &self,
        stage: Stage,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        poll_fn(|cx| {
            let fresh = cx.waker().clone();
            let mut state = lock(&self.state);
            if state.stage > stage {
                return Poll::Ready(None);
            }
            let stale = state.server.replace(fresh);
            drop(state);
            drop(stale);
            poll(cx).map(Some)
        })
        .await
    }

    pub(super) fn enter(&self, connection: ConnectionHandle) -> Entry {
        let id = connection.id();
        let mut state = lock(&self.state);
        let stage = state.stage;
        state.connections.insert(id, connection.clone());
        drop(state);
        match stage {
            Stage::Serving => {}
            Stage::Draining => connection.close(),
            Stage::Aborting => connection.abort(),
        }
        Entry {
            server: self.clone(),
            id,
            ended: None,
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
    /// How it has ended, and what it has not sent. Boxed because every connection has room
    /// for it.
    ended: Option<Box<(CloseReason, u64)>>,
}

impl Entry {
    /// The connection has ended.
    pub(super) fn end(&mut self, reason: CloseReason, undelivered: u64) {
        self.ended = Some(Box::new((reason, undelivered)));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = lock(&self.server.state);
        let gone = state.connections.remove(&self.id);
        if state.stage > Stage::Serving {
            match self.ended.as_deref() {
                Some((reason, undelivered)) => state.report.add(Some(reason), *undelivered),
                None => state.report.add(None, 0),
            }
        }
        drop(state);
        drop(gone);
    }
}
