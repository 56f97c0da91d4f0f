//! What the end-to-end benchmarks are made of: the wire that load generator and
//! servers speak, the load generator, and the comparison of several servers.
//!
//! | binary | what it is |
//! |---|---|
//! | `bench-load` | load generator and verifier |
//! | `bench-compare` | runs the workloads against several servers in turn, prints medians and ratios |
//! | `bench-server` | Wireframe, on one of its runtimes |
//! | `limit-server` | a single-purpose server: what the kernel allows |
//! | `framed-server` | tokio and `Framed`: what most people write |
//!
//! Every server takes [`server::ServerOptions`], listens on 127.0.0.1, prints `READY`
//! and serves until it is killed. A comparison of two:
//!
//! ```text
//! cargo build --release -p wireframe-benches
//! target/release/bench-compare --short \
//!     --server limit=target/release/limit-server \
//!     --server framed=target/release/framed-server
//! ```
//!
//! The same with `--verify` checks every byte, id and order instead of measuring. Do so
//! first: the measuring runs count bytes and trust their content, so that the load
//! generator is not what is measured.

pub mod codec;
pub mod compare;
pub mod fixed;
pub mod limits;
pub mod load;
pub mod server;
pub mod wire;
