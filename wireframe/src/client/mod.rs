//! The calling end of a connection.

mod caller;

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use hashbrown::HashMap;
use thiserror::Error;
use wireframe_proto::{AnswerOrder, CallId, CloseReason, CorrelationId, EnvelopeProtocol, Side};

pub(crate) use caller::Caller;

use crate::{
    app::App,
    driver::{Driver, Environment},
    frame::Protocol,
    push::{ConnectionHandle, PushHandle, QueuedCall},
    sync::{Arc, AtomicU64, Mutex, Ordering, lock},
    transport::Transport,
};

/// Frames of the peer's own accord that wait for [`Pushes::next`].
const MAX_PUSHES: usize = 256;

/// The calling end of a connection.
///
/// A clone is the same connection, which is drained and closed once all of them, and
/// their [`Pushes`], have been dropped. It can also serve: the app that it was made with
/// handles what the peer asks of it.
pub struct Client<P: Protocol = EnvelopeProtocol> {
    shared: Arc<ClientShared<P::Frame>>,
}

struct ClientShared<F> {
    push: PushHandle<F>,
    inbox: Arc<Mutex<Inbox<F>>>,
    next_call: AtomicU64,
}

impl<F> Drop for ClientShared<F> {
    fn drop(&mut self) {
        self.push.connection().close();
    }
}

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The connection ended, or was about to, before the reply came.
    #[error("connection ended: {0}")]
    Closed(CloseReason),
    /// The call was not sent.
    #[error("call not sent: {0}")]
    Unsent(String),
}

/// So many frames were dropped because nobody took them in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} pushes were dropped, because nobody took them in time")]
pub struct Lagged(pub u64);

impl<P: Protocol> Client<P> {
    /// A client over a transport, and the driver that has to be run for it.
    pub fn new<T: Transport>(
        app: &App<P>,
        transport: T,
        address: Option<SocketAddr>,
        environment: &Environment,
    ) -> (Self, Driver<P, T>) {
        let mut driver = Driver::new(app, transport, Side::Client, address, environment);
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        driver.set_caller(Caller {
            inbox: Arc::clone(&inbox),
            replies: HashMap::new(),
        });
        let shared = Arc::new(ClientShared {
            push: driver.push_handle(),
            inbox,
            next_call: AtomicU64::new(1),
        });
        (Self { shared }, driver)
    }

    /// Sends a frame and waits for its reply. It goes as a low push and waits for room
    /// as one; it is given a correlation id where the protocol has them.
    ///
    /// # Errors
    ///
    /// [`CallError::Closed`] if the connection ends first, [`CallError::Unsent`] if the
    /// frame cannot be sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the reply up; no other call can receive it. The frame
    /// may have been sent.
    pub async fn call(&self, frame: P::Frame) -> Result<P::Frame, CallError> {
        let id = match P::ANSWERS {
            AnswerOrder::Correlated => {
                let id = self.shared.next_call.fetch_add(1, Ordering::Relaxed);
                Some(CorrelationId(id))
            }
            AnswerOrder::InOrder => None,
        };
        let reply = Arc::new(Mutex::new(Reply::default()));
        let queued = QueuedCall {
            id,
            reply: Arc::clone(&reply),
        };
        if self.shared.push.call(frame, queued).await.is_err() {
            return Err(CallError::Closed(self.end_reason()));
        }
        let client = &*self.shared;
        Replied { reply, client }.await
    }

    /// A handle to send frames that are not answered: as pushes of this end.
    #[must_use]
    pub fn push_handle(&self) -> &PushHandle<P::Frame> {
        &self.shared.push
    }

    /// What the peer sends of its own accord, from now on. While nobody listens such
    /// frames are dropped, and counted in [`ConnectionHandle::unhandled_pushes`].
    #[must_use]
    pub fn pushes(&self) -> Pushes<P::Frame> {
        let mut inbox = lock(&self.shared.inbox);
        inbox.listening += 1;
        inbox.listeners += 1;
        Pushes {
            shared: Arc::clone(&self.shared),
            listener: inbox.listeners,
        }
    }

    /// The connection, to close it.
    #[must_use]
    pub fn connection(&self) -> ConnectionHandle {
        self.shared.push.connection()
    }

    fn end_reason(&self) -> CloseReason {
        lock(&self.shared.inbox).end_reason()
    }
}

