//! What a header says, whatever its version.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::{error::HeaderError, tlv::Fields, v1, v2};

/// A header of the PROXY protocol: whose connection it is that a proxy passes on.
///
/// The format is that of HAProxy's `proxy-protocol.txt`, versions 1 and 2.
///
/// ```
/// use wireframe::proxy::Header;
///
/// let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nhello";
/// let (header, len) = Header::parse(line, 4096)?.expect("it is whole");
/// assert_eq!(header.source(), Some("192.168.0.1:56324".parse()?));
/// assert_eq!(line[len..], *b"hello");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose connection it is.
    pub origin: Origin,
    /// What is said beside that, in version 2. Those of the proxy's own connections are
    /// neither read nor sent.
    pub fields: Fields,
}

/// Whose connection it is that comes from a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The proxy's own, such as one that looks whether the server is well.
    Local,
    /// Somebody's, but the proxy cannot say whose.
    Unknown,
    /// That of a client with an IP address.
    Ip {
        /// What the client's socket is.
        kind: SocketKind,
        /// The client.
        source: SocketAddr,
        /// What it has connected to.
        destination: SocketAddr,
    },
    /// That of a client on the proxy's machine.
    Unix {
        /// What the client's socket is.
        kind: SocketKind,
        /// The client.
        source: UnixAddress,
        /// What it has connected to.
        destination: UnixAddress,
    },
}

/// What a client's socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A stream, such as TCP.
    Stream,
    /// Datagrams, such as UDP.
    Datagram,
}

/// The address of a socket of the file system, on a proxy's machine.
#[derive(Clone, PartialEq, Eq)]
pub struct UnixAddress(Box<[u8; Self::LEN]>);

impl Header {
    /// The header of a connection over TCP. Addresses of two families become ones of version 6.
    #[must_use]
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        Self::from(Origin::Ip {
            kind: SocketKind::Stream,
            source,
            destination,
        })
    }

    /// Reads the header, of either version, that `bytes` begin with, and says how many of them
    /// it is. `None` if it may be one and more bytes are needed; what is wrong is said as soon
    /// as it can be seen.
    ///
    /// A header of version 2 may have `max_len` bytes; 65 551 are the most that there can be. A
    /// line of version 1 has at most 107.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(bytes: &[u8], max_len: usize) -> Result<Option<(Self, usize)>, HeaderError> {
        let signature = match bytes.first() {
            Some(b'P') => v1::SIGNATURE,
            _ => v2::SIGNATURE,
        };
        let mut both = bytes.iter().zip(signature);
        if let Some(at) = both.position(|(got, expected)| got != expected) {
            let got = bytes.get(at).copied().unwrap_or_default();
            return Err(HeaderError::NoHeader { at, got });
        }
        match signature {
            v1::SIGNATURE => v1::parse(bytes),
            _ => v2::parse(bytes, max_len),
        }
    }

    /// The client's address, if it has one.
    #[must_use]
    pub const fn source(&self) -> Option<SocketAddr> {
        match self.origin {
            Origin::Ip { source, .. } => Some(source),
            Origin::Local | Origin::Unknown | Origin::Unix { .. } => None,
        }
    }

    /// The address that the client has connected to, if it is one.
    #[must_use]
    pub const fn destination(&self) -> Option<SocketAddr> {
        match self.origin {
            Origin::Ip { destination, .. } => Some(destination),
            Origin::Local | Origin::Unknown | Origin::Unix { .. } => None,
        }
    }

    /// Its bytes in version 1. All that is not TCP is unknown there, and there are no fields.
    #[must_use]
    pub fn to_v1(&self) -> Vec<u8> {
        v1::line(&self.origin).into_bytes()
    }

    /// Its bytes in version 2. A [checksum](Fields::with_checksum) among its fields is computed;
    /// of several, as a header that came may have them, one is left.
    #[must_use]
    pub fn to_v2(&self) -> Vec<u8> {
        v2::encode(self)
    }
}

/// A header without fields.
impl From<Origin> for Header {
    fn from(origin: Origin) -> Self {
        let fields = Fields::default();
        Self { origin, fields }
    }
}

impl UnixAddress {
    /// How long it is, in bytes: what Linux has for one.
    pub const LEN: usize = 108;

    /// All of it: a path and zeros behind it, or a zero and a name that is no path.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    /// The path; empty if the socket has none.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl From<[u8; Self::LEN]> for UnixAddress {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(Box::new(bytes))
    }
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.path()))
    }
}

/// Both addresses as they are, or as ones of version 6.
pub(super) fn same_family(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    let as_v6 = |ip| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        v6 @ IpAddr::V6(_) => v6,
    };
    match source.is_ipv4() == destination.is_ipv4() {
        true => (source, destination),
        false => (as_v6(source), as_v6(destination)),
    }
}
