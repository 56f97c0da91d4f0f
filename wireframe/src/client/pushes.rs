//! Frames that the peer sends of its own accord.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use thiserror::Error;
use wireframe_proto::Envelope;

use super::ClientShared;
use crate::sync::{Arc, lock};

/// So many frames were dropped because nobody took them in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} pushes were dropped, because nobody took them in time")]
pub struct Lagged(pub u64);

/// What the peer sends of its own accord; a [`Stream`] too.
///
/// Where several listen each frame goes to one of them. When the last is dropped, so are
/// the frames that nobody has taken.
pub struct Pushes<F = Envelope> {
    shared: Arc<ClientShared<F>>,
    /// Its name among those who listen.
    listener: u64,
}

impl<F> Pushes<F> {
    pub(super) fn new(shared: Arc<ClientShared<F>>) -> Self {
        let mut inbox = lock(&shared.inbox);
        inbox.listening += 1;
        inbox.listeners += 1;
        let listener = inbox.listeners;
        drop(inbox);
        Self { shared, listener }
    }

    /// The next frame; `None` once the connection has ended and all have been taken.
    ///
    /// # Errors
    ///
    /// [`Lagged`] if frames were dropped since the last: at most 256 wait, and
    /// [`Limits::max_body_bytes`](wireframe_proto::Limits::max_body_bytes) of them and one more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no frame.
    pub async fn next(&mut self) -> Option<Result<F, Lagged>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<F> Stream for Pushes<F> {
    type Item = Result<F, Lagged>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Cloned and dropped unlocked: wakers are foreign code.
        let fresh = cx.waker().clone();
        let mut inbox = lock(&self.shared.inbox);
        if inbox.lagged > 0 {
            let lagged = std::mem::take(&mut inbox.lagged);
            return Poll::Ready(Some(Err(Lagged(lagged))));
        }
        if let Some(frame) = inbox.pushes.pop() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if inbox.ended.is_some() {
            return Poll::Ready(None);
        }
        let stale = inbox.wakers.insert(self.listener, fresh);
        drop(inbox);
        drop(stale);
        Poll::Pending
    }
}

impl<F> Drop for Pushes<F> {
    fn drop(&mut self) {
        let mut inbox = lock(&self.shared.inbox);
        let stale = inbox.wakers.remove(&self.listener);
        inbox.listening = inbox.listening.saturating_sub(1);
        let unheard = (inbox.listening == 0).then(|| {
            inbox.lagged = 0;
            inbox.pushes.take()
        });
        drop(inbox);
        if let Some(unheard) = unheard {
            self.shared.push.connection().count_unhandled(unheard.len());
            drop(unheard);
        }
        drop(stale);
    }
}

impl<F> fmt::Debug for Pushes<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushes").finish_non_exhaustive()
    }
}
