//! Duplex messaging: a chat room whose server speaks whenever it has something to say.
//!
//! `cargo run -p wireframe-tokio --example chat` runs a server and two clients over
//! loopback TCP, and fails if anything is not heard.

#[path = "../../examples/chat.rs"]
mod chat;

use std::error::Error;

use wireframe_tokio::TokioRuntime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    chat::run::<TokioRuntime>().await
}
