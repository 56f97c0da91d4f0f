//! The two push queues and the account of their slots.

use alloc::{boxed::Box, collections::VecDeque};

use super::{
    accepted::{Accepted, Released},
    unsent::Unsent,
};
use crate::{
    config::{PushBound, PushCapacity, UnsentPushes},
    ids::{CallId, Priority},
    stats::PushStats,
};

/// Where a frame ends that is being encoded, or whose last fragment has not gone. It stays
/// so if the protocol panics over it. The queue has no frame of it any more, and it is the
/// last.
const IN_HAND: u64 = u64::MAX;

/// What one priority's slots are in use for. A slot is taken at acceptance and given
/// back when the transport has the frame's last byte, or the frame was dropped.
#[derive(Debug, Default)]
struct Account {
    frames: usize,
    bytes: usize,
    /// Encoded frames: where each ends in the output, and its charge.
    encoded: VecDeque<(u64, usize)>,
    released: Released,
    stats: PushStats,
}

impl Account {
    fn has_room(&self, capacity: PushCapacity, charge: usize) -> bool {
        // A frame larger than the byte bound goes alone.
        self.frames == 0
            || (self.frames < capacity.frames.get()
                && self.bytes.saturating_add(charge) <= capacity.bytes.get())
    }

    fn release(&mut self, charge: usize) {
        self.frames = self.frames.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(charge);
        self.released.bytes = self.released.bytes.saturating_add(charge);
    }
}

/// The accounts of both priorities.
#[derive(Debug)]
pub(crate) struct Ledger {
    capacity: Option<PushCapacity>,
    /// Boxed on first use: many connections are never pushed to.
    accounts: Option<Box<Accounts>>,
}

#[derive(Debug, Default)]
struct Accounts {
    high: Account,
    low: Account,
}

impl Accounts {
    fn of(&mut self, priority: Priority) -> &mut Account {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }
}

impl Ledger {
    fn account(&mut self, priority: Priority) -> &mut Account {
        let accounts = self.accounts.get_or_insert_with(Box::default);
        accounts.of(priority)
    }

    fn has_room(&mut self, priority: Priority, charge: usize) -> bool {
        match (self.capacity, &mut self.accounts) {
            (Some(capacity), Some(accounts)) => accounts.of(priority).has_room(capacity, charge),
            _ => true,
        }
    }

    /// A frame is about to be encoded. It is entered first, so that it is accounted for
    /// even if the protocol panics over it.
    #[inline]
    pub(crate) fn encoding(&mut self, priority: Priority, charge: usize) {
        let encoded = &mut self.account(priority).encoded;
        encoded.push_back((IN_HAND, charge));
    }

    /// The frame was encoded and ends at `end` in the output.
    #[inline]
    pub(crate) fn encoded(&mut self, priority: Priority, end: u64) {
        if let Some(last) = self.account(priority).encoded.back_mut() {
            last.0 = end;
        }
    }

    /// The frame could not be encoded. It keeps its slot until
    /// [`unencodable`](Self::unencodable).
    pub(crate) fn refused(&mut self, priority: Priority) {
        self.account(priority).encoded.pop_back();
    }

    pub(crate) fn unencodable(&mut self, priority: Priority, charge: usize) {
        let account = self.account(priority);
        account.release(charge);
        account.released.unencodable += 1;
        account.stats.unencodable += 1;
    }

    /// Frames that are encoded, and whose last byte the transport has not taken.
    fn encoded_frames(&self, priority: Priority) -> usize {
        match (&self.accounts, priority) {
            (None, _) => 0,
            (Some(accounts), Priority::High) => accounts.high.encoded.len(),
            (Some(accounts), Priority::Low) => accounts.low.encoded.len(),
        }
    }

    fn ended(&mut self, priority: Priority, charge: usize) {
        let account = self.account(priority);
        account.release(charge);
        account.released.ended += 1;
        account.stats.connection_ended += 1;
    }

