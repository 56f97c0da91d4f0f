//! The fixed wire: `[u32 body length][u32 route][u64 correlation id][payload]`, all
//! big-endian, where the body length counts everything after itself.
//!
//! A push, a broadcast and a streaming response carry the route of the request that
//! asked for them. A streaming response carries its correlation id too; a push or a
//! broadcast answers nothing, so its id is free (the peers here send 0).

use bytes::Bytes;
use thiserror::Error;

/// Routes that every server under test knows.
pub mod route {
    /// Answers with the same route, correlation id and payload, in order.
    pub const ECHO: u32 = 1;
    /// The payload is a [`Job`](super::Job): push so many frames to this connection.
    pub const PUSH: u32 = 2;
    /// As `PUSH`, to each of `conns` connections, once as many have asked.
    pub const BROADCAST: u32 = 3;
    /// The payload is a [`Job`](super::Job): answer with so many frames.
    pub const STREAM: u32 = 4;
}

/// Length of a frame's header, the length field included.
pub const HEADER_LEN: usize = 16;

/// The part of the header that the body length counts.
const BODY_HEADER: u32 = 12;

/// Why bytes are not a frame of this wire.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The body has no room for route and correlation id.
    #[error("body length is {length}, expected at least 12")]
    BodyTooShort {
        /// Body length as received.
        length: u32,
    },
    /// The frame is longer than the receiver takes.
    #[error("frame of {length} bytes, expected at most max-frame = {max_frame}")]
    FrameTooLong {
        /// Length of the whole frame.
        length: usize,
        /// Longest frame that is taken.
        max_frame: usize,
    },
}

/// What precedes a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who handles the frame, one of [`route`].
    pub route: u32,
    /// Ties an answer to its request.
    pub correlation: u64,
    /// Bytes of payload that follow, at most `u32::MAX - 12`.
    pub payload_len: u32,
}

impl Header {
    /// Length of the frame, header included.
    #[must_use]
    pub const fn frame_len(self) -> usize {
        HEADER_LEN + self.payload_len as usize
    }

    /// The header as it is sent.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let body = self.payload_len.saturating_add(BODY_HEADER);
        (u128::from(body) << 96 | u128::from(self.route) << 64 | u128::from(self.correlation))
            .to_be_bytes()
    }

    /// Reads the header at the start of `bytes`; `None` while it is incomplete.
    ///
    /// # Errors
    ///
    /// [`WireError`] when the length cannot be, or exceeds `max_frame` (which bounds the
    /// whole frame).
    pub fn parse(bytes: &[u8], max_frame: usize) -> Result<Option<Self>, WireError> {
        let Some((length, route, correlation)) = split(bytes) else {
            return Ok(None);
        };
        let Some(payload_len) = length.checked_sub(BODY_HEADER) else {
            return Err(WireError::BodyTooShort { length });
        };
        let header = Self {
            route,
            correlation,
            payload_len,
        };
        if header.frame_len() > max_frame {
            return Err(WireError::FrameTooLong {
                length: header.frame_len(),
                max_frame,
            });
        }
        Ok(Some(header))
    }
}

/// What a client asks of the routes that produce frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Frames to be sent, per connection.
    pub count: u64,
    /// Bytes of payload in each.
    pub size: u32,
    /// Connections that take part in a broadcast.
    pub conns: u32,
}

impl Job {
    /// Length of an encoded job.
    pub const LEN: u32 = 16;

    /// The job as the payload of a request.
    #[must_use]
    pub fn encode(self) -> [u8; 16] {
        (u128::from(self.count) << 64 | u128::from(self.size) << 32 | u128::from(self.conns))
            .to_be_bytes()
    }

    /// Reads a job; `None` when `payload` is too short for one.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (count, rest) = payload.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        Some(Self {
            count: u64::from_be_bytes(*count),
            size: u32::from_be_bytes(*size),
            conns: u32::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

/// Appends the payload of the produced frame number `sequence`: the number in eight
/// bytes, then zeros. A `size` below eight leaves no room for the number.
#[inline]
pub fn put_sequenced(out: &mut Vec<u8>, sequence: u64, size: u32) {
    let end = out.len() + size as usize;
    if size >= 8 {
        out.extend_from_slice(&sequence.to_be_bytes());
    }
    out.resize(end, 0);
}

fn split(bytes: &[u8]) -> Option<(u32, u32, u64)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (route, rest) = rest.split_first_chunk()?;
    Some((
        u32::from_be_bytes(*length),
        u32::from_be_bytes(*route),
        u64::from_be_bytes(*rest.first_chunk()?),
    ))
}

