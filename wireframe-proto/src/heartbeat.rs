//! How this end learns that its peer is gone.

use core::time::Duration;

use crate::{
    held_output::HeldOutput,
    time::{Instant, ReadingClock},
};

/// How long a peer may be silent, and whether it is pinged before that.
///
/// Any byte from the peer is a sign of life and begins the cycle anew. The time during
/// which this end itself does not read does not count.
///
/// ```
/// use core::time::Duration;
/// use wireframe_proto::{Config, Heartbeat};
///
/// let mut config = Config::default();
/// // A ping after 20 s of silence, and 5 s to answer it.
/// config.heartbeat = Some(Heartbeat::pinging(
///     Duration::from_secs(20),
///     Duration::from_secs(5),
/// ));
/// // The peer has to say something within a minute and a half of its own accord.
/// config.heartbeat = Some(Heartbeat::expecting(Duration::from_secs(90)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Heartbeat {
    /// After so long without a byte from the peer a
    /// [`ping`](crate::WireframeProtocol::ping) goes out, one per silence. Without it
    /// the peer has to send of its own accord.
    pub every: Option<Duration>,
    /// How long the peer may be silent: after the ping, or, where none is sent, since
    /// its last byte. Then the connection closes.
    pub timeout: Duration,
}

impl Heartbeat {
    /// Pings after `every` of silence and closes `timeout` after the ping.
    #[must_use]
    pub const fn pinging(every: Duration, timeout: Duration) -> Self {
        Self {
            every: Some(every),
            timeout,
        }
    }

    /// Sends nothing, and closes after `timeout` of silence.
    #[must_use]
    pub const fn expecting(timeout: Duration) -> Self {
        Self {
            every: None,
            timeout,
        }
    }
}

/// A heartbeat at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    heartbeat: Heartbeat,
    /// Stands still whenever this end does not read: a sign of life would not be seen.
    clock: ReadingClock,
    silence: Silence,
}

/// How far a silence of the peer has come. The times are of the pulse's clock.
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// It began then.
    Since(Instant),
    /// It has lasted so long that a ping is owed, which goes when it may.
    PingOwed,
    /// The ping is in the output.
    Pinged {
        /// When the peer last took a byte up to `end`: it cannot answer before.
        since: Instant,
        end: End,
    },
}

/// Where a ping ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// At that byte of the engine's output, which the transport has not said to have taken.
    Output(u64),
    /// Before the transport has handed on more bytes than so many.
    HandedOn(u64),
}

impl Pulse {
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        Self {
            heartbeat,
            clock: ReadingClock::default(),
            silence: Silence::Since(now),
        }
    }

    pub(crate) fn heartbeat(&self) -> Heartbeat {
        self.heartbeat
    }

    /// Keeps the clock in step with whether this end reads.
    pub(crate) fn set_reading(&mut self, reads: bool, now: Instant) {
        if reads {
            self.clock.run(now);
        } else {
            self.clock.stop(now);
        }
    }

    /// Something was received.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.silence = Silence::Since(self.clock.at(now));
    }

    /// When a ping falls due.
    pub(crate) fn ping_due(&self) -> Option<Instant> {
        match self.silence {
            Silence::Since(since) => self.clock.due(since + self.heartbeat.every?),
            Silence::PingOwed | Silence::Pinged { .. } => None,
        }
    }

    /// When the peer has been silent for too long. Nobody is closed for want of a ping
    /// that has not had its turn.
    pub(crate) fn ends(&self) -> Option<Instant> {
        let since = match self.silence {
            Silence::Since(since) if self.heartbeat.every.is_none() => since,
            Silence::Pinged { since, .. } => since,
            Silence::Since(_) | Silence::PingOwed => return None,
        };
        self.clock.due(since + self.heartbeat.timeout)
    }

    /// A ping has fallen due.
    pub(crate) fn owe_ping(&mut self) {
        self.silence = Silence::PingOwed;
    }

    pub(crate) fn owes_ping(&self) -> bool {
        matches!(self.silence, Silence::PingOwed)
    }

    /// The ping was encoded and ends at byte `end` of the output.
    pub(crate) fn pinged(&mut self, end: u64, now: Instant) {
        let since = self.clock.at(now);
        let end = End::Output(end);
        self.silence = Silence::Pinged { since, end };
    }

    /// The peer, which had taken `before` bytes of the output, has taken more.
    pub(crate) fn output_taken(&mut self, before: u64, now: Instant) {
        if let Silence::Pinged { since, end } = &mut self.silence
            && matches!(end, End::Output(end) if before < *end)
        {
            *since = self.clock.at(now);
        }
    }

    /// The transport held some of the output, had handed on `before` bytes, and has handed on
    /// more.
    pub(crate) fn handed_on(&mut self, before: u64, now: Instant) {
        if let Silence::Pinged { since, end } = &mut self.silence
            && !matches!(end, End::HandedOn(end) if before >= *end)
        {
            *since = self.clock.at(now);
        }
    }

    /// The transport has taken so many bytes of the output, and that is what it holds now.
    pub(crate) fn output_held(&mut self, taken: u64, held: HeldOutput) {
        if let Silence::Pinged { end, .. } = &mut self.silence
            && matches!(end, End::Output(end) if *end <= taken)
        {
            *end = End::HandedOn(held.end());
        }
    }
}
