//! What is known of a peer by TLS.

use std::fmt;

use rustls::{Connection, pki_types::CertificateDer};

/// What the two ends of a connection have agreed upon in their handshake.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The peer's certificates, its own first. Empty if it has shown none. They have been
    /// verified as the configuration says.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// The application protocol (ALPN), if one was negotiated.
    pub alpn_protocol: Option<Vec<u8>>,
    /// On a server: the name that the client asked for (SNI), if it did.
    pub server_name: Option<String>,
}

impl TlsInfo {
    pub(super) fn of(connection: &Connection) -> Self {
        let certificates = connection.peer_certificates().unwrap_or_default();
        Self {
            peer_certificates: certificates
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            alpn_protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: match connection {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => None,
            },
        }
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("peer_certificates", &self.peer_certificates.len())
            .field("alpn_protocol", &self.alpn_protocol)
            .field("server_name", &self.server_name)
            .finish()
    }
}
