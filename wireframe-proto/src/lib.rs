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
//! a complete driver for a blocking socket:
//!
//! ```
//! use std::{io::{self, ErrorKind, Read, Write}, net, time::{self, Duration}};
//! use wireframe_proto::{
//!     CloseReason, Config, Connection, ConnectionId, EnvelopeProtocol, Event, Filled, Instant,
//!     Peer,
//! };
//!
//! type Engine = Connection<EnvelopeProtocol>;
//!
//! fn serve(mut stream: net::TcpStream, id: ConnectionId) -> CloseReason {
//!     let origin = time::Instant::now();
//!     let now = || Instant::ZERO + origin.elapsed();
//!     let peer = Peer::client_of(id);
//!     let mut engine = Engine::new(Config::default(), EnvelopeProtocol::default(), peer, now());
//!     loop {
//!         // 1. What is late.
//!         engine.handle_timeout(now());
//!
//!         // 2. What happened: serve requests, until there is nothing more.
//!         while let Some(event) = engine.poll_event(now()) {
//!             match event {
//!                 Event::Request { info, frame } => {
//!                     // An echo: the frame that came is the whole answer. It is refused
//!                     // only if the connection has ended.
//!                     let _ = engine.answer(info.id, frame);
//!                 }
//!                 Event::Closed(reason) => return reason,
//!                 _ => {}
//!             }
//!         }
//!
//!         // 3. What is to be said, and 4. what the peer says.
//!         let filled = engine.fill(now());
//!         match exchange(&mut engine, &mut stream, filled, &now) {
//!             // The time of a deadline has come.
//!             Err(error) if is_over(&error) => {}
//!             Err(error) => engine.handle_transport_failed(now(), error.to_string()),
//!             Ok(()) => {}
//!         }
//!     }
//! }
//!
//! /// Moves bytes, but not past the next deadline.
//! fn exchange(
//!     engine: &mut Engine,
//!     stream: &mut net::TcpStream,
//!     filled: Filled,
//!     now: &impl Fn() -> Instant,
//! ) -> io::Result<()> {
//!     // A socket takes a limit of zero for none at all.
//!     let left = |at: Instant| at.saturating_duration_since(now()).max(Duration::from_millis(1));
//!     let limit = engine.poll_timeout().map(|deadline| left(deadline.at));
//!     while let Some(transmit) = engine.transmit() {
//!         stream.set_write_timeout(limit)?;
//!         match stream.write(transmit.chunks().next().unwrap_or_default())? {
//!             0 => return Err(ErrorKind::WriteZero.into()),
//!             n => transmit.advance(n),
//!         }
//!     }
//!     let wants = engine.wants();
//!     if wants.half_close {
//!         stream.shutdown(net::Shutdown::Write)?;
//!         engine.handle_half_closed(now());
//!     } else if wants.read && !wants.event && filled == Filled::Ready {
//!         // Nothing left to do: wait for the peer.
//!         let mut bytes = [0; 4096];
//!         stream.set_read_timeout(engine.poll_timeout().map(|deadline| left(deadline.at)))?;
//!         match stream.read(&mut bytes)? {
//!             0 => engine.handle_eof(now()),
//!             n => {
//!                 engine.receive_buffer().extend_from_slice(&bytes[..n]);
//!                 engine.handle_received(now());
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//!
//! fn is_over(error: &io::Error) -> bool {
//!     let kinds = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
//!     kinds.contains(&error.kind())
//! }
//!
//! // One connection, and its peer.
//! let listener = net::TcpListener::bind("127.0.0.1:0")?;
//! let mut peer = net::TcpStream::connect(listener.local_addr()?)?;
//! let (stream, _) = listener.accept()?;
//! let served = std::thread::spawn(move || serve(stream, ConnectionId(1)));
//! let envelope = b"\0\0\0\x07\x01\x01\x2a\x03abc";
//! peer.write_all(envelope)?;
//! peer.shutdown(net::Shutdown::Write)?;
//! let mut echo = Vec::new();
//! peer.read_to_end(&mut echo)?;
//! assert_eq!(echo, envelope);
//! assert_eq!(served.join().unwrap(), CloseReason::PeerClosed);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! The example `blocking_echo` is this with vectored writes and a thread for each
//! connection.
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
mod escape;
mod event;
mod forgotten;
mod fragment;
mod heartbeat;
mod held_output;
mod ids;
mod protocol;
mod schedule;
mod stats;
mod steps;
mod throttle;
mod time;
mod transmit;
mod transport_info;

pub use codec::{Codec, EncodeBuffer, FrameBuf};
pub use config::{
    Config, FairnessConfig, HalfClose, Limits, PushBound, PushCapacity, Timeouts, UnsentPushes,
};
pub use connection::{Connection, Filled, Shutdown, State, Wants};
pub use context::{ConnectionContext, MayWarn, PushSink};
pub use envelope::{Envelope, EnvelopeCodec, EnvelopeProtocol};
pub use error::{
    AnswerError, CloseReason, DropReason, DroppedMessage, Fault, LimitExceeded, Malformed, Refusal,
    Rejected, Unencodable, UnexpectedEof,
};
pub use escape::Escaped;
pub use event::{Body, Discarded, End, Event, Undelivered, UndeliveredReason};
pub use fragment::{
    ByteOrder, FragmentLimits, FragmentMeta, FragmentStrategy, LenFlag32K, LenSeq16M,
    LengthDelimited, Multiplexed, PrefixWidth,
};
pub use heartbeat::Heartbeat;
pub use held_output::HeldOutput;
pub use ids::{CallId, CallKind, ConnectionId, CorrelationId, Peer, Priority, RequestId, Side};
pub use protocol::{
    AnswerOrder, Context, Outcome, Preamble, PushTiming, Reaction, RequestInfo, Role, View,
    WireframeProtocol,
};
pub use schedule::{Accepted, RateLimit, Released, SharedUnits, TokenBucket};
pub use stats::{FragmentStats, PushStats, Stats};
pub use throttle::{Throttle, Warnings};
pub use time::{Deadline, DeadlineReason, Instant};
pub use transmit::{Chunks, Transmit};
pub use transport_info::TransportInfo;
