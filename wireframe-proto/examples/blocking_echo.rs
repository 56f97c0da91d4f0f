//! An echo server on blocking sockets: the engine, `std::net`, a thread per connection,
//! and no async at all.
//!
//! `cargo run -p wireframe-proto --example blocking_echo -- 127.0.0.1:7878` serves until
//! it is interrupted. With `-- self-test` it serves on a free port, calls itself over a
//! plain socket, and checks every byte that comes back.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    error::Error,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{self, Duration},
};

use wireframe_proto::{
    CloseReason, Config, Connection, ConnectionId, EnvelopeProtocol, Event, Filled, Instant, Peer,
    Side,
};

// ANCHOR: driver
/// What moves the bytes of one connection, and tells it the time.
struct Driver {
    connection: Connection<EnvelopeProtocol>,
    stream: TcpStream,
    /// Where the bytes of one read land.
    scratch: Vec<u8>,
    /// The origin of the engine's time.
    began: time::Instant,
}

impl Driver {
    /// Runs the connection to its end.
    fn run(mut self) -> CloseReason {
        loop {
            // What is late.
            self.connection.handle_timeout(self.now());

            // What happened, until there is nothing more.
            while let Some(event) = self.connection.poll_event(self.now()) {
                match event {
                    Event::Request { info, frame } => {
                        // The frame that came is the whole answer. It is refused only
                        // if the connection has ended, and then nobody waits for it.
                        let _ = self.connection.answer(info.id, frame);
                    }
                    Event::Closed(reason) => return reason,
                    _ => {}
                }
            }

            // What is to be said.
            let filled = self.connection.fill(self.now());
            let moved = self.send().and_then(|()| {
                let wants = self.connection.wants();
                if wants.half_close {
                    self.stream.shutdown(Shutdown::Write)?;
                    self.connection.handle_half_closed(self.now());
                } else if wants.read && !wants.write && !wants.event && filled == Filled::Ready {
                    // Nothing left to do: wait for the peer.
                    self.receive()?;
                }
                Ok(())
            });
            if let Err(error) = moved {
                let what = error.to_string();
                self.connection.handle_transport_failed(self.now(), what);
            }
        }
    }
}
// ANCHOR_END: driver

// ANCHOR: moving
impl Driver {
    /// Writes what the engine lends, until there is nothing more or a deadline is due.
    fn send(&mut self) -> io::Result<()> {
        let limit = self.time_left();
        while let Some(transmit) = self.connection.transmit() {
            self.stream.set_write_timeout(limit)?;
            let chunks: Vec<_> = transmit.chunks().take(64).map(IoSlice::new).collect();
            match self.stream.write_vectored(&chunks) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => transmit.advance(n),
                Err(error) if is_over(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once, but not past the next deadline.
    fn receive(&mut self) -> io::Result<()> {
        self.stream.set_read_timeout(self.time_left())?;
        let buffer = self.connection.receive_buffer();
        let room = buffer.capacity() - buffer.len();
        // A read of no bytes would look like the peer's end.
        let room = room.clamp(1, self.scratch.len());
        let scratch = self.scratch.get_mut(..room).unwrap_or_default();
        let received = match self.stream.read(scratch) {
            Ok(received) => received,
            Err(error) if is_over(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        buffer.extend_from_slice(scratch.get(..received).unwrap_or_default());
        match received {
            0 => self.connection.handle_eof(self.now()),
            _ => self.connection.handle_received(self.now()),
        }
        Ok(())
    }

    /// How long a call may block before the engine wants to be told the time.
    fn time_left(&self) -> Option<Duration> {
        let deadline = self.connection.poll_timeout()?;
        let left = deadline.at.saturating_duration_since(self.now());
        // A socket takes a limit of zero for none at all.
        Some(left.max(Duration::from_millis(1)))
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.began.elapsed()
    }
}

/// Whether a blocking call only ended because its time was over.
fn is_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
// ANCHOR_END: moving

impl Driver {
    fn new(stream: TcpStream, id: u64) -> io::Result<Self> {
        // The engine gathers its writes itself.
        stream.set_nodelay(true)?;
        let peer = Peer {
            side: Side::Server,
            id: ConnectionId(id),
            address: stream.peer_addr().ok(),
        };
        let protocol = EnvelopeProtocol::default();
        Ok(Self {
            connection: Connection::new(Config::default(), protocol, peer, Instant::ZERO),
            stream,
            scratch: vec![0; 64 * 1024],
            began: time::Instant::now(),
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("self-test"), None) => self_test(),
        (Some(address), None) => serve(&TcpListener::bind(address)?),
        _ => Err("usage: blocking_echo ADDRESS:PORT | self-test".into()),
    }
}

/// Serves everyone who connects.
fn serve(listener: &TcpListener) -> Result<(), Box<dyn Error>> {
    println!("serving on {}", listener.local_addr()?);
    for id in 1.. {
        let (stream, address) = listener.accept()?;
        let driver = Driver::new(stream, id)?;
        thread::spawn(move || println!("{address}: {}", driver.run()));
    }
    Ok(())
}

/// Serves one connection, and is its peer.
fn self_test() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let served = thread::spawn(move || -> io::Result<CloseReason> {
        let (stream, _) = listener.accept()?;
        Ok(Driver::new(stream, 1)?.run())
    });

    let mut peer = TcpStream::connect(address)?;
    peer.set_nodelay(true)?;
    peer.set_read_timeout(Some(Duration::from_secs(10)))?;

    let small = envelope(42, b"\x01\x02\x03");
    assert_eq!(small, b"\0\0\0\x07\x01\x01\x2a\x03\x01\x02\x03");
    echoes(&mut peer, "one envelope", &[&small])?;
    echoes(
        &mut peer,
        "ten envelopes in one write",
        &[&small.repeat(10)],
    )?;
    let bytes: Vec<&[u8]> = small.chunks(1).collect();
    echoes(&mut peer, "one envelope, byte by byte", &bytes)?;
    let large = envelope(43, &[b'x'; 200_000]);
    echoes(&mut peer, "200 000 bytes of payload", &[&large])?;

    peer.shutdown(Shutdown::Write)?;
    let rest = peer.read_to_end(&mut Vec::new())?;
    let reason = served.join().map_err(|_| "the server panicked")??;
    if (rest, &reason) != (0, &CloseReason::PeerClosed) {
        return Err(format!("expected a clean end, got {rest} bytes and: {reason}").into());
    }
    println!("self-test passed; the connection ended: {reason}");
    Ok(())
}

/// Writes the pieces, and expects as many bytes back, and the same.
fn echoes(peer: &mut TcpStream, what: &str, pieces: &[&[u8]]) -> Result<(), Box<dyn Error>> {
    for piece in pieces {
        peer.write_all(piece)?;
    }
    let sent = pieces.concat();
    let mut came = vec![0; sent.len()];
    peer.read_exact(&mut came)?;
    if came != sent {
        return Err(format!("{what}: other bytes came back").into());
    }
    println!("{what}: {} bytes came back as they were sent", came.len());
    Ok(())
}

/// An envelope with id 1, as it stands on the wire.
fn envelope(correlation_id: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u64;
    let len = match u8::try_from(len) {
        Ok(len) if len <= 250 => vec![len],
        // 0xFC, then 32 bits with the least significant byte first.
        _ => [&[0xFC], len.to_le_bytes().get(..4).unwrap_or_default()].concat(),
    };
    let body = [&[1, 1, correlation_id], &len[..], payload].concat();
    let prefix = (body.len() as u64).to_be_bytes();
    [prefix.get(4..).unwrap_or_default(), &body].concat()
}
