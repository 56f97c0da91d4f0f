//! What the library needs of a runtime: a timer and a spawner.

use std::{pin::Pin, time::Duration};

use wireframe_proto::Instant;

/// A future to be spawned.
pub type BoxTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time and wakes at a given time.
///
/// Every connection has one: the limits on how long a peer may take rest on it.
pub trait Timer: Send + Sync + 'static {
    /// The present. It must never go back.
    fn now(&self) -> Instant;

    /// A future that completes once [`now`](Self::now) has reached `deadline`.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>>;
}

/// A wake-up that can be moved.
pub trait Sleep: Future<Output = ()> + Send {
    /// Moves the wake-up. A sleep that has completed can be used again by this.
    fn reset(self: Pin<&mut Self>, deadline: Instant);
}

/// Starts tasks. Only servers need one, and handlers that start tasks of their own.
pub trait Spawn: Send + Sync + 'static {
    /// Runs the task to its end, independently of the caller.
    fn spawn(&self, task: BoxTask);
}

/// The present plus some time.
pub(crate) fn after(timer: &dyn Timer, delay: Duration) -> Instant {
    timer.now() + delay
}
