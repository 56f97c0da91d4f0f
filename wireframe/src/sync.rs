//! The primitives that the library's own synchronisation is built from.
//!
//! They are named here and nowhere else, so that a model checker can take their place.

pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

/// Locks, whether or not a holder has panicked.
///
/// No code of the user runs in a critical section of this library, so a panic there
/// cannot leave a half-made change behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
