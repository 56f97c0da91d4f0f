//! What becomes of frames that are dropped.

use wireframe_proto::{Accepted, Priority};

use super::{
    dead_letter::{DeadLetter, DeadLetterReason},
    error::TryPushError,
    mailbox::Mailbox,
    policy::{PushPolicy, Pushed},
};
use crate::meter::Dropped;

impl<F> Mailbox<F> {
    /// Queues a frame if there is room, and wakes the driver; else does as the policy says.
    pub(super) fn push_with_policy(
        &self,
        priority: Priority,
        accepted: Accepted<F>,
        policy: PushPolicy,
    ) -> Result<Pushed, TryPushError<F>> {
        let refused = match self.try_enter(priority, accepted, self.token_time()) {
            Ok(()) => {
                self.control.signal().unpark();
                return Ok(Pushed::Queued);
            }
            Err(closed @ TryPushError::Closed(_)) => return Err(closed),
            Err(refused) if policy == PushPolicy::ReturnErrorIfFull => {
                return Err(self.count_refused(refused));
            }
            Err(refused) => refused.into_frame(),
        };
        self.control.metrics().push_dropped(Dropped::Policy);
        let buried = self.bury(priority, DeadLetterReason::Policy, refused);
        // With a dead letter queue it is that which logs its losses.
        let warns = policy == PushPolicy::WarnAndDropIfFull && !self.has_dead_letters();
        let now = warns.then(|| self.clock().now());
        let mut inner = self.lock();
        inner.counted().accepted += 1;
        if buried.is_ok() {
            inner.counted().dead_lettered += 1;
            return Ok(Pushed::DeadLettered);
        }
        inner.counted().lost_policy += 1;
        let warning = now.map(|now| inner.may_warn(now));
        drop(inner);
        let (connection, kind) = (self.control.id(), "queue_full");
        match warning {
            None => tracing::debug!(%connection, kind, ?priority, "frame dropped"),
            Some(None) => {}
            Some(Some(suppressed)) => {
                tracing::warn!(%connection, kind, ?priority, suppressed, "frame dropped");
            }
        }
        Ok(Pushed::Dropped)
    }

    /// Counts a refusal whose frame goes back to the caller.
    pub(super) fn count_refused(&self, refused: TryPushError<F>) -> TryPushError<F> {
        if let Some(reason) = Dropped::refused(&refused) {
            self.control.metrics().push_dropped(reason);
        }
        refused
    }

    pub(crate) fn has_dead_letters(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| extras.dead_letters.is_some())
    }

    /// Hands a frame to the dead letter queue; it comes back if there is none, or if it is
    /// lost there. Counting it is the caller's part.
    pub(crate) fn bury(
        &self,
        priority: Priority,
        reason: DeadLetterReason,
        frame: F,
    ) -> Result<(), F> {
        let Some(extras) = &self.extras else {
            return Err(frame);
        };
        let Some(dead_letters) = &extras.dead_letters else {
            return Err(frame);
        };
        let letter = DeadLetter {
            connection: self.control.id(),
            priority,
            reason,
            frame,
        };
        dead_letters.send(letter, self.clock().now())
    }
}