    /// The transport has taken the first `sent_total` bytes of the output.
    pub(crate) fn settle(&mut self, sent_total: u64) {
        let Some(accounts) = &mut self.accounts else {
            return;
        };
        for account in [&mut accounts.high, &mut accounts.low] {
            while let Some(&(end, charge)) = account.encoded.front() {
                crate::steps::step();
                if end > sent_total {
                    break;
                }
                account.encoded.pop_front();
                account.release(charge);
                account.released.sent += 1;
                account.stats.sent += 1;
            }
        }
    }

    /// Takes back the entry of a frame that is in hand, and returns its charge.
    fn take_in_hand(&mut self, priority: Priority) -> Option<usize> {
        let encoded = &mut self.account(priority).encoded;
        match encoded.back() {
            Some(&(IN_HAND, charge)) => {
                encoded.pop_back();
                Some(charge)
            }
            _ => None,
        }
    }

    /// The output that was encoded will not be sent: takes the charges of its frames, in
    /// order.
    fn take_encoded(&mut self, priority: Priority) -> VecDeque<(u64, usize)> {
        match &mut self.accounts {
            Some(accounts) => core::mem::take(&mut accounts.of(priority).encoded),
            None => VecDeque::new(),
        }
    }
}

/// Both push queues.
#[derive(Debug)]
pub(crate) struct Pushes<F> {
    high: VecDeque<Accepted<F>>,
    low: VecDeque<Accepted<F>>,
    pub(crate) ledger: Ledger,
    /// Frames that were encoded, if they are kept.
    unsent: Option<Unsent<F>>,
    /// Whether new pushes are taken.
    pub(crate) open: bool,
}

impl<F> Pushes<F> {
    pub(crate) fn new(bound: PushBound, unsent: UnsentPushes) -> Self {
        let capacity = match bound {
            PushBound::Engine(capacity) => Some(capacity),
            PushBound::Caller => None,
        };
        Self {
            high: VecDeque::new(),
            low: VecDeque::new(),
            ledger: Ledger {
                capacity,
                accounts: None,
            },
            unsent: (unsent == UnsentPushes::Returned).then(Unsent::default),
            open: true,
        }
    }

