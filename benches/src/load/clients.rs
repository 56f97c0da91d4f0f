//! All connections of a run, and the poll loop that serves them.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::client::{Client, Traffic};
use super::{LoadError, LoadOptions, STALL};

/// Large enough that a frame of 1 MiB takes few reads, small enough to stay in a core's cache.
const READ: usize = 256 * 1024;

/// How to wait for a socket.
#[derive(Debug, Clone, Copy)]
enum Wait {
    Sleep,
    /// Ask again at once. Waking a sleeping core takes longer than most servers need for
    /// a reply, and says nothing about them.
    Spin,
}

/// The index of a client is its token.
#[derive(Debug)]
pub(crate) struct Clients {
    poll: Poll,
    events: Events,
    pub(crate) list: Vec<Client>,
    buffer: Vec<u8>,
    wait: Wait,
    /// Frames received on all connections.
    pub(crate) received: u64,
}

impl Clients {
    /// Connects as many clients as asked for, one after the other.
    pub(crate) fn connect(
        options: &LoadOptions,
        mut traffic: impl FnMut(u32) -> Traffic,
    ) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(failed("creating a poll instance"))?;
        let mut list = Vec::new();
        for number in 0..options.conns {
            let client = Client::connect(number, options.address, traffic(number));
            let mut client = client.map_err(failed("connecting"))?;
            poll.registry()
                .register(
                    &mut client.stream,
                    Token(list.len()),
                    Interest::READABLE | Interest::WRITABLE,
                )
                .map_err(failed("registering a connection"))?;
            list.push(client);
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            list,
            buffer: vec![0; READ],
            wait: if options.spin {
                Wait::Spin
            } else {
                Wait::Sleep
            },
            received: 0,
        })
    }

    /// Frames that are still to come on all connections.
    pub(crate) fn expected(&self) -> u64 {
        self.list.iter().map(|client| client.expected).sum()
    }

    /// Waits for sockets to become ready and serves those.
    pub(crate) fn turn(
        &mut self,
        on_frames: impl FnMut(&mut Client, u64),
    ) -> Result<(), LoadError> {
        if self.turn_within(STALL, on_frames)? {
            return Ok(());
        }
        Err(LoadError::Stalled {
            received: self.received,
            missing: self.expected(),
        })
    }

    /// Does so for `patience` at most, and says whether anything was ready.
    pub(crate) fn turn_within(
        &mut self,
        patience: Duration,
        mut on_frames: impl FnMut(&mut Client, u64),
    ) -> Result<bool, LoadError> {
        self.poll(patience)?;
        for event in &self.events {
            let Some(client) = self.list.get_mut(event.token().0) else {
                continue;
            };
            let received = &mut self.received;
            client.turn(
                &mut self.buffer,
                event.is_read_closed(),
                |client, frames| {
                    *received += frames;
                    on_frames(client, frames);
                },
            )?;
        }
        Ok(!self.events.is_empty())
    }

    fn poll(&mut self, patience: Duration) -> Result<(), LoadError> {
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let timeout = match self.wait {
                Wait::Sleep => left,
                Wait::Spin => Duration::ZERO,
            };
            match self.poll.poll(&mut self.events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result.map_err(failed("polling"))?,
            }
            if !self.events.is_empty() || left.is_zero() {
                return Ok(());
            }
        }
    }
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> LoadError {
    move |source| LoadError::Io { doing, source }
}
