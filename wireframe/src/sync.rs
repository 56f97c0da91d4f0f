//! The primitives that the library's own synchronisation is built from.
//!
//! They are named here and nowhere else, so that a model checker can take their place:
//! under `--cfg wireframe_loom` locks and atomics are those of loom, which work inside its
//! models alone. `Arc` and `Weak` remain those of std: loom's cannot hold a `dyn Trait`, which
//! `Arc<dyn Spawn>` and `Waker` need, and has no `Weak`. Their own counting is thus not part
//! of what is checked.

/// For statics, which outlive each run of a model.
pub(crate) use std::sync::atomic::AtomicU64 as StaticU64;
pub(crate) use std::sync::{Arc, Weak};

#[cfg(wireframe_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(wireframe_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

/// Locks, whether or not a holder has panicked.
///
/// The library's own critical sections run no code of the user, so a panic cannot leave
/// a half-made change behind. A session's lock is the exception: hooks and closures run
/// under it. One that panics ends its connection, and what is left of the session is
/// still there for `on_disconnect`.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
