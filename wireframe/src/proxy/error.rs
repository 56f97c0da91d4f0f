//! What is wrong with a header.

use thiserror::Error;
use wireframe_proto::LimitExceeded;

/// What came is no header of the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It does not begin as one of either version.
    #[error("expected a header of the PROXY protocol, got {got:#04x} as byte {at}")]
    NoHeader {
        /// Where it differs, from 0.
        at: usize,
        /// What stands there.
        got: u8,
    },
    /// Version 1: the line has not ended.
    #[error("expected CR LF within {limit} bytes of a PROXY header")]
    Endless {
        /// How long a line may be, in bytes with its end.
        limit: usize,
    },
    /// Version 1: a field of the line is something else.
    #[error("expected {expected} in a PROXY header, got {got:?}")]
    Field {
        /// What should stand there.
        expected: &'static str,
        /// What does.
        got: String,
    },
    /// Version 2: a byte of the fixed part has a value that is not assigned.
    #[error("expected {expected} in a PROXY header, got {got}")]
    Value {
        /// What should stand there.
        expected: &'static str,
        /// What does.
        got: u8,
    },
    /// Version 2: something is shorter or longer than it has to be.
    #[error("expected {expected} bytes of {what} in a PROXY header, got {got}")]
    Length {
        /// What it is.
        what: &'static str,
        /// How many bytes it has to have.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// Version 2: it announces more bytes than one may have.
    #[error(transparent)]
    TooLong(LimitExceeded),
    /// Version 2: something in it has changed on its way.
    #[error("a PROXY header has the checksum {expected:#010x}, got {got:#010x}")]
    Checksum {
        /// That of the bytes that came.
        expected: u32,
        /// What it says.
        got: u32,
    },
}
