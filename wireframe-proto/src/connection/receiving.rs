//! The read buffer, and what arrives in it.

use bytes::BytesMut;

use super::{
    Connection, NOT_STARVED,
    units::{COPY_BELOW, to_usize},
};
use crate::{protocol::WireframeProtocol, time::Instant};

/// What may be allocated for a message before more of it has arrived.
const ON_TRUST: usize = 256 * 1024;

/// With less room than this at its end the read buffer is renewed.
const MIN_ROOM: usize = 8 * 1024;

/// What the driver has stopped, as bits: it is looked at for every frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stopped(u8);

impl Stopped {
    /// The application is at a bound of its own.
    const HELD: u8 = 1;
    /// Nothing is to be read, not even ahead.
    const PAUSED: u8 = 2;

    fn set(&mut self, bit: u8, stopped: bool) {
        match stopped {
            true => self.0 |= bit,
            false => self.0 &= !bit,
        }
    }

    /// Whether nothing is to be decoded.
    #[inline]
    pub(super) fn is_any(self) -> bool {
        self.0 != 0
    }

    pub(super) fn is_held(self) -> bool {
        self.0 & Self::HELD != 0
    }

    pub(super) fn is_paused(self) -> bool {
        self.0 & Self::PAUSED != 0
    }
}

impl<P: WireframeProtocol> Connection<P> {
    /// The buffer to read into, with room at its end. Only append to it, then call
    /// [`handle_received`](Self::handle_received).
    ///
    /// The room never exceeds what
    /// [`Limits::read_buffer`](crate::Limits::read_buffer) allows, or, inside a large
    /// frame, the larger of 256 KiB and twice what has arrived of it.
    pub fn receive_buffer(&mut self) -> &mut BytesMut {
        let arrived = self.receive.len();
        let missing = self
            .unit
            .as_ref()
            .map_or(0, |unit| to_usize(unit.payload_len).saturating_sub(arrived));
        let want = match missing {
            // What comes next is another unit, even if this one has to wait.
            0 => self.config.limits.read_buffer.get(),
            _ => missing.min(arrived.max(ON_TRUST.saturating_sub(arrived))),
        };
        let room = self.receive.capacity() - arrived;
        // While somebody holds a part of the buffer, its rest is used up before there is
        // another: a small payload that is kept shares its buffer with what came after.
        if room < want && !self.receive.try_reclaim(want) && room < want.min(MIN_ROOM) {
            let mut fresh = BytesMut::with_capacity(arrived + want);
            fresh.extend_from_slice(&self.receive);
            self.receive = fresh;
        }
        &mut self.receive
    }

    /// Takes the read buffer away while it is empty, so that an idle connection holds
    /// none; a few bytes of a frame that has begun stay behind in a small one.
    pub fn take_receive_buffer(&mut self) -> Option<BytesMut> {
        let (len, capacity) = (self.receive.len(), self.receive.capacity());
        if capacity == 0 || len >= COPY_BELOW || (len > 0 && capacity <= 2 * COPY_BELOW) {
            return None;
        }
        let rest = BytesMut::from(&self.receive[..]);
        let mut buffer = core::mem::replace(&mut self.receive, rest);
        buffer.clear();
        Some(buffer)
    }

    /// Whether the connection holds no read buffer.
    pub fn lacks_receive_buffer(&self) -> bool {
        self.receive.capacity() == 0
    }

    /// Gives the connection a read buffer to use, unless it has one.
    pub fn give_receive_buffer(&mut self, mut buffer: BytesMut) {
        if self.receive.capacity() == 0 {
            buffer.clear();
            self.receive = buffer;
        }
    }

    /// Bytes have been appended to [`receive_buffer`](Self::receive_buffer).
    pub fn handle_received(&mut self, now: Instant) {
        self.observe(now);
        let fresh = self.receive.len().saturating_sub(self.counted);
        if fresh == 0 {
            return;
        }
        self.counters.bytes_received += fresh as u64;
        self.last_activity = self.reading.at(self.now);
        if let Some(pulse) = &mut self.pulse {
            pulse.heard(self.now);
        }
        self.starved_at = NOT_STARVED;
        if self.in_user_code || !self.is_open() || self.ignores_input {
            self.receive.clear();
        } else if self.peer_closed {
            // Behind the end there is nothing, but before it there may be.
            self.receive.truncate(self.counted);
        }
        self.counted = self.receive.len();
    }

    /// Stops and starts input for a driver whose application is at a bound of its own.
    ///
    /// While it is held nothing is decoded. Bytes are still read, up to one
    /// [read buffer](crate::Limits::read_buffer), so that it is seen if the peer is gone;
    /// then [`Wants::read`](crate::Wants::read) is false, as at the engine's own bounds.
    /// The peer has to wait for what it sent, so the clocks of its input stand still: idle,
    /// body, frame and preamble; and that of the heartbeat while nothing more is read.
    /// Writing, all else that is timed, pushes, and commands that were decoded before go
    /// on. A connection that closes drops its input, held or not.
    ///
    /// What has come already waits, also behind the end of the peer's output and under
    /// [`HalfClose::Ends`](crate::HalfClose::Ends), and that end is heeded when all of it
    /// has been decoded: whoever holds input has to let it go on, or end the connection.
    pub fn hold_input(&mut self, held: bool, now: Instant) {
        self.observe(now);
        if !self.in_user_code {
            self.stopped.set(Stopped::HELD, held);
            self.update_clocks();
        }
    }

    /// Stops and starts reading for a driver that must not take on more.
    ///
    /// While it is paused nothing is decoded, as while input is [held](Self::hold_input),
    /// and nothing is read ahead either: so the heartbeat stands still, too, and it is not
    /// seen if the peer is gone. Both may be asked for at once, and then each has to end.
    pub fn pause_reading(&mut self, paused: bool, now: Instant) {
        self.observe(now);
        if !self.in_user_code {
            self.stopped.set(Stopped::PAUSED, paused);
            self.update_clocks();
        }
    }

    /// The peer has ended its output.
    pub fn handle_eof(&mut self, now: Instant) {
        self.observe(now);
        self.peer_closed = true;
        self.update_clocks();
    }
}
