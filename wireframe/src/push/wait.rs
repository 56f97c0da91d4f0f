//! The futures that wait for room.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use wireframe_proto::{Accepted, Priority};

use super::{
    error::PushError,
    mailbox::{Mailbox, QueuedCall},
    permit::Permit,
    turn::Place,
};
use crate::sync::Arc;

/// The future of [`PushHandle::push`](super::PushHandle::push).
///
/// # Cancel safety
///
/// Dropped before it completes, it has pushed nothing and the frame is dropped with it;
/// its place in line goes to the next. Where the frame must not be lost,
/// [`reserve`](super::PushHandle::reserve) a permit first.
#[must_use = "nothing is pushed unless this is awaited"]
pub struct Push<'a, F> {
    mailbox: &'a Mailbox<F>,
    place: Place,
    frame: Option<Accepted<F>>,
}

impl<'a, F> Push<'a, F> {
    pub(super) fn new(mailbox: &'a Mailbox<F>, priority: Priority, frame: F) -> Self {
        Self {
            place: Place::new(priority),
            frame: Some(mailbox.measure(frame)),
            mailbox,
        }
    }
}

// The frame is only ever moved, never pinned.
impl<F> Unpin for Push<'_, F> {}

impl<F> Future for Push<'_, F> {
    type Output = Result<(), PushError<F>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.mailbox
            .poll_push(cx, &mut this.place, &mut this.frame, &mut None)
    }
}

impl<F> Drop for Push<'_, F> {
    fn drop(&mut self) {
        self.mailbox.leave(&mut self.place);
    }
}

/// A push that begins a call. It borrows nothing, and goes as a low push.
#[must_use = "nothing is pushed unless this is polled"]
pub(crate) struct PushCall<F> {
    mailbox: Arc<Mailbox<F>>,
    place: Place,
    frame: Option<Accepted<F>>,
    call: Option<QueuedCall<F>>,
}

impl<F> PushCall<F> {
    pub(super) fn new(mailbox: Arc<Mailbox<F>>, frame: F, call: QueuedCall<F>) -> Self {
        Self {
            place: Place::new(Priority::Low),
            frame: Some(mailbox.measure(frame)),
            mailbox,
            call: Some(call),
        }
    }
}

// As of a push.
impl<F> Unpin for PushCall<F> {}

impl<F> Future for PushCall<F> {
    type Output = Result<(), PushError<F>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.mailbox
            .poll_push(cx, &mut this.place, &mut this.frame, &mut this.call)
    }
}

impl<F> Drop for PushCall<F> {
    fn drop(&mut self) {
        self.mailbox.leave(&mut self.place);
    }
}

impl<F> fmt::Debug for Push<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("priority", &self.place.priority())
            .finish_non_exhaustive()
    }
}

/// The future of [`PushHandle::reserve`](super::PushHandle::reserve).
///
/// # Cancel safety
///
/// Dropped before it completes, it has taken nothing; its place in line goes to the next.
#[must_use = "nothing is reserved unless this is awaited"]
pub struct Reserve<'a, F> {
    mailbox: &'a Arc<Mailbox<F>>,
    place: Place,
}

impl<'a, F> Reserve<'a, F> {
    pub(super) fn new(mailbox: &'a Arc<Mailbox<F>>, priority: Priority) -> Self {
        Self {
            mailbox,
            place: Place::new(priority),
        }
    }
}

impl<F> Future for Reserve<'_, F> {
    type Output = Result<Permit<F>, PushError<()>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let priority = this.place.priority();
        this.mailbox
            .poll_reserve(cx, &mut this.place)
            .map_ok(|()| Permit::new(Arc::clone(this.mailbox), priority))
    }
}

impl<F> Drop for Reserve<'_, F> {
    fn drop(&mut self) {
        self.mailbox.leave(&mut self.place);
    }
}

impl<F> fmt::Debug for Reserve<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve")
            .field("priority", &self.place.priority())
            .finish_non_exhaustive()
    }
}
