//! A call that is answered with a stream of frames.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use futures_core::Stream;
use wireframe_proto::{AnswerOrder, CallId, Envelope, Instant, PushCapacity};

use super::{CallError, ClientShared, outgoing::Outgoing, slot::Slot};
use crate::{
    contain,
    sync::{Arc, Mutex, lock},
};

/// The frames of a streamed answer, see
/// [`Client::call_streaming`](super::Client::call_streaming); a [`Stream`] too.
///
/// The call is sent when this is first polled. It ends after the last frame, or with an
/// error. It keeps the connection open as a clone of the client does.
///
/// # Back-pressure
///
/// At most 256 frames of together 1 MiB wait to be taken, and the one that crosses the
/// bound; [`capacity`](Self::capacity) sets it. Once it is reached the connection takes
/// no more input, until half of that has been taken or this is dropped. So a slow consumer
/// slows its peer down, and with it *everything else on the connection*: other replies
/// and pushes wait too. A consumer that, with its own stream full, waits for another
/// reply on the same connection before it takes the next frame waits for ever. If it has
/// to do that, give it a capacity for all that may come meanwhile, or a connection of its
/// own.
///
/// # Cancel safety
///
/// Dropping it gives the rest of the answer up: it is discarded should it come, and no
/// other call can receive it. The peer is not told, and sends on.
#[must_use = "nothing is sent unless this is polled"]
pub struct Replies<F: 'static = Envelope> {
    outgoing: Outgoing<F>,
    queue: QueueSlot<F>,
}

impl<F> Replies<F> {
    pub(super) fn new(client: Arc<ClientShared<F>>, order: AnswerOrder, frame: F) -> Self {
        let queue = QueueSlot::default();
        let slot = Slot::stream(Arc::clone(&queue));
        let outgoing = Outgoing::new(client, order, frame, slot);
        Self { outgoing, queue }
    }

    /// Gives the whole answer so long from now: from finding room for the call to its last
    /// frame. Frames that came in time are handed out first.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.outgoing.set_timeout(limit);
        self
    }

    /// Gives the whole answer until then, on the client's [`Clock`](crate::Clock).
    pub fn deadline(mut self, at: Instant) -> Self {
        self.outgoing.set_deadline(at);
        self
    }

    /// Sets how many frames, and bytes as
    /// [`encoded_len`](wireframe_proto::Codec::encoded_len) says, may wait to be taken.
    /// Default 256 frames, 1 MiB. So much, and one frame, is the most memory that it takes.
    pub fn capacity(self, capacity: PushCapacity) -> Self {
        lock(&self.queue).capacity = capacity;
        self
    }

    /// The next frame; `None` after the last one, or after an error.
    ///
    /// # Errors
    ///
    /// As those of [`Client::call`](super::Client::call); but an answer without any frame
    /// is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no frame.
    pub async fn next(&mut self) -> Option<Result<F, CallError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Sends the call, if it has not been sent, and watches the time.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        ready!(self.outgoing.poll_send(cx))?;
        Poll::Ready(self.outgoing.check_limit())
    }

    /// The next frame, or the end. A waker is cloned only where one has to wait.
    fn poll_queue(&self, cx: &mut Context<'_>) -> Poll<Option<Result<F, CallError>>> {
        let mut queue = lock(&self.queue);
        if let Some(next) = queue.take() {
            let has_room = queue.release();
            drop(queue);
            if has_room {
                self.outgoing.client.push.wake_driver();
            }
            let why = |lost: Option<CallError>| lost.unwrap_or_else(|| self.outgoing.client.lost());
            return Poll::Ready(next.map(|next| next.map_err(why)));
        }
        if queue
            .waker
            .as_ref()
            .is_some_and(|w| w.will_wake(cx.waker()))
        {
            return Poll::Pending;
        }
        drop(queue);
        let fresh = cx.waker().clone();
        let mut queue = lock(&self.queue);
        let stale = queue.waker.replace(fresh);
        let missed = !queue.frames.is_empty() || !matches!(queue.end, End::Open);
        drop(queue);
        drop(stale);
        if missed {
            // It came in between; the waker does no harm.
            return self.poll_queue(cx);
        }
        Poll::Pending
    }

    /// Takes no more frames; the driver is told if it knows of the call.
    fn give_up(&mut self, why: End) {
        let mut queue = lock(&self.queue);
        let waker = queue.waker.take();
        let call = match queue.end {
            End::Open => {
                queue.end = why;
                queue.call.take()
            }
            End::Complete | End::Failed(_) | End::Lost | End::Told => None,
        };
        queue.holds_input = false;
        drop(queue);
        drop(waker);
        self.outgoing.give_up(call);
    }
}

