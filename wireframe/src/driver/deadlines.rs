//! What is due: when the driver is woken for it, and when it holds its peer to the time.

use std::{pin::Pin, task::Context};

use wireframe_proto::{Deadline, DeadlineReason, Instant};

use super::Driver;
use crate::{frame::Protocol, transport::Transport};

/// Reads of a driver that is late before it holds its peer to the time. A transport may
/// hand out little at a time, and a frame that has come may be a large one.
const READS_WHEN_LATE: usize = 64;

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Does what is due; costs one comparison if nothing is. Says whether it has taken events,
    /// and the engine wants a turn to be done before the next.
    #[inline]
    pub(super) fn check_time(&mut self, cx: &mut Context<'_>) -> bool {
        self.now = self.mailbox.clock().now();
        let now = self.now;
        self.tell_latencies(|_| now);
        let wants_turn = match self.due() {
            Some(deadline) => self.heed(deadline, cx),
            None => false,
        };
        self.mailbox.wake_due(self.now);
        wants_turn
    }

    fn due(&self) -> Option<Deadline> {
        let deadline = self.engine.poll_timeout()?;
        (deadline.at <= self.now).then_some(deadline)
    }

    /// Does what is due, unless it has to wait for the alarm.
    #[cold]
    fn heed(&mut self, deadline: Deadline, cx: &mut Context<'_>) -> bool {
        let at = deadline.at;
        if is_peers(deadline) && at > self.rung && !self.rings(at, cx) {
            return false;
        }
        self.do_what_is_due(self.rung.max(at), cx)
    }

    /// A driver may be late, and its peer is not to blame for that: what it has sent
    /// counts, and what it would take goes, before its time is up. What can be read and
    /// written now is what was so at the time `seen`.
    fn do_what_is_due(&mut self, seen: Instant, cx: &mut Context<'_>) -> bool {
        let mut wants_turn = false;
        for _ in 0..READS_WHEN_LATE {
            let due = self.due().filter(|due| due.at <= seen);
            if !due.is_some_and(is_peers) {
                break;
            }
            // Nothing new, but the engine learns how late it is.
            self.engine.handle_received(self.now);
            self.write(cx);
            let has_read = self.read(cx);
            wants_turn = self.take_events(cx);
            // If it wants one, what has come is flawed, and nothing more is read.
            if wants_turn || (!has_read && !self.engine.wants().event) {
                break;
            }
        }
        self.engine.handle_timeout_as_of(self.now, seen);
        // There may be a ping to send, or a goodbye.
        self.lend_write_buffer();
        wants_turn
    }

    /// Sees to it that the driver is woken at the engine's next deadline, and when the
    /// next token exists that somebody waits for; says whether that is so now.
    ///
    /// A wake-up that is too early is left where it is: most deadlines move on before
    /// they are reached, and to move a timer costs more than to be woken once for
    /// nothing. A wake-up without a deadline frees the timer.
    pub(super) fn set_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = self.engine.poll_timeout().map(|deadline| deadline.at);
        let deadline = deadline.into_iter().chain(self.mailbox.alarm()).min();
        let Some(at) = deadline else {
            if let Some((_, sleep)) = &mut self.sleep
                && Pin::as_mut(sleep).poll(cx).is_ready()
            {
                self.sleep = None;
            }
            return false;
        };
        match &self.sleep {
            Some((set, _)) if *set <= at => self.has_rung(at, cx),
            _ => self.rings(at, cx),
        }
    }

    /// Sets the alarm for that time; says whether it rings at once.
    fn rings(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        match &mut self.sleep {
            None => self.sleep = Some((at, self.mailbox.clock().alarm(at))),
            Some((set, _)) if *set == at => {}
            Some((set, sleep)) => {
                *set = at;
                sleep.as_mut().reset(at);
            }
        }
        self.has_rung(at, cx)
    }

    /// Whether the alarm has rung for that time. If it has for an earlier one, it is set
    /// anew.
    fn has_rung(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        while let Some((set, sleep)) = &mut self.sleep
            && Pin::as_mut(sleep).poll(cx).is_ready()
        {
            // The clock decides, not the sleep.
            self.now = self.mailbox.clock().now();
            self.rung = self.rung.max(self.now.min(*set));
            if at <= self.rung {
                self.sleep = None;
                return true;
            }
            *set = at;
            sleep.as_mut().reset(at);
        }
        false
    }
}

/// Whether the peer is held to that deadline. The end of a drain or close is not its affair.
fn is_peers(deadline: Deadline) -> bool {
    deadline.reason != DeadlineReason::Shutdown
}
