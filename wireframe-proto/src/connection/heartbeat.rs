//! Pings, and the end of a peer that is silent.

use alloc::boxed::Box;

use super::Connection;
use crate::{
    heartbeat::{Heartbeat, Pulse},
    protocol::WireframeProtocol,
    time::Instant,
};

impl<P: WireframeProtocol> Connection<P> {
    /// Sets or ends the heartbeat. A new one begins with a silence that begins now; to
    /// set the one that is there changes nothing.
    pub fn set_heartbeat(&mut self, heartbeat: Option<Heartbeat>, now: Instant) {
        self.observe(now);
        if !self.in_user_code {
            self.begin_heartbeat(heartbeat);
        }
    }

    #[cold]
    pub(super) fn begin_heartbeat(&mut self, heartbeat: Option<Heartbeat>) {
        let set = self.pulse.as_ref().map(|pulse| pulse.heartbeat());
        if set != heartbeat && self.is_open() {
            let (reads, now) = (self.reads(), self.now);
            self.pulse = heartbeat.map(|heartbeat| {
                let mut pulse = Box::new(Pulse::new(heartbeat, now));
                pulse.set_reading(reads, now);
                pulse
            });
        }
    }

    /// The heartbeat, while there is anything to learn from it: a peer that has ended
    /// its output cannot show that it is alive, and one in its preamble has a time limit
    /// of its own.
    #[inline]
    fn beating(&self) -> Option<&Pulse> {
        let pulse = self.pulse.as_deref()?;
        let beats = self.is_open() && !self.peer_closed && !self.awaits_preamble();
        beats.then_some(pulse)
    }

    pub(super) fn ping_deadline(&self) -> Option<Instant> {
        self.beating()?.ping_due()
    }

    pub(super) fn silence_deadline(&self) -> Option<Instant> {
        self.beating()?.ends()
    }

    /// A silence has lasted so long that a ping is owed: a new one, whatever was asked for
    /// in an earlier silence.
    pub(super) fn owe_ping(&mut self) {
        self.forget_ping();
        if let Some(pulse) = &mut self.pulse {
            pulse.owe_ping();
        }
    }

    /// Whether a ping is owed and may go.
    #[inline]
    pub(super) fn ping_may_go(&self) -> bool {
        self.beating().is_some_and(Pulse::owes_ping) && self.push_time()
    }

    /// Asks the protocol for the ping that is owed, only now that it is its turn.
    pub(super) fn send_ping(&mut self) {
        let asked_before = self.begun.as_mut().and_then(|begun| begun.ping.take());
        if let Some(ping) = asked_before.or_else(|| self.hook(None, P::ping)) {
            self.send_as_control(ping);
        }
        self.note_ping();
    }

    /// The ping that was owed has gone, or there is none.
    pub(super) fn note_ping(&mut self) {
        let end = self.transmit.end();
        // The protocol may have set another heartbeat, whose silence has only begun.
        if let Some(pulse) = self.pulse.as_mut().filter(|pulse| pulse.owes_ping()) {
            pulse.pinged(end, self.now);
        }
    }
}
