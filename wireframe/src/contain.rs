//! Foreign code whose panics are nobody else's business: wakers, drops, what begins a connection.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::pin,
    task::{Poll, Waker},
};

/// Runs foreign code; `None` if it panicked.
///
/// Unwind safety is the caller's claim: nothing of its own is half changed when it calls.
#[inline]
pub(crate) fn run<T>(code: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(code)).ok()
}

/// The same of a future, which is not polled again once it has panicked.
pub(crate) async fn run_async<T>(code: impl Future<Output = T>) -> Option<T> {
    let mut code = pin!(code);
    poll_fn(|cx| match run(|| code.as_mut().poll(cx)) {
        Some(polled) => polled.map(Some),
        None => Poll::Ready(None),
    })
    .await
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
