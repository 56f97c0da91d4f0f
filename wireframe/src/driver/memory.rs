//! The driver's part in the budget for the memory of all connections.

use std::task::Context;

use wireframe_proto::CloseReason;

use super::Driver;
use crate::{
    budget::{self, Holding},
    frame::Protocol,
    push::Asked,
    transport::Transport,
};

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Looks at the budget when a run begins, and tells the engine if that has changed. Says
    /// whether more is used than may be.
    #[inline]
    pub(super) fn look_at_budget(&mut self) -> bool {
        let is_exhausted = self.app.budget().is_exhausted();
        if is_exhausted || self.engine.refuses_messages() || self.paused {
            self.heed_shortage(is_exhausted);
        }
        is_exhausted && self.app.budget().is_over()
    }

    #[cold]
    fn heed_shortage(&mut self, is_exhausted: bool) {
        let budget = self.app.budget();
        let may_grow = self.engine.has_partial_messages();
        let paused = may_grow && budget.wait_to_read(self.mailbox.control());
        if is_exhausted != self.engine.refuses_messages() {
            let limit = is_exhausted.then(|| budget.exceeded_by(budget.used()));
            self.engine.refuse_messages(limit);
        }
        if paused != self.paused {
            self.paused = paused;
            // Clocks stand still from now, or go on from now.
            self.now = self.mailbox.clock().now();
            self.engine.pause_reading(paused, self.now);
        }
    }

    /// Charges the connection with what it has allocated, and the bytes of its pushes and of
    /// those of the peer that wait for a handler, at the end of a run. Nothing that others see
    /// is changed if that is what it was.
    ///
    /// If more is used than may be, as it was when the run began, the largest holder has to
    /// close. This driver looks again until enough have been told: nobody else may come by.
    #[inline]
    pub(super) fn charge(&mut self, outstanding: usize, was_over: bool, cx: &Context<'_>) {
        let pushes = outstanding.saturating_add(self.waiting_push_bytes());
        let held = self.engine.buffered().saturating_add(pushes);
        if held != 0 || self.holding.is_some() {
            let Self { app, mailbox, .. } = self;
            self.holding
                .get_or_insert_with(|| Holding::new(app.budget(), mailbox.control()))
                .set(held);
        }
        if self.app.budget().is_exhausted() {
            self.reduce(was_over, cx);
        }
    }

    #[cold]
    fn reduce(&self, was_over: bool, cx: &Context<'_>) {
        let budget = self.app.budget();
        if was_over {
            budget.close_largest();
        }
        if budget.is_over() {
            cx.waker().wake_by_ref();
        }
    }

    /// Does what the budget asks for: closes a connection that holds too much, and lets
    /// those push who waited for memory.
    pub(super) fn heed_budget(&mut self, asked: Asked) {
        let holding = self.holding.as_ref().filter(|_| asked.is_condemned());
        if let Some(limit) = holding.and_then(Holding::sentence) {
            self.engine.close_over_limit(self.now, limit);
            if self.write_blocked || self.has_to_flush() {
                // Nor would the peer take a goodbye. Closing already, it ends at once.
                self.engine.close_over_limit(self.now, limit);
            }
        }
        if asked.has_memory() {
            // It may have come since this run began.
            self.look_at_budget();
            self.mailbox.wake_after_shortage();
        }
    }

    /// The connection closes: perhaps for the budget's sake.
    pub(super) fn note_closing(&self, reason: &CloseReason) {
        if budget::has_closed(reason) {
            let connection = self.mailbox.control().id();
            let held = self.holding.as_ref().map_or(0, Holding::held);
            self.app.budget().note_closed(connection, held, self.now);
        }
    }
}
