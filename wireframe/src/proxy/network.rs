//! Networks, to say who is trusted.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use thiserror::Error;

/// An IP network: an address, and how many bits of it all addresses of the network begin with.
///
/// An IPv4 address that stands in one of IPv6 (`::ffff:10.0.0.1`) is that IPv4 address.
///
/// ```
/// use wireframe::proxy::Network;
///
/// let network: Network = "10.1.0.0/16".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(!network.contains("10.2.0.0".parse()?));
/// assert_eq!("::1".parse::<Network>()?.to_string(), "::1/128");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// This is no network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// It is not written as one.
    #[error("expected a network such as 10.0.0.0/8 or ::1, got {0:?}")]
    Syntax(String),
    /// An address has fewer bits.
    #[error("expected a prefix of at most {most} bits, got {got}")]
    Prefix {
        /// How many bits an address has.
        most: u8,
        /// The prefix.
        got: u8,
    },
    /// The address says more than its network.
    #[error("the network is {0}: the address has bits set behind it")]
    HostBits(Network),
}

impl Network {
    /// All addresses whose first `prefix` bits are those of `address`.
    ///
    /// # Errors
    ///
    /// An address has fewer bits than that, or there are others set.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, NetworkError> {
        let given = Self { address, prefix };
        if prefix > given.bits() {
            return Err(NetworkError::Prefix {
                most: given.bits(),
                got: prefix,
            });
        }
        let network = Self {
            address: given.first(address),
            prefix,
        };
        if network != given {
            return Err(NetworkError::HostBits(network));
        }
        Ok(network.canonical())
    }

    /// Whether an address is one of it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.first(address) == self.address
    }

    /// How many bits an address has.
    const fn bits(self) -> u8 {
        match self.address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// The first address of the network of this size that has this one.
    fn first(self, address: IpAddr) -> IpAddr {
        let host = u32::from(self.bits() - self.prefix);
        match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(host).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(host).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
        }
    }

    /// One of IPv4 addresses as such.
    fn canonical(self) -> Self {
        match (self.address.to_canonical(), self.prefix.checked_sub(96)) {
            (address @ IpAddr::V4(_), Some(prefix)) if self.address.is_ipv6() => {
                Self { address, prefix }
            }
            _ => self,
        }
    }
}

/// The network of one address.
impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let one = Self { address, prefix: 0 };
        Self {
            address,
            prefix: one.bits(),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// An address with a prefix, such as `10.0.0.0/8`, or one alone.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let syntax = || NetworkError::Syntax(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        match prefix {
            None => Ok(address.into()),
            Some(prefix) => Self::new(address, prefix.parse().map_err(|_| syntax())?),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
