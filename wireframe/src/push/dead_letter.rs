//! Where frames go that were accepted and cannot be sent.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroUsize},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_channel::{Receiver, Sender, TrySendError};
use futures_core::Stream;
use wireframe_proto::{ConnectionId, Envelope, Escaped, Instant, Priority, Throttle, Unencodable};

use crate::{
    contain,
    sync::{Arc, AtomicU64, Mutex, Ordering, lock},
};

/// A frame that was accepted and not sent.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter<F = Envelope> {
    /// The connection that it was pushed to.
    pub connection: ConnectionId,
    /// The priority that it was pushed with.
    pub priority: Priority,
    /// Why it was not sent.
    pub reason: DeadLetterReason,
    /// The frame; as [`before_send`](wireframe_proto::WireframeProtocol::before_send) left
    /// it, if it got so far.
    pub frame: F,
}

/// Why a frame that was accepted was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// There was no room, or no token, and its [policy](super::PushPolicy) dropped it.
    Policy,
    /// The connection ended before the transport had taken all of it. Of each connection
    /// at most one such frame may have reached the peer in part.
    ConnectionClosed,
    /// It could not be encoded.
    Unencodable(Unencodable),
    /// It was to begin a call, and too many calls without an id had been given up whose
    /// replies were still to come.
    CallRefused,
}

/// When a frame is logged that a dead letter queue could not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterLog {
    /// The first, and then every n-th.
    EveryNth(NonZeroU64),
    /// At most one in so much time, by the clocks of the connections.
    OncePer(Duration),
}

/// One in a minute.
impl Default for DeadLetterLog {
    fn default() -> Self {
        Self::OncePer(Duration::from_secs(60))
    }
}

/// A queue for at most so many dead letters.
///
/// Give the sender to [`WireframeApp::dead_letters`](crate::WireframeApp::dead_letters)
/// of one app or of several. What comes while the queue is full, or after the receiver
/// was dropped, is lost: it is counted, and logged as [`DeadLetterLog`] says.
///
/// ```
/// use std::num::NonZeroUsize;
/// use wireframe::{DeadLetters, WireframeApp, dead_letter_queue};
///
/// const MOST: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// let (sender, letters) = dead_letter_queue(MOST);
/// let app = WireframeApp::new().dead_letters(sender);
///
/// async fn report(letters: DeadLetters) {
///     while let Some(letter) = letters.recv().await {
///         eprintln!("{}: {:?}", letter.connection, letter.reason);
///     }
/// }
/// # drop((app, report(letters)));
/// ```
#[must_use]
pub fn dead_letter_queue<F>(capacity: NonZeroUsize) -> (DeadLetterSender<F>, DeadLetters<F>) {
    let (sender, receiver) = async_channel::bounded(capacity.get());
    let losses = Arc::new(Losses::default());
    let sender = DeadLetterSender {
        sender,
        losses: Arc::clone(&losses),
        log: DeadLetterLog::default(),
    };
    let receiver = Box::pin(receiver);
    (sender, DeadLetters { receiver, losses })
}

/// What a queue could not take.
#[derive(Default)]
pub(super) struct Losses {
    count: AtomicU64,
    logged: Mutex<Throttle>,
}

impl Losses {
    /// Counts one; says how many that makes, if it is to be logged.
    pub(super) fn count(&self, log: DeadLetterLog, now: Instant) -> Option<u64> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let is_logged = match log {
            DeadLetterLog::EveryNth(n) => before % n == 0,
            DeadLetterLog::OncePer(interval) => {
                lock(&self.logged).pass_after(interval, now).is_some()
            }
        };
        is_logged.then_some(before + 1)
    }
}

/// The end of a [dead letter queue](dead_letter_queue) that an app is given.
pub struct DeadLetterSender<F = Envelope> {
    sender: Sender<DeadLetter<F>>,
    losses: Arc<Losses>,
    log: DeadLetterLog,
}

impl<F> DeadLetterSender<F> {
    /// Sets which of the frames that the queue cannot take are logged. Default: one in a
    /// minute.
    #[must_use]
    pub fn with_log(mut self, log: DeadLetterLog) -> Self {
        self.log = log;
        self
    }

    /// Queues a letter; gives its frame back if it is lost.
    pub(super) fn send(&self, letter: DeadLetter<F>, now: Instant) -> Result<(), F> {
        let (letter, queue) = match contain::run(|| self.sender.try_send(letter)) {
            // What can panic is the receiver's waker, once the letter is in the queue.
            None | Some(Ok(())) => return Ok(()),
            Some(Err(TrySendError::Full(letter))) => (letter, "full"),
            Some(Err(TrySendError::Closed(letter))) => (letter, "closed"),
        };
        if let Some(lost) = self.losses.count(self.log, now) {
            let DeadLetter {
                connection,
                priority,
                reason,
                ..
            } = &letter;
            tracing::warn!(
                %connection,
                ?priority,
                reason = %Escaped(format_args!("{reason:?}")),
                queue,
                lost,
                "a dead letter was lost"
            );
        }
        Err(letter.frame)
    }
}

/// The end of a [dead letter queue](dead_letter_queue) from which letters are taken.
///
/// It is a [`Stream`], too. It ends when every sender is gone: the apps, and the push
/// handles of their connections.
pub struct DeadLetters<F = Envelope> {
    receiver: Pin<Box<Receiver<DeadLetter<F>>>>,
    losses: Arc<Losses>,
}

impl<F> DeadLetters<F> {
    /// The next letter; `None` once every sender is gone and all have been taken.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no letter.
    pub async fn recv(&self) -> Option<DeadLetter<F>> {
        self.receiver.recv().await.ok()
    }

    /// The next letter, if there is one now.
    #[must_use]
    pub fn try_recv(&self) -> Option<DeadLetter<F>> {
        self.receiver.try_recv().ok()
    }

    /// How many frames the queue could not take.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.losses.count.load(Ordering::Relaxed)
    }
}

impl<F> Stream for DeadLetters<F> {
    type Item = DeadLetter<F>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DeadLetter<F>>> {
        self.receiver.as_mut().poll_next(cx)
    }
}

// By hand, because a derived one would demand `F: Clone`.
impl<F> Clone for DeadLetterSender<F> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            losses: Arc::clone(&self.losses),
            log: self.log,
        }
    }
}

impl<F> fmt::Debug for DeadLetter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("connection", &self.connection)
            .field("priority", &self.priority)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for DeadLetterSender<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterSender")
            .field("queued", &self.sender.len())
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for DeadLetters<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("queued", &self.receiver.len())
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}
