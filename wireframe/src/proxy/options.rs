//! Who may say whose connection it is.

use std::{net::SocketAddr, time::Duration};

use super::{network::Network, proxied::Proxied};
use crate::sync::Arc;

/// The PROXY protocol of a listening socket: which proxies speak it, and what becomes of
/// everybody else.
///
/// Whether there is a header is never guessed from what comes. Trusted sources have to send
/// one. A header of anybody else is not looked at, because with it anybody could be whoever
/// they like. A clone shares the list of those who are trusted.
///
/// ```
/// use wireframe::{proxy::{Network, ProxyProtocol}, server::ListenOptions};
///
/// let balancers: Network = "10.0.0.0/8".parse()?;
/// let mut options = ListenOptions::default();
/// options.proxy = Some(ProxyProtocol::from_sources([balancers]));
/// # Ok::<_, wireframe::proxy::NetworkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    trusted: Arc<[Network]>,
    others: Untrusted,
    pub(super) timeout: Duration,
    pub(super) max_header_len: usize,
}

/// What becomes of connections whose source is not trusted to speak the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Untrusted {
    /// They are closed at once, and counted as
    /// [failed handshakes](crate::server::ServerHandle::failed_handshakes).
    #[default]
    Refuse,
    /// They are served as who they are: all that they send is the app's protocol.
    Serve,
}

impl ProxyProtocol {
    /// Trusts these networks or addresses. Whoever connects to a socket of the file system, and
    /// so has no address, is trusted too: access to that is what the file's permissions say.
    pub fn from_sources(trusted: impl IntoIterator<Item: Into<Network>>) -> Self {
        Self {
            trusted: trusted.into_iter().map(Into::into).collect(),
            others: Untrusted::default(),
            timeout: Duration::from_secs(5),
            max_header_len: 4096,
        }
    }

    /// Sets what becomes of those who are not trusted. By default they are refused.
    #[must_use]
    pub const fn others(mut self, others: Untrusted) -> Self {
        self.others = others;
        self
    }

    /// Sets how long a header may take from the beginning of its connection. Default 5 s; less
    /// than 3 s may be too short for a segment that is lost.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a header of version 2 may be, in bytes. Default 4096; 65 551 are the most
    /// that there can be.
    #[must_use]
    pub const fn max_header_len(mut self, bytes: usize) -> Self {
        self.max_header_len = bytes;
        self
    }

    /// Puts the PROXY protocol before all else on a transport, as its receiver. `peer` is the
    /// other end of its socket.
    pub fn accept<T>(&self, stream: T, peer: Option<SocketAddr>) -> Proxied<T> {
        let trusts = |peer: SocketAddr| self.trusted.iter().any(|net| net.contains(peer.ip()));
        match (peer.is_none_or(trusts), self.others) {
            (true, _) => Proxied::awaiting(stream, peer, self),
            (false, Untrusted::Serve) => Proxied::direct(stream, peer, self),
            (false, Untrusted::Refuse) => Proxied::refused(stream, peer, self),
        }
    }
}
