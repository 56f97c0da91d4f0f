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
    alarm: Option<Instant>,
}

impl Rate {
    pub(super) fn new(limit: RateLimit, max_high_before_low: u32, now: Instant) -> Self {
        Self {
            bucket: TokenBucket::new(limit, now),
            max_high_before_low,
            high_run: 0,
            alarm: None,
        }
    }

    /// Takes a token, or says when there will be one.
    pub(super) fn take(&mut self, priority: Priority, now: Instant) -> Result<(), Instant> {
        self.bucket.try_take(now)?;
        self.high_run = run_after(self.high_run, priority);
        Ok(())
    }

    /// Takes back a token that was not used.
    pub(super) fn give_back(&mut self) {
        self.bucket.give_back();
    }

    /// Who would get the tokens that are there.
    pub(super) fn turns(&mut self, now: Instant) -> Turns {
        Turns {
            tokens: self.bucket.available(now),
            max_high_before_low: self.max_high_before_low,
            high_run: self.high_run,
        }
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

/// The order in which those who wait get the tokens that are there.
///
/// Those woken may come later, in another order or not at all, so this decides about
/// waking alone; what counts for the next time is who takes a token.
pub(super) struct Turns {
    tokens: u32,
    max_high_before_low: u32,
    high_run: u32,
}

impl Turns {
    /// Whose turn it is, of the priorities that have somebody waiting.
    pub(super) fn next(&mut self, high: bool, low: bool) -> Option<Priority> {
        if self.tokens == 0 {
            return None;
        }
        let low_due = self.max_high_before_low != 0 && self.high_run >= self.max_high_before_low;
        let priority = match (high, low) {
            (false, false) => return None,
            (true, true) if low_due => Priority::Low,
            (true, _) => Priority::High,
            (false, true) => Priority::Low,
        };
        self.tokens -= 1;
        self.high_run = run_after(self.high_run, priority);
        Some(priority)
    }
}
