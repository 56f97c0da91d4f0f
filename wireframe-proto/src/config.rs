//! What can be set about a connection: limits, fairness, time limits.

use core::{num::NonZeroUsize, time::Duration};

use crate::{fragment::FragmentLimits, heartbeat::Heartbeat};

/// Everything that can be set about a connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Bounds on memory and work.
    pub limits: Limits,
    /// Bounds on messages that go in fragments.
    pub fragments: FragmentLimits,
    /// How the sources of output share the wire.
    pub fairness: FairnessConfig,
    /// Time limits.
    pub timeouts: Timeouts,
    /// How a peer that is gone is found out. Default none.
    pub heartbeat: Option<Heartbeat>,
    /// What the end of the peer's output means.
    pub half_close: HalfClose,
    /// Who bounds the push queues.
    pub push_bound: PushBound,
    /// What becomes of pushes that were encoded when the connection ends before the
    /// transport has their last byte.
    pub unsent_pushes: UnsentPushes,
}

impl Config {
    /// [`Limits::max_body_bytes`], or what stands for it.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        let set = self.limits.max_body_bytes;
        set.map_or_else(|| self.message_size(), NonZeroUsize::get)
    }

    /// [`FragmentLimits::max_message_size`], or what stands for it.
    pub(crate) fn message_size(&self) -> usize {
        let default = self.limits.max_frame_len.get().saturating_mul(16);
        let set = self.fragments.max_message_size;
        set.map_or(default, NonZeroUsize::get)
    }

    /// [`FragmentLimits::max_partial_bytes`], or what stands for it.
    pub(crate) fn partial_bytes(&self) -> usize {
        let default = self.message_size().saturating_mul(4);
        let set = self.fragments.max_partial_bytes;
        set.map_or(default, NonZeroUsize::get)
    }

    /// [`FragmentLimits::max_fragments_per_message`], or what stands for it.
    pub(crate) fn fragments_per_message(&self) -> usize {
        let default = (self.message_size() / 256).saturating_add(16);
        let set = self.fragments.max_fragments_per_message;
        set.map_or(default, NonZeroUsize::get)
    }
}

/// A non-zero constant.
pub(crate) const fn nonzero(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(n) => n,
        None => NonZeroUsize::MIN,
    }
}

/// Bounds on memory and work of one connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Most payload bytes of one wire unit, in either direction. Default 1 MiB.
    pub max_frame_len: NonZeroUsize,
    /// Most bytes of a [preamble](crate::WireframeProtocol::preamble). Default 1 KiB.
    pub max_preamble: NonZeroUsize,
    /// Most commands that run at once. Default `None`: 64 where answers are
    /// [`Correlated`](crate::AnswerOrder::Correlated), else 1.
    pub max_in_flight: Option<NonZeroUsize>,
    /// Most commands that wait for one of those to end. Their frames may together take
    /// `max_frame_len` bytes, and one frame more. Default 32.
    pub max_held_back: NonZeroUsize,
    /// Most body frames that wait for one command's handler. Default 16.
    pub max_body_frames: NonZeroUsize,
    /// Payload bytes of body frames, of all commands together, from which on nothing more
    /// is decoded until handlers have taken or dropped some: one frame more may have come.
    /// Frames that the peer has pushed, and that wait for this end, have as many for
    /// themselves; what comes beyond is for whoever keeps them to drop. Default `None`: the most bytes of a
    /// [message](crate::FragmentLimits::max_message_size).
    pub max_body_bytes: Option<NonZeroUsize>,
    /// Most frames of one answer that wait to be sent. Default 2.
    pub response_slot: NonZeroUsize,
    /// Most control frames that input has provoked and that wait to be sent. Default 128.
    pub max_control: NonZeroUsize,
    /// From this many encoded bytes on nothing more is encoded: a frame that is pushed
    /// now is behind at most so many bytes and one unit. Default 64 KiB.
    pub high_water: NonZeroUsize,
    /// Size of a fresh read buffer, and the most bytes that are read ahead while
    /// nothing may be decoded. Default 256 KiB.
    pub read_buffer: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_len: nonzero(1024 * 1024),
            max_preamble: nonzero(1024),
            max_in_flight: None,
            max_held_back: nonzero(32),
            max_body_frames: nonzero(16),
            max_body_bytes: None,
            response_slot: nonzero(2),
            max_control: nonzero(128),
            high_water: nonzero(64 * 1024),
            read_buffer: nonzero(256 * 1024),
        }
    }
}

