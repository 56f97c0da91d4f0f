//! Foreign code whose panics are nobody else's business: wakers, drops.

use std::{panic::AssertUnwindSafe, task::Waker};

/// Runs foreign code; `None` if it panicked.
///
/// Unwind safety is the caller's claim: nothing of its own is half changed when it calls.
#[inline]
pub(crate) fn run<T>(code: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(code)).ok()
}

/// Drops a value of the user.
pub(crate) fn discard<T>(value: T) {
    run(|| drop(value));
}

/// Wakes whoever it is, so that one that panics keeps nobody from what comes after.
#[inline]
pub(crate) fn wake(waker: Waker) {
    run(|| waker.wake());
}
