//! What a connection receives: counted when measuring, checked when verifying.

use std::fmt;

use super::{Mismatch, pattern};
use crate::wire::{HEADER_LEN, Header, put_sequenced, route};

/// A judge of the bytes that come in.
pub(crate) trait Replies: fmt::Debug {
    /// Takes the next bytes and returns the number of frames that they complete.
    fn accept(&mut self, bytes: &[u8]) -> Result<u64, Rejected>;
}

/// A frame that is not the one expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Its number on the connection, from 0.
    pub(crate) frame: u64,
    pub(crate) mismatch: Mismatch,
}

/// Trusts the content: all frames have one length, so the bytes say how many came.
#[derive(Debug)]
pub(crate) struct Counted {
    frame_len: u64,
    partial: u64,
}

impl Counted {
    pub(crate) fn new(size: u32) -> Self {
        Self {
            frame_len: HEADER_LEN as u64 + u64::from(size),
            partial: 0,
        }
    }
}

impl Replies for Counted {
    fn accept(&mut self, bytes: &[u8]) -> Result<u64, Rejected> {
        let bytes = self.partial + bytes.len() as u64;
        self.partial = bytes % self.frame_len;
        Ok(bytes / self.frame_len)
    }
}

/// Which frame is expected next.
pub(crate) trait Expected: fmt::Debug {
    /// Its route, and its correlation id where that is fixed.
    fn header(&self) -> (u32, Option<u64>);
    /// Its payload.
    fn put_payload(&self, out: &mut Vec<u8>);
    /// It came.
    fn advance(&mut self);
}

/// Compares every frame with the one expected, byte by byte.
#[derive(Debug)]
pub(crate) struct Checked<E> {
    expected: E,
    size: u32,
    received: Vec<u8>,
    /// Frames found right so far.
    accepted: u64,
    payload: Vec<u8>,
}

impl<E: Expected> Checked<E> {
    pub(crate) const fn new(expected: E, size: u32) -> Self {
        Self {
            expected,
            size,
            received: Vec::new(),
            accepted: 0,
            payload: Vec::new(),
        }
    }

    /// Checks the frame at `at`, and returns its length when it is complete.
    fn check(&mut self, at: usize) -> Result<Option<usize>, Mismatch> {
        let rest = self.received.get(at..).unwrap_or_default();
        let Some(header) = Header::parse(rest, usize::MAX)? else {
            return Ok(None);
        };
        // Before the frame is complete, since one of a wrong length may never be.
        let (length, expected) = (header.payload_len.into(), self.size.into());
        same("payload length", length, expected)?;
        let (route, correlation) = self.expected.header();
        same("route", header.route.into(), route.into())?;
        if let Some(correlation) = correlation {
            same("correlation id", header.correlation, correlation)?;
        }
        let Some(came) = rest.get(HEADER_LEN..header.frame_len()) else {
            return Ok(None);
        };
        self.payload.clear();
        self.expected.put_payload(&mut self.payload);
        match first_difference(came, &self.payload) {
            Some(difference) => Err(difference),
            None => Ok(Some(header.frame_len())),
        }
    }
}

impl<E: Expected> Replies for Checked<E> {
    fn accept(&mut self, bytes: &[u8]) -> Result<u64, Rejected> {
        self.received.extend_from_slice(bytes);
        let before = self.accepted;
        let mut at = 0;
        loop {
            match self.check(at) {
                Ok(Some(frame_len)) => at += frame_len,
                Ok(None) => break,
                Err(mismatch) => {
                    let frame = self.accepted;
                    return Err(Rejected { frame, mismatch });
                }
            }
            self.expected.advance();
            self.accepted += 1;
        }
        self.received.drain(..at);
        Ok(self.accepted - before)
    }
}

/// Compares payloads of the same length.
fn first_difference(came: &[u8], expected: &[u8]) -> Option<Mismatch> {
    if came == expected {
        return None;
    }
    let mut pairs = came.iter().zip(expected).enumerate();
    let (at, (&came, &expected)) = pairs.find(|(_, (came, expected))| came != expected)?;
    Some(Mismatch::Byte { at, came, expected })
}