/// How the sources of output share the wire.
///
/// Control frames always go first, then high pushes, low pushes and responses, save
/// for these quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FairnessConfig {
    /// After so many consecutive high pushes one low push goes, if one is ready.
    /// Default 8; zero turns it off.
    pub max_high_before_low: u32,
    /// After so many consecutive pushes one unit of a response goes, if one is ready.
    /// Default 64; zero turns it off.
    pub max_push_before_response: u32,
    /// Once high pushes have gone back to back for so long, one low push goes, if one
    /// is ready. Default none.
    pub time_slice: Option<Duration>,
}

impl FairnessConfig {
    /// No quotas: the literal order of priorities.
    #[must_use]
    pub const fn strict() -> Self {
        Self {
            max_high_before_low: 0,
            max_push_before_response: 0,
            time_slice: None,
        }
    }
}

impl Default for FairnessConfig {
    fn default() -> Self {
        Self {
            max_high_before_low: 8,
            max_push_before_response: 64,
            time_slice: None,
        }
    }
}

/// Time limits of one connection. Each ends the connection, but for `body`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the connection's start to the end of the
    /// [preamble](crate::WireframeProtocol::preamble), if there is one. Default 10 s.
    pub preamble: Duration,
    /// Nothing received or sent while no command is in flight. Default none.
    pub idle: Option<Duration>,
    /// Output waits and the peer takes no byte of it. Default 30 s.
    pub write_stall: Duration,
    /// A handler awaits a body frame and none comes; the handler is told. Default 30 s.
    pub body: Duration,
    /// From a frame's first byte to its last, plus 1 s per 256 KiB announced. Default 30 s.
    pub frame_completion: Duration,
    /// From the decision to close to the end: for the last frames to leave and the
    /// peer to close too. Default 5 s. A drain has so long as well, for everything,
    /// whether a handle, a hook or the shutdown of a server asks for it; on the bare
    /// engine, [`Shutdown::Drain`](crate::Shutdown::Drain) names its own deadline.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            preamble: Duration::from_secs(10),
            idle: None,
            write_stall: half_a_minute,
            body: half_a_minute,
            frame_completion: half_a_minute,
            close: Duration::from_secs(5),
        }
    }
}

/// What the end of the peer's output means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HalfClose {
    /// The peer still listens: pending answers are sent, then the connection closes.
    #[default]
    Answers,
    /// The peer is gone: everything ends at once.
    Ends,
}

/// Who bounds the push queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushBound {
    /// The engine: [`push`](crate::Connection::push) refuses what exceeds the capacity.
    Engine(PushCapacity),
    /// The caller, who has a queue of its own in front and counts slots there:
    /// [`accept_pushes`](crate::Connection::accept_pushes) takes everything. Before the
    /// connection can end in good order it wants to be told that no more will come
    /// ([`Wants::end_of_pushes`](crate::Wants::end_of_pushes)).
    Caller,
}

impl Default for PushBound {
    fn default() -> Self {
        Self::Engine(PushCapacity::default())
    }
}

/// What becomes of pushes that are encoded and unsent at the end of their connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsentPushes {
    /// They are counted; their frames were dropped when they were encoded.
    #[default]
    Counted,
    /// They come back as [`Undelivered`](crate::Event::Undelivered), as those that were
    /// still queued do. Each frame is kept until the transport has taken its last byte, so
    /// at most one of those that come back has reached the peer in part. It is dropped when
    /// [`transmit`](crate::Connection::transmit),
    /// [`take_released`](crate::Connection::take_released) or
    /// [`shrink`](crate::Connection::shrink) is next called.
    Returned,
}

/// The bound of one push queue; each priority has one.
///
/// A frame counts from its acceptance until the transport has taken its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushCapacity {
    /// Frames outstanding. Default 256.
    pub frames: NonZeroUsize,
    /// Bytes outstanding, as [`Codec::encoded_len`](crate::Codec::encoded_len) says.
    /// Default 1 MiB. A larger frame goes when its queue is empty.
    pub bytes: NonZeroUsize,
}

impl PushCapacity {
    /// 256 frames, 1 MiB.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: nonzero(256),
            bytes: nonzero(1024 * 1024),
        }
    }

    /// Sets the most frames.
    #[must_use]
    pub const fn with_frames(mut self, frames: NonZeroUsize) -> Self {
        self.frames = frames;
        self
    }

    /// Sets the most bytes.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.bytes = bytes;
        self
    }
}

impl Default for PushCapacity {
    fn default() -> Self {
        Self::new()
    }
}
