//! Smol as a runtime: its spawner, and the timer and sockets of its reactor.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::Arc,
};
#[cfg(unix)]
use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
};

use wireframe::{
    Clock, Environment, TaskTracker,
    rt::{AsyncIoListener, AsyncIoStream, AsyncIoTimer, BoxTask, FuturesIo, Runtime, Spawn},
};

/// Smol as a runtime.
#[derive(Clone, Copy, Debug)]
pub struct SmolRuntime;

impl Runtime for SmolRuntime {
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
        smol::unblock(move || Ok(name.to_socket_addrs()?.collect())).await
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

/// Starts tasks on smol's global executor.
#[derive(Clone, Copy, Debug)]
pub struct SmolSpawn;

impl Spawn for SmolSpawn {
    fn spawn(&self, task: BoxTask) {
        smol::spawn(task).detach();
    }
}

/// The timer, and smol's global executor.
#[must_use]
pub fn environment() -> Environment {
    Environment {
        clock: Clock::new(Arc::new(AsyncIoTimer::new())),
        tasks: TaskTracker::new(Arc::new(SmolSpawn)),
    }
}
