//! Duplex messaging: a chat room whose server speaks whenever it has something to say.
//!
//! `cargo run -p wireframe-async-std --example chat_async_std` runs a server and two clients over
//! loopback TCP, and fails if anything is not heard.

#[path = "../../examples/chat.rs"]
mod chat;

use std::error::Error;

use wireframe_async_std::AsyncStdRuntime;

fn main() -> Result<(), Box<dyn Error>> {
    async_std::task::block_on(chat::run::<AsyncStdRuntime>())
}
