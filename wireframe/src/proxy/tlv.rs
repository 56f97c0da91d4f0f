//! What a header of version 2 says beside addresses.

use std::{fmt, str};

use bytes::Bytes;
use wireframe_proto::LimitExceeded;

use super::error::HeaderError;

/// Bytes of a field's type and length.
const HEAD: usize = 3;

/// Bytes of the SSL field that go before fields of its own.
const SSL_HEAD: usize = 5;

/// Most bytes of all fields: what the longest addresses leave of a header.
const MOST: usize = u16::MAX as usize - super::v2::UNIX;

/// The fields behind the addresses of a header, each with a type, in the order in which they
/// came. Section 2.2 of the specification says what the types mean; those from `0xE0` to
/// `0xEF` are for applications, and operators of clouds have their own.
///
/// ```
/// use wireframe::proxy::Fields;
///
/// let fields = Fields::default().with(Fields::AUTHORITY, b"db.example")?;
/// assert_eq!(fields.authority(), Some("db.example"));
/// assert_eq!(fields.get(0xEA), None);
/// # Ok::<_, wireframe::proto::LimitExceeded>(())
/// ```
// Each field is whole, and so is each within an SSL field.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Bytes);

impl Fields {
    /// The application protocol that the client and the proxy have agreed upon.
    pub const ALPN: u8 = 0x01;
    /// The name of the host that the client asked for; over TLS, its server name.
    pub const AUTHORITY: u8 = 0x02;
    /// The checksum of the header. One that came has been checked; one that is to be sent is
    /// computed then, whatever stands here.
    pub const CRC32C: u8 = 0x03;
    /// Nothing: padding.
    pub const NOOP: u8 = 0x04;
    /// The proxy's name for the connection, at most 128 bytes.
    pub const UNIQUE_ID: u8 = 0x05;
    /// What the proxy knows of the client by TLS.
    pub const SSL: u8 = 0x20;
    /// The name of the network namespace.
    pub const NETNS: u8 = 0x30;

    /// Takes the fields of a header.
    ///
    /// # Errors
    ///
    /// One of them is not whole.
    pub(super) fn parse(block: &[u8]) -> Result<Self, HeaderError> {
        check(block)?;
        let mut fields = FieldIter(block);
        for (kind, value) in &mut fields {
            if kind == Self::SSL {
                let Some((_, own)) = value.split_at_checked(SSL_HEAD) else {
                    return Err(length("the SSL field", SSL_HEAD, value.len()));
                };
                check(own)?;
            }
        }
        Ok(Self(Bytes::copy_from_slice(block)))
    }

    /// Adds a field. A [checksum](Self::CRC32C) takes the place of the one that there is, and
    /// its value is ignored: it is computed when the header is sent.
    ///
    /// # Errors
    ///
    /// All fields together would take more than 65 319 bytes, which is what the length of a
    /// header leaves. What is in an SSL field is not checked.
    pub fn with(self, kind: u8, value: &[u8]) -> Result<Self, LimitExceeded> {
        match kind {
            // Of two only one could be right: each is computed over the other.
            Self::CRC32C => self.without_checksum().and(kind, &[0; 4]),
            _ => self.and(kind, value),
        }
    }

    fn and(self, kind: u8, value: &[u8]) -> Result<Self, LimitExceeded> {
        let got = self.0.len() + HEAD + value.len();
        let too_long = LimitExceeded {
            limit: "fields of a PROXY header",
            value: MOST as u64,
            got: got as u64,
        };
        let (Ok(len), true) = (u16::try_from(value.len()), got <= MOST) else {
            return Err(too_long);
        };
        let head = [&[kind][..], &len.to_be_bytes()].concat();
        Ok(Self([&self.0, &head[..], value].concat().into()))
    }

    /// With no more than one checksum, as it can be sent. A header that came may have more.
    pub(super) fn with_one_checksum(self) -> Self {
        let sums = self.iter().filter(|(kind, _)| *kind == Self::CRC32C);
        match sums.count() {
            0 | 1 => self,
            // It takes less than what it replaces.
            _ => self.clone().with_checksum().unwrap_or(self),
        }
    }

    fn without_checksum(self) -> Self {
        if self.get(Self::CRC32C).is_none() {
            return self;
        }
        let mut others = Vec::with_capacity(self.0.len());
        for (kind, value) in self.iter().filter(|(kind, _)| *kind != Self::CRC32C) {
            let [.., high, low] = value.len().to_be_bytes();
            others.extend_from_slice(&[kind, high, low]);
            others.extend_from_slice(value);
        }
        Self(others.into())
    }

