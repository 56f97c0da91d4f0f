//! Time for handlers.

use std::{
    fmt,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use thiserror::Error;
use wireframe_proto::Instant;

use crate::{
    rt::{self, Sleep, Timer},
    sync::Arc,
};

/// The connection's clock: a handler that uses it names no runtime, and runs on virtual
/// time in tests.
#[derive(Clone)]
pub struct Clock {
    timer: Arc<dyn Timer>,
}

/// Something took longer than it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not done within {limit:?}")]
pub struct Elapsed {
    /// The time that it was given.
    pub limit: Duration,
}

impl Clock {
    /// A clock over that timer.
    pub fn new(timer: Arc<dyn Timer>) -> Self {
        Self { timer }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.timer.now()
    }

    /// A wake-up that can be moved.
    pub(crate) fn alarm(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep_until(deadline)
    }

    /// Waits for so long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait and has no other effect.
    pub async fn sleep(&self, delay: Duration) {
        self.sleep_until(rt::after(&*self.timer, delay)).await;
    }

    /// Waits until then.
    ///
    /// # Cancel safety
    ///
    /// As [`sleep`](Self::sleep).
    pub async fn sleep_until(&self, deadline: Instant) {
        self.timer.sleep_until(deadline).await;
    }

    /// Runs a future for at most so long.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if it was not done by then; it is dropped.
    ///
    /// # Cancel safety
    ///
    /// That of the future.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let sleep = self.timer.sleep_until(rt::after(&*self.timer, limit));
        let within = Within {
            future: pin!(future),
            sleep,
        };
        within.await.ok_or(Elapsed { limit })
    }
}

/// A future, or nothing if the sleep is over first.
struct Within<'a, F> {
    future: Pin<&'a mut F>,
    sleep: Pin<Box<dyn Sleep>>,
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        self.sleep.as_mut().poll(cx).map(|()| None)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
