//! Async-std as a runtime: its spawner, and the timer and sockets of its reactor.

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
};

use async_std::{net::ToSocketAddrs, task};
use wireframe::{
    Clock, Environment, TaskTracker,
    rt::{AsyncIoListener, AsyncIoTcp, AsyncIoTimer, BoxTask, Runtime, Spawn},
};

/// Async-std as a runtime.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStdRuntime;

impl Runtime for AsyncStdRuntime {
    type TcpStream = AsyncIoTcp;
    type TcpListener = AsyncIoListener;

    fn environment() -> Environment {
        environment()
    }

    async fn resolve(name: String) -> io::Result<Vec<SocketAddr>> {
        Ok(name.to_socket_addrs().await?.collect())
    }

    async fn connect(address: SocketAddr) -> io::Result<AsyncIoTcp> {
        AsyncIoTcp::connect(address).await
    }

    fn listen(listener: net::TcpListener) -> io::Result<AsyncIoListener> {
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
