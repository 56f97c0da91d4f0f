//! Async-std as a runtime: its global executor, over the reactor of `async-io`.

use std::{io, net::SocketAddr};

use async_std::{net::ToSocketAddrs, task};
use wireframe::{
    Environment,
    rt::{AsyncIoExecutor, AsyncIoRuntime, BoxTask, Runtime},
};

/// Async-std's global executor.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl AsyncIoExecutor for AsyncStd {
    fn spawn(task: BoxTask) {
        drop(task::spawn(task));
    }

    async fn resolve(name: String) -> io::Result<Vec<SocketAddr>> {
        Ok(name.to_socket_addrs().await?.collect())
    }
}

/// Async-std as a runtime.
pub type AsyncStdRuntime = AsyncIoRuntime<AsyncStd>;

/// The timer, and async-std's global executor.
#[must_use]
pub fn environment() -> Environment {
    AsyncStdRuntime::environment()
}
