//! Pushes while connections have no memory left.

use wireframe_proto::{Instant, Priority};

use super::{inner::Inner, lane::Wakers, mailbox::Mailbox};

impl<F> Mailbox<F> {
    /// Room was made in these lanes, or a token was given back: wakes as many as find both
    /// if all who were woken come. While there is no memory nobody is woken.
    pub(super) fn wake_ready(
        &self,
        inner: &mut Inner<F>,
        lanes: &[Priority],
        now: Option<Instant>,
        wakers: &mut Wakers,
    ) {
        if inner.has_waiters() && !self.is_turned_away(inner) {
            inner.wake_ready(lanes, now, wakers);
        }
    }

    /// Whether connections have no memory left, whatever room there is on this one.
    #[inline]
    pub(super) fn lacks_memory(&self) -> bool {
        self.common.budget.is_exhausted()
    }

    /// The same, asked for somebody who waits: then the driver will be told of memory, and
    /// has to call [`wake_after_shortage`](Self::wake_after_shortage).
    ///
    /// Invariant: whoever waits in line with room on this connection, and a token where
    /// those are limited, either is promised both or waits for memory, and then the
    /// mailbox has entered itself with the budget.
    #[inline]
    pub(super) fn is_turned_away(&self, inner: &mut Inner<F>) -> bool {
        inner.open && self.lacks_memory() && self.await_memory(inner)
    }

    #[cold]
    fn await_memory(&self, inner: &mut Inner<F>) -> bool {
        // Entered before, it will be told, and looks again then.
        inner.awaits_memory = inner.awaits_memory || self.common.budget.wait_to_push(&self.control);
        inner.awaits_memory
    }

    /// There was memory again.
    pub(crate) fn wake_after_shortage(&self) {
        let mut wakers = Wakers::default();
        let now = self.token_time();
        let mut inner = self.lock();
        inner.awaits_memory = false;
        self.wake_ready(&mut inner, &Priority::ALL, now, &mut wakers);
        self.leave_lock(inner, now, wakers);
    }

    /// Nobody is to be told of memory any more.
    pub(super) fn stop_awaiting_memory(&self, inner: &mut Inner<F>) {
        if std::mem::take(&mut inner.awaits_memory) {
            self.common.budget.stop_waiting(self.control.id());
        }
    }
}
