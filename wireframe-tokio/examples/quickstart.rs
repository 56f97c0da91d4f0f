//! A server and a client over loopback TCP: a request and its reply, a stream that
//! pushes overtake, a full queue that pushes back, and a clean end.
//!
//! `cargo run -p wireframe-tokio --example quickstart` shows all of it.
//! With `-- serve 127.0.0.1:7878` it keeps serving for other clients, until ctrl-c.

#[path = "../../examples/quickstart.rs"]
mod quickstart;

use std::error::Error;

use wireframe_tokio::TokioRuntime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    quickstart::run::<TokioRuntime>(tokio::signal::ctrl_c()).await
}