// A frame is only ever moved, never pinned.
impl<F> Unpin for Replies<F> {}

impl<F> Stream for Replies<F> {
    type Item = Result<F, CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let polled = match this.poll_call(cx) {
            Poll::Ready(Ok(())) => this.poll_queue(cx),
            Poll::Ready(Err(error)) => {
                this.give_up(End::Failed(error));
                return this.poll_queue(cx);
            }
            Poll::Pending => Poll::Pending,
        };
        if polled.is_pending()
            && let Poll::Ready(error) = this.outgoing.poll_limit(cx)
        {
            this.give_up(End::Failed(error));
            return this.poll_queue(cx);
        }
        if matches!(polled, Poll::Ready(None)) {
            this.outgoing.forget_limit();
        }
        polled
    }
}

impl<F> Drop for Replies<F> {
    fn drop(&mut self) {
        self.give_up(End::Told);
        // Dropped unlocked, here and not when the driver has let go of the queue too.
        let frames = std::mem::take(&mut lock(&self.queue).frames);
        drop(frames);
    }
}

impl<F> fmt::Debug for Replies<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("connection", &self.outgoing.client.push.connection())
            .finish_non_exhaustive()
    }
}

pub(super) type QueueSlot<F> = Arc<Mutex<Queue<F>>>;

/// Where the frames of a streamed answer go.
pub(crate) struct Queue<F> {
    /// Each with what it is charged.
    frames: VecDeque<(F, usize)>,
    bytes: usize,
    capacity: PushCapacity,
    end: End,
    /// The call's name, once it has begun.
    call: Option<CallId>,
    /// The connection takes no input, because this is full.
    holds_input: bool,
    waker: Option<Waker>,
}

/// Whether more will come.
pub(super) enum End {
    Open,
    Complete,
    Failed(CallError),
    /// The driver has let go of it; its connection knows why.
    Lost,
    /// The consumer knows of the end, or does not want to.
    Told,
}

impl<F> Default for Queue<F> {
    fn default() -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            capacity: PushCapacity::new(),
            end: End::Open,
            call: None,
            holds_input: false,
            waker: None,
        }
    }
}

impl<F> Queue<F> {
    /// The next frame, or the end, whose error the connection may know; `None` if there is
    /// neither yet.
    fn take(&mut self) -> Option<Option<Result<F, Option<CallError>>>> {
        if let Some((frame, charge)) = self.frames.pop_front() {
            self.bytes = self.bytes.saturating_sub(charge);
            return Some(Some(Ok(frame)));
        }
        if matches!(self.end, End::Open) {
            return None;
        }
        match std::mem::replace(&mut self.end, End::Told) {
            End::Failed(error) => Some(Some(Err(Some(error)))),
            End::Lost => Some(Some(Err(None))),
            End::Open | End::Complete | End::Told => Some(None),
        }
    }

    /// Whether the connection may take input again, and had to wait till now.
    ///
    /// Not before half of the queue is free: else driver and consumer would take turns
    /// with every single frame.
    fn release(&mut self) -> bool {
        let has_room = self.frames.len() <= self.capacity.frames.get() / 2
            && self.bytes <= self.capacity.bytes.get() / 2;
        has_room && std::mem::take(&mut self.holds_input)
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= self.capacity.frames.get() || self.bytes >= self.capacity.bytes.get()
    }
}

/// The call has begun; says whether anybody wants its answer.
pub(super) fn begun<F>(slot: &Mutex<Queue<F>>, id: CallId) -> bool {
    let mut queue = lock(slot);
    let wanted = matches!(queue.end, End::Open);
    if wanted {
        queue.call = Some(id);
    }
    wanted
}

/// Adds a frame, and says whether the queue is full by that.
pub(super) fn come<F>(slot: &Mutex<Queue<F>>, frame: F, charge: usize) -> bool {
    let mut queue = lock(slot);
    if !matches!(queue.end, End::Open) {
        drop(queue);
        drop(frame);
        return false;
    }
    queue.bytes = queue.bytes.saturating_add(charge);
    queue.frames.push_back((frame, charge));
    queue.holds_input = queue.is_full();
    let full = queue.holds_input;
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        contain::wake(waker);
    }
    full
}

/// Nothing more comes.
pub(super) fn end<F>(slot: &Mutex<Queue<F>>, how: End) {
    let mut queue = lock(slot);
    if matches!(queue.end, End::Open) {
        queue.end = how;
    }
    queue.call = None;
    queue.holds_input = false;
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        contain::wake(waker);
    }
}

/// Whether it keeps the connection from taking input.
pub(super) fn holds_input<F>(slot: &Mutex<Queue<F>>) -> bool {
    lock(slot).holds_input
}
