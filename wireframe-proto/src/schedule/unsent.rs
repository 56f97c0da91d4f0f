//! Pushes that are encoded and have not been sent, kept for the case that they never are.

use alloc::collections::VecDeque;

use crate::ids::{CallId, Priority};

type Kept<F> = VecDeque<(F, Option<CallId>)>;

/// The frames of encoded pushes, oldest first, beside the ledger, which knows how many of
/// them have not been sent.
#[derive(Debug)]
pub(crate) struct Unsent<F> {
    high: Kept<F>,
    low: Kept<F>,
}

impl<F> Default for Unsent<F> {
    fn default() -> Self {
        Self {
            high: VecDeque::new(),
            low: VecDeque::new(),
        }
    }
}

impl<F> Unsent<F> {
    const fn of(&mut self, priority: Priority) -> &mut Kept<F> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }

    /// Keeps a frame that was encoded, and the call that it begins.
    pub(crate) fn keep(&mut self, priority: Priority, frame: F, call: Option<CallId>) {
        self.of(priority).push_back((frame, call));
    }

    /// Drops all but the last `unsent`.
    pub(crate) fn forget_sent(&mut self, priority: Priority, unsent: usize) {
        let kept = self.of(priority);
        while kept.len() > unsent {
            crate::steps::step();
            kept.pop_front();
        }
    }

    /// Takes out the last `unsent`.
    pub(crate) fn take(&mut self, priority: Priority, unsent: usize) -> Kept<F> {
        self.forget_sent(priority, unsent);
        core::mem::take(self.of(priority))
    }

    /// Frees what holds nothing.
    pub(crate) fn shrink(&mut self) {
        for kept in [&mut self.high, &mut self.low] {
            if kept.is_empty() {
                *kept = VecDeque::new();
            }
        }
    }
}
