//! The load generator: one thread, one poll loop, so that the core it is pinned to is
//! enough for every server under test.
//!
//! A measuring run sends frames that were encoded beforehand and counts the bytes that
//! come back. A verifying run makes each payload anew and checks every byte, which costs
//! too much to be measured. Both send one batch for each batch of replies received.

mod client;
mod clients;
mod echo;
mod measured;
mod pattern;
mod produced;
mod replies;
mod requests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use thiserror::Error;

use crate::server::Workload;
use crate::wire::WireError;

pub use measured::{Measured, ParseMeasuredError};

/// A server that sends nothing for so long has lost a frame.
const STALL: Duration = Duration::from_secs(30);

/// How long an echo run measures unless told otherwise.
const ECHO_SECONDS: f64 = 3.0;

/// What to ask of a server, and for how long.
#[derive(Debug, Clone, Args)]
pub struct LoadOptions {
    /// Where the server listens.
    #[arg(long)]
    pub address: SocketAddr,
    /// What to ask for.
    #[arg(long, value_enum, default_value = "echo")]
    pub workload: Workload,
    /// Connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub conns: u32,
    /// Requests in flight on each connection (echo).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub depth: u64,
    /// Bytes of payload in each frame.
    #[arg(long, default_value_t = 32)]
    pub size: u32,
    /// Echo: how long to measure, 3 s unless given, after a tenth of it to warm up.
    /// Other workloads: the job is asked for again until so much time has passed.
    #[arg(long, conflicts_with = "requests")]
    pub seconds: Option<f64>,
    /// Requests in all, over all connections (echo).
    #[arg(long)]
    pub requests: Option<u64>,
    /// Frames that a job asks for, on each connection (push, broadcast and stream).
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: u64,
    /// Polls without sleeping: leaves the waking of this process out of what is measured.
    #[arg(long)]
    pub spin: bool,
    /// Checks every byte, id and order; the rates are then those of the checks.
    #[arg(long)]
    pub verify: bool,
}

impl LoadOptions {
    /// How long to go on; nothing for a run that is bounded by its requests.
    fn duration(&self) -> Option<Duration> {
        let seconds = match (self.seconds, self.requests, self.workload) {
            (Some(seconds), _, _) => seconds,
            (None, None, Workload::Echo) => ECHO_SECONDS,
            _ => return None,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Why a run did not end with a measurement.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// The server hung up.
    #[error("connection {connection}: closed by the server after {replies} frames")]
    Closed {
        /// Which connection.
        connection: u32,
        /// Frames received on it.
        replies: u64,
    },
    /// Frames are missing.
    #[error("no frame for {} s: {received} received in all, {missing} expected", STALL.as_secs())]
    Stalled {
        /// Frames received on all connections.
        received: u64,
        /// Frames still expected.
        missing: u64,
    },
    /// More frames than were asked for.
    #[error("connection {connection}: {surplus} frames more than asked for")]
    Surplus {
        /// Which connection.
        connection: u32,
        /// How many too many.
        surplus: u64,
    },
    /// What came is not what was expected.
    #[error("connection {connection}, frame {frame}: {mismatch}")]
    Mismatch {
        /// Which connection.
        connection: u32,
        /// Number of the frame on its connection, from 0.
        frame: u64,
        /// The first difference.
        mismatch: Mismatch,
    },
}

/// The first difference between a frame and the one expected.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// Not a frame at all.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A field of the header.
    #[error("{field} is {came}, expected {expected}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// As received.
        came: u64,
        /// As it should be.
        expected: u64,
    },
    /// A byte of the payload.
    #[error("byte {at} of the payload is {came:#04x}, expected {expected:#04x}")]
    Byte {
        /// Position in the payload.
        at: usize,
        /// As received.
        came: u8,
        /// As it should be.
        expected: u8,
    },
}

/// Runs one workload against the server at `options.address`.
///
/// # Errors
///
/// [`LoadError`] when the server cannot be reached, hangs up, stalls, or sends something
/// that was not asked for.
pub fn run(options: &LoadOptions) -> Result<Measured, LoadError> {
    match options.workload {
        Workload::Echo => echo::run(options),
        Workload::Push | Workload::Broadcast | Workload::Stream => produced::run(options),
    }
}
