//! Smol as a runtime: its global executor, over the reactor of `async-io`.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use wireframe::{
    Environment,
    rt::{AsyncIoExecutor, AsyncIoRuntime, BoxTask, Runtime},
};

/// Smol's global executor.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl AsyncIoExecutor for Smol {
    fn spawn(task: BoxTask) {
        smol::spawn(task).detach();
    }

    async fn resolve(name: String) -> io::Result<Vec<SocketAddr>> {
        smol::unblock(move || Ok(name.to_socket_addrs()?.collect())).await
    }
}

/// Smol as a runtime.
pub type SmolRuntime = AsyncIoRuntime<Smol>;

/// The timer, and smol's global executor.
#[must_use]
pub fn environment() -> Environment {
    SmolRuntime::environment()
}
