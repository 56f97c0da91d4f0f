//! The account of the slots that pushes take.

use alloc::collections::VecDeque;

use super::accepted::Released;
use crate::{config::PushCapacity, ids::Priority, stats::PushStats};

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
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    high: Account,
    low: Account,
}

impl Ledger {
    #[inline]
    const fn of(&self, priority: Priority) -> &Account {
        match priority {
            Priority::High => &self.high,
            Priority::Low => &self.low,
        }
    }

    #[inline]
    const fn account(&mut self, priority: Priority) -> &mut Account {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }

    /// Whether a frame with this charge finds a slot.
    pub(super) fn has_room(&self, priority: Priority, bound: PushCapacity, charge: usize) -> bool {
        self.of(priority).has_room(bound, charge)
    }

    /// So many frames take their slots, charged with so many bytes together.
    #[inline]
    pub(super) fn accepted(&mut self, priority: Priority, frames: usize, charge: usize) {
        let account = self.account(priority);
        account.frames += frames;
        account.bytes = account.bytes.saturating_add(charge);
        account.stats.accepted += frames as u64;
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
    pub(super) fn encoded_frames(&self, priority: Priority) -> usize {
        self.of(priority).encoded.len()
    }

    pub(super) fn ended(&mut self, priority: Priority, charge: usize) {
        let account = self.account(priority);
        account.release(charge);
        account.released.ended += 1;
        account.stats.connection_ended += 1;
    }

    /// The transport has taken the first `sent_total` bytes of the output.
    pub(crate) fn settle(&mut self, sent_total: u64) {
        for account in [&mut self.high, &mut self.low] {
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
    pub(super) fn take_in_hand(&mut self, priority: Priority) -> Option<usize> {
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
    pub(super) fn take_encoded(&mut self, priority: Priority) -> VecDeque<(u64, usize)> {
        core::mem::take(&mut self.account(priority).encoded)
    }

    /// Takes out what was given back since this was last asked.
    pub(super) fn take_released(&mut self, priority: Priority) -> Released {
        core::mem::take(&mut self.account(priority).released)
    }

    pub(super) fn stats(&self, priority: Priority) -> PushStats {
        let account = self.of(priority);
        PushStats {
            queued: account.frames as u64,
            ..account.stats
        }
    }

    /// Frees what holds nothing.
    pub(super) fn shrink(&mut self) {
        for account in [&mut self.high, &mut self.low] {
            if account.encoded.is_empty() {
                account.encoded = VecDeque::new();
            }
        }
    }
}
