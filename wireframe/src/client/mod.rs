//! The calling end of a connection.

mod call;
mod caller;
mod connect;
mod inbox;
mod limit;
mod outgoing;
mod pushes;
mod reconnect;
mod replies;
mod slot;
#[cfg(test)]
mod tests;

use std::{fmt, net::SocketAddr, time::Duration};

use thiserror::Error;
use wireframe_proto::{AnswerOrder, CallId, CloseReason, CorrelationId, EnvelopeProtocol, Side};

pub use call::Call;
pub(crate) use caller::Caller;
pub use connect::{connect, reconnecting};
#[cfg(feature = "tls")]
pub(crate) use connect::{invalid, open, start};
pub use pushes::{Lagged, Pushes};
pub use reconnect::{Backoff, Jitter, Reconnecting};
pub use replies::Replies;
pub(crate) use slot::Slot;

use self::inbox::Inbox;
use crate::{
    app::App,
    clock::Clock,
    driver::{Driver, Environment},
    frame::Protocol,
    push::{ConnectionHandle, Push, PushCall, PushHandle, QueuedCall},
    sync::{Arc, AtomicU64, Mutex, Ordering, lock},
    transport::Transport,
};

/// The calling end of a connection.
///
/// A clone is the same connection, which is drained and closed once all of them, their
/// [`Pushes`] and their calls have been dropped. It can also serve: the app that it was
/// made with handles what the peer asks of it.
pub struct Client<P: Protocol = EnvelopeProtocol> {
    shared: Arc<ClientShared<P::Frame>>,
    /// The time that a call has, if it does not say so itself.
    timeout: Option<Duration>,
}

struct ClientShared<F> {
    push: PushHandle<F>,
    inbox: Arc<Mutex<Inbox<F>>>,
    next_call: AtomicU64,
    clock: Clock,
}

impl<F> ClientShared<F> {
    /// The push that begins a call.
    fn begin(&self, order: AnswerOrder, frame: F, slot: Slot<F>) -> PushCall<F> {
        let id = match order {
            AnswerOrder::Correlated => {
                let id = self.next_call.fetch_add(1, Ordering::Relaxed);
                Some(CorrelationId(id))
            }
            AnswerOrder::InOrder => None,
        };
        self.push.call(frame, QueuedCall { id, slot })
    }

    /// Nobody waits for what answers a call that has begun.
    fn give_up(&self, call: CallId) {
        lock(&self.inbox).given_up.push(call);
        self.push.wake_driver();
    }

    /// The error of a call that the connection does not take: it drains, if it has said
    /// nothing else.
    fn closed(&self) -> CallError {
        let ended = lock(&self.inbox).ended.clone();
        CallError::Closed(ended.unwrap_or(CloseReason::Drained))
    }

    /// The error of a call that its driver has let go of.
    fn lost(&self) -> CallError {
        let ended = lock(&self.inbox).ended.clone();
        CallError::Closed(ended.unwrap_or(CloseReason::Aborted))
    }
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
    /// The time that the call had is over. It may have been sent.
    #[error("no reply within {limit:?}")]
    TimedOut {
        /// The time that it had.
        limit: Duration,
    },
    /// The answer ended without a frame.
    #[error("the answer has no frame")]
    Empty,
}

impl<P: Protocol> Client<P> {
    /// A client over a transport, and the driver that has to be run for it.
    ///
    /// A transport that begins with a handshake is [prepared](crate::prepare) before: the
    /// handshake has no time limit else, and what is learnt by it is not seen.
    pub fn new<T: Transport>(
        app: &App<P>,
        transport: T,
        address: Option<SocketAddr>,
        environment: &Environment,
    ) -> (Self, Driver<P, T>) {
        let mut driver = Driver::uncounted(app, transport, Side::Client, address, environment);
        let inbox = Arc::new(Mutex::new(Inbox::new(app.shared.config.body_bytes())));
        driver.set_caller(Caller::new(Arc::clone(&inbox)));
        let shared = Arc::new(ClientShared {
            push: driver.push_handle(),
            inbox,
            next_call: AtomicU64::new(1),
            clock: environment.clock.clone(),
        });
        let timeout = None;
        (Self { shared, timeout }, driver)
    }

    /// The same client, whose [`call`](Self::call)s each have so long unless they say
    /// otherwise. Streams are not limited by it. The default is no limit.
    #[must_use]
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sends a frame and waits for its reply. It goes as a low push and waits for room
    /// as one; it is given a correlation id where the protocol has them.
    ///
    /// The reply is the first frame of the answer. [`Call::timeout`] and
    /// [`Call::deadline`] limit the time that it may take.
    ///
    /// # Errors
    ///
    /// [`CallError::Closed`] if the connection ends first, [`CallError::Unsent`] if the
    /// frame cannot be sent, [`CallError::TimedOut`] if its time is over, and
    /// [`CallError::Empty`] if the answer has no frame.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the reply up; no other call can receive it. The frame
    /// may have been sent.
    pub fn call(&self, frame: P::Frame) -> Call<P::Frame> {
        let call = Call::new(Arc::clone(&self.shared), P::ANSWERS, frame);
        match self.timeout {
            Some(limit) => call.timeout(limit),
            None => call,
        }
    }

    /// Sends a frame that is answered with any number of frames, and takes these one by
    /// one. It goes as [`call`](Self::call) does.
    ///
    /// How a protocol tells the last frame from others is its own affair; with the
    /// default protocol both ends have to name an
    /// [end of streams](EnvelopeProtocol::with_stream_end), or the first frame is the last;
    /// and the handler has to answer with a stream or a channel, as only these have an end.
    ///
    /// A consumer that does not keep up stops the connection's input: see
    /// [`Replies`](Replies#back-pressure).
    ///
    /// ```
    /// use wireframe::{CallError, Client, Envelope};
    ///
    /// async fn sum(client: &Client) -> Result<usize, CallError> {
    ///     let mut frames = client.call_streaming(Envelope::new(2, ""));
    ///     let mut bytes = 0;
    ///     while let Some(frame) = frames.next().await {
    ///         bytes += frame?.payload.len();
    ///     }
    ///     Ok(bytes)
    /// }
    /// ```
    pub fn call_streaming(&self, frame: P::Frame) -> Replies<P::Frame> {
        Replies::new(Arc::clone(&self.shared), P::ANSWERS, frame)
    }

    /// Sends a frame that is not answered: a low push, in short. It waits for room.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`](crate::PushError::Closed) with the frame, once the
    /// connection has ended, or drains and takes nothing new.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has sent nothing, and the frame is dropped with it.
    pub fn send(&self, frame: P::Frame) -> Push<'_, P::Frame> {
        self.shared.push.push_low_priority(frame)
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
        Pushes::new(Arc::clone(&self.shared))
    }

    /// The connection, to close it.
    #[must_use]
    pub fn connection(&self) -> ConnectionHandle {
        self.shared.push.connection()
    }
}

impl<P: Protocol> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            timeout: self.timeout,
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
