//! Where to listen, or to connect to.

#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use super::Runtime;

/// Where to listen, or to connect to: an IP address and a port, a name that is looked up
/// each time, or a socket of the file system.
///
/// ```
/// use wireframe::rt::Address;
///
/// assert_eq!(Address::from("127.0.0.1:80"), Address::from(("127.0.0.1", 80)));
/// assert_eq!(Address::from(("db.example", 80)).to_string(), "db.example:80");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Resolved(Vec<SocketAddr>),
    Name(String),
    #[cfg(unix)]
    Path(PathBuf),
}

impl Address {
    /// A socket of the file system.
    ///
    /// A server makes the file and removes it when it ends. One that a server has left
    /// behind is replaced.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self(Kind::Path(path.into()))
    }

    /// The path of a socket of the file system.
    #[cfg(unix)]
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The IP addresses that it stands for, at least one.
    ///
    /// # Errors
    ///
    /// The name cannot be looked up, or stands for none.
    pub(crate) async fn resolve<R: Runtime>(self) -> io::Result<Vec<SocketAddr>> {
        let name = self.to_string();
        let addresses = match self.0 {
            Kind::Resolved(addresses) => addresses,
            Kind::Name(name) => R::resolve(name).await?,
            #[cfg(unix)]
            Kind::Path(_) => Vec::new(),
        };
        match addresses.is_empty() {
            false => Ok(addresses),
            true => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name:?} stands for no address"),
            )),
        }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self(match text.parse() {
            Ok(address) => Kind::Resolved(vec![address]),
            Err(_) => Kind::Name(text.to_owned()),
        })
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Self {
        Self::from(&**text)
    }
}

impl From<(&str, u16)> for Address {
    fn from((host, port): (&str, u16)) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::from((ip, port)),
            Err(_) => Self(Kind::Name(format!("{host}:{port}"))),
        }
    }
}

impl From<(IpAddr, u16)> for Address {
    fn from(address: (IpAddr, u16)) -> Self {
        Self::from(SocketAddr::from(address))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(Kind::Resolved(vec![address]))
    }
}

impl From<Vec<SocketAddr>> for Address {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self(Kind::Resolved(addresses))
    }
}

impl From<&[SocketAddr]> for Address {
    fn from(addresses: &[SocketAddr]) -> Self {
        Self(Kind::Resolved(addresses.to_vec()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Name(name) => f.write_str(name),
            #[cfg(unix)]
            Kind::Path(path) => path.display().fmt(f),
            Kind::Resolved(addresses) => {
                for (n, address) in addresses.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{address}")?;
                }
                Ok(())
            }
        }
    }
}
