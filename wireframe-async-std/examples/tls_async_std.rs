//! TLS with certificates of both sides: a server greets a client by the name in its
//! certificate, and refuses one that has none.
//!
//! `cargo run -p wireframe-async-std --example tls_async_std` runs both over loopback TCP, with certificates
//! that are made as it starts.

#[path = "../../examples/tls.rs"]
mod tls;

use std::error::Error;

use wireframe_async_std::AsyncStdRuntime;

fn main() -> Result<(), Box<dyn Error>> {
    async_std::task::block_on(tls::run::<AsyncStdRuntime>())
}
