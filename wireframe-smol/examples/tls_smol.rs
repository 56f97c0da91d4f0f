//! TLS with certificates of both sides: a server greets a client by the name in its
//! certificate, and refuses one that has none.
//!
//! `cargo run -p wireframe-smol --example tls_smol` runs both over loopback TCP, with certificates
//! that are made as it starts.

#[path = "../../examples/tls.rs"]
mod tls;

use std::error::Error;

use wireframe_smol::SmolRuntime;

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(tls::run::<SmolRuntime>())
}
