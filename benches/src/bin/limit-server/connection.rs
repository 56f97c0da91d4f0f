//! One connection of the limit server: its buffer, and what it does when the socket is ready.

use std::io::{self, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;
use wireframe_benches::wire::{HEADER_LEN, Header, Job, put_sequenced, route};

/// Room for one read; smaller reads leave partial frames behind more often.
const READ: usize = 256 * 1024;

/// Bytes of produced frames in one write.
const WRITE: usize = 64 * 1024;

/// Why a connection returned from [`Connection::advance`].
pub(crate) enum Turn {
    /// The socket has to become ready first.
    Waits,
    /// The client asked for a broadcast among so many.
    Joined { conns: u32 },
    /// The client is gone.
    Closed,
}

pub(crate) struct Connection {
    stream: TcpStream,
    /// Received bytes stand in `start..end`. The buffer is zeroed by the allocator, so
    /// pages that were never read into cost nothing.
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// A batch that the socket did not take whole, and how much of it went.
    unsent: Vec<u8>,
    sent: usize,
    producing: Option<Producing>,
    /// A broadcast that has not enough connections yet. Requests wait meanwhile.
    joined: Option<Producing>,
    max_frame: usize,
    /// Nothing to read until the next event: a short read says so without another call.
    drained: bool,
    /// The client will send no more, so only the end of the stream means drained.
    closing: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, max_frame: usize) -> Self {
        Self {
            stream,
            // A partial frame never exceeds `max_frame`, so a whole read always fits behind it.
            input: vec![0; max_frame + READ],
            start: 0,
            end: 0,
            unsent: Vec::new(),
            sent: 0,
            producing: None,
            joined: None,
            max_frame,
            drained: false,
            closing: false,
        }
    }

    pub(crate) fn note(&mut self, event: &Event) {
        self.drained &= !event.is_readable();
        self.closing |= event.is_read_closed();
    }

    pub(crate) fn start_broadcast(&mut self) {
        self.producing = self.joined.take();
    }

    /// Does what can be done without waiting.
    pub(crate) fn advance(&mut self, batch: &mut Vec<u8>) -> io::Result<Turn> {
        self.send_rest()?;
        while self.unsent.is_empty() {
            batch.clear();
            if let Some(producing) = &mut self.producing {
                if !producing.fill(batch) {
                    self.producing = None;
                }
                self.send(batch)?;
                continue;
            }
            if self.joined.is_some() {
                return Ok(Turn::Waits);
            }
            let joined = self.answer(batch)?;
            self.send(batch)?;
            if let Some(conns) = joined {
                return Ok(Turn::Joined { conns });
            }
            if self.producing.is_some() || !self.unsent.is_empty() {
                continue;
            }
            if self.drained {
                return Ok(Turn::Waits);
            }
            match self.read() {
                Ok(0) => return Ok(Turn::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.drained = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Turn::Waits)
    }

    /// Handles the frames in the buffer up to the first job; returns the number of
    /// connections when that job is a broadcast.
    fn answer(&mut self, batch: &mut Vec<u8>) -> io::Result<Option<u32>> {
        loop {
            let received = self.input.get(self.start..self.end).unwrap_or_default();
            let header = Header::parse(received, self.max_frame).map_err(io::Error::other)?;
            let Some(header) = header else {
                return Ok(None);
            };
            let Some(frame) = received.get(..header.frame_len()) else {
                return Ok(None);
            };
            self.start += frame.len();
            if header.route == route::ECHO {
                batch.extend_from_slice(frame);
                continue;
            }
            let producing = Producing::parse(header, frame).ok_or(io::ErrorKind::InvalidData)?;
            if header.route != route::BROADCAST {
                self.producing = Some(producing);
                return Ok(None);
            }
            let conns = producing.job.conns;
            self.joined = Some(producing);
            return Ok(Some(conns));
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        self.input.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = self
            .input
            .get_mut(self.end..self.end + READ)
            .unwrap_or_default();
        let read = self.stream.read(room)?;
        self.drained = read < room.len() && !self.closing;
        self.end += read;
        Ok(read)
    }

    /// Sends `batch`, or keeps it when the socket does not take all of it.
    fn send(&mut self, batch: &mut Vec<u8>) -> io::Result<()> {
        let sent = write(&mut self.stream, batch)?;
        if sent < batch.len() {
            std::mem::swap(&mut self.unsent, batch);
            self.sent = sent;
        }
        Ok(())
    }

    fn send_rest(&mut self) -> io::Result<()> {
        let rest = self.unsent.get(self.sent..).unwrap_or_default();
        self.sent += write(&mut self.stream, rest)?;
        if self.sent == self.unsent.len() {
            self.unsent.clear();
            self.sent = 0;
        }
        Ok(())
    }
}

/// Writes as much as the socket takes.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while let Some(rest @ [_, ..]) = bytes.get(sent..) {
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// The frames of a job that are still to be sent.
struct Producing {
    job: Job,
    header: [u8; HEADER_LEN],
    next: u64,
}

impl Producing {
    fn parse(request: Header, frame: &[u8]) -> Option<Self> {
        let job = Job::parse(frame.get(HEADER_LEN..)?)?;
        let correlation = match request.route {
            route::STREAM => request.correlation,
            route::PUSH | route::BROADCAST => 0,
            _ => return None,
        };
        let header = Header {
            route: request.route,
            correlation,
            payload_len: job.size,
        };
        Some(Self {
            job,
            header: header.encode(),
            next: 0,
        })
    }

    /// Appends frames for one write, and says whether any are left after them.
    fn fill(&mut self, batch: &mut Vec<u8>) -> bool {
        while self.next < self.job.count && batch.len() < WRITE {
            batch.extend_from_slice(&self.header);
            put_sequenced(batch, self.next, self.job.size);
            self.next += 1;
        }
        self.next < self.job.count
    }
}
