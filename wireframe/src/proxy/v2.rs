//! Version 2: binary.

use std::{
    iter,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use wireframe_proto::LimitExceeded;

use super::{
    crc32c::crc32c,
    error::HeaderError,
    header::{Header, Origin, SocketKind, UnixAddress, same_family},
    tlv::{FieldIter, Fields},
};

/// What a header begins with.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the part that is always there.
const HEAD: usize = 16;

/// Bytes of two addresses of the file system.
pub(super) const UNIX: usize = 2 * UnixAddress::LEN;

/// What a proxy speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Unspecified,
    Inet,
    Inet6,
    Unix,
}

impl Family {
    /// Bytes that both addresses take.
    const fn len(self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::Inet => 2 * (4 + 2),
            Self::Inet6 => 2 * (16 + 2),
            Self::Unix => UNIX,
        }
    }
}

/// The part that is always there, behind the signature.
struct Head {
    /// What is proxied; `None` if the proxy speaks for itself.
    proxied: Option<(Family, Option<SocketKind>)>,
    /// Bytes of the whole header.
    len: usize,
}

/// A header that begins with the signature, or with a part of it.
pub(super) fn parse(bytes: &[u8], max_len: usize) -> Result<Option<(Header, usize)>, HeaderError> {
    let Some(head) = head(bytes, max_len)? else {
        return Ok(None);
    };
    let Some(header) = bytes.get(..head.len) else {
        return Ok(None);
    };
    let Some((family, kind)) = head.proxied else {
        return Ok(Some((Origin::Local.into(), head.len)));
    };
    let block = header.get(HEAD..).unwrap_or_default();
    let (addresses, fields) = block
        .split_at_checked(family.len())
        .ok_or(too_short(family, block.len()))?;
    let fields = Fields::parse(fields)?;
    verify(header, &fields)?;
    let origin = kind.and_then(|kind| origin(family, kind, addresses));
    let origin = origin.unwrap_or(Origin::Unknown);
    Ok(Some((Header { origin, fields }, head.len)))
}

/// Says what is wrong as soon as it can be seen.
fn head(bytes: &[u8], max_len: usize) -> Result<Option<Head>, HeaderError> {
    let mut rest = bytes.iter().skip(SIGNATURE.len()).copied();
    let Some(command) = rest.next().map(is_proxied).transpose()? else {
        return Ok(None);
    };
    let Some(what) = rest.next() else {
        return Ok(None);
    };
    // The family of a proxy's own connections means nothing.
    let proxied = command.then(|| what_is_proxied(what)).transpose()?;
    let (Some(high), Some(low)) = (rest.next(), rest.next()) else {
        return Ok(None);
    };
    let block = usize::from(u16::from_be_bytes([high, low]));
    let len = HEAD + block;
    if len > max_len {
        return Err(HeaderError::TooLong(LimitExceeded {
            limit: "max_header_len",
            value: max_len as u64,
            got: len as u64,
        }));
    }
    match proxied {
        Some((family, _)) if block < family.len() => Err(too_short(family, block)),
        _ => Ok(Some(Head { proxied, len })),
    }
}

fn too_short(family: Family, got: usize) -> HeaderError {
    HeaderError::Length {
        what: "addresses",
        expected: family.len(),
        got,
    }
}

/// Whether a client is spoken of, and not the proxy itself.
fn is_proxied(version_and_command: u8) -> Result<bool, HeaderError> {
    let value = |expected, got| HeaderError::Value { expected, got };
    match (version_and_command >> 4, version_and_command & 0xF) {
        (2, 0) => Ok(false),
        (2, 1) => Ok(true),
        (2, command) => Err(value("the command LOCAL (0) or PROXY (1)", command)),
        (version, _) => Err(value("the version 2", version)),
    }
}

fn what_is_proxied(byte: u8) -> Result<(Family, Option<SocketKind>), HeaderError> {
    let value = |expected, got| HeaderError::Value { expected, got };
    let family = match byte >> 4 {
        0 => Family::Unspecified,
        1 => Family::Inet,
        2 => Family::Inet6,
        3 => Family::Unix,
        other => return Err(value("an address family of 0 to 3", other)),
    };
    let kind = match byte & 0xF {
        0 => None,
        1 => Some(SocketKind::Stream),
        2 => Some(SocketKind::Datagram),
        other => return Err(value("a transport of 0 to 2", other)),
    };
    Ok((family, kind))
}

