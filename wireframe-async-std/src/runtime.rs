//! Async-std as a runtime: its spawner, and the timer and sockets of its reactor.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};
#[cfg(unix)]
use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
};

use async_std::{net::ToSocketAddrs, task};
use wireframe::{
    Clock, Environment, TaskTracker,
    rt::{AsyncIoListener, AsyncIoStream, AsyncIoTimer, BoxTask, FuturesIo, Runtime, Spawn},
};

/// Async-std as a runtime.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStdRuntime;

impl Runtime for AsyncStdRuntime {
    type TcpStream = FuturesIo<AsyncIoStream<TcpStream>>;
    type TcpListener = AsyncIoListener<TcpListener>;
    #[cfg(unix)]
    type UnixStream = FuturesIo<AsyncIoStream<UnixStream>>;
    #[cfg(unix)]
    type UnixListener = AsyncIoListener<UnixListener>;

    fn environment() -> Environment {
        environment()
    }

    async fn resolve(name: String) -> io::Result<Vec<SocketAddr>> {
        Ok(name.to_socket_addrs().await?.collect())
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::TcpStream> {
        <Self::TcpStream>::connect(address).await
    }

    fn listen(listener: TcpListener) -> io::Result<Self::TcpListener> {
        AsyncIoListener::adopt(listener)
    }

    #[cfg(unix)]
    async fn connect_unix(path: PathBuf) -> io::Result<Self::UnixStream> {
        <Self::UnixStream>::connect(path).await
    }

    #[cfg(unix)]
    fn listen_unix(listener: UnixListener) -> io::Result<Self::UnixListener> {
        AsyncIoListener::adopt(listener)
    }
}

/// Starts tasks on async-std's global executor.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStdSpawn;

impl Spawn for AsyncStdSpawn {
    fn spawn(&self, task: BoxTask) {
        drop(task::spawn(task));
    }
}

/// The timer, and async-std's global executor.
#[must_use]
pub fn environment() -> Environment {
    Environment {
        clock: Clock::new(Arc::new(AsyncIoTimer::new())),
        tasks: TaskTracker::new(Arc::new(AsyncStdSpawn)),
    }
}
