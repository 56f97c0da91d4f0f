//! What is under a mailbox's lock.

use std::task::Waker;

use wireframe_proto::{Instant, Priority, PushCapacity, Throttle};

use super::{
    lane::{Lane, Wakers},
    mailbox::QueuedCall,
    rate::Rate,
    stats::PushStats,
    waiters::Key,
};

/// What is under a mailbox's lock: both queues and who waits for room in them, and what goes
/// for both. It runs no foreign code, and wakes nobody: wakers are handed out.
pub(super) struct Inner<F> {
    pub(super) high: Lane<F>,
    pub(super) low: Lane<F>,
    /// Which of the low frames begin calls, by their place in the queue.
    pub(super) calls: Vec<(usize, QueuedCall<F>)>,
    pub(super) open: bool,
    /// Somebody waits for memory alone, and the budget will tell the driver of some.
    pub(super) awaits_memory: bool,
    /// The rate limit, while the mailbox is open.
    pub(super) rate: Option<Box<Rate>>,
    /// All terms but `queued`, which the lanes know; frames count as accepted here once
    /// they leave the queues. Boxed on first use: many connections are never pushed to.
    pub(super) counted: Option<Box<Counted>>,
}

/// What a mailbox counts.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) stats: PushStats,
    /// Of warnings that there was no room.
    full: Throttle,
}

impl<F> Inner<F> {
    /// Open, with nothing in it.
    pub(super) fn new(high: PushCapacity, low: PushCapacity) -> Self {
        Self {
            high: Lane::new(high),
            low: Lane::new(low),
            calls: Vec::new(),
            open: true,
            awaits_memory: false,
            rate: None,
            counted: None,
        }
    }

    #[inline]
    pub(super) fn lane(&mut self, priority: Priority) -> &mut Lane<F> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }

    #[inline]
    pub(super) fn counted(&mut self) -> &mut PushStats {
        &mut self.counted.get_or_insert_default().stats
    }

    /// Whether to warn of a frame that found no room, see [`Throttle::pass`].
    pub(super) fn may_warn(&mut self, now: Instant) -> Option<u64> {
        self.counted.get_or_insert_default().full.pass(now)
    }

    /// Frames in the queues.
    pub(super) fn waiting_here(&self) -> u64 {
        (self.high.queue.len() + self.low.queue.len()) as u64
    }

    /// What is in the queues is about to leave them.
    pub(super) fn count_leaving(&mut self) {
        let leaving = self.waiting_here();
        if leaving > 0 {
            self.counted().accepted += leaving;
        }
    }

    /// Takes a token, or says when there will be one. There is no need of one at no time.
    #[inline]
    pub(super) fn take_token(
        &mut self,
        priority: Priority,
        was_woken: bool,
        now: Option<Instant>,
    ) -> Result<(), Instant> {
        match (&mut self.rate, now) {
            (Some(rate), Some(now)) => rate.take(priority, was_woken, now),
            _ => Ok(()),
        }
    }

    /// Gives up a wait, whether asleep or woken; a waker is to be dropped unlocked.
    #[must_use = "a waker is dropped outside the lock"]
    pub(super) fn give_up(&mut self, priority: Priority, key: &Key) -> Option<Waker> {
        self.forgo_token(priority, key);
        self.lane(priority).waiters().leave(key)
    }

    /// A woken waiter goes back in line, or one that sleeps gets a new waker; what comes
    /// back is to be dropped unlocked.
    #[must_use = "a waker is dropped outside the lock"]
    pub(super) fn rejoin(&mut self, priority: Priority, key: &Key, waker: Waker) -> Option<Waker> {
        self.forgo_token(priority, key);
        self.lane(priority).waiters().rejoin(key, waker)
    }

    /// The token that a waiter was woken for, if it was, is promised no more.
    fn forgo_token(&mut self, priority: Priority, key: &Key) {
        if self.rate.is_some()
            && self.lane(priority).waiters().is_woken(key)
            && let Some(rate) = &mut self.rate
        {
            rate.forgo();
        }
    }

    /// Whether anybody waits for room.
    pub(super) fn has_waiters(&self) -> bool {
        self.high.has_waiters() || self.low.has_waiters()
    }

    /// Bytes outstanding.
    pub(super) fn outstanding(&self) -> usize {
        let high = self.high.outstanding();
        high.saturating_add(self.low.outstanding())
    }

    /// Wakes as many of those lanes as find room and a token, if all who were woken come;
    /// see [`Mailbox::wake_ready`](super::mailbox::Mailbox::wake_ready).
    pub(super) fn wake_ready(
        &mut self,
        lanes: &[Priority],
        now: Option<Instant>,
        wakers: &mut Wakers,
    ) {
        let (Some(rate), Some(now)) = (&mut self.rate, now) else {
            for &priority in lanes {
                self.lane(priority).wake_ready(wakers);
            }
            return;
        };
        // They compete for the tokens, so whoever waits in either lane has its turn.
        let Self { high, low, .. } = self;
        while let Some(turn) = rate.promise(now, high.first_fits(), low.first_fits()) {
            match turn {
                Priority::High => high.wake_first(wakers),
                Priority::Low => low.wake_first(wakers),
            }
        }
    }

    /// Takes nothing new, and tells those who wait.
    pub(super) fn close(&mut self, wakers: &mut Wakers) {
        self.open = false;
        self.rate = None;
        self.high.wake_all(wakers);
        self.low.wake_all(wakers);
    }

    /// Whether somebody waits for whom there is room.
    pub(super) fn first_fits(&self) -> bool {
        self.high.first_fits() || self.low.first_fits()
    }

    /// Sets the alarm for the next token, if anybody `waits` for nothing else. Due after
    /// every change of who waits, of the room there is, and of the tokens; says whether the
    /// driver, if it sleeps, has to look.
    #[must_use = "the driver may sleep too long"]
    pub(super) fn set_alarm(&mut self, waits: bool, now: Option<Instant>) -> bool {
        let (Some(rate), Some(now)) = (&mut self.rate, now) else {
            return false;
        };
        rate.set_alarm(waits, now)
    }
}
