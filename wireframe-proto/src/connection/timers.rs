//! Deadlines: what is due when, and what happens then.

use core::time::Duration;

use super::{Connection, Phase};
use crate::{
    error::{CloseReason, Fault},
    held_output::HeldOutput,
    protocol::WireframeProtocol,
    time::{Deadline, DeadlineReason, Instant},
};

/// A large frame has this long for each [`PIECE`] bytes, on top of the time that every
/// frame has.
const TIME_PER_PIECE: Duration = Duration::from_secs(1);
const PIECE: u64 = 256 * 1024;

impl<P: WireframeProtocol> Connection<P> {
    /// When [`handle_timeout`](Self::handle_timeout) is next due, in constant time.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.in_user_code {
            return None;
        }
        [
            (self.close_at, DeadlineReason::Shutdown),
            (self.stall_deadline(), DeadlineReason::WriteStall),
            (
                self.on_clock(self.frame_deadline()),
                DeadlineReason::FrameCompletion,
            ),
            (self.reassembly_deadline(), DeadlineReason::Reassembly),
            (
                self.on_clock(self.first_body_deadline()),
                DeadlineReason::Body,
            ),
            (
                self.on_clock(self.preamble_deadline()),
                DeadlineReason::Preamble,
            ),
            (self.ping_deadline(), DeadlineReason::Ping),
            (self.silence_deadline(), DeadlineReason::Heartbeat),
            (self.on_clock(self.idle_deadline()), DeadlineReason::Idle),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some(Deadline { at: at?, reason }))
        .min_by_key(|deadline| deadline.at)
    }

    /// Does what is due. Calls that come too early do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout_as_of(now, now);
    }

    /// Does what was due at `seen`, for a driver that knows of its transport only what was
    /// so by then. What has become due since is left to another call, when it has looked.
    pub fn handle_timeout_as_of(&mut self, now: Instant, seen: Instant) {
        self.observe(now);
        let seen = match seen < now {
            true => seen,
            false => self.now,
        };
        while let Some(deadline) = self.poll_timeout().filter(|d| d.at <= seen) {
            crate::steps::step();
            match deadline.reason {
                DeadlineReason::Shutdown => self.close_deadline_passed(),
                DeadlineReason::WriteStall => self.peer_stalled(),
                DeadlineReason::FrameCompletion => {
                    self.close_with_goodbye(CloseReason::FrameTimedOut);
                }
                DeadlineReason::Reassembly => self.expire_messages(seen),
                DeadlineReason::Body => self.expire_bodies(self.reading.at(seen)),
                DeadlineReason::Preamble => {
                    self.close_with_goodbye(CloseReason::PreambleTimedOut);
                }
                DeadlineReason::Ping => self.owe_ping(),
                DeadlineReason::Heartbeat => {
                    self.close_with_goodbye(CloseReason::HeartbeatTimedOut);
                }
                DeadlineReason::Idle => self.close_with_goodbye(CloseReason::Idle),
            }
            self.update_clocks();
        }
    }

    /// That is what a transport with buffers of its own holds; to be called behind every
    /// write and flush, and only for such a transport. While it holds any, the peer may stall
    /// as it may with what [`transmit`](Self::transmit) lends, and has taken something when
    /// more was handed on, not when the transport has taken more.
    #[inline]
    pub fn handle_held(&mut self, now: Instant, held: HeldOutput) {
        self.observe(now);
        if held.bytes != 0 {
            // It may be of the transport's own making.
            self.note_output_begins();
        }
        let before = core::mem::replace(&mut self.held, held);
        let has_taken = before.bytes != 0 && before.handed_on < held.handed_on;
        if has_taken {
            self.last_progress = self.now;
            self.last_activity = self.reading.at(self.now);
        }
        if let Some(pulse) = &mut self.pulse {
            if has_taken {
                pulse.handed_on(before.handed_on, self.now);
            }
            pulse.output_held(self.transmit.sent_total(), held);
        }
    }

    /// Something is about to wait for the peer. If nothing did, its time begins.
    #[inline]
    pub(super) fn note_output_begins(&mut self) {
        if self.held.bytes == 0 && self.transmit.is_empty() {
            self.last_progress = self.now;
        }
    }

    fn close_deadline_passed(&mut self) {
        self.close_at = None;
        match self.phase {
            Phase::Draining(since) => {
                let fault = match self.drain_waits_for_peer(since) {
                    true => Fault::Peer,
                    false => Fault::Own,
                };
                self.abort(CloseReason::DrainTimedOut { fault });
            }
            _ => self.abort(CloseReason::Protocol),
        }
    }

    /// Whether the peer could end the drain, and this end cannot.
    fn drain_waits_for_peer(&self, since: Instant) -> bool {
        let at_work = self.commands.live() > 0;
        // To one that takes what there is, an answer without an end has always something to say.
        let lacks_reader = self.output_waits() && (!at_work || self.last_progress <= since);
        let replies_are_all = self.calls.pending() > 0 && !at_work;
        let lacks_input = self.commands.wait_for_peer() || replies_are_all;
        lacks_reader || (lacks_input && !self.stopped.is_any())
    }

    /// The peer takes nothing. It may still hear a last word, if it takes to reading.
    fn peer_stalled(&mut self) {
        self.last_progress = self.now;
        if self.is_open() {
            self.close_with_goodbye(CloseReason::WriteStalled);
        } else {
            self.abort(CloseReason::WriteStalled);
        }
    }

    /// Since when output waits of which the peer has taken no byte, be it that the transport
    /// [holds](Self::handle_held) it; `None` if none waits.
    ///
    /// [`Timeouts::write_stall`](crate::Timeouts::write_stall) after that the connection
    /// closes, and the goodbye has as long again.
    pub fn output_waits_since(&self) -> Option<Instant> {
        self.output_waits().then_some(self.last_progress)
    }

    fn stall_deadline(&self) -> Option<Instant> {
        Some(self.output_waits_since()? + self.config.timeouts.write_stall)
    }

    /// Whether the peer has yet to take something.
    fn output_waits(&self) -> bool {
        let held = self.held.bytes != 0 && !matches!(self.phase, Phase::Closed(_));
        held || !self.transmit.is_empty()
    }

    /// On the reading clock.
    fn first_body_deadline(&self) -> Option<Instant> {
        self.commands.first_awaited().map(|(_, deadline)| deadline)
    }

    /// On the reading clock.
    fn idle_deadline(&self) -> Option<Instant> {
        let limit = self.config.timeouts.idle?;
        let quiet = self.is_open() && self.commands.live() == 0 && !self.output_waits();
        quiet.then(|| self.last_activity + limit)
    }

    /// The moment at which the reading clock shows `deadline`.
    fn on_clock(&self, deadline: Option<Instant>) -> Option<Instant> {
        self.reading.due(deadline?)
    }

    /// When the frame that has begun to arrive must be whole, on the reading clock.
    fn frame_deadline(&self) -> Option<Instant> {
        let payload_len = self.unit.as_ref().map_or(0, |unit| unit.payload_len);
        let pieces = u32::try_from(payload_len / PIECE).unwrap_or(u32::MAX);
        let extra = TIME_PER_PIECE.saturating_mul(pieces);
        Some(self.frame_since? + self.config.timeouts.frame_completion + extra)
    }

    /// Nothing whole was found in what has been received; but perhaps a part of a frame.
    pub(super) fn note_frame_begun(&mut self) {
        if !self.awaits_preamble() && (self.unit.is_some() || !self.receive.is_empty()) {
            self.frame_since.get_or_insert(self.reading.at(self.now));
        }
    }

    /// Keeps the reading clock in step with whether the engine reads.
    ///
    /// It stands still while the peer has to wait for this end.
    #[inline]
    pub(super) fn update_clocks(&mut self) {
        if self.is_open() && self.may_decode() {
            self.note_no_pressure();
            self.reading.run(self.now);
            self.set_decoding(true);
            if let Some(pulse) = &mut self.pulse {
                pulse.set_reading(true, self.now);
            }
            if self.is_starved() {
                self.note_frame_begun();
            }
        } else {
            self.update_clocks_at_bound();
        }
    }

    /// The rest of [`update_clocks`](Self::update_clocks): nothing may be decoded.
    fn update_clocks_at_bound(&mut self) {
        // Bytes may wait here that are not looked at; their time begins anew.
        self.frame_since = None;
        if !self.is_open() {
            return self.note_no_pressure();
        }
        self.set_decoding(false);
        let reads = self.reads();
        match reads {
            true => self.note_no_pressure(),
            false => self.note_pressure(),
        }
        if let Some(pulse) = &mut self.pulse {
            pulse.set_reading(reads, self.now);
        }
        let runs = self.peer_closed || reads || self.waits_for_peer();
        if runs && !self.stopped.is_any() {
            self.reading.run(self.now);
        } else {
            self.reading.stop(self.now);
        }
    }

    /// Whether an engine that does not read waits for its peer nevertheless, and not for
    /// an application that is slow: whoever awaits a frame of a body while others fill what
    /// there is for bodies does, because the peer has sent those first. Who is to read them
    /// may be waiting for that one.
    fn waits_for_peer(&self) -> bool {
        (self.bodies_are_full() || self.commands.wait_for_peer()) && !self.control_is_full()
    }
}
