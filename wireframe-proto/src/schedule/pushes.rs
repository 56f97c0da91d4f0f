//! The two push queues.

use alloc::{boxed::Box, collections::VecDeque};

use super::{
    accepted::{Accepted, Released},
    ledger::Ledger,
    unsent::Unsent,
};
use crate::{
    config::{PushBound, PushCapacity, UnsentPushes},
    ids::{CallId, Priority},
    stats::PushStats,
};

/// Both push queues.
#[derive(Debug)]
pub(crate) struct Pushes<F> {
    capacity: Option<PushCapacity>,
    keeps_unsent: bool,
    /// Whether new pushes are taken.
    pub(crate) open: bool,
    /// Boxed on first use: many connections are never pushed to.
    queues: Option<Box<Queues<F>>>,
}

#[derive(Debug)]
struct Queues<F> {
    high: VecDeque<Accepted<F>>,
    low: VecDeque<Accepted<F>>,
    ledger: Ledger,
    /// Frames that were encoded, if they are kept.
    unsent: Unsent<F>,
}

impl<F> Default for Queues<F> {
    fn default() -> Self {
        Self {
            high: VecDeque::new(),
            low: VecDeque::new(),
            ledger: Ledger::default(),
            unsent: Unsent::default(),
        }
    }
}

impl<F> Queues<F> {
    #[inline]
    const fn of(&self, priority: Priority) -> &VecDeque<Accepted<F>> {
        match priority {
            Priority::High => &self.high,
            Priority::Low => &self.low,
        }
    }

    #[inline]
    const fn queue(&mut self, priority: Priority) -> &mut VecDeque<Accepted<F>> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }

    /// Drops the frames that were kept and have been sent.
    fn forget_sent(&mut self) {
        for priority in Priority::ALL {
            let unsent = self.ledger.encoded_frames(priority);
            self.unsent.forget_sent(priority, unsent);
        }
    }

    /// Queues a frame again that was encoded, to be taken out as undelivered.
    fn put_back(&mut self, priority: Priority, frame: F, call: Option<CallId>, charge: usize) {
        let mut accepted = Accepted::new(frame, charge);
        if let Some(call) = call {
            accepted.begin_call(call);
        }
        self.queue(priority).push_front(accepted);
    }

    fn abandon_encoded(&mut self, priority: Priority) {
        if let Some(charge) = self.ledger.take_in_hand(priority) {
            self.ledger.ended(priority, charge);
        }
        let mut charges = self.ledger.take_encoded(priority);
        let kept = self.unsent.take(priority, charges.len());
        for (_, charge) in charges.split_off(kept.len().min(charges.len())) {
            crate::steps::step();
            self.ledger.ended(priority, charge);
        }
        for ((frame, call), (_, charge)) in kept.into_iter().zip(charges).rev() {
            crate::steps::step();
            self.put_back(priority, frame, call, charge);
        }
    }
}

impl<F> Pushes<F> {
    pub(crate) fn new(bound: PushBound, unsent: UnsentPushes) -> Self {
        let capacity = match bound {
            PushBound::Engine(capacity) => Some(capacity),
            PushBound::Caller => None,
        };
        Self {
            capacity,
            keeps_unsent: unsent == UnsentPushes::Returned,
            open: true,
            queues: None,
        }
    }

    #[inline]
    fn queues(&mut self) -> &mut Queues<F> {
        self.queues.get_or_insert_with(Box::default)
    }