/// The payloads of the produced frames number 0, 1, ... up to `count`.
///
/// Many share one allocation, so that what makes them is not what is measured.
#[derive(Debug)]
pub struct Sequenced {
    next: u64,
    count: u64,
    size: u32,
    block: Bytes,
}

/// Bytes of payload that share an allocation.
const BLOCK: u64 = 64 * 1024;

impl Sequenced {
    /// The payloads that a job asks for.
    #[must_use]
    pub const fn new(job: Job) -> Self {
        Self {
            next: 0,
            count: job.count,
            size: job.size,
            block: Bytes::new(),
        }
    }

    fn fill(&mut self) {
        let payloads = (BLOCK / u64::from(self.size).max(1)).clamp(1, self.count - self.next);
        let mut block = Vec::new();
        for sequence in self.next..self.next + payloads {
            put_sequenced(&mut block, sequence, self.size);
        }
        self.block = block.into();
    }
}

impl Iterator for Sequenced {
    type Item = Bytes;

    #[inline]
    fn next(&mut self) -> Option<Bytes> {
        if self.next == self.count {
            return None;
        }
        if self.block.is_empty() {
            self.fill();
        }
        self.next += 1;
        Some(self.block.split_to(self.size as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADER_LEN, Header, Job, Sequenced, WireError, put_sequenced, route};

    const HEADER: Header = Header {
        route: route::STREAM,
        correlation: 0x0102_0304_0506_0708,
        payload_len: 5,
    };

    #[test]
    fn a_header_is_laid_out_as_documented() {
        let expected = [0, 0, 0, 17, 0, 0, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(HEADER.encode(), expected);
    }

    #[test]
    fn a_header_comes_back_from_its_bytes() {
        let bytes = HEADER.encode();
        assert_eq!(Header::parse(&bytes, 64), Ok(Some(HEADER)));
        assert_eq!(HEADER.frame_len(), 21);
    }

    #[test]
    fn an_incomplete_header_is_waited_for() {
        let bytes = HEADER.encode();
        for length in 0..HEADER_LEN {
            assert_eq!(Header::parse(&bytes[..length], 64), Ok(None));
        }
    }

    #[test]
    fn a_body_without_room_for_its_header_is_refused() {
        let mut bytes = HEADER.encode();
        bytes[3] = 11;
        assert_eq!(
            Header::parse(&bytes, 64),
            Err(WireError::BodyTooShort { length: 11 })
        );
    }

    #[test]
    fn the_limit_bounds_the_whole_frame() {
        let bytes = HEADER.encode();
        assert!(Header::parse(&bytes, 21).is_ok());
        assert_eq!(
            Header::parse(&bytes, 20),
            Err(WireError::FrameTooLong {
                length: 21,
                max_frame: 20
            })
        );
    }

    #[test]
    fn a_job_comes_back_from_its_bytes() {
        let job = Job {
            count: 1 << 40,
            size: 64,
            conns: 1_000,
        };
        assert_eq!(Job::parse(&job.encode()), Some(job));
        assert_eq!(Job::parse(&job.encode()[..15]), None);
    }

    #[test]
    fn a_sequence_number_stands_only_where_it_fits() {
        let job = Job {
            count: 7_000,
            size: 10,
            conns: 1,
        };
        let payloads: Vec<_> = Sequenced::new(job).collect();
        assert_eq!(payloads.len(), 7_000);
        assert_eq!(payloads[258][..], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(payloads[6_999][..], [0, 0, 0, 0, 0, 0, 0x1b, 0x57, 0, 0]);
        let small = Job { size: 7, ..job };
        assert_eq!(Sequenced::new(small).nth(258).unwrap()[..], [0; 7]);
        let mut behind = vec![9];
        put_sequenced(&mut behind, 1, 8);
        assert_eq!(behind, [9, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
