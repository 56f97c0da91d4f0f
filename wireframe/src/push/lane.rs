//! One priority's queue, its bound, and those who wait for room in it.

use std::{collections::VecDeque, mem, task::Waker};

use wireframe_proto::{Accepted, PushCapacity, Released};

use super::waiters::Waiters;
use crate::contain;

/// Wakers taken under the lock, to be woken after it.
#[derive(Default)]
#[must_use = "these are owed a wake-up"]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    #[inline]
    pub(super) fn wake(self) {
        if !self.0.is_empty() {
            self.0.into_iter().for_each(contain::wake);
        }
    }
}

/// So much of a lane's room.
#[derive(Clone, Copy, Default)]
pub(super) struct Slots {
    frames: usize,
    bytes: usize,
}

impl Slots {
    /// One frame more.
    pub(super) fn add(&mut self, charge: usize) {
        self.frames += 1;
        self.bytes = self.bytes.saturating_add(charge);
    }

    /// One frame less.
    pub(super) fn subtract(&mut self, charge: usize) {
        self.frames = self.frames.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(charge);
    }
}

/// Entries that a queue may keep allocated while its connection is idle: what a
/// `VecDeque` allocates first.
const KEPT_WHEN_IDLE: usize = 4;

/// One priority's queue, its bound, and those who wait for room in it.
///
/// Invariant: if the first in line would find room, and a token where they are limited,
/// so much is promised to somebody who was woken and has yet to come, and who either
/// takes it, goes back in line, or leaves and has it given to the next. So whatever makes
/// room (a release, a dropped permit, a waiter that leaves) is followed by
/// [`Mailbox::wake_ready`](super::mailbox::Mailbox::wake_ready), and whoever takes room that
/// was promised makes the promise smaller.
///
/// A promise holds no room: it only keeps more from being woken than can enter. Whoever is
/// polled may take it, a newcomer and a sleeping waiter alike. Else a future that was
/// woken, and is kept without being polled, would stop all others: often it is the same
/// task that now awaits another, and that wake-up was the only one it gets.
pub(super) struct Lane<F> {
    pub(super) queue: VecDeque<Accepted<F>>,
    /// Boxed on first use, and given up when idle.
    waiters: Option<Box<Waiters>>,
    capacity: PushCapacity,
    /// Outstanding: here, in the engine and in the transmit queue. Permits count as
    /// frames of no bytes.
    used: Slots,
    permits: usize,
}

impl<F> Lane<F> {
    pub(super) fn new(capacity: PushCapacity) -> Self {
        Self {
            queue: VecDeque::new(),
            waiters: None,
            capacity,
            used: Slots::default(),
            permits: 0,
        }
    }

    pub(super) fn capacity(&self) -> PushCapacity {
        self.capacity
    }

    /// Those who wait for room here.
    pub(super) fn waiters(&mut self) -> &mut Waiters {
        self.waiters.get_or_insert_default()
    }

    /// Whether anybody waits, woken or asleep.
    #[inline]
    pub(super) fn has_waiters(&self) -> bool {
        self.waiters.as_ref().is_some_and(|w| !w.is_empty())
    }

    /// Bytes outstanding.
    #[inline]
    pub(super) fn outstanding(&self) -> usize {
        self.used.bytes
    }

    /// Frames outstanding, permits not included.
    pub(super) fn queued(&self) -> usize {
        self.used.frames.saturating_sub(self.permits)
    }

    /// Whether `charge` bytes have room beside what is outstanding.
    pub(super) fn fits(&self, charge: usize) -> bool {
        self.fits_beside(self.used, charge)
    }

    /// Whether one that was not woken may enter: there is room, and nobody waits for more
    /// of it.
    ///
    /// A large frame that waits at the head of the line would starve if smaller ones
    /// went past it. One that waits only because others were woken first does not stand
    /// in the way: a waiter holds no slot.
    pub(super) fn admits(&self, charge: usize) -> bool {
        self.fits(charge) && self.first_charge().is_none_or(|first| self.fits(first))
    }