impl<P: Protocol> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<P: Protocol> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection", &self.connection())
            .finish_non_exhaustive()
    }
}

/// What the peer sends of its own accord.
///
/// Where several listen each frame goes to one of them. When the last is dropped, so are
/// the frames that nobody has taken.
pub struct Pushes<F> {
    shared: Arc<ClientShared<F>>,
    /// Its name among those who listen.
    listener: u64,
}

impl<F> Pushes<F> {
    /// The next frame; `None` once the connection has ended and all have been taken.
    ///
    /// # Errors
    ///
    /// [`Lagged`] if frames were dropped since the last: at most 256 wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no frame.
    pub async fn next(&mut self) -> Option<Result<F, Lagged>> {
        NextPush {
            inbox: &self.shared.inbox,
            listener: self.listener,
        }
        .await
    }
}

impl<F> Drop for Pushes<F> {
    fn drop(&mut self) {
        let mut inbox = lock(&self.shared.inbox);
        let stale = inbox.wakers.remove(&self.listener);
        inbox.listening = inbox.listening.saturating_sub(1);
        let unheard = if inbox.listening == 0 {
            inbox.lagged = 0;
            std::mem::take(&mut inbox.pushes)
        } else {
            VecDeque::new()
        };
        drop(inbox);
        self.shared.push.connection().count_unhandled(unheard.len());
        drop(unheard);
        drop(stale);
    }
}

impl<F> fmt::Debug for Pushes<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushes").finish_non_exhaustive()
    }
}

/// What the driver has for the client.
struct Inbox<F> {
    /// How many listen now.
    listening: usize,
    pushes: VecDeque<F>,
    lagged: u64,
    ended: Option<CloseReason>,
    /// How many have ever listened.
    listeners: u64,
    /// Those who wait for a push, by listener.
    wakers: HashMap<u64, Waker>,
    /// Calls whose replies nobody waits for any more.
    given_up: Vec<CallId>,
}

impl<F> Inbox<F> {
    fn end_reason(&self) -> CloseReason {
        self.ended.clone().unwrap_or(CloseReason::Drained)
    }
}

impl<F> Default for Inbox<F> {
    fn default() -> Self {
        Self {
            listening: 0,
            pushes: VecDeque::new(),
            lagged: 0,
            ended: None,
            listeners: 0,
            wakers: HashMap::new(),
            given_up: Vec::new(),
        }
    }
}

struct NextPush<'a, F> {
    inbox: &'a Mutex<Inbox<F>>,
    listener: u64,
}

impl<F> Future for NextPush<'_, F> {
    type Output = Option<Result<F, Lagged>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Cloned and dropped unlocked: wakers are foreign code.
        let fresh = cx.waker().clone();
        let mut inbox = lock(self.inbox);
        if inbox.lagged > 0 {
            let lagged = std::mem::take(&mut inbox.lagged);
            return Poll::Ready(Some(Err(Lagged(lagged))));
        }
        if let Some(frame) = inbox.pushes.pop_front() {
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

/// Where a call's reply goes.
#[derive(Debug)]
pub(crate) enum Reply<F> {
    Waiting {
        waker: Option<Waker>,
        /// Its name, once it has begun.
        call: Option<CallId>,
    },
    Came(Result<F, CallError>),
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

pub(crate) type ReplySlot<F> = Arc<Mutex<Reply<F>>>;

struct Replied<'a, F> {
    reply: ReplySlot<F>,
    client: &'a ClientShared<F>,
}

impl<F> Future for Replied<'_, F> {
    type Output = Result<F, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let fresh = cx.waker().clone();
        let mut reply = lock(&self.reply);
        if let Reply::Waiting { waker, .. } = &mut *reply {
            let stale = waker.replace(fresh);
            drop(reply);
            drop(stale);
            return Poll::Pending;
        }
        match std::mem::replace(&mut *reply, Reply::Done) {
            Reply::Came(result) => Poll::Ready(result),
            Reply::Waiting { .. } | Reply::Done => Poll::Pending,
        }
    }
}

impl<F> Drop for Replied<'_, F> {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *lock(&self.reply), Reply::Done);
        if let Reply::Waiting {
            call: Some(call), ..
        } = before
        {
            lock(&self.client.inbox).given_up.push(call);
            self.client.push.wake_driver();
        }
    }
}
