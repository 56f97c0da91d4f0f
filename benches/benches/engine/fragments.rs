//! Messages that go and come in fragments, and small frames past a framing that could
//! split them.

use std::{hint::black_box, marker::PhantomData, num::NonZeroUsize};

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use wireframe_proto::{
    Codec, Config, Connection, ConnectionId, End, Event, FragmentMeta, FragmentStrategy, FrameBuf,
    Instant, LenFlag32K, LenSeq16M, LengthDelimited, Malformed, Multiplexed, Peer, Priority, Role,
    Unencodable, View, WireframeProtocol,
};

use crate::{Sample, echo_in, payload};

/// A large message.
const MESSAGE: usize = 64 * 1024 * 1024;

/// What a driver reads at a time.
const READ: usize = 256 * 1024;

/// A framing to be measured.
trait Strategy: FragmentStrategy<Bytes> + Default + 'static {
    const NAME: &'static str;
}

impl Strategy for LengthDelimited {
    const NAME: &'static str = "LengthDelimited";
}

impl Strategy for LenFlag32K {
    const NAME: &'static str = "LenFlag32K";
}

impl Strategy for LenSeq16M {
    const NAME: &'static str = "LenSeq16M";
}

impl Strategy for Multiplexed {
    const NAME: &'static str = "Multiplexed";
}

/// Frames that are bytes and nothing else, over any framing.
#[derive(Debug)]
struct Raw<S, const CHAINS: bool = true>(PhantomData<S>);

impl<S, const CHAINS: bool> Default for Raw<S, CHAINS> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Chains large payloads, or copies them.
struct RawCodec<const CHAINS: bool>;

impl<const CHAINS: bool> Codec for RawCodec<CHAINS> {
    type Frame = Bytes;

    #[inline]
    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Bytes, Malformed> {
        Ok(payload)
    }

    #[inline]
    fn encode(&mut self, frame: &Bytes, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        match CHAINS {
            true => dst.put_bytes(frame),
            false => dst.put_slice(frame),
        }
        Ok(())
    }

    #[inline]
    fn encoded_len(&self, frame: &Bytes) -> usize {
        frame.len()
    }
}

impl<S: Strategy, const CHAINS: bool> WireframeProtocol for Raw<S, CHAINS> {
    type Frame = Bytes;
    type Error = std::convert::Infallible;
    type Codec = RawCodec<CHAINS>;
    type Framing = S;
    type Session = ();

    fn codec(&self) -> RawCodec<CHAINS> {
        RawCodec
    }

    fn framing(&self) -> S {
        S::default()
    }

    #[inline]
    fn classify(&self, _: &Bytes, _: &View<'_, ()>) -> Role {
        Role::Request {
            route: 1,
            correlation: None,
            exclusive: false,
        }
    }
}

impl<S: Strategy> Sample for Raw<S> {
    const NAME: &'static str = S::NAME;

    fn frame(_: u64, payload: Bytes) -> Bytes {
        payload
    }
}

/// Room for a large message, whatever its fragments.
fn connection<S: Strategy, const CHAINS: bool>() -> Connection<Raw<S, CHAINS>> {
    let mut config = Config::default();
    config.fragments.max_message_size = NonZeroUsize::new(MESSAGE);
    if let Some(len) = NonZeroUsize::new(0xff_ffff) {
        config.limits.max_frame_len = len;
    }
    let peer = Peer::client_of(ConnectionId(1));
    Connection::new(config, Raw::default(), peer, Instant::ZERO)
}

/// Sends a message to its last byte, and shows what is lent to `write`.
fn send<S: Strategy, const CHAINS: bool>(
    connection: &mut Connection<Raw<S, CHAINS>>,
    message: &Bytes,
    mut write: impl FnMut(&[u8]),
) {
    assert!(connection.push(Priority::Low, message.clone()).is_ok());
    let _ = connection.fill(Instant::ZERO);
    while let Some(transmit) = connection.transmit() {
        transmit.chunks().for_each(&mut write);
        let len = transmit.len();
        transmit.advance(len);
        let _ = connection.fill(Instant::ZERO);
    }
    assert_eq!(connection.take_released(Priority::Low).sent, 1);
}

fn split_one<S: Strategy, const CHAINS: bool>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    message: &Bytes,
) {
    let codec = if CHAINS { "chained" } else { "copied" };
    let mut connection = connection::<S, CHAINS>();
    group.bench_function(format!("{}/{codec}", S::NAME), |b| {
        b.iter(|| {
            send(&mut connection, message, |chunk| {
                black_box(chunk);
            });
        });
    });
}

/// From a push to the last byte that is reported sent. A codec chains a large payload or,
/// if it cannot, copies it.
pub(crate) fn split(c: &mut Criterion) {
    let mut group = c.benchmark_group("split");
    group.throughput(Throughput::Bytes(MESSAGE as u64));
    let message = payload(MESSAGE);
    split_one::<LenFlag32K, true>(&mut group, &message);
    split_one::<LenSeq16M, true>(&mut group, &message);
    split_one::<Multiplexed, true>(&mut group, &message);
    split_one::<LenFlag32K, false>(&mut group, &message);
    split_one::<LenSeq16M, false>(&mut group, &message);
    split_one::<Multiplexed, false>(&mut group, &message);
    group.finish();
}

fn join_one<S: Strategy>(group: &mut BenchmarkGroup<'_, WallTime>, message: &Bytes) {
    let mut wire = Vec::new();
    send(&mut connection::<S, true>(), message, |chunk| {
        wire.extend_from_slice(chunk);
    });
    let mut connection = connection::<S, true>();
    group.bench_function(S::NAME, |b| {
        b.iter(|| {
            let mut joined = None;
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let buffer = connection.receive_buffer();
                let room = buffer.capacity() - buffer.len();
                let (read, behind) = rest.split_at(room.min(READ).min(rest.len()));
                rest = behind;
                buffer.extend_from_slice(read);
                connection.handle_received(Instant::ZERO);
                while let Some(event) = connection.poll_event(Instant::ZERO) {
                    if let Event::Request { info, frame } = event {
                        let ended = connection.finish(info.id, End::Complete);
                        assert!(ended.is_ok());
                        joined = Some(frame);
                    }
                }
            }
            assert_eq!(joined.map(|frame| frame.len()), Some(MESSAGE));
        });
    });
}

/// From bytes, read up to 256 KiB at a time, to a frame. Beside it stands what the engine
/// has no part in: the reads, which are copies here, and fresh memory for the message.
pub(crate) fn join(c: &mut Criterion) {
    let mut group = c.benchmark_group("join");
    group.throughput(Throughput::Bytes(MESSAGE as u64));
    let message = payload(MESSAGE);
    let mut buffer = BytesMut::with_capacity(READ);
    group.bench_function("reads alone", |b| {
        b.iter(|| {
            for read in message.chunks(READ) {
                buffer.clear();
                buffer.extend_from_slice(black_box(read));
            }
        });
    });
    group.bench_function("a copy to fresh memory", |b| {
        b.iter(|| black_box(black_box(&message[..]).to_vec()));
    });
    join_one::<LenFlag32K>(&mut group, &message);
    join_one::<LenSeq16M>(&mut group, &message);
    join_one::<Multiplexed>(&mut group, &message);
    group.finish();
}

/// Echoes of frames that fit one unit: over a framing that never splits, and over one that
/// might.
pub(crate) fn pass(c: &mut Criterion) {
    echo_in::<Raw<LengthDelimited>>(c, "pass");
    echo_in::<Raw<Multiplexed>>(c, "pass");
    echo_in::<Raw<LenFlag32K>>(c, "pass");
}
