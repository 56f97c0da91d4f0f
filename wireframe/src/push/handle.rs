//! The handle through which frames are pushed.

use std::fmt;

use wireframe_proto::{Accepted, Envelope, Priority, PushCapacity, SharedUnits};

use super::{
    common::Common,
    control::ConnectionHandle,
    error::TryPushError,
    mailbox::{Mailbox, QueuedCall},
    policy::{PushPolicy, Pushed},
    stats::PushStats,
    wait::{Push, PushCall, Reserve},
};
use crate::{
    clock::Clock,
    sync::{Arc, Weak},
};

/// Pushes frames to one connection, from any thread or task.
///
/// Clones push to the same connection and share its bounds, see [`PushCapacity`]. Frames
/// of one priority leave in the order in which they were accepted; a producer that
/// awaits each push keeps its own order. A handle does not keep the connection open, and
/// dropping all of them does not end it.
///
/// ```
/// use wireframe::{PushError, PushHandle};
///
/// async fn tick(push: PushHandle<Vec<u8>>) -> Result<(), PushError<Vec<u8>>> {
///     push.push_high_priority(b"about to tick".to_vec()).await?;
///     push.push_low_priority(b"tick".to_vec()).await
/// }
/// ```
pub struct PushHandle<F = Envelope> {
    mailbox: Arc<Mailbox<F>>,
}

impl<F> PushHandle<F> {
    pub(crate) fn new(mailbox: Arc<Mailbox<F>>) -> Self {
        Self { mailbox }
    }

    /// The clock of its connection.
    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        self.mailbox.clock()
    }

    /// Pushes a frame, waiting for room if there is none.
    ///
    /// If there is room it completes at the first poll. Those who wait are woken in the
    /// order of arrival, and nobody passes a frame that waits for more room than is left.
    /// But one that was woken holds no slot: whoever is polled or pushes before it may take
    /// the room, and then it waits on in its old place. So producers that never wait can
    /// keep those who do waiting, for as long as they take all room first; and a future
    /// that is kept without being polled, as in a `select!` over a reference, does not stop
    /// what the same task awaits instead.
    ///
    /// While the app's [`MemoryBudget`](crate::MemoryBudget) is used up there is no room on any
    /// connection.
    ///
    /// Where the rate is limited a push waits for a token as well, and takes both in one
    /// step. Tokens come to high pushes that wait before low ones, but after
    /// [`max_high_before_low`](wireframe_proto::FairnessConfig::max_high_before_low)
    /// consecutive ones for high pushes, a low one that waits gets one.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`](super::PushError::Closed) with the frame once the connection
    /// has ended, or drains and takes nothing new.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has pushed nothing, and the frame is dropped with it. To keep the
    /// frame, [`reserve`](Self::reserve) first.
    pub fn push(&self, priority: Priority, frame: F) -> Push<'_, F> {
        Push::new(&self.mailbox, priority, frame)
    }

    /// Pushes a frame of high priority: [`push`](Self::push) in short.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Cancel safety
    ///
    /// As [`push`](Self::push).
    pub fn push_high_priority(&self, frame: F) -> Push<'_, F> {
        self.push(Priority::High, frame)
    }

    /// Pushes a frame of low priority: [`push`](Self::push) in short.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Cancel safety
    ///
    /// As [`push`](Self::push).
    pub fn push_low_priority(&self, frame: F) -> Push<'_, F> {
        self.push(Priority::Low, frame)
    }

    /// Pushes a frame that begins a call.
    pub(crate) fn call(&self, frame: F, call: QueuedCall<F>) -> PushCall<F> {
        PushCall::new(Arc::clone(&self.mailbox), frame, call)
    }

    /// Tells the driver that there is something for it beside pushes.
    pub(crate) fn wake_driver(&self) {
        self.mailbox.control().signal().unpark();
    }

    /// Pushes a frame if there is room, and a token where the rate of pushes is limited;
    /// never waits.
    ///
    /// Where someone waits for more room than is left, there is none for others either.
    /// It may go before a [`push`](Self::push) that was woken and has not been polled yet.
    ///
    /// # Errors
    ///
    /// [`TryPushError::Full`], [`TryPushError::RateLimited`] or [`TryPushError::Closed`],
    /// each with the frame.
    pub fn try_push(&self, priority: Priority, frame: F) -> Result<(), TryPushError<F>> {
        let accepted = self.mailbox.measure(frame);
        let now = self.mailbox.token_time();
        let entered = self.mailbox.try_enter(priority, accepted, now);
        entered.map_err(|refused| self.mailbox.count_refused(refused))?;
        self.mailbox.control().signal().unpark();
        Ok(())
    }

    /// Pushes a frame if there is room, else does as the policy says; never waits. A
    /// missing token counts as missing room.
    ///
    /// # Errors
    ///
    /// [`TryPushError::Closed`] with the frame; under [`PushPolicy::ReturnErrorIfFull`]
    /// also [`TryPushError::Full`] and [`TryPushError::RateLimited`].
    pub fn push_with_policy(
        &self,
        priority: Priority,
        frame: F,
        policy: PushPolicy,
    ) -> Result<Pushed, TryPushError<F>> {
        let accepted = self.mailbox.measure(frame);
        self.mailbox.push_with_policy(priority, accepted, policy)
    }

    /// Waits for a slot, and a token where the rate of pushes is limited, and takes both
    /// ahead of their frame.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`](super::PushError::Closed) once the connection has ended, or
    /// drains and takes nothing new.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken nothing; a dropped permit gives back what it holds.
    pub fn reserve(&self, priority: Priority) -> Reserve<'_, F> {
        Reserve::new(&self.mailbox, priority)
    }

    /// Pushes a frame that is encoded already, if it could be.
    pub(crate) fn push_encoded(
        &self,
        priority: Priority,
        frame: F,
        encoded: Option<SharedUnits>,
        policy: PushPolicy,
    ) -> Result<Pushed, TryPushError<F>> {
        let accepted = match encoded {
            Some(encoded) => Accepted::shared(frame, encoded),
            None => self.mailbox.measure(frame),
        };
        self.mailbox.push_with_policy(priority, accepted, policy)
    }

    /// The mailbox behind it.
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<F>> {
        &self.mailbox
    }

    pub(crate) fn common(&self) -> &Arc<Common<F>> {
        self.mailbox.common()
    }

    /// A handle that does not keep what the connection has left behind in memory.
    #[must_use]
    pub fn downgrade(&self) -> WeakPushHandle<F> {
        WeakPushHandle {
            mailbox: Arc::downgrade(&self.mailbox),
        }
    }

    /// The connection that this pushes to.
    #[must_use]
    pub fn connection(&self) -> ConnectionHandle {
        ConnectionHandle::new(Arc::clone(self.mailbox.control()))
    }

    /// How much may be outstanding.
    #[must_use]
    pub fn capacity(&self, priority: Priority) -> PushCapacity {
        self.mailbox.capacity(priority)
    }

    /// How many frames are on their way, those already encoded included.
    #[must_use]
    pub fn queued(&self, priority: Priority) -> usize {
        self.mailbox.queued(priority)
    }

    /// Whether every further push will be refused.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Where the frames pushed on this connection have gone, through any handle.
    #[must_use]
    pub fn stats(&self) -> PushStats {
        self.mailbox.stats()
    }
}

