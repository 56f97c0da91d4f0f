//! What begins TLS, as a server and as a client.

use std::{fmt, io, time::Duration};

use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, pki_types::ServerName,
};

use super::Tls;
use crate::{sync::Arc, transport::Transport};

/// How long a handshake may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Begins TLS as a server. A clone shares the configuration.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    timeout: Duration,
}

impl TlsAcceptor {
    /// With this configuration: certificates, whether clients need some, cryptography.
    #[must_use]
    pub const fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            config,
            timeout: TIMEOUT,
        }
    }

    /// Sets how long a handshake may take. Default 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Puts TLS over a transport.
    ///
    /// # Errors
    ///
    /// The configuration is not fit for use.
    pub fn accept<T: Transport>(&self, stream: T) -> io::Result<Tls<T>> {
        let connection = ServerConnection::new(Arc::clone(&self.config));
        let connection = connection.map_err(invalid)?;
        Ok(Tls::new(stream, connection.into(), self.timeout))
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Begins TLS as a client. A clone shares the configuration.
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    timeout: Duration,
}

impl TlsConnector {
    /// With this configuration, to a server whose certificate has this name.
    #[must_use]
    pub const fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        Self {
            config,
            name,
            timeout: TIMEOUT,
        }
    }

    /// Sets how long a handshake may take. Default 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Puts TLS over a transport.
    ///
    /// # Errors
    ///
    /// The configuration is not fit for use.
    pub fn connect<T: Transport>(&self, stream: T) -> io::Result<Tls<T>> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let connection = connection.map_err(invalid)?;
        Ok(Tls::new(stream, connection.into(), self.timeout))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
