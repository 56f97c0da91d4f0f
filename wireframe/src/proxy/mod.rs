//! Headers of the PROXY protocol: whose connection it is that a load balancer passes on.

mod crc32c;
mod error;
mod header;
mod network;
#[cfg(test)]
mod tests;
mod tlv;
mod v1;
mod v2;

pub use error::HeaderError;
pub use header::{Header, Origin, SocketKind, UnixAddress};
pub use network::{Network, NetworkError};
pub use tlv::{Fields, Ssl};
