//! What one connection holds of a budget.

use std::fmt;

use wireframe_proto::LimitExceeded;

use super::MemoryBudget;
use crate::{
    push::Control,
    sync::{Arc, AtomicUsize, Ordering},
};

/// What one connection holds of a budget; given back when this is dropped.
pub(crate) struct Holding(Arc<Holder>);

/// A connection that something is, or was, charged to, as others see it.
pub(super) struct Holder {
    budget: MemoryBudget,
    pub(super) control: Arc<Control>,
    /// Only its own driver changes it.
    held: AtomicUsize,
    /// Not 0 once it was told to close: what was used by all then.
    sentence: AtomicUsize,
}

impl Holding {
    /// A connection of which nothing is held yet.
    pub(crate) fn new(budget: &MemoryBudget, control: &Arc<Control>) -> Self {
        let holder = Arc::new(Holder {
            budget: budget.clone(),
            control: Arc::clone(control),
            held: AtomicUsize::new(0),
            sentence: AtomicUsize::new(0),
        });
        budget.enter(&holder);
        Self(holder)
    }

    /// The connection holds so much now.
    pub(crate) fn set(&self, held: usize) {
        let Holder { budget, .. } = &*self.0;
        let before = self.0.held();
        if held != before {
            self.0.held.store(held, Ordering::SeqCst);
            if held > before {
                budget.take(held - before);
            } else {
                budget.give_back(before - held);
            }
        }
        if self.0.is_condemned() {
            budget.update_condemned(&self.0);
        }
    }

    /// What the connection held at the end of its last run.
    pub(crate) fn held(&self) -> usize {
        self.0.held()
    }

    /// Why the connection has to close, if it was told to.
    pub(crate) fn sentence(&self) -> Option<LimitExceeded> {
        let used = self.0.sentence.load(Ordering::SeqCst);
        (used != 0).then(|| self.0.budget.exceeded_by(used))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.set(0);
        let (budget, id) = (&self.0.budget, self.0.control.id());
        budget.leave(id);
        // It may have been waiting to read.
        budget.stop_waiting(id);
        // For a moment it had given back what still counted as condemned, so that somebody
        // who looked then found no excess where there is one.
        if budget.is_over() {
            budget.wake_one();
        }
    }
}

impl Holder {
    /// A load in the order of that change, and of the sentence: either the driver that
    /// changes it sees the sentence, or whoever sentences it sees the change.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub(super) fn is_condemned(&self) -> bool {
        self.sentence.load(Ordering::SeqCst) != 0
    }

    pub(super) fn condemn(&self, used: usize) {
        self.sentence.store(used, Ordering::SeqCst);
    }
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holding")
            .field("held", &self.0.held())
            .field("condemned", &self.0.is_condemned())
            .finish()
    }
}