/// `None` if nothing is said.
fn origin(family: Family, kind: SocketKind, addresses: &[u8]) -> Option<Origin> {
    match family {
        Family::Unspecified => None,
        Family::Inet => inet::<4>(kind, addresses),
        Family::Inet6 => inet::<16>(kind, addresses),
        Family::Unix => {
            let (source, rest) = addresses.split_first_chunk()?;
            let destination = rest.first_chunk()?;
            Some(Origin::Unix {
                kind,
                source: UnixAddress::from(*source),
                destination: UnixAddress::from(*destination),
            })
        }
    }
}

fn inet<const N: usize>(kind: SocketKind, addresses: &[u8]) -> Option<Origin>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = addresses.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk()?;
    let destination_port = rest.first_chunk()?;
    Some(Origin::Ip {
        kind,
        source: SocketAddr::new((*source).into(), u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new((*destination).into(), u16::from_be_bytes(*destination_port)),
    })
}

/// The checksums among some fields, and how many bytes stand behind each.
fn checksums(fields: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut rest = FieldIter(fields);
    let all = iter::from_fn(move || rest.next().map(|field| (field, rest.0.len())));
    all.filter_map(|((kind, value), behind)| (kind == Fields::CRC32C).then_some((value, behind)))
}

fn verify(header: &[u8], fields: &Fields) -> Result<(), HeaderError> {
    for (value, behind) in checksums(fields.as_bytes()) {
        let Ok(got) = value.try_into().map(u32::from_be_bytes) else {
            return Err(HeaderError::Length {
                what: "the checksum",
                expected: 4,
                got: value.len(),
            });
        };
        let expected = checksum(header, &place(header, behind));
        if got != expected {
            return Err(HeaderError::Checksum { expected, got });
        }
    }
    Ok(())
}

/// Where a checksum stands that has so many bytes behind it.
fn place(header: &[u8], behind: usize) -> Range<usize> {
    let end = header.len().saturating_sub(behind);
    end.saturating_sub(4)..end
}

/// That of a header, in which it counts as 0.
fn checksum(header: &[u8], place: &Range<usize>) -> u32 {
    let without = |(at, byte): (usize, &u8)| if place.contains(&at) { 0 } else { *byte };
    crc32c(header.iter().enumerate().map(without))
}

/// The bytes of a header.
pub(super) fn encode(header: &Header) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let (command, what, addresses) = match &header.origin {
        Origin::Local => (0, 0, Vec::new()),
        Origin::Unknown => (1, 0, Vec::new()),
        Origin::Ip {
            kind,
            source,
            destination,
        } => {
            let (from, to) = same_family(source.ip(), destination.ip());
            let family = if from.is_ipv4() { 1 } else { 2 };
            let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
            let addresses = [octets(from), octets(to), ports.concat()].concat();
            (1, family << 4 | number(*kind), addresses)
        }
        Origin::Unix {
            kind,
            source,
            destination,
        } => {
            let addresses = [source.as_bytes(), destination.as_bytes()].concat();
            (1, 3 << 4 | number(*kind), addresses)
        }
    };
    let fields = match header.origin {
        Origin::Local => Fields::default(),
        _ => header.fields.clone().with_one_checksum(),
    };
    let fields = fields.as_bytes();
    // What fields may take leaves room for all addresses.
    let len = u16::try_from(addresses.len() + fields.len()).unwrap_or(u16::MAX);
    bytes.extend([2 << 4 | command, what]);
    bytes.extend(len.to_be_bytes());
    bytes.extend(addresses);
    bytes.extend(fields);
    if let Some((_, behind)) = checksums(fields).next() {
        let place = place(&bytes, behind);
        let sum = checksum(&bytes, &place).to_be_bytes();
        bytes.splice(place, sum);
    }
    bytes
}

const fn number(kind: SocketKind) -> u8 {
    match kind {
        SocketKind::Stream => 1,
        SocketKind::Datagram => 2,
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
