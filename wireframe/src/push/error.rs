//! Why a push was refused; the frame comes back.

use std::{error::Error, fmt, io, time::Duration};

const CLOSED: &str = "the connection has ended or takes no more pushes";
const FULL: &str = "the push queue is full";
const RATE_LIMITED: &str = "pushes come faster than their rate limit allows";

/// A push was refused for good.
///
/// As an [`io::Error`] it is [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError<F> {
    /// The connection has ended, or drains and takes nothing new.
    Closed(F),
}

impl<F> PushError<F> {
    /// The refused frame.
    #[must_use]
    pub fn into_frame(self) -> F {
        match self {
            Self::Closed(frame) => frame,
        }
    }
}

/// A push that does not wait was refused.
///
/// As an [`io::Error`] it is [`WouldBlock`](io::ErrorKind::WouldBlock) or
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryPushError<F> {
    /// There is no room now, or no memory left for all connections together, see
    /// [`MemoryBudget`](crate::MemoryBudget).
    Full(F),
    /// There is room, but no token of the [rate limit](crate::WireframeApp::rate_limit).
    RateLimited {
        /// The refused frame.
        frame: F,
        /// In so much time there will be a token, which others may take first.
        retry_after: Duration,
    },
    /// The connection has ended, or drains and takes nothing new.
    Closed(F),
}

impl<F> TryPushError<F> {
    /// The refused frame.
    #[must_use]
    pub fn into_frame(self) -> F {
        match self {
            Self::Full(frame) | Self::RateLimited { frame, .. } | Self::Closed(frame) => frame,
        }
    }

    /// The same, without the frame.
    pub(crate) fn without_frame(self) -> TryPushError<()> {
        match self {
            Self::Full(_) => TryPushError::Full(()),
            Self::RateLimited { retry_after, .. } => TryPushError::RateLimited {
                frame: (),
                retry_after,
            },
            Self::Closed(_) => TryPushError::Closed(()),
        }
    }
}

impl<F> From<PushError<F>> for TryPushError<F> {
    fn from(error: PushError<F>) -> Self {
        Self::Closed(error.into_frame())
    }
}

// By hand, because a derived `Debug` would demand one of the frame, and with it `Error`.
impl<F> fmt::Debug for PushError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}

impl<F> fmt::Debug for TryPushError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::RateLimited { retry_after, .. } => f
                .debug_struct("RateLimited")
                .field("retry_after", retry_after)
                .finish_non_exhaustive(),
            Self::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}

impl<F> fmt::Display for PushError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str(CLOSED),
        }
    }
}

impl<F> fmt::Display for TryPushError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str(FULL),
            Self::RateLimited { .. } => f.write_str(RATE_LIMITED),
            Self::Closed(_) => f.write_str(CLOSED),
        }
    }
}

impl<F> Error for PushError<F> {}
impl<F> Error for TryPushError<F> {}

impl<F> From<PushError<F>> for io::Error {
    fn from(error: PushError<F>) -> Self {
        match error {
            PushError::Closed(_) => Self::new(io::ErrorKind::BrokenPipe, CLOSED),
        }
    }
}

impl<F> From<TryPushError<F>> for io::Error {
    fn from(error: TryPushError<F>) -> Self {
        match error {
            TryPushError::Full(_) => Self::new(io::ErrorKind::WouldBlock, FULL),
            TryPushError::RateLimited { .. } => Self::new(io::ErrorKind::WouldBlock, RATE_LIMITED),
            TryPushError::Closed(_) => Self::new(io::ErrorKind::BrokenPipe, CLOSED),
        }
    }
}
