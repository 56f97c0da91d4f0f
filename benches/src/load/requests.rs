//! What a connection sends.

use std::fmt;
use std::rc::Rc;

use super::pattern;
use crate::wire::{Header, route};

/// A source of requests that are written as the socket takes them.
pub(crate) trait Requests: fmt::Debug {
    /// Makes `count` more requests due.
    fn queue(&mut self, count: u64);
    /// Bytes that are due, as many as one write can take.
    fn unsent(&self) -> &[u8];
    /// The socket took the first `count` bytes of those.
    fn sent(&mut self, count: usize);
}

/// The same few frames over and over, encoded once and shared by all connections.
#[derive(Debug, Clone)]
pub(crate) struct Repeated {
    /// The frames twice, so that a batch that begins in the first half is always in one piece.
    twice: Rc<[u8]>,
    frame_len: usize,
    at: usize,
    due: usize,
}

impl Repeated {
    /// Repeats `frames`, each of `frame_len` bytes. No more than those may be due at a time.
    pub(crate) fn new(frames: &[u8], frame_len: usize) -> Self {
        Self {
            twice: [frames, frames].concat().into(),
            frame_len,
            at: 0,
            due: 0,
        }
    }

    /// Echo requests with ids from 0 to `depth`, and zeros for payload.
    pub(crate) fn echo(depth: u64, size: u32) -> Self {
        let mut frames = Vec::new();
        for correlation in 0..depth {
            frames.extend_from_slice(&echo_header(correlation, size).encode());
            frames.resize(frames.len() + size as usize, 0);
        }
        let frame_len = frames.len() / usize::try_from(depth).unwrap_or(usize::MAX);
        Self::new(&frames, frame_len)
    }
}

impl Requests for Repeated {
    fn queue(&mut self, count: u64) {
        self.due += usize::try_from(count).unwrap_or(usize::MAX) * self.frame_len;
    }

    fn unsent(&self) -> &[u8] {
        let rest = self.twice.get(self.at..).unwrap_or_default();
        rest.get(..self.due).unwrap_or(rest)
    }

    fn sent(&mut self, count: usize) {
        self.due -= count;
        self.at = (self.at + count) % (self.twice.len() / 2);
    }
}

/// Echo requests of which no two are alike.
#[derive(Debug)]
pub(crate) struct Patterned {
    connection: u32,
    size: u32,
    next: u64,
    encoded: Vec<u8>,
    at: usize,
}

impl Patterned {
    pub(crate) const fn new(connection: u32, size: u32) -> Self {
        Self {
            connection,
            size,
            next: 0,
            encoded: Vec::new(),
            at: 0,
        }
    }
}

impl Requests for Patterned {
    fn queue(&mut self, count: u64) {
        self.encoded.drain(..self.at);
        self.at = 0;
        for sequence in self.next..self.next + count {
            let correlation = pattern::correlation(self.connection, sequence);
            let header = echo_header(correlation, self.size);
            self.encoded.extend_from_slice(&header.encode());
            pattern::put(&mut self.encoded, self.connection, sequence, self.size);
        }
        self.next += count;
    }

    fn unsent(&self) -> &[u8] {
        self.encoded.get(self.at..).unwrap_or_default()
    }

    fn sent(&mut self, count: usize) {
        self.at += count;
    }
}

const fn echo_header(correlation: u64, payload_len: u32) -> Header {
    Header {
        route: route::ECHO,
        correlation,
        payload_len,
    }
}

#[cfg(test)]
mod tests {
    use super::{Patterned, Repeated, Requests};

    /// What reaches a socket that takes `step` bytes at a time.
    fn drain(requests: &mut dyn Requests, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let due = requests.unsent().to_vec();
            if due.is_empty() {
                return out;
            }
            let taken = step.min(due.len());
            out.extend_from_slice(&due[..taken]);
            requests.sent(taken);
        }
    }

    #[test]
    fn repeated_frames_wrap_around_whatever_the_socket_takes() {
        for step in [1, 2, 5, 100] {
            let mut requests = Repeated::new(b"aabbcc", 2);
            let mut out = Vec::new();
            for count in [3, 1, 2, 3, 2] {
                requests.queue(count);
                out.extend(drain(&mut requests, step));
            }
            assert_eq!(out, b"aabbccaabbccaabbccaabb", "step {step}");
        }
    }

    #[test]
    fn a_whole_window_is_one_write_wherever_it_begins() {
        let mut requests = Repeated::new(b"aabbcc", 2);
        requests.queue(2);
        drain(&mut requests, 100);
        requests.queue(3);
        assert_eq!(requests.unsent(), b"ccaabb");
    }

    #[test]
    fn patterned_requests_are_the_same_however_they_are_asked_for() {
        let mut at_once = Patterned::new(3, 10);
        at_once.queue(4);
        let mut in_steps = Patterned::new(3, 10);
        let mut out = Vec::new();
        for _ in 0..4 {
            in_steps.queue(1);
            out.extend(drain(&mut in_steps, 7));
        }
        assert_eq!(out, drain(&mut at_once, 100));
        assert_eq!(out.len(), 4 * 26);
    }
}
