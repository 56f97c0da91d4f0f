//! What the engine allocates: nothing per frame once it is warm, and next to nothing on a
//! peer's word.

use std::{convert::Infallible, num::NonZeroUsize};

use allocation_counter::{AllocationInfo, measure};
use bytes::{Bytes, BytesMut};
use wireframe_proto::{
    ByteOrder, CloseReason, Config, Connection, ConnectionId, Envelope, EnvelopeProtocol, Event,
    Instant, LengthDelimited, Limits, Peer, PrefixWidth, Priority, Role, View, WireframeProtocol,
};
use wireframe_tests::BareCodec;

const BATCH: usize = 64;
const KIB: usize = 1024;

/// Bare payloads behind a length: the smallest protocol there is.
#[derive(Debug, Default)]
struct Bare(LengthDelimited);

impl WireframeProtocol for Bare {
    type Frame = Bytes;
    type Error = Infallible;
    type Codec = BareCodec;
    type Framing = LengthDelimited;
    type Session = ();

    fn codec(&self) -> BareCodec {
        BareCodec
    }

    fn framing(&self) -> LengthDelimited {
        self.0
    }

    fn classify(&self, _: &Bytes, _: &View<'_, ()>) -> Role {
        Role::Request {
            route: 0,
            correlation: None,
            exclusive: false,
        }
    }
}

fn connect<P: WireframeProtocol>(config: Config, protocol: P) -> Connection<P> {
    let peer = Peer::client_of(ConnectionId(1));
    let mut connection = Connection::new(config, protocol, peer, Instant::ZERO);
    assert!(connection.poll_event(Instant::ZERO).is_none());
    connection
}

/// Encodes and sends everything that is ready; tells how many bytes that was.
fn send<P: WireframeProtocol>(connection: &mut Connection<P>) -> usize {
    let mut sent = 0;
    loop {
        let _ = connection.fill(Instant::ZERO);
        let Some(transmit) = connection.transmit() else {
            return sent;
        };
        let len: usize = transmit.chunks().map(<[u8]>::len).sum();
        transmit.advance(len);
        sent += len;
    }
}

/// One batch of requests in, and their echoes out.
fn echo<P: WireframeProtocol>(connection: &mut Connection<P>, batch: &[u8]) {
    connection.receive_buffer().extend_from_slice(batch);
    connection.handle_received(Instant::ZERO);
    while let Some(event) = connection.poll_event(Instant::ZERO) {
        if let Event::Request { info, frame } = event {
            assert!(connection.answer(info.id, frame).is_ok());
        }
    }
    assert_eq!(send(connection), batch.len());
}

/// A frame of `payload_len` bytes of payload, as often as a batch has it, on the wire.
fn envelopes(payload_len: usize) -> Vec<u8> {
    let mut connection = connect(Config::default(), EnvelopeProtocol::default());
    let mut wire = Vec::new();
    for n in 0..BATCH as u64 {
        let frame = Envelope::new(1, vec![7; payload_len]).with_correlation_id(n);
        connection.push(Priority::Low, frame).unwrap();
        let _ = connection.fill(Instant::ZERO);
        let transmit = connection.transmit().unwrap();
        wire.extend(transmit.chunks().flatten());
        let len = transmit.len();
        transmit.advance(len);
    }
    wire
}

fn bare(payload_len: u32) -> Vec<u8> {
    let payload = vec![7; payload_len as usize];
    [&payload_len.to_be_bytes()[..], &payload]
        .concat()
        .repeat(BATCH)
}

/// Warm after `warm_up` batches, the next ones allocate nothing.
fn echoes_allocate_nothing<P: WireframeProtocol>(protocol: P, batch: &[u8]) {
    let mut connection = connect(Config::default(), protocol);
    // Long enough for the read buffer to be used up and taken back into use.
    for _ in 0..20 {
        echo(&mut connection, batch);
    }
    let info = measure(|| {
        for _ in 0..100 {
            echo(&mut connection, batch);
        }
    });
    assert_eq!(info, AllocationInfo::default());
}

#[test]
fn an_echoed_envelope_allocates_nothing() {
    echoes_allocate_nothing(EnvelopeProtocol::default(), &envelopes(32));
    echoes_allocate_nothing(EnvelopeProtocol::default(), &envelopes(KIB));
}

#[test]
fn an_echoed_bare_frame_allocates_nothing() {
    echoes_allocate_nothing(Bare::default(), &bare(32));
    echoes_allocate_nothing(Bare::default(), &bare(1024));
}

#[test]
fn a_push_allocates_nothing() {
    let mut connection = connect(Config::default(), EnvelopeProtocol::default());
    let payload = Bytes::from(vec![7; 32]);
    // Its first clone makes the payload a shared one.
    let _shared = payload.clone();
    let mut burst = || {
        for n in 0..BATCH as u64 {
            let priority = Priority::ALL[usize::from(n % 2 == 0)];
            let frame = Envelope::new(1, payload.clone()).with_correlation_id(n);
            connection.push(priority, frame).unwrap();
        }
        assert!(send(&mut connection) > 0);
    };
    burst();
    let info = measure(|| (0..100).for_each(|_| burst()));
    assert_eq!(info, AllocationInfo::default());
}

