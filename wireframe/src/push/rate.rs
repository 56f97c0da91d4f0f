//! The rate limit of one connection.

use wireframe_proto::{Instant, Priority, RateLimit, TokenBucket};

/// The token bucket that both priorities share, and who gets the next token.
///
/// Nobody who waits for a token has a timer: the connection's driver has one for all,
/// and wakes as many as there are tokens when it goes off.
pub(super) struct Rate {
    bucket: TokenBucket,
    /// After so many consecutive tokens for high frames a low one that waits gets one.
    max_high_before_low: u32,
    /// Tokens for high frames since the last for a low one.
    high_run: u32,
    /// Tokens that are there for those who were woken, and have not come. Others may take
    /// them first, so they are never more than there are, nor more than were woken.
    promised: u32,
    /// The run as it will be when all who were woken have come.
    promised_run: u32,
    alarm: Option<Instant>,
}

impl Rate {
    pub(super) fn new(limit: RateLimit, max_high_before_low: u32, now: Instant) -> Self {
        Self {
            bucket: TokenBucket::new(limit, now),
            max_high_before_low,
            high_run: 0,
            promised: 0,
            promised_run: 0,
            alarm: None,
        }
    }

    /// Takes a token, or says when there will be one. One that `was_woken` takes what was
    /// promised to it.
    pub(super) fn take(
        &mut self,
        priority: Priority,
        was_woken: bool,
        now: Instant,
    ) -> Result<(), Instant> {
        self.bucket.try_take(now)?;
        self.high_run = run_after(self.high_run, priority);
        if was_woken {
            self.forgo();
        } else if self.promised > 0 {
            self.promised = self.promised.min(self.bucket.available(now));
        }
        Ok(())
    }

    /// One who was woken has no use for its token.
    pub(super) fn forgo(&mut self) {
        self.promised = self.promised.saturating_sub(1);
    }

    /// Takes back a token that was not used.
    pub(super) fn give_back(&mut self) {
        self.bucket.give_back();
    }

    /// Promises a token, if there is one that is not, to one of the priorities that have
    /// somebody waiting, and says to which.
    ///
    /// Those woken may come later, in another order or not at all, so this decides about
    /// waking alone; what counts for the next time is who takes a token.
    pub(super) fn promise(&mut self, now: Instant, high: bool, low: bool) -> Option<Priority> {
        if !(high || low) || self.promised >= self.bucket.available(now) {
            return None;
        }
        if self.promised == 0 {
            self.promised_run = self.high_run;
        }
        let max = self.max_high_before_low;
        let low_due = max != 0 && self.promised_run >= max;
        let priority = match (high, low) {
            (true, true) if low_due => Priority::Low,
            (true, _) => Priority::High,
            (false, _) => Priority::Low,
        };
        self.promised += 1;
        self.promised_run = run_after(self.promised_run, priority);
        Some(priority)
    }

    /// Sets the alarm for the next token, if anybody `waits` for one; says whether it is
    /// earlier than it was, so that the driver may not know.
    ///
    /// A full bucket has no next token. If somebody waits nevertheless, others were woken
    /// for the tokens that are there, and the alarm is set when the first of them is taken.
    pub(super) fn set_alarm(&mut self, waits: bool, now: Instant) -> bool {
        let alarm = match waits {
            true => self.bucket.next_token(now),
            false => None,
        };
        let moved = is_before(alarm, self.alarm);
        self.alarm = alarm;
        moved
    }

    /// When the driver has to wake somebody.
    pub(super) fn alarm(&self) -> Option<Instant> {
        self.alarm
    }

    /// Whether the driver would sleep too long with a timer set for `armed`.
    pub(super) fn is_due_before(&self, armed: Option<Instant>) -> bool {
        is_before(self.alarm, armed)
    }
}

/// Whether `this` comes before `that`; `None` never comes.
fn is_before(this: Option<Instant>, that: Option<Instant>) -> bool {
    this.is_some_and(|this| that.is_none_or(|that| this < that))
}

fn run_after(high_run: u32, priority: Priority) -> u32 {
    match priority {
        Priority::High => high_run.saturating_add(1),
        Priority::Low => 0,
    }
}