/// A [`PushHandle`] that keeps nothing of its connection in memory.
///
/// ```
/// use wireframe::{PushHandle, WeakPushHandle};
///
/// fn is_connected(weak: &WeakPushHandle<Vec<u8>>) -> bool {
///     weak.upgrade().is_some_and(|handle| !handle.is_closed())
/// }
/// ```
pub struct WeakPushHandle<F = Envelope> {
    mailbox: Weak<Mailbox<F>>,
}

impl<F> WeakPushHandle<F> {
    /// The handle; `None` once the connection has ended and no other handle is left.
    #[must_use]
    pub fn upgrade(&self) -> Option<PushHandle<F>> {
        self.mailbox.upgrade().map(PushHandle::new)
    }

    /// Whether there is still something to upgrade to.
    pub(crate) fn is_alive(&self) -> bool {
        self.mailbox.strong_count() > 0
    }
}

// By hand, because a derived one would demand `F: Clone`.
impl<F> Clone for PushHandle<F> {
    fn clone(&self) -> Self {
        Self {
            mailbox: Arc::clone(&self.mailbox),
        }
    }
}

impl<F> Clone for WeakPushHandle<F> {
    fn clone(&self) -> Self {
        Self {
            mailbox: Weak::clone(&self.mailbox),
        }
    }
}

impl<F> fmt::Debug for WeakPushHandle<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakPushHandle").finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for PushHandle<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushHandle")
            .field("connection", &self.mailbox.control().id())
            .finish_non_exhaustive()
    }
}