    fn queue(&mut self, priority: Priority) -> &mut VecDeque<Accepted<F>> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }

    /// Whether a frame with this charge finds a slot.
    pub(crate) fn has_room(&mut self, priority: Priority, charge: usize) -> bool {
        self.ledger.has_room(priority, charge)
    }

    /// Takes a slot and the frame.
    pub(crate) fn accept(&mut self, priority: Priority, accepted: Accepted<F>) {
        let account = self.ledger.account(priority);
        account.frames += 1;
        account.bytes = account.bytes.saturating_add(accepted.charge);
        account.stats.accepted += 1;
        self.queue(priority).push_back(accepted);
    }

    /// Takes all of `batch`, in order.
    pub(crate) fn accept_all(&mut self, priority: Priority, batch: &mut VecDeque<Accepted<F>>) {
        if batch.is_empty() {
            return;
        }
        let account = self.ledger.account(priority);
        account.frames += batch.len();
        account.bytes = batch
            .iter()
            .fold(account.bytes, |sum, a| sum.saturating_add(a.charge));
        account.stats.accepted += batch.len() as u64;
        let queue = self.queue(priority);
        if queue.is_empty() {
            core::mem::swap(queue, batch);
        } else {
            queue.append(batch);
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self, priority: Priority) -> Option<Accepted<F>> {
        self.queue(priority).pop_front()
    }

    /// Whether frames are kept until they have been sent.
    #[inline]
    pub(crate) const fn keeps_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    /// A frame was encoded: it is kept until it has been sent, if that was asked for.
    pub(crate) fn keep(&mut self, priority: Priority, frame: F, call: Option<CallId>) {
        if let Some(unsent) = &mut self.unsent {
            unsent.keep(priority, frame, call);
            unsent.forget_sent(priority, self.ledger.encoded_frames(priority));
        }
    }

    /// A frame some fragments of which have gone will not be sent to its end. It is queued
    /// again, if frames are kept, to be taken out as undelivered. To be told before
    /// [`abandon_encoded`](Self::abandon_encoded).
    pub(crate) fn abandon_begun(&mut self, priority: Priority, frame: F, call: Option<CallId>) {
        if self.keeps_unsent()
            && let Some(charge) = self.ledger.take_in_hand(priority)
        {
            let mut accepted = Accepted::new(frame, charge);
            if let Some(call) = call {
                accepted.begin_call(call);
            }
            self.queue(priority).push_front(accepted);
        }
    }

    /// Drops the frames that were kept and have been sent.
    #[inline]
    pub(crate) fn forget_sent(&mut self) {
        if let Some(unsent) = &mut self.unsent {
            for priority in Priority::ALL {
                unsent.forget_sent(priority, self.ledger.encoded_frames(priority));
            }
        }
    }

    /// The output that was encoded will not be sent. Where its frames were kept they are
    /// queued again, ahead of the others and in order, to be taken out as undelivered.
    pub(crate) fn abandon_encoded(&mut self) {
        for priority in Priority::ALL {
            let mut charges = self.ledger.take_encoded(priority);
            if let Some(&(IN_HAND, charge)) = charges.back() {
                charges.pop_back();
                self.ledger.ended(priority, charge);
            }
            let kept = match &mut self.unsent {
                Some(unsent) => unsent.take(priority, charges.len()),
                None => VecDeque::new(),
            };
            for (_, charge) in charges.split_off(kept.len().min(charges.len())) {
                crate::steps::step();
                self.ledger.ended(priority, charge);
            }
            for ((frame, call), (_, charge)) in kept.into_iter().zip(charges).rev() {
                crate::steps::step();
                let mut accepted = Accepted::new(frame, charge);
                if let Some(call) = call {
                    accepted.begin_call(call);
                }
                self.queue(priority).push_front(accepted);
            }
        }
    }

    /// Takes a queued frame out because the connection ends.
    pub(crate) fn pop_undelivered(&mut self) -> Option<(Priority, Accepted<F>)> {
        let (priority, accepted) = match self.high.pop_front() {
            Some(accepted) => (Priority::High, accepted),
            None => (Priority::Low, self.low.pop_front()?),
        };
        self.ledger.ended(priority, accepted.charge);
        Some((priority, accepted))
    }

    #[inline]
    pub(crate) fn has(&self, priority: Priority) -> bool {
        match priority {
            Priority::High => !self.high.is_empty(),
            Priority::Low => !self.low.is_empty(),
        }
    }

    /// The next frame of a queue.
    pub(crate) fn front(&self, priority: Priority) -> Option<&Accepted<F>> {
        match priority {
            Priority::High => self.high.front(),
            Priority::Low => self.low.front(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.high.is_empty() && self.low.is_empty()
    }

    pub(crate) fn take_released(&mut self, priority: Priority) -> Released {
        self.forget_sent();
        match &mut self.ledger.accounts {
            Some(accounts) => core::mem::take(&mut accounts.of(priority).released),
            None => Released::default(),
        }
    }

    /// Frees the queues' memory, if they are empty.
    pub(crate) fn shrink(&mut self) {
        for queue in [&mut self.high, &mut self.low] {
            if queue.is_empty() {
                *queue = VecDeque::new();
            }
        }
        self.forget_sent();
        if let Some(unsent) = &mut self.unsent {
            unsent.shrink();
        }
        let Some(accounts) = &mut self.ledger.accounts else {
            return;
        };
        for account in [&mut accounts.high, &mut accounts.low] {
            if account.encoded.is_empty() {
                account.encoded = VecDeque::new();
            }
        }
    }

    pub(crate) fn stats(&self, priority: Priority) -> PushStats {
        let Some(accounts) = &self.ledger.accounts else {
            return PushStats::default();
        };
        let account = match priority {
            Priority::High => &accounts.high,
            Priority::Low => &accounts.low,
        };
        PushStats {
            queued: account.frames as u64,
            ..account.stats
        }
    }
}
