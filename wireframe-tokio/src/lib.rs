//! Wireframe on tokio: sockets, timer, spawner, server and client.
//!
//! ```no_run
//! use bytes::Bytes;
//! use wireframe::WireframeApp;
//! use wireframe_tokio::Server;
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
mod transport;

pub use client::{connect, connect_with, reconnecting};
pub use runtime::{TokioListener, TokioRuntime, TokioSpawn, TokioTimer, environment};
pub use transport::Tokio;
pub use wireframe;

/// A server over TCP, or sockets of the file system.
pub type Server = wireframe::server::Server<TokioRuntime>;
