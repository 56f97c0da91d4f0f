//! Telling everybody at once that it is time to end.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{
    contain,
    sync::{Arc, AtomicBool, Mutex, Ordering, lock},
};

/// Tells everybody at once that it is time to end. A clone is the same token.
///
/// Handlers take that of their server as an argument, for what they have to end by
/// themselves: loops of producers, say, in tasks of their own. Connections need no telling.
///
/// ```
/// use std::time::Duration;
/// use wireframe::{Clock, Envelope, PushHandle, ShutdownToken, TaskTracker};
///
/// async fn subscribe(push: PushHandle, tasks: TaskTracker, token: ShutdownToken, clock: Clock) {
///     tasks.spawn(async move {
///         while !token.is_triggered() {
///             clock.sleep(Duration::from_secs(1)).await;
///             if push.push_low_priority(Envelope::new(9, "tick")).await.is_err() {
///                 break;
///             }
///         }
///     });
/// }
/// ```
#[derive(Clone, Default)]
pub struct ShutdownToken {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Set under the lock.
    triggered: AtomicBool,
    waiting: Mutex<Waiting>,
}

/// Wakers, by the places that their futures know.
#[derive(Default)]
struct Waiting {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl ShutdownToken {
    /// A token that nobody has triggered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everybody. Once is enough.
    pub fn trigger(&self) {
        let mut waiting = lock(&self.state.waiting);
        self.state.triggered.store(true, Ordering::Release);
        let wakers: Vec<_> = waiting.places.iter_mut().filter_map(Option::take).collect();
        drop(waiting);
        wakers.into_iter().for_each(contain::wake);
    }

    /// Whether it was triggered.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.state.triggered.load(Ordering::Acquire)
    }

    /// Waits until it is triggered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect but that nobody is woken.
    pub fn triggered(&self) -> Triggered {
        Triggered {
            state: Arc::clone(&self.state),
            place: None,
        }
    }
}

/// Waits for a [`ShutdownToken`]; made by [`triggered`](ShutdownToken::triggered).
#[must_use = "futures do nothing unless they are polled"]
pub struct Triggered {
    state: Arc<State>,
    place: Option<usize>,
}

impl Future for Triggered {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.triggered.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        // Cloning and dropping wakers is foreign code, which must not run locked.
        let fresh = cx.waker().clone();
        let state = Arc::clone(&self.state);
        let mut waiting = lock(&state.waiting);
        if state.triggered.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let place = match self.place.or_else(|| waiting.free.pop()) {
            Some(place) => place,
            None => {
                waiting.places.push(None);
                waiting.places.len() - 1
            }
        };
        self.place = Some(place);
        let kept = waiting.places.get_mut(place);
        let stale = kept.and_then(|kept| kept.replace(fresh));
        drop(waiting);
        drop(stale);
        Poll::Pending
    }
}

impl Drop for Triggered {
    fn drop(&mut self) {
        let Some(place) = self.place else {
            return;
        };
        let mut waiting = lock(&self.state.waiting);
        let stale = waiting.places.get_mut(place).and_then(Option::take);
        waiting.free.push(place);
        drop(waiting);
        contain::discard(stale);
    }
}

impl fmt::Debug for ShutdownToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownToken")
            .field("triggered", &self.is_triggered())
            .finish()
    }
}

impl fmt::Debug for Triggered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Triggered").finish_non_exhaustive()
    }
}
