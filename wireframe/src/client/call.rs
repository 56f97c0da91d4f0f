//! A call that is answered with one frame.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use wireframe_proto::{AnswerOrder, CallId, Envelope, Instant};

use super::{CallError, ClientShared, outgoing::Outgoing, slot::Slot};
use crate::{
    contain,
    sync::{Arc, Mutex, lock},
};

/// The future of [`Client::call`](super::Client::call).
///
/// It does nothing until it is polled. It may be moved between tasks, and keeps the
/// connection open as a clone of the client does.
///
/// ```
/// use std::time::Duration;
/// use wireframe::{CallError, Client, Envelope};
///
/// async fn ask(client: &Client) -> Result<Envelope, CallError> {
///     let call = client.call(Envelope::new(1, "now?"));
///     call.timeout(Duration::from_secs(2)).await
/// }
/// ```
///
/// # Cancel safety
///
/// Dropping it gives the reply up: it is discarded should it come, and no other call can
/// receive it. A call that still waits for room is not sent then; one that has found
/// room is.
#[must_use = "nothing is sent unless this is awaited"]
pub struct Call<F: 'static = Envelope> {
    outgoing: Outgoing<F>,
    reply: ReplySlot<F>,
}

impl<F> Call<F> {
    pub(super) fn new(client: Arc<ClientShared<F>>, order: AnswerOrder, frame: F) -> Self {
        let reply = ReplySlot::default();
        let slot = Slot::single(Arc::clone(&reply));
        let outgoing = Outgoing::new(client, order, frame, slot);
        Self { outgoing, reply }
    }

    /// Gives the call so long from now: to find room, to be sent and to be answered.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.outgoing.set_timeout(limit);
        self
    }

    /// Gives the call until then, on the client's [`Clock`](crate::Clock).
    pub fn deadline(mut self, at: Instant) -> Self {
        self.outgoing.set_deadline(at);
        self
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<F, CallError>> {
        let fresh = cx.waker().clone();
        let mut reply = lock(&self.reply);
        if let Reply::Waiting { waker, .. } = &mut *reply {
            let stale = waker.replace(fresh);
            drop(reply);
            drop(stale);
            return Poll::Pending;
        }
        let came = std::mem::replace(&mut *reply, Reply::Done);
        drop(reply);
        match came {
            Reply::Came(result) => Poll::Ready(result),
            Reply::Lost => Poll::Ready(Err(self.outgoing.client.lost())),
            Reply::Waiting { .. } | Reply::Done => Poll::Pending,
        }
    }

    /// Ends the call; the driver is told if it knows of it.
    fn give_up(&mut self) {
        let before = std::mem::replace(&mut *lock(&self.reply), Reply::Done);
        self.outgoing.give_up(match before {
            Reply::Waiting { call, .. } => call,
            Reply::Came(_) | Reply::Lost | Reply::Done => None,
        });
    }
}

// A frame is only ever moved, never pinned.
impl<F> Unpin for Call<F> {}

impl<F> Future for Call<F> {
    type Output = Result<F, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = match this.outgoing.poll_send(cx) {
            Poll::Ready(Ok(())) => this.poll_reply(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        let polled = match polled {
            Poll::Pending => this.outgoing.poll_limit(cx).map(Err),
            ready @ Poll::Ready(_) => ready,
        };
        if matches!(polled, Poll::Ready(Err(_))) {
            this.give_up();
        }
        polled
    }
}

impl<F> Drop for Call<F> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl<F> fmt::Debug for Call<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("connection", &self.outgoing.client.push.connection())
            .finish_non_exhaustive()
    }
}

pub(super) type ReplySlot<F> = Arc<Mutex<Reply<F>>>;

/// Where a call's reply goes.
pub(crate) enum Reply<F> {
    Waiting {
        waker: Option<Waker>,
        /// Its name, once it has begun.
        call: Option<CallId>,
    },
    Came(Result<F, CallError>),
    /// The driver has let go of it; its connection knows why.
    Lost,
    /// It was taken, or is not wanted any more.
    Done,
}

impl<F> Default for Reply<F> {
    fn default() -> Self {
        Self::Waiting {
            waker: None,
            call: None,
        }
    }
}

/// The call has begun; says whether anybody waits for its reply.
pub(super) fn begun<F>(slot: &Mutex<Reply<F>>, id: CallId) -> bool {
    match &mut *lock(slot) {
        Reply::Waiting { call, .. } => {
            *call = Some(id);
            true
        }
        Reply::Came(_) | Reply::Lost | Reply::Done => false,
    }
}

/// Hands a reply over, and wakes who waits for it. The first that comes is the call's.
pub(super) fn come<F>(slot: &Mutex<Reply<F>>, result: Result<F, CallError>) {
    settle(slot, Reply::Came(result));
}

/// Nobody will answer the call any more.
pub(super) fn lose<F>(slot: &Mutex<Reply<F>>) {
    settle(slot, Reply::Lost);
}

fn settle<F>(slot: &Mutex<Reply<F>>, how: Reply<F>) {
    let mut reply = lock(slot);
    if !matches!(*reply, Reply::Waiting { .. }) {
        drop(reply);
        return;
    }
    let before = std::mem::replace(&mut *reply, how);
    drop(reply);
    if let Reply::Waiting {
        waker: Some(waker), ..
    } = before
    {
        contain::wake(waker);
    }
}
