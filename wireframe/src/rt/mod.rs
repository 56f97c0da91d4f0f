//! What the library needs of a runtime: a timer, a spawner, and sockets.

mod address;
#[cfg(feature = "async-io")]
mod async_io;
mod futures_io;
#[cfg(test)]
mod tests;

use std::{
    io, net,
    pin::Pin,
    sync::OnceLock,
    time::{self, Duration},
};
#[cfg(unix)]
use std::{os::unix::net::UnixListener, path::PathBuf};

use wireframe_proto::Instant;

pub use address::Address;
#[cfg(feature = "async-io")]
pub use async_io::{
    AsyncIoExecutor, AsyncIoListener, AsyncIoRuntime, AsyncIoStream, AsyncIoTimer,
    BlockingListener, BlockingStream,
};
pub use futures_io::FuturesIo;

use crate::{driver::Environment, server::Listener, transport::Transport};

/// A future to be spawned.
pub type BoxTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time and wakes at a given time.
///
/// Every connection has one: the limits on how long a peer may take rest on it. What a peer
/// has done by the time at which a sleep completes counts, however late its task runs, if the
/// runtime looks at its sockets before it completes sleeps, as tokio does.
pub trait Timer: Send + Sync + 'static {
    /// The present. It must never go back.
    ///
    /// Apps that share a memory budget or a dead letter queue owe it the same time, on whatever
    /// runtimes: it compares what their timers say. Timers that count from [`origin`] do.
    fn now(&self) -> Instant;

    /// A future that completes once [`now`](Self::now) has reached `deadline`.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>>;
}

/// Where timers count from, one moment for the whole process: when it was first asked for.
#[must_use]
pub fn origin() -> time::Instant {
    static ORIGIN: OnceLock<time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(time::Instant::now)
}

/// A wake-up that can be moved.
pub trait Sleep: Future<Output = ()> + Send {
    /// Moves the wake-up. A sleep that has completed can be used again by this.
    fn reset(self: Pin<&mut Self>, deadline: Instant);
}

/// Starts tasks. Only servers need one, and handlers that start tasks of their own.
pub trait Spawn: Send + Sync + 'static {
    /// Runs the task to its end, independently of the caller.
    fn spawn(&self, task: BoxTask);
}

/// An async runtime with sockets: all that an adapter has to bring along.
pub trait Runtime: Sized + 'static {
    /// A TCP connection.
    type TcpStream: Transport + 'static;
    /// A TCP socket that takes connections.
    type TcpListener: Listener<Transport = Self::TcpStream>;

    /// A connection over a socket of the file system.
    #[cfg(unix)]
    type UnixStream: Transport + 'static;
    /// A socket of the file system that takes connections.
    #[cfg(unix)]
    type UnixListener: Listener<Transport = Self::UnixStream>;

    /// The timer and the spawner of the runtime that this is called in.
    fn environment() -> Environment;

    /// The addresses that a name and a port stand for, such as `localhost:80`.
    fn resolve(name: String) -> impl Future<Output = io::Result<Vec<net::SocketAddr>>> + Send;

    /// Connects. The connection sends at once what it is given.
    fn connect(
        address: net::SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send;

    /// Takes connections from a socket that listens and does not block. They send at once
    /// what they are given.
    ///
    /// # Errors
    ///
    /// The runtime does not take the socket on.
    fn listen(listener: net::TcpListener) -> io::Result<Self::TcpListener>;

    /// Connects to a socket of the file system.
    #[cfg(unix)]
    fn connect_unix(path: PathBuf) -> impl Future<Output = io::Result<Self::UnixStream>> + Send;

    /// As [`listen`](Self::listen), on a socket of the file system.
    ///
    /// # Errors
    ///
    /// The runtime does not take the socket on.
    #[cfg(unix)]
    fn listen_unix(listener: UnixListener) -> io::Result<Self::UnixListener>;
}

/// The present plus some time.
pub(crate) fn after(timer: &dyn Timer, delay: Duration) -> Instant {
    timer.now() + delay
}
