//! A server and a client over loopback TCP: a request and its reply, a stream that
//! pushes overtake, a full queue that pushes back, and a clean end.
//!
//! `cargo run -p wireframe-async-std --example quickstart_async_std` shows all of it.
//! With `-- serve 127.0.0.1:7878` it keeps serving for other clients, until ctrl-c.

#[path = "../../examples/quickstart.rs"]
mod quickstart;

use std::{error::Error, io};

use async_signal::{Signal, Signals};
use async_std::{stream::StreamExt, task};
use wireframe_async_std::AsyncStdRuntime;

fn main() -> Result<(), Box<dyn Error>> {
    task::block_on(quickstart::run::<AsyncStdRuntime>(ctrl_c()))
}

async fn ctrl_c() -> io::Result<()> {
    Signals::new([Signal::Int])?
        .next()
        .await
        .map_or(Ok(()), |came| came.map(drop))
}
