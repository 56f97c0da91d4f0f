//! The engine of Wireframe: framed binary protocols as a pure state machine.
//!
//! A [`Connection`] decides everything about one connection: what an inbound frame is,
//! which outbound frame goes next, what is held back, when something is late, how it
//! all ends. It does no I/O, reads no clock, spawns no task and takes no lock, so the
//! same protocol runs under any runtime, under plain blocking sockets, and in a unit
//! test without either.
//!
//! # Describing a protocol
//!
//! Implement [`WireframeProtocol`]. It names a [`FragmentStrategy`], which reads and
//! writes the header of a wire unit, and a [`Codec`], which turns what the header
//! encloses into frames; and it [classifies](WireframeProtocol::classify) inbound
//! frames. Everything else has a default. [`EnvelopeProtocol`] is ready-made.
//!
//! # Driving a connection
//!
//! Whoever drives a connection moves bytes, tells the time, and serves requests. This is
//! a complete driver for a blocking stream:
//!
//! ```
//! use std::{io::{self, Read, Write}, time};
//! use wireframe_proto::{
//!     Config, Connection, ConnectionId, EnvelopeProtocol, Event, Filled, Instant, Peer,
//! };
//!
//! fn serve(mut stream: impl Read + Write, id: ConnectionId) -> io::Result<()> {
//!     let origin = time::Instant::now();
//!     let now = || Instant::from_nanos(origin.elapsed().as_nanos() as u64);
//!     let peer = Peer::client_of(id);
//!     let mut connection = Connection::new(Config::default(), EnvelopeProtocol::default(), peer, now());
//!
//!     loop {
//!         // 1. What is late.
//!         connection.handle_timeout(now());
//!
//!         // 2. What happened: serve requests, until there is nothing more.
//!         while let Some(event) = connection.poll_event(now()) {
//!             match event {
//!                 Event::Request { info, frame } => {
//!                     // An echo: the frame that came is the whole answer.
//!                     let _ = connection.answer(info.id, frame);
//!                 }
//!                 Event::Closed(reason) => {
//!                     println!("{id}: {reason}");
//!                     return Ok(());
//!                 }
//!                 _ => {}
//!             }
//!         }
//!
//!         // 3. What is to be said: encode it and send it.
//!         let filled = connection.fill(now());
//!         while let Some(transmit) = connection.transmit() {
//!             let written = transmit.chunks().next().map_or(Ok(0), |chunk| stream.write(chunk));
//!             match written {
//!                 Ok(n) => transmit.advance(n),
//!                 Err(error) => {
//!                     connection.handle_transport_failed(now(), error.to_string());
//!                     break;
//!                 }
//!             }
//!         }
//!         if connection.wants().half_close {
//!             connection.handle_half_closed(now());
//!         }
//!
//!         // 4. Nothing left to do: wait for the peer.
//!         if filled == Filled::Ready && connection.wants().read && !connection.wants().event {
//!             let mut bytes = [0; 4096];
//!             match stream.read(&mut bytes) {
//!                 Ok(0) => connection.handle_eof(now()),
//!                 Ok(n) => {
//!                     connection.receive_buffer().extend_from_slice(&bytes[..n]);
//!                     connection.handle_received(now());
//!                 }
//!                 Err(error) => connection.handle_transport_failed(now(), error.to_string()),
//!             }
//!         }
//!     }
//! }
//!
//! # struct Script(io::Cursor<&'static [u8]>, Vec<u8>);
//! # impl Read for Script {
//! #     fn read(&mut self, to: &mut [u8]) -> io::Result<usize> { self.0.read(to) }
//! # }
//! # impl Write for Script {
//! #     fn write(&mut self, from: &[u8]) -> io::Result<usize> { self.1.write(from) }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//! # let bytes = b"\0\0\0\x07\x01\x01\x2a\x03abc";
//! # let mut script = Script(io::Cursor::new(bytes), Vec::new());
//! # struct By<'a>(&'a mut Script);
//! # impl Read for By<'_> {
//! #     fn read(&mut self, to: &mut [u8]) -> io::Result<usize> { self.0.read(to) }
//! # }
//! # impl Write for By<'_> {
//! #     fn write(&mut self, from: &[u8]) -> io::Result<usize> { self.0.write(from) }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//! # serve(By(&mut script), ConnectionId(1)).unwrap();
//! # assert_eq!(script.1, bytes);
//! ```
//!
//! # Testing a protocol
//!
//! The same calls test a protocol without a socket or a clock: append bytes to
//! [`receive_buffer`](Connection::receive_buffer), take events, and look at what
//! [`transmit`](Connection::transmit) lends. Time is an argument.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod calls;
mod codec;
mod config;
mod connection;
mod context;
mod envelope;
mod error;
mod event;
mod fragment;
mod ids;
mod protocol;
mod schedule;
mod stats;
mod steps;
mod time;
mod transmit;

pub use codec::{Codec, EncodeBuffer, FrameBuf};
pub use config::{Config, FairnessConfig, HalfClose, Limits, PushBound, PushCapacity, Timeouts};
pub use connection::{Connection, Filled, Shutdown, State, Wants};
pub use context::{ConnectionContext, PushSink};
pub use envelope::{Envelope, EnvelopeCodec, EnvelopeProtocol};
pub use error::{
    AnswerError, CloseReason, LimitExceeded, Malformed, Refusal, Rejected, Unencodable,
    UnexpectedEof,
};
pub use event::{Body, Discarded, End, Event, Undelivered, UndeliveredReason};
pub use fragment::{ByteOrder, FragmentMeta, FragmentStrategy, LengthDelimited, PrefixWidth};
pub use ids::{CallId, ConnectionId, CorrelationId, Peer, Priority, RequestId, Side};
pub use protocol::{
    AnswerOrder, Context, Outcome, PushTiming, Reaction, RequestInfo, Role, View, WireframeProtocol,
};
pub use schedule::{Accepted, Released};
pub use stats::{PushStats, Stats};
pub use time::{Deadline, DeadlineReason, Instant};
pub use transmit::{Chunks, Transmit};
