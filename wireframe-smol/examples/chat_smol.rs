//! Duplex messaging: a chat room whose server speaks whenever it has something to say.
//!
//! `cargo run -p wireframe-smol --example chat_smol` runs a server and two clients over
//! loopback TCP, and fails if anything is not heard.

#[path = "../../examples/chat.rs"]
mod chat;

use std::error::Error;

use wireframe_smol::SmolRuntime;

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(chat::run::<SmolRuntime>())
}
