//! The engine in process: codecs alone, echoes, and pushes, without a socket.
//!
//! Every figure is per frame, but for those of large messages, which are per byte. An echo decodes a request, hands it over as an event,
//! takes the answer, encodes it and reports it sent; 64 requests arrive at a time.

mod fragments;

use std::{hint::black_box, time::Duration};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireframe_benches::fixed::{Fixed, FixedProtocol};
use wireframe_proto::{
    Codec, Config, Connection, ConnectionId, EncodeBuffer, Envelope, EnvelopeProtocol, Event,
    FragmentStrategy, Instant, Peer, Priority, WireframeProtocol,
};

const BATCH: u64 = 64;
const SIZES: [(&str, usize); 2] = [("32B", 32), ("1KiB", 1024)];

/// A protocol whose frames can be made up.
trait Sample: WireframeProtocol + Default {
    const NAME: &'static str;
    fn frame(correlation: u64, payload: Bytes) -> Self::Frame;
}

impl Sample for EnvelopeProtocol {
    const NAME: &'static str = "envelope";

    fn frame(correlation: u64, payload: Bytes) -> Envelope {
        Envelope::new(1, payload).with_correlation_id(correlation)
    }
}

impl Sample for FixedProtocol {
    const NAME: &'static str = "fixed";

    fn frame(correlation: u64, payload: Bytes) -> Fixed {
        Fixed {
            route: 1,
            correlation,
            payload,
        }
    }
}

fn payload(len: usize) -> Bytes {
    Bytes::from(vec![0x5a; len])
}

/// A frame on the wire.
fn wire<P: Sample>(frame: &P::Frame) -> Vec<u8> {
    let mut connection = connection::<P>();
    assert!(connection.push(Priority::Low, clone_of::<P>(frame)).is_ok());
    let _ = connection.fill(Instant::ZERO);
    let transmit = connection.transmit();
    transmit.map_or(vec![], |t| t.chunks().flatten().copied().collect())
}

/// The same frame, by way of its bytes: frames need not be `Clone`.
fn clone_of<P: Sample>(frame: &P::Frame) -> P::Frame {
    let protocol = P::default();
    let mut buffer = EncodeBuffer::default();
    let mut codec = protocol.codec();
    assert!(codec.encode(frame, &mut buffer.frame_buf()).is_ok());
    let bytes: Vec<u8> = buffer.chunks().flatten().copied().collect();
    let meta = wireframe_proto::FragmentMeta::whole(bytes.len() as u64);
    match codec.decode(&meta, bytes.into()) {
        Ok(frame) => frame,
        Err(error) => unreachable!("{error}"),
    }
}

fn connection<P: Sample>() -> Connection<P> {
    let peer = Peer::client_of(ConnectionId(1));
    Connection::new(Config::default(), P::default(), peer, Instant::ZERO)
}

/// Header and codec of one frame, in and out.
fn codec<P: Sample>(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));
    for (name, len) in SIZES {
        let frame = P::frame(42, payload(len));
        let wire = Bytes::from(wire::<P>(&frame));
        let protocol = P::default();
        let (mut codec, mut framing) = (protocol.codec(), protocol.framing());
        let mut buffer = EncodeBuffer::default();
        let mut header = Vec::new();
        group.bench_function(format!("{}/{name}", P::NAME), |b| {
            b.iter(|| {
                let Ok(Some((meta, header_len))) = framing.decode_header(black_box(&wire)) else {
                    unreachable!("the wire is well-formed");
                };
                let frame = codec.decode(&meta, wire.slice(header_len..));
                let Ok(frame) = frame else {
                    unreachable!("the wire is well-formed");
                };
                buffer.clear();
                header.clear();
                let encoded = codec.encode(&frame, &mut buffer.frame_buf());
                let headed = framing.encode_header(&mut header, &frame, &meta);
                black_box((encoded.is_ok(), headed.is_ok(), &buffer, &header));
            });
        });
    }
    group.finish();
}

/// Bytes in, requests out, answers in, bytes out.
struct Echo<P: Sample> {
    connection: Connection<P>,
    now: Instant,
}

impl<P: Sample> Echo<P> {
    fn new() -> Self {
        let mut connection = connection();
        connection.give_receive_buffer(BytesMut::with_capacity(256 * 1024));
        Self {
            connection,
            now: Instant::ZERO,
        }
    }

    fn receive(&mut self, wire: &[u8]) {
        self.now += Duration::from_micros(1);
        self.connection.receive_buffer().extend_from_slice(wire);
        self.connection.handle_received(self.now);
    }

    fn serve(&mut self) {
        while let Some(event) = self.connection.poll_event(self.now) {
            if let Event::Request { info, frame } = event {
                let _ = black_box(self.connection.answer(info.id, frame));
            }
        }
    }

    fn send(&mut self) -> usize {
        let mut sent = 0;
        let _ = self.connection.fill(self.now);
        while let Some(transmit) = self.connection.transmit() {
            let len = black_box(transmit.chunks()).map(<[u8]>::len).sum();
            transmit.advance(len);
            sent += len;
            let _ = self.connection.fill(self.now);
        }
        sent
    }
}

fn echo<P: Sample>(c: &mut Criterion) {
    echo_in::<P>(c, "echo");
}

fn echo_in<P: Sample>(c: &mut Criterion, group: &str) {
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Elements(BATCH));
    for (name, len) in SIZES {
        let frames = (0..BATCH).map(|n| wire::<P>(&P::frame(n, payload(len))));
        let batch: Vec<u8> = frames.flatten().collect();
        let mut echo = Echo::<P>::new();
        group.bench_function(format!("{}/{name}", P::NAME), |b| {
            b.iter(|| {
                echo.receive(&batch);
                echo.serve();
                assert_eq!(echo.send(), batch.len());
            });
        });
    }
    group.finish();
}

fn push<P: Sample>(c: &mut Criterion) {
    let mut group = c.benchmark_group("push");
    group.throughput(Throughput::Elements(BATCH));
    for (name, len) in SIZES {
        let payload = payload(len);
        let mut echo = Echo::<P>::new();
        group.bench_function(format!("{}/{name}", P::NAME), |b| {
            b.iter(|| {
                for n in 0..BATCH {
                    let frame = P::frame(n, payload.clone());
                    let pushed = echo.connection.push(Priority::High, frame);
                    assert!(pushed.is_ok());
                }
                let sent = echo.send();
                black_box(echo.connection.take_released(Priority::High));
                sent
            });
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    codec::<EnvelopeProtocol>,
    codec::<FixedProtocol>,
    echo::<EnvelopeProtocol>,
    echo::<FixedProtocol>,
    push::<EnvelopeProtocol>,
    push::<FixedProtocol>,
    fragments::pass,
    fragments::split,
    fragments::join
);
criterion_main!(benches);
