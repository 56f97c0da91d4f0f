//! Headers, networks, and transports that begin with a header.

mod headers;
mod networks;
mod random;
mod transports;

use super::{Header, HeaderError};

/// The most that most headers may have.
const MAX: usize = 4096;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap();
    [SIGNATURE, &[command, family], &len.to_be_bytes(), block].concat()
}

/// A header that nothing comes behind.
fn whole(bytes: &[u8]) -> Header {
    let (header, len) = Header::parse(bytes, MAX).unwrap().unwrap();
    assert_eq!(len, bytes.len());
    header
}

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    let refused: HeaderError = Header::parse(bytes, MAX).expect_err("it is no header");
    refused.to_string()
}
