//! Smol as a runtime: its spawner, and the timer and sockets of its reactor.

use std::{
    io,
    net::{self, SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use wireframe::{
    Clock, Environment, TaskTracker,
    rt::{AsyncIoListener, AsyncIoTcp, AsyncIoTimer, BoxTask, Runtime, Spawn},
};

/// Smol as a runtime.
#[derive(Clone, Copy, Debug)]
pub struct SmolRuntime;

impl Runtime for SmolRuntime {
    type TcpStream = AsyncIoTcp;
    type TcpListener = AsyncIoListener;

    fn environment() -> Environment {
        environment()
    }

    async fn resolve(name: String) -> io::Result<Vec<SocketAddr>> {
        smol::unblock(move || Ok(name.to_socket_addrs()?.collect())).await
    }

    async fn connect(address: SocketAddr) -> io::Result<AsyncIoTcp> {
        AsyncIoTcp::connect(address).await
    }

    fn listen(listener: net::TcpListener) -> io::Result<AsyncIoListener> {
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