fn same(field: &'static str, came: u64, expected: u64) -> Result<(), Mismatch> {
    if came == expected {
        return Ok(());
    }
    Err(Mismatch::Field {
        field,
        came,
        expected,
    })
}

/// Expects the requests of [`Patterned`](super::requests::Patterned) back.
#[derive(Debug)]
pub(crate) struct Echoes {
    pub(crate) connection: u32,
    pub(crate) size: u32,
    pub(crate) next: u64,
}

impl Expected for Echoes {
    fn header(&self) -> (u32, Option<u64>) {
        let correlation = pattern::correlation(self.connection, self.next);
        (route::ECHO, Some(correlation))
    }

    fn put_payload(&self, out: &mut Vec<u8>) {
        pattern::put(out, self.connection, self.next, self.size);
    }

    fn advance(&mut self) {
        self.next += 1;
    }
}

/// Expects the frames of a job, and those of the same job again.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) route: u32,
    pub(crate) correlation: Option<u64>,
    pub(crate) size: u32,
    pub(crate) count: u64,
    pub(crate) next: u64,
}

impl Expected for Sequence {
    fn header(&self) -> (u32, Option<u64>) {
        (self.route, self.correlation)
    }

    fn put_payload(&self, out: &mut Vec<u8>) {
        put_sequenced(out, self.next, self.size);
    }

    fn advance(&mut self) {
        self.next = (self.next + 1) % self.count;
    }
}

#[cfg(test)]
mod tests {
    use super::super::requests::{Patterned, Requests};
    use super::{Checked, Counted, Echoes, Mismatch, Rejected, Replies, Sequence};
    use crate::wire::{Header, put_sequenced, route};

    fn echoes(connection: u32) -> Checked<Echoes> {
        let expected = Echoes {
            connection,
            size: 20,
            next: 0,
        };
        Checked::new(expected, 20)
    }

    fn requests() -> Vec<u8> {
        let mut requests = Patterned::new(5, 20);
        requests.queue(3);
        requests.unsent().to_vec()
    }

    #[test]
    fn frames_are_counted_when_complete() {
        let mut counted = Counted::new(4);
        assert_eq!(counted.accept(&[0; 19]), Ok(0));
        assert_eq!(counted.accept(&[0; 22]), Ok(2));
        assert_eq!(counted.accept(&[0; 19]), Ok(1));
    }

    #[test]
    fn true_echoes_pass_in_pieces_of_any_length() {
        for piece in [1, 15, 36, 40, 200] {
            let mut checked = echoes(5);
            let pieces = requests();
            let frames: u64 = pieces
                .chunks(piece)
                .map(|bytes| checked.accept(bytes).unwrap())
                .sum();
            assert_eq!(frames, 3, "pieces of {piece}");
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let echoed = requests();
        for at in 0..echoed.len() {
            let mut wrong = echoed.clone();
            wrong[at] ^= 0x10;
            assert!(echoes(5).accept(&wrong).is_err(), "byte {at}");
        }
    }

    #[test]
    fn echoes_out_of_order_or_of_another_connection_are_found() {
        let mut swapped = requests();
        swapped.rotate_left(36);
        assert!(echoes(5).accept(&swapped).is_err());
        assert!(echoes(6).accept(&requests()).is_err());
    }

    #[test]
    fn a_frame_missing_from_a_sequence_is_named() {
        let header = Header {
            route: route::PUSH,
            correlation: 0,
            payload_len: 10,
        };
        let mut checked = Checked::new(
            Sequence {
                route: route::PUSH,
                correlation: None,
                size: 10,
                count: 2,
                next: 0,
            },
            10,
        );
        let mut bytes = Vec::new();
        for sequence in [0, 1, 0] {
            bytes.extend_from_slice(&header.encode());
            put_sequenced(&mut bytes, sequence, 10);
        }
        assert_eq!(checked.accept(&bytes), Ok(3));
        assert_eq!(
            checked.accept(&bytes),
            Err(Rejected {
                frame: 3,
                mismatch: Mismatch::Byte {
                    at: 7,
                    came: 0,
                    expected: 1
                }
            })
        );
    }
}