    /// Queues a frame; whether it may is the caller's question.
    pub(super) fn enter(&mut self, accepted: Accepted<F>) {
        self.used.add(accepted.charge);
        self.limit_promises();
        self.queue.push_back(accepted);
    }

    /// Takes a slot for a frame to come.
    pub(super) fn reserve(&mut self) {
        self.used.frames += 1;
        self.permits += 1;
        self.limit_promises();
    }

    /// Queues a frame in a slot taken before; its bytes may pass the bound.
    pub(super) fn enter_reserved(&mut self, accepted: Accepted<F>) {
        self.used.frames = self.used.frames.saturating_sub(1);
        self.permits = self.permits.saturating_sub(1);
        self.enter(accepted);
    }

    /// Gives back a slot taken before.
    pub(super) fn unreserve(&mut self) {
        self.used.frames = self.used.frames.saturating_sub(1);
        self.permits = self.permits.saturating_sub(1);
    }

    /// Gives back the slots of frames that are done with.
    pub(super) fn release(&mut self, released: &Released) {
        let frames = usize::try_from(released.frames()).unwrap_or(usize::MAX);
        self.used.frames = self.used.frames.saturating_sub(frames);
        self.used.bytes = self.used.bytes.saturating_sub(released.bytes);
    }

    /// Whether somebody waits who would find room beside what is promised to others.
    pub(super) fn first_fits(&self) -> bool {
        let Some(waiters) = &self.waiters else {
            return false;
        };
        let mut used = self.used;
        used.frames += waiters.promised.frames;
        used.bytes = used.bytes.saturating_add(waiters.promised.bytes);
        let charge = waiters.first_charge();
        charge.is_some_and(|charge| self.fits_beside(used, charge))
    }

    /// Wakes the first in line, and promises what it asks for.
    pub(super) fn wake_first(&mut self, wakers: &mut Wakers) {
        wakers.0.extend(self.waiters().wake_first());
    }

    /// Wakes as many as find room if all who were woken come.
    pub(super) fn wake_ready(&mut self, wakers: &mut Wakers) {
        while self.first_fits() {
            self.wake_first(wakers);
        }
    }

    /// Wakes all who wait.
    pub(super) fn wake_all(&mut self, wakers: &mut Wakers) {
        while let Some(waker) = self
            .waiters
            .as_mut()
            .and_then(|waiters| waiters.wake_first())
        {
            wakers.0.push(waker);
        }
    }

    /// Moves the queue to the end of `target`.
    pub(super) fn drain_into(&mut self, target: &mut VecDeque<Accepted<F>>) {
        if self.queue.is_empty() {
            return;
        }
        if target.is_empty() {
            mem::swap(&mut self.queue, target);
        } else {
            target.append(&mut self.queue);
        }
    }

    #[cfg(test)]
    pub(super) fn remembers_waiters(&self) -> bool {
        self.waiters.is_some()
    }

    /// Gives up memory that an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > KEPT_WHEN_IDLE {
            self.queue = VecDeque::new();
        }
        if self
            .waiters
            .as_ref()
            .is_some_and(|waiters| waiters.is_empty())
        {
            self.waiters = None;
        }
    }

    /// Room has been taken: what is promised is no more than what is left.
    #[inline]
    fn limit_promises(&mut self) {
        let Some(waiters) = &mut self.waiters else {
            return;
        };
        let frames = self.capacity.frames.get().saturating_sub(self.used.frames);
        let bytes = self.capacity.bytes.get().saturating_sub(self.used.bytes);
        let promised = &mut waiters.promised;
        promised.frames = promised.frames.min(frames);
        promised.bytes = promised.bytes.min(bytes);
    }

    fn first_charge(&self) -> Option<usize> {
        self.waiters.as_ref()?.first_charge()
    }

    /// Monotone: what does not fit beside `used` does not fit beside more.
    ///
    /// A frame or permit that asks for no byte needs one free, else permits could pass
    /// the byte bound one after the other.
    fn fits_beside(&self, used: Slots, charge: usize) -> bool {
        used.frames < self.capacity.frames.get()
            && (used.frames == 0
                || used.bytes.saturating_add(charge.max(1)) <= self.capacity.bytes.get())
    }
}