    /// The account of a push that was accepted.
    #[inline]
    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        &mut self.queues().ledger
    }

    /// The accounts, if there has been any push.
    #[inline]
    pub(crate) fn used_ledger(&mut self) -> Option<&mut Ledger> {
        self.queues.as_mut().map(|queues| &mut queues.ledger)
    }

    /// Whether a frame with this charge finds a slot.
    pub(crate) fn has_room(&self, priority: Priority, charge: usize) -> bool {
        match (self.capacity, &self.queues) {
            (Some(capacity), Some(queues)) => queues.ledger.has_room(priority, capacity, charge),
            _ => true,
        }
    }

    /// Takes a slot and the frame.
    pub(crate) fn accept(&mut self, priority: Priority, accepted: Accepted<F>) {
        let queues = self.queues();
        queues.ledger.accepted(priority, 1, accepted.charge);
        queues.queue(priority).push_back(accepted);
    }

    /// Takes all of `batch`, in order.
    pub(crate) fn accept_all(&mut self, priority: Priority, batch: &mut VecDeque<Accepted<F>>) {
        if batch.is_empty() {
            return;
        }
        let queues = self.queues();
        let charges = batch.iter().map(|accepted| accepted.charge);
        let charge = charges.fold(0, usize::saturating_add);
        queues.ledger.accepted(priority, batch.len(), charge);
        let queue = queues.queue(priority);
        if queue.is_empty() {
            core::mem::swap(queue, batch);
        } else {
            queue.append(batch);
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self, priority: Priority) -> Option<Accepted<F>> {
        self.queues.as_mut()?.queue(priority).pop_front()
    }

    /// Whether frames are kept until they have been sent.
    #[inline]
    pub(crate) const fn keeps_unsent(&self) -> bool {
        self.keeps_unsent
    }

    /// A frame was encoded: it is kept until it has been sent, if that was asked for.
    pub(crate) fn keep(&mut self, priority: Priority, frame: F, call: Option<CallId>) {
        if self.keeps_unsent {
            let Queues { unsent, ledger, .. } = self.queues();
            unsent.keep(priority, frame, call);
            unsent.forget_sent(priority, ledger.encoded_frames(priority));
        }
    }

    /// A frame some fragments of which have gone will not be sent to its end. It is queued
    /// again, if frames are kept, to be taken out as undelivered. To be told before
    /// [`abandon_encoded`](Self::abandon_encoded).
    pub(crate) fn abandon_begun(&mut self, priority: Priority, frame: F, call: Option<CallId>) {
        if self.keeps_unsent
            && let Some(charge) = self.ledger().take_in_hand(priority)
        {
            self.queues().put_back(priority, frame, call, charge);
        }
    }

    /// Drops the frames that were kept and have been sent.
    #[inline]
    pub(crate) fn forget_sent(&mut self) {
        if self.keeps_unsent
            && let Some(queues) = &mut self.queues
        {
            queues.forget_sent();
        }
    }

    /// The output that was encoded will not be sent. Where its frames were kept they are
    /// queued again, ahead of the others and in order, to be taken out as undelivered.
    pub(crate) fn abandon_encoded(&mut self) {
        if let Some(queues) = &mut self.queues {
            for priority in Priority::ALL {
                queues.abandon_encoded(priority);
            }
        }
    }

    /// Takes a queued frame out because the connection ends.
    pub(crate) fn pop_undelivered(&mut self) -> Option<(Priority, Accepted<F>)> {
        let Queues {
            high, low, ledger, ..
        } = &mut **self.queues.as_mut()?;
        let (priority, accepted) = match high.pop_front() {
            Some(accepted) => (Priority::High, accepted),
            None => (Priority::Low, low.pop_front()?),
        };
        ledger.ended(priority, accepted.charge);
        Some((priority, accepted))
    }

    #[inline]
    pub(crate) fn has(&self, priority: Priority) -> bool {
        let queues = self.queues.as_ref();
        queues.is_some_and(|queues| !queues.of(priority).is_empty())
    }

    /// The next frame of a queue.
    pub(crate) fn front(&self, priority: Priority) -> Option<&Accepted<F>> {
        self.queues.as_ref()?.of(priority).front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        let queues = self.queues.as_ref();
        queues.is_none_or(|queues| queues.high.is_empty() && queues.low.is_empty())
    }

    pub(crate) fn take_released(&mut self, priority: Priority) -> Released {
        self.forget_sent();
        match self.used_ledger() {
            Some(ledger) => ledger.take_released(priority),
            None => Released::default(),
        }
    }

    /// Frees the queues' memory, if they are empty.
    pub(crate) fn shrink(&mut self) {
        self.forget_sent();
        let Some(queues) = &mut self.queues else {
            return;
        };
        for queue in [&mut queues.high, &mut queues.low] {
            if queue.is_empty() {
                *queue = VecDeque::new();
            }
        }
        queues.unsent.shrink();
        queues.ledger.shrink();
    }

    pub(crate) fn stats(&self, priority: Priority) -> PushStats {
        let queues = self.queues.as_ref();
        queues.map_or_else(PushStats::default, |queues| queues.ledger.stats(priority))
    }
}
