//! What becomes of pushes that were accepted and cannot be sent.

use wireframe_proto::{Escaped, Priority, Undelivered, UndeliveredReason};

use super::{Driver, task};
use crate::{
    contain,
    frame::Protocol,
    push::{Batch, DeadLetterReason, Mailbox},
    transport::Transport,
};

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// The engine gives a push back.
    ///
    /// If it began a call its caller is told, here or when the end of the connection fails
    /// all calls. It is a dead letter all the same: the error that the caller gets does not
    /// hold the frame.
    pub(super) fn undelivered(&mut self, undelivered: Undelivered<P::Frame>) {
        let Undelivered {
            frame,
            priority,
            call,
            why,
            ..
        } = undelivered;
        let (reason, buried) = match why {
            UndeliveredReason::Unencodable(error) => {
                if let (Some(caller), Some(call)) = (&mut self.caller, call) {
                    caller.unencodable(call, &error);
                }
                // A dead letter queue logs for itself.
                if !self.mailbox.has_dead_letters()
                    && let Some(suppressed) = self.engine.may_warn("push")
                {
                    let (connection, kind) = (self.mailbox.control().id(), "push");
                    let error = Escaped(&error);
                    tracing::warn!(%connection, kind, %error, suppressed, "frame dropped");
                }
                let reason = DeadLetterReason::Unencodable(error);
                (reason, &mut self.buried.unencodable)
            }
            _ => (DeadLetterReason::ConnectionClosed, &mut self.buried.ended),
        };
        match self.mailbox.bury(priority, reason, frame) {
            Ok(()) => *buried += 1,
            Err(frame) => task::discard(frame),
        }
    }

    /// Gives up what was accepted, and has not reached the engine.
    pub(super) fn lose_batch(&mut self) {
        if let Some(batch) = self.batch.take() {
            lose(&self.mailbox, *batch, &DeadLetterReason::ConnectionClosed);
        }
    }
}

/// Gives pushes up that have not reached the engine.
pub(super) fn lose<F>(mailbox: &Mailbox<F>, batch: Batch<F>, reason: &DeadLetterReason) {
    let mut settled = batch.as_ended();
    let Batch { high, low, calls } = batch;
    let metrics = mailbox.control().metrics();
    metrics.pushes_lost(high.len(), low.len());
    for (priority, frames) in [(Priority::High, high), (Priority::Low, low)] {
        for accepted in frames {
            let bury = || mailbox.bury(priority, reason.clone(), accepted.frame);
            match contain::run(bury) {
                Some(Ok(())) => settled.buried.ended += 1,
                Some(Err(frame)) => task::discard(frame),
                None => {}
            }
        }
    }
    mailbox.settle(&settled);
    task::discard(calls);
}
