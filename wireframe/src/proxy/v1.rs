//! Version 1: a line of text.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use super::{
    error::HeaderError,
    header::{Header, Origin, SocketKind, same_family},
};

/// What a line begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Most bytes of a line, with its end.
pub(super) const MAX_LINE: usize = 107;

/// A header that begins with the signature, or with a part of it.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let line = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
        return match line.len() < MAX_LINE {
            true => Ok(None),
            false => Err(HeaderError::Endless { limit: MAX_LINE }),
        };
    };
    let rest = line.get(SIGNATURE.len()..end).unwrap_or_default();
    let header = Header::from(origin(rest)?);
    Ok(Some((header, end + 2)))
}

/// What is between the signature and the end.
fn origin(rest: &[u8]) -> Result<Origin, HeaderError> {
    if rest == b"UNKNOWN" || rest.starts_with(b"UNKNOWN ") {
        return Ok(Origin::Unknown);
    }
    let text = String::from_utf8_lossy(rest);
    let mut fields = text.split(' ');
    let family = fields.next().unwrap_or_default();
    let is_of_family: fn(&IpAddr) -> bool = match family {
        "TCP4" => IpAddr::is_ipv4,
        "TCP6" => IpAddr::is_ipv6,
        _ => return Err(field("TCP4, TCP6 or UNKNOWN", family)),
    };
    let mut address = || {
        let text = fields.next().unwrap_or_default();
        let ip = IpAddr::from_str(text).ok().filter(is_of_family);
        ip.ok_or_else(|| field("an IP address of its family", text))
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || {
        let text = fields.next().unwrap_or_default();
        let port = text
            .parse()
            .ok()
            .filter(|port: &u16| port.to_string() == text);
        port.ok_or_else(|| field("a port, 0 to 65535", text))
    };
    let (source_port, destination_port) = (port()?, port()?);
    if let Some(more) = fields.next() {
        return Err(field("CR LF", more));
    }
    Ok(Origin::Ip {
        kind: SocketKind::Stream,
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

fn field(expected: &'static str, got: &str) -> HeaderError {
    let got = got.to_owned();
    HeaderError::Field { expected, got }
}

/// The line of an origin. Only TCP has one of its own.
pub(super) fn line(origin: &Origin) -> String {
    let Origin::Ip {
        kind: SocketKind::Stream,
        source,
        destination,
    } = origin
    else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let (from, to) = same_family(source.ip(), destination.ip());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    let ports = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1)
}