const LIMIT: usize = 1024 * KIB;

fn hostile(width: PrefixWidth) -> Connection<Bare> {
    let mut config = Config::default();
    let mut limits = Limits::default();
    limits.max_frame_len = NonZeroUsize::new(LIMIT).unwrap();
    config.limits = limits;
    let framing = LengthDelimited::new(width, ByteOrder::BigEndian);
    connect(config, Bare(framing))
}

fn prefix(width: PrefixWidth, announced: u64) -> Vec<u8> {
    announced.to_be_bytes()[8 - width.get()..].to_vec()
}

/// What the engine allocates, beyond the buffer that it was given, until it has nothing
/// more to say to these bytes and has room for the next read.
fn allocated_on(width: PrefixWidth, announced: u64) -> (AllocationInfo, Option<CloseReason>) {
    let mut connection = hostile(width);
    connection.give_receive_buffer(BytesMut::with_capacity(64));
    let prefix = prefix(width, announced);
    let mut reason = None;
    let info = measure(|| {
        connection.receive_buffer().extend_from_slice(&prefix);
        connection.handle_received(Instant::ZERO);
        while let Some(event) = connection.poll_event(Instant::ZERO) {
            if let Event::Closing(why) = event {
                reason = Some(why);
            }
        }
        connection.receive_buffer();
    });
    (info, reason)
}

#[test]
fn a_refused_length_allocates_no_buffer() {
    // rule: LIM-1, LIM-2
    let wide = PrefixWidth::new(8).unwrap();
    for (width, announced) in [
        (PrefixWidth::U32, LIMIT as u64 + 1),
        (PrefixWidth::U32, u64::from(u32::MAX)),
        (wide, LIMIT as u64 + 1),
        (wide, u64::MAX),
        (wide, i64::MAX as u64),
    ] {
        let mut connection = hostile(width);
        connection.give_receive_buffer(BytesMut::with_capacity(256 * KIB));
        let prefix = prefix(width, announced);
        let mut closing = false;
        let info = measure(|| {
            connection.receive_buffer().extend_from_slice(&prefix);
            connection.handle_received(Instant::ZERO);
            while let Some(event) = connection.poll_event(Instant::ZERO) {
                closing |= matches!(event, Event::Closing(CloseReason::Limit(_)));
            }
        });
        assert!(closing, "{announced} was accepted");
        assert!(info.bytes_max < 512, "{announced}: {info:?}");
    }
}

#[test]
fn an_accepted_length_allocates_no_more_than_256_kib_in_advance() {
    // rule: LIM-2
    for announced in [0, 1, 1000, LIMIT as u64 - 1, LIMIT as u64] {
        let (info, reason) = allocated_on(PrefixWidth::U32, announced);
        assert_eq!(reason, None, "{announced}");
        // The rest is what keeps account of the buffer and of the request.
        let most = (256 * KIB + 512) as u64;
        assert!(info.bytes_max <= most, "{announced}: {info:?}");
    }
}

#[test]
fn a_frame_that_trickles_in_takes_at_most_twice_what_has_arrived() {
    // rule: LIM-2
    for piece in [1000, 10_000, 100_000] {
        let mut connection = hostile(PrefixWidth::U32);
        let mut arrived = 0;
        let feed = |connection: &mut Connection<Bare>, bytes: &[u8]| {
            let buffer = connection.receive_buffer();
            let n = bytes.len().min(buffer.capacity() - buffer.len());
            assert!(n > 0, "no room to read into");
            buffer.extend_from_slice(&bytes[..n]);
            connection.handle_received(Instant::ZERO);
            n
        };
        let mut held = 0;
        let whole = prefix(PrefixWidth::U32, LIMIT as u64);
        feed(&mut connection, &whole);
        assert!(connection.poll_event(Instant::ZERO).is_none());
        let bytes = vec![9; piece];
        while arrived < LIMIT {
            let left = (LIMIT - arrived).min(piece);
            let before = arrived;
            let info = measure(|| {
                arrived += feed(&mut connection, &bytes[..left]);
                if arrived < LIMIT {
                    assert!(connection.poll_event(Instant::ZERO).is_none());
                }
            });
            held += info.bytes_current;
            let most = i64::try_from((256 * KIB).max(2 * arrived) + 256).unwrap();
            assert!(held <= most, "{held} held, {arrived} arrived");
            // While it grows, what has arrived is there twice.
            let peak = usize::try_from(info.bytes_max).unwrap();
            assert!(peak <= (256 * KIB).max(2 * before) + 256, "{info:?}");
        }
        let event = connection.poll_event(Instant::ZERO);
        assert!(matches!(event, Some(Event::Request { frame, .. }) if frame.len() == LIMIT));
    }
}
