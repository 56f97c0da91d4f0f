//! A connection that a peer loads with fragments, and an account of what it holds.

use std::{convert::Infallible, num::NonZeroUsize, time::Duration};

use allocation_counter::measure;
use bytes::Bytes;
use wireframe_proto::{
    AnswerOrder, CloseReason, Config, Connection, ConnectionId, Event, FragmentMeta,
    FragmentStrategy, Instant, Multiplexed, Peer, Role, View, WireframeProtocol,
};
use wireframe_tests::BareCodec;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// Payloads as they are, all of them pushes.
#[derive(Debug)]
pub(crate) struct Bare;

impl WireframeProtocol for Bare {
    type Frame = Bytes;
    type Error = Infallible;
    type Codec = BareCodec;
    type Framing = Multiplexed;
    type Session = ();

    /// Messages are dropped alone.
    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> BareCodec {
        BareCodec
    }

    fn framing(&self) -> Multiplexed {
        Multiplexed::new()
    }

    fn classify(&self, _: &Bytes, _: &View<'_, ()>) -> Role {
        Role::Push
    }
}

/// A unit of [`Multiplexed`] that is a fragment.
pub(crate) fn fragment(
    id: u32,
    seq: u32,
    total: Option<usize>,
    last: bool,
    body: &[u8],
) -> Vec<u8> {
    let mut meta = FragmentMeta::whole(body.len() as u64);
    meta.msg_id = Some(id.into());
    meta.seq = Some(seq);
    meta.total_message_len = total.map(|total| total as u64);
    meta.is_final = last;
    let mut unit = Vec::new();
    let mut framing = Multiplexed::new();
    FragmentStrategy::<()>::encode_header(&mut framing, &mut unit, &(), &meta).unwrap();
    unit.extend_from_slice(body);
    unit
}

pub(crate) fn begin(id: u32, total: usize, body: &[u8]) -> Vec<u8> {
    fragment(id, 0, Some(total), false, body)
}

pub(crate) fn next(id: u32, seq: u32, body: &[u8]) -> Vec<u8> {
    fragment(id, seq, None, false, body)
}

/// The bounds of a connection, in bytes but for the number of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) frame: usize,
    pub(crate) read_buffer: usize,
    pub(crate) message: usize,
    pub(crate) messages: usize,
    pub(crate) all: usize,
}

impl Bounds {
    /// Those of a connection that sets none.
    pub(crate) const DEFAULT: Self = Self {
        frame: MIB,
        read_buffer: 256 * KIB,
        message: 16 * MIB,
        messages: 64,
        all: 64 * MIB,
    };

    pub(crate) const SMALL: Self = Self {
        frame: 4 * KIB,
        read_buffer: 4 * KIB,
        message: 64 * KIB,
        messages: 64,
        all: 256 * KIB,
    };

    pub(crate) fn config(self) -> Config {
        let set = |n| NonZeroUsize::new(n).unwrap();
        let mut config = Config::default();
        config.limits.max_frame_len = set(self.frame);
        config.limits.read_buffer = set(self.read_buffer);
        config.fragments.max_message_size = Some(set(self.message));
        config.fragments.max_partial_messages = set(self.messages);
        config.fragments.max_partial_bytes = Some(set(self.all));
        config
    }

    /// What messages that are not whole may hold, and the account that is kept of them.
    pub(crate) const fn held(self) -> usize {
        self.all + self.all / 2 + 640 * self.messages + 9 * KIB
    }

    /// What is read ahead of them.
    pub(crate) const fn read(self) -> usize {
        self.frame + self.read_buffer
    }
}

/// A connection to which a peer sends, and what it holds.
pub(crate) struct Load {
    pub(crate) connection: Connection<Bare>,
    pub(crate) bounds: Bounds,
    pub(crate) now: Instant,
    pub(crate) held: i64,
    /// Most that was there at any moment.
    pub(crate) peak: usize,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) whole: usize,
    pub(crate) dropped: usize,
    pub(crate) unexpected: Option<Event<Bytes>>,
}

impl Load {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let peer = Peer::client_of(ConnectionId(1));
        let mut connection = Connection::new(bounds.config(), Bare, peer, Instant::ZERO);
        assert_eq!(connection.poll_event(Instant::ZERO), None);
        Self {
            connection,
            bounds,
            now: Instant::ZERO,
            held: 0,
            peak: 0,
            closed: None,
            whole: 0,
            dropped: 0,
            unexpected: None,
        }
    }

    /// Does something, and sees that no more is held than may be, then and meanwhile.
    pub(crate) fn watch(&mut self, what: impl FnOnce(&mut Self)) {
        let info = measure(|| what(self));
        assert_eq!(self.unexpected, None);
        let before = usize::try_from(self.held).unwrap();
        let peak = before + usize::try_from(info.bytes_max).unwrap();
        self.peak = self.peak.max(peak);
        self.held += info.bytes_current;
        let Bounds { message, frame, .. } = self.bounds;
        let most = self.bounds.held() + self.bounds.read();
        let held = usize::try_from(self.held).unwrap();
        assert!(held <= most, "{held} of {most} held");
        // What grows is there twice while it does: a message, and the buffer that it is
        // read into.
        let most = most + message + frame;
        assert!(peak <= most, "{peak} of {most} for a moment");
    }

    /// The peer sends this; it comes in reads of up to 64 KiB.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.watch(|load| {
                let buffer = load.connection.receive_buffer();
                let room = buffer.capacity() - buffer.len();
                let (read, rest) = bytes.split_at(bytes.len().min(room).min(64 * KIB));
                buffer.extend_from_slice(read);
                bytes = rest;
                load.connection.handle_received(load.now);
                load.take_events();
            });
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.watch(|load| {
            load.connection.handle_timeout(load.now);
            load.take_events();
        });
    }

    pub(crate) fn take_events(&mut self) {
        while let Some(event) = self.connection.poll_event(self.now) {
            match event {
                Event::Push(_) => self.whole += 1,
                Event::MessageDropped(_) => self.dropped += 1,
                Event::Closing(reason) => self.closed = Some(reason),
                Event::Closed(_) => {}
                // A panic would be one inside the measurement.
                other => self.unexpected = Some(other),
            }
        }
    }

    /// Feeds until the connection is closed; the limit that was crossed.
    pub(crate) fn until_closed(
        &mut self,
        units: impl IntoIterator<Item = Vec<u8>>,
    ) -> &'static str {
        for unit in units {
            self.feed(&unit);
            if let Some(reason) = &self.closed {
                let CloseReason::Limit(limit) = reason else {
                    panic!("{reason:?}");
                };
                return limit.limit;
            }
        }
        panic!("it is still open");
    }
}
