//! Wireframe on async-std: sockets, timer, spawner, server and client.
//!
//! ```no_run
//! use bytes::Bytes;
//! use wireframe::WireframeApp;
//! use wireframe_async_std::Server;
//!
//! async fn echo(body: Bytes) -> Bytes {
//!     body
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let app = WireframeApp::new().route(1, echo);
//! Server::bind("127.0.0.1:7878").await?.serve(app).await?;
//! # Ok(())
//! # }
//! ```

mod client;
#[cfg(doctest)]
mod readme;
mod runtime;

pub use client::{connect, connect_with, reconnecting};
pub use runtime::{AsyncStd, AsyncStdRuntime, environment};
pub use wireframe;

/// A server over TCP, or sockets of the file system.
pub type Server = wireframe::server::Server<AsyncStdRuntime>;
