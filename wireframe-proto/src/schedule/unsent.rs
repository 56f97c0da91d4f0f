//! Pushes that are encoded and have not been sent, kept for the case that they never are.

use alloc::{boxed::Box, collections::VecDeque};

use crate::ids::{CallId, Priority};

type Kept<F> = VecDeque<(F, Option<CallId>)>;

/// The frames of encoded pushes, oldest first, beside the ledger, which knows how many of
/// them have not been sent.
#[derive(Debug)]
pub(crate) struct Unsent<F> {
    /// Boxed on first use: most connections are never pushed to.
    queues: Option<Box<Queues<F>>>,
}

#[derive(Debug)]
struct Queues<F> {
    high: Kept<F>,
    low: Kept<F>,
}

impl<F> Default for Unsent<F> {
    fn default() -> Self {
        Self { queues: None }
    }
}

impl<F> Default for Queues<F> {
    fn default() -> Self {
        Self {
            high: VecDeque::new(),
            low: VecDeque::new(),
        }
    }
}

impl<F> Queues<F> {
    fn of(&mut self, priority: Priority) -> &mut Kept<F> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }
}

impl<F> Unsent<F> {
    /// Keeps a frame that was encoded, and the call that it begins.
    pub(crate) fn keep(&mut self, priority: Priority, frame: F, call: Option<CallId>) {
        let queues = self.queues.get_or_insert_with(Box::default);
        queues.of(priority).push_back((frame, call));
    }

    /// Drops all but the last `unsent`.
    pub(crate) fn forget_sent(&mut self, priority: Priority, unsent: usize) {
        if let Some(queues) = &mut self.queues {
            let kept = queues.of(priority);
            while kept.len() > unsent {
                crate::steps::step();
                kept.pop_front();
            }
        }
    }

    /// Takes out the last `unsent`.
    pub(crate) fn take(&mut self, priority: Priority, unsent: usize) -> Kept<F> {
        self.forget_sent(priority, unsent);
        match &mut self.queues {
            Some(queues) => core::mem::take(queues.of(priority)),
            None => VecDeque::new(),
        }
    }

    /// Frees the memory, if nothing is kept.
    pub(crate) fn shrink(&mut self) {
        let empty = |queues: &Queues<F>| queues.high.is_empty() && queues.low.is_empty();
        if self.queues.as_deref().is_some_and(empty) {
            self.queues = None;
        }
    }
}
