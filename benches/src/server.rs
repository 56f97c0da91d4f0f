//! What all servers under test share: command line, runtime and the word `READY`.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use tokio::runtime::{Builder, Runtime};

use crate::wire::route;

/// What a client asks for, all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Workload {
    /// Requests come back as they are.
    Echo,
    /// One producer sends to one connection.
    Push,
    /// One producer sends to all connections in turn.
    Broadcast,
    /// A request is answered with many frames.
    Stream,
}

impl Workload {
    /// Route of the requests.
    #[must_use]
    pub const fn route(self) -> u32 {
        match self {
            Self::Echo => route::ECHO,
            Self::Push => route::PUSH,
            Self::Broadcast => route::BROADCAST,
            Self::Stream => route::STREAM,
        }
    }

    /// The name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Push => "push",
            Self::Broadcast => "broadcast",
            Self::Stream => "stream",
        }
    }
}

/// Command line of every server under test.
#[derive(Debug, Clone, Args)]
pub struct ServerOptions {
    /// Port on 127.0.0.1.
    #[arg(long)]
    pub port: u16,
    /// Workload to expect; every route works in every mode.
    #[arg(long, value_enum, default_value = "echo")]
    pub mode: Workload,
    /// Longest frame in bytes, header included: the largest payload plus 64.
    #[arg(long)]
    pub max_frame: usize,
    /// Threads that serve; one means a current-thread runtime.
    #[arg(long, default_value = "1")]
    pub threads: NonZeroUsize,
}

impl ServerOptions {
    /// Where to listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The tokio runtime that the command line asks for.
    ///
    /// # Errors
    ///
    /// The operating system's, when it refuses threads or a poll instance.
    pub fn runtime(&self) -> io::Result<Runtime> {
        let mut builder = if self.threads.get() == 1 {
            Builder::new_current_thread()
        } else {
            Builder::new_multi_thread()
        };
        builder
            .worker_threads(self.threads.get())
            .enable_all()
            .build()
    }
}

/// Tells whoever started this server that it listens.
///
/// # Errors
///
/// When nobody holds the other end of standard output.
pub fn announce_ready() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(b"READY\n")?;
    stdout.flush()
}