    /// Adds the checksum, which is computed when the header is sent, in the place of the one
    /// that there is.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub fn with_checksum(self) -> Result<Self, LimitExceeded> {
        self.with(Self::CRC32C, &[0; 4])
    }

    /// All of them: type and value.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        FieldIter(&self.0)
    }

    /// The value of the first field of a type.
    #[must_use]
    pub fn get(&self, kind: u8) -> Option<&[u8]> {
        FieldIter(&self.0).get(kind)
    }

    /// [`ALPN`](Self::ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.get(Self::ALPN)
    }

    /// [`AUTHORITY`](Self::AUTHORITY), if it is UTF-8, as it should be.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        str::from_utf8(self.get(Self::AUTHORITY)?).ok()
    }

    /// [`UNIQUE_ID`](Self::UNIQUE_ID).
    #[must_use]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.get(Self::UNIQUE_ID)
    }

    /// [`SSL`](Self::SSL).
    #[must_use]
    pub fn ssl(&self) -> Option<Ssl<'_>> {
        let (head, fields) = self.get(Self::SSL)?.split_first_chunk::<SSL_HEAD>()?;
        let [client, verify @ ..] = *head;
        Some(Ssl {
            client,
            verify: u32::from_be_bytes(verify),
            fields,
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What a proxy knows of a client by TLS, which it has ended itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssl<'a> {
    client: u8,
    verify: u32,
    fields: &'a [u8],
}

impl<'a> Ssl<'a> {
    /// The version of TLS, such as `TLSv1.3`.
    pub const VERSION: u8 = 0x21;
    /// The common name in the client's certificate.
    pub const COMMON_NAME: u8 = 0x22;
    /// The cipher, such as `ECDHE-RSA-AES128-GCM-SHA256`.
    pub const CIPHER: u8 = 0x23;
    /// How the proxy's certificate is signed, such as `RSA-SHA256`.
    pub const SIGNATURE_ALGORITHM: u8 = 0x24;
    /// The kind of the proxy's key, such as `RSA2048`.
    pub const KEY_ALGORITHM: u8 = 0x25;

    /// Whether the client has connected over TLS.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.client & 0x01 != 0
    }

    /// Whether the client has shown a certificate, on this connection or earlier in the same
    /// session.
    #[must_use]
    pub const fn has_certificate(&self) -> bool {
        self.client & (0x02 | 0x04) != 0
    }

    /// Whether the client has shown a certificate and the proxy has verified it.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        // Some send 0 for a client without one, too.
        self.has_certificate() && self.verify == 0
    }

    /// The value of the first field of a type.
    #[must_use]
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        FieldIter(self.fields).get(kind)
    }

    /// [`VERSION`](Self::VERSION), if it is text.
    #[must_use]
    pub fn version(&self) -> Option<&'a str> {
        str::from_utf8(self.get(Self::VERSION)?).ok()
    }

    /// [`COMMON_NAME`](Self::COMMON_NAME), if it is text. It is worth something if the
    /// certificate [was verified](Self::is_verified).
    #[must_use]
    pub fn common_name(&self) -> Option<&'a str> {
        str::from_utf8(self.get(Self::COMMON_NAME)?).ok()
    }

    /// [`CIPHER`](Self::CIPHER), if it is text.
    #[must_use]
    pub fn cipher(&self) -> Option<&'a str> {
        str::from_utf8(self.get(Self::CIPHER)?).ok()
    }
}

/// The fields that some bytes begin with.
pub(super) struct FieldIter<'a>(pub(super) &'a [u8]);

impl<'a> FieldIter<'a> {
    fn get(mut self, kind: u8) -> Option<&'a [u8]> {
        self.find_map(|(other, value)| (other == kind).then_some(value))
    }
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, high, low], rest) = self.0.split_first_chunk::<HEAD>()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((kind, value))
    }
}

/// Whether these are whole fields and nothing else.
fn check(block: &[u8]) -> Result<(), HeaderError> {
    let mut fields = FieldIter(block);
    fields.by_ref().for_each(drop);
    match *fields.0 {
        [] => Ok(()),
        [_, high, low, ref value @ ..] => {
            let len = usize::from(u16::from_be_bytes([high, low]));
            Err(length("a field's value", len, value.len()))
        }
        ref head => Err(length("a field's type and length", HEAD, head.len())),
    }
}

fn length(what: &'static str, expected: usize, got: usize) -> HeaderError {
    HeaderError::Length {
        what,
        expected,
        got,
    }
}
