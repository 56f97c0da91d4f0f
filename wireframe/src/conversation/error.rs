//! Why a conversation does not go on.

use std::{error::Error, fmt, io};

use crate::error::WireframeError;

const CLOSED: &str = "the command has ended";

/// Why there is no next frame of a body.
///
/// As an [`io::Error`] it is [`TimedOut`](io::ErrorKind::TimedOut),
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof),
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe) or
/// [`InvalidInput`](io::ErrorKind::InvalidInput).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// None came within [`Timeouts::body`](wireframe_proto::Timeouts::body). Who asks
    /// again waits for as long again.
    #[error("no frame of the body came in time")]
    TimedOut,
    /// The peer has ended its output inside the body.
    #[error("the peer ended its output inside the body")]
    UnexpectedEof,
    /// The command has ended, or its connection has.
    #[error("{CLOSED}")]
    Closed,
    /// The next frame was asked for while the one before has been read in part, as bytes.
    /// Read these bytes first: nothing is lost.
    #[error("the last frame of the body was read in part: {left} bytes of it are left")]
    PartlyRead {
        /// How many bytes of it have not been read.
        left: usize,
    },
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::TimedOut => io::ErrorKind::TimedOut,
            BodyError::UnexpectedEof => io::ErrorKind::UnexpectedEof,
            BodyError::Closed => io::ErrorKind::BrokenPipe,
            BodyError::PartlyRead { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// A handler that cannot go on without its body ends the connection with it; one that can
/// looks at the error itself.
impl<E> From<BodyError> for WireframeError<E> {
    fn from(error: BodyError) -> Self {
        Self::Io(error.into())
    }
}

/// A frame was not sent; it comes back.
///
/// As an [`io::Error`] it is [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<F> {
    /// The command has ended, or its connection has.
    Closed(F),
}

impl<F> SendError<F> {
    /// The refused frame.
    #[must_use]
    pub fn into_frame(self) -> F {
        match self {
            Self::Closed(frame) => frame,
        }
    }
}

// By hand, because a derived `Debug` would demand one of the frame, and with it `Error`.
impl<F> fmt::Debug for SendError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}

impl<F> fmt::Display for SendError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str(CLOSED),
        }
    }
}

impl<F> Error for SendError<F> {}

impl<F> From<SendError<F>> for io::Error {
    fn from(error: SendError<F>) -> Self {
        match error {
            SendError::Closed(_) => Self::new(io::ErrorKind::BrokenPipe, CLOSED),
        }
    }
}

/// A handler whose command has ended has nobody to answer.
impl<E, F> From<SendError<F>> for WireframeError<E> {
    fn from(error: SendError<F>) -> Self {
        Self::Io(error.into())
    }
}
