//! Who is connected.

use std::fmt;

use dashmap::DashMap;
use wireframe_proto::{ConnectionId, Envelope};

use crate::{
    push::{PushHandle, WeakPushHandle},
    sync::Arc,
};

/// Who is connected, to be pushed to by name or all at once. A clone is the same registry.
///
/// An app that was given one with [`WireframeApp::registry`](crate::WireframeApp::registry)
/// enters its connections, and takes each out when it ends, however it ends. It holds no
/// connection and no handle: a connection is found for as long as it is connected, no
/// matter who has a handle to it. Several apps with frames of one type may share one.
///
/// It can be used from any thread, also within hooks. No lock of it is held while anything
/// of the application runs.
///
/// ```
/// use wireframe::{ConnectionId, Envelope, Priority, SessionRegistry, State, WireframeApp};
///
/// let registry = SessionRegistry::new();
/// let app = WireframeApp::new()
///     .registry(&registry)
///     .state(registry.clone())
///     .route(1, knock);
///
/// async fn knock(State(registry): State<SessionRegistry>) -> &'static str {
///     match registry.get(ConnectionId(7)) {
///         Some(seven) => {
///             let _ = seven.try_push(Priority::High, Envelope::new(9, "knock"));
///             "knocked"
///         }
///         None => "not there",
///     }
/// }
/// # assert!(registry.is_empty() && app.build().is_ok());
/// ```
pub struct SessionRegistry<F = Envelope> {
    sessions: Arc<DashMap<ConnectionId, WeakPushHandle<F>>>,
}

impl<F> SessionRegistry<F> {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sessions: Arc::new(DashMap::new()),
        }
    }

    /// A handle to push to that connection, if it is connected.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<PushHandle<F>> {
        let weak = self.sessions.get(&id)?.value().clone();
        weak.upgrade()
    }

    /// Handles to all who are connected now, in no particular order.
    #[must_use]
    pub fn active_handles(&self) -> Vec<PushHandle<F>> {
        let sessions = self.sessions.iter();
        sessions.filter_map(|entry| entry.upgrade()).collect()
    }

    /// The names of all who are connected now, in no particular order.
    #[must_use]
    pub fn active_ids(&self) -> Vec<ConnectionId> {
        self.sessions.iter().map(|entry| *entry.key()).collect()
    }

    /// How many are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Takes out whoever is gone, and says how many that were. Each connection takes itself
    /// out, so this has nothing to find: it is there for those who want to be sure.
    pub fn prune(&self) -> usize {
        let mut pruned = 0;
        self.sessions.retain(|_, weak| {
            let stays = weak.is_alive();
            pruned += usize::from(!stays);
            stays
        });
        pruned
    }

    pub(crate) fn enter(&self, id: ConnectionId, handle: WeakPushHandle<F>) {
        self.sessions.insert(id, handle);
    }

    pub(crate) fn leave(&self, id: ConnectionId) {
        self.sessions.remove(&id);
    }
}

impl<F> Default for SessionRegistry<F> {
    fn default() -> Self {
        Self::new()
    }
}

// By hand, because a derived one would demand `F: Clone`.
impl<F> Clone for SessionRegistry<F> {
    fn clone(&self) -> Self {
        Self {
            sessions: Arc::clone(&self.sessions),
        }
    }
}

impl<F> fmt::Debug for SessionRegistry<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRegistry")
            .field("connections", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::WireframeApp,
        driver::Driver,
        testing::{Simulation, link},
    };

    #[test]
    fn pruning_takes_out_whoever_is_gone_and_nobody_else() {
        // rule: REG-1
        let app = WireframeApp::new().build().unwrap();
        let connect = || {
            let environment = Simulation::new().environment();
            Driver::server(&app, link(1).0, None, &environment)
        };
        let (here, gone) = (connect(), connect());
        let registry = SessionRegistry::new();
        for (id, driver) in [(1, &here), (2, &gone)] {
            registry.enter(ConnectionId(id), driver.push_handle().downgrade());
        }
        drop(gone);
        assert_eq!(registry.active_handles().len(), 1);
        assert!(registry.get(ConnectionId(2)).is_none());
        assert_eq!((registry.len(), registry.prune()), (2, 1));
        assert_eq!(registry.active_ids(), [ConnectionId(1)]);
        assert_eq!(registry.prune(), 0);
    }
}
