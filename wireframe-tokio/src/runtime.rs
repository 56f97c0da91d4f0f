//! Tokio's timer and spawner.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{runtime::Handle, time};
use wireframe::{
    Clock, Environment, Tasks,
    proto::Instant,
    rt::{BoxTask, Sleep, Spawn, Timer},
};

/// Tokio's timer. Paused time of tokio pauses it too.
#[derive(Clone, Copy, Debug)]
pub struct TokioTimer {
    origin: time::Instant,
}

impl TokioTimer {
    /// A timer that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: time::Instant::now(),
        }
    }

    /// Tokio's name for a moment; a moment out of its reach is some decades from now.
    fn moment(self, at: Instant) -> time::Instant {
        let since = Duration::from_nanos(at.as_nanos());
        let far = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        let moment = self.origin.checked_add(since.min(far));
        moment.unwrap_or(self.origin)
    }
}

impl Default for TokioTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for TokioTimer {
    fn now(&self) -> Instant {
        let since = self.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(TokioSleep {
            sleep: time::sleep_until(self.moment(deadline)),
            timer: *self,
        })
    }
}

pin_project! {
    struct TokioSleep {
        #[pin]
        sleep: time::Sleep,
        timer: TokioTimer,
    }
}

impl Future for TokioSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().sleep.poll(cx)
    }
}

impl Sleep for TokioSleep {
    fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.project();
        let moment = this.timer.moment(deadline);
        this.sleep.reset(moment);
    }
}

/// Starts tasks on a runtime of tokio.
#[derive(Clone, Debug)]
pub struct TokioSpawn(pub Handle);

impl Spawn for TokioSpawn {
    fn spawn(&self, task: BoxTask) {
        drop(self.0.spawn(task));
    }
}

/// The timer and spawner of the runtime that this is called in.
///
/// # Panics
///
/// Outside of a runtime of tokio.
#[must_use]
pub fn environment() -> Environment {
    Environment {
        clock: Clock::new(Arc::new(TokioTimer::new())),
        tasks: Tasks::new(Arc::new(TokioSpawn(Handle::current()))),
    }
}
