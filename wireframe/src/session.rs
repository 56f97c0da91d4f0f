//! The session of a connection, shared between its hooks and its handlers.

use std::fmt;

use crate::sync::{Arc, Mutex, lock};

/// A connection's session, for handlers.
///
/// Hooks and closures never overlap. A closure must not block: the whole connection
/// waits for it.
pub struct Session<S> {
    value: Arc<Mutex<S>>,
}

impl<S> Session<S> {
    pub(crate) fn new(value: S) -> Self {
        Self {
            value: Arc::new(Mutex::new(value)),
        }
    }

    /// Looks at the session, or changes it.
    ///
    /// Do not call `with` inside the closure: it would wait for itself.
    pub fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut lock(&self.value))
    }
}

impl<S: Default> Session<S> {
    /// The same for hooks; a session without any state is not worth a lock.
    #[inline]
    pub(crate) fn for_hook<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        if size_of::<S>() == 0 && !std::mem::needs_drop::<S>() {
            f(&mut S::default())
        } else {
            self.with(f)
        }
    }
}

impl<S> Clone for Session<S> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
        }
    }
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
