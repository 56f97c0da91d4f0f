//! The PROXY protocol: whose connection it is that a load balancer passes on.
//!
//! A server behind a load balancer or proxy sees connections of that alone. With the PROXY
//! protocol, versions 1 and 2, each of them begins with a header that says who the client is.
//! [`ListenOptions::proxy`](crate::server::ListenOptions::proxy) lets [trusted
//! sources](ProxyProtocol) tell it. From then on their clients are the peers: in
//! [`Peer::address`](crate::Peer::address), in
//! [`ConnectionHandle::peer`](crate::ConnectionHandle::peer), and for
//! [`max_per_address`](crate::server::ConnectionLimits::max_per_address).
//! [`ConnectionHandle::proxied`](crate::ConnectionHandle::proxied) has all that was told.
//!
//! [`Header`] reads and writes headers without any of this.

mod crc32c;
mod error;
mod header;
mod network;
mod options;
mod proxied;
#[cfg(test)]
mod tests;
mod tlv;
mod v1;
mod v2;

use std::net::SocketAddr;

pub use error::HeaderError;
pub use header::{Header, Origin, SocketKind, UnixAddress};
pub use network::{Network, NetworkError};
pub use options::{ProxyProtocol, Untrusted};
pub use proxied::Proxied;
pub use tlv::{Fields, Ssl};

/// What a proxy has told of a connection that it has passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyInfo {
    /// The header.
    pub header: Header,
    /// The proxy's own address: the other end of the socket. `None` over a socket of the file
    /// system.
    pub proxy: Option<SocketAddr>,
}

impl ProxyInfo {
    /// The client's address. The proxy's, if it speaks for itself or cannot tell.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self.header.origin {
            Origin::Local | Origin::Unknown => self.proxy,
            Origin::Ip { source, .. } => Some(source),
            Origin::Unix { .. } => None,
        }
    }

    /// Whether the connection is the proxy's own, as one is that looks whether the server is
    /// well.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self.header.origin, Origin::Local)
    }
}
