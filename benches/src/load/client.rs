//! One connection of the load generator.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;

use super::LoadError;
use super::replies::{Rejected, Replies};
use super::requests::Requests;

/// What a client sends and what it expects back.
pub(crate) type Traffic = (Box<dyn Requests>, Box<dyn Replies>);

#[derive(Debug)]
pub(crate) struct Client {
    number: u32,
    pub(crate) stream: TcpStream,
    requests: Box<dyn Requests>,
    replies: Box<dyn Replies>,
    received: u64,
    /// Frames that are still to come.
    pub(crate) expected: u64,
    /// Echo requests that may still be made, when their number is bounded.
    pub(crate) budget: Option<u64>,
    /// When the last requests were made; tells the latency at depth 1.
    pub(crate) requested_at: Instant,
}

impl Client {
    /// Connects, and waits until that is done: the system's queue of connections that
    /// nobody has accepted yet is short.
    pub(crate) fn connect(
        number: u32,
        address: SocketAddr,
        (requests, replies): Traffic,
    ) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            number,
            stream: TcpStream::from_std(stream),
            requests,
            replies,
            received: 0,
            expected: 0,
            budget: None,
            requested_at: Instant::now(),
        })
    }

    /// Makes up to `count` requests, each of which is to bring `replies` frames.
    pub(crate) fn request(&mut self, count: u64, replies: u64) {
        let count = self.budget.map_or(count, |budget| budget.min(count));
        if let Some(budget) = &mut self.budget {
            *budget -= count;
        }
        self.expected += count * replies;
        self.requests.queue(count);
    }

    /// Reads and writes until the socket would block. `on_frames` hears of each batch of
    /// frames and may make requests, which leave in one write.
    pub(crate) fn turn(
        &mut self,
        buffer: &mut [u8],
        closing: bool,
        mut on_frames: impl FnMut(&mut Self, u64),
    ) -> Result<(), LoadError> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.flush(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(self.failed("reading", source)),
            };
            if read == 0 {
                return Err(LoadError::Closed {
                    connection: self.number,
                    replies: self.received,
                });
            }
            let frames = self.accept(buffer.get(..read).unwrap_or_default())?;
            if frames > 0 {
                on_frames(self, frames);
            }
            self.flush()?;
            // A short read has emptied the socket, unless the end of the stream is behind it.
            if read < buffer.len() && !closing {
                return Ok(());
            }
        }
    }

    /// Writes what the socket takes of the requests that are due.
    pub(crate) fn flush(&mut self) -> Result<(), LoadError> {
        loop {
            let due = self.requests.unsent();
            if due.is_empty() {
                return Ok(());
            }
            match self.stream.write(due) {
                Ok(sent) => self.requests.sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed("writing", source)),
            }
        }
    }

    fn accept(&mut self, bytes: &[u8]) -> Result<u64, LoadError> {
        let frames = self.replies.accept(bytes);
        let frames = frames.map_err(|Rejected { frame, mismatch }| LoadError::Mismatch {
            connection: self.number,
            frame,
            mismatch,
        })?;
        self.received += frames;
        self.expected = self
            .expected
            .checked_sub(frames)
            .ok_or(LoadError::Surplus {
                connection: self.number,
                surplus: frames - self.expected,
            })?;
        Ok(frames)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> LoadError {
        match source.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => LoadError::Closed {
                connection: self.number,
                replies: self.received,
            },
            _ => LoadError::Io { doing, source },
        }
    }
}
