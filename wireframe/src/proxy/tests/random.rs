//! Headers cut anywhere, headers that are damaged, and bytes that are none.

use std::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, prelude::*};

use crate::proxy::{Fields, Header, Origin, SocketKind, UnixAddress};

use super::{MAX, SIGNATURE};

fn address() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
}

fn ip(kind: SocketKind) -> impl Strategy<Value = Origin> {
    let same = |(source, destination): &(IpAddr, IpAddr)| source.is_ipv4() == destination.is_ipv4();
    let addresses = (address(), address()).prop_filter("one family", same);
    (addresses, any::<[u16; 2]>()).prop_map(move |((source, destination), ports)| Origin::Ip {
        kind,
        source: SocketAddr::new(source, ports[0]),
        destination: SocketAddr::new(destination, ports[1]),
    })
}

fn unix() -> impl Strategy<Value = Origin> {
    let address = || vec(any::<u8>(), 108).prop_map(|path| path.try_into().unwrap());
    (address(), address()).prop_map(
        |(source, destination): ([u8; 108], [u8; 108])| Origin::Unix {
            kind: SocketKind::Datagram,
            source: UnixAddress::from(source),
            destination: UnixAddress::from(destination),
        },
    )
}

fn fields() -> impl Strategy<Value = Fields> {
    // All but those in which not everything is right.
    let kind =
        any::<u8>().prop_filter("free", |kind| ![Fields::CRC32C, Fields::SSL].contains(kind));
    let fields = vec((kind, vec(any::<u8>(), 0..40)), 0..5);
    (fields, 0..6_usize).prop_map(|(all, checksum)| {
        let mut fields = Fields::default();
        for (at, (kind, value)) in all.into_iter().enumerate() {
            if at == checksum {
                fields = fields.with_checksum().unwrap();
            }
            fields = fields.with(kind, &value).unwrap();
        }
        fields
    })
}

fn header() -> impl Strategy<Value = Header> {
    let origin = prop_oneof![
        ip(SocketKind::Stream),
        ip(SocketKind::Datagram),
        unix(),
        Just(Origin::Unknown),
    ];
    let with_fields = (origin, fields()).prop_map(|(origin, fields)| Header { origin, fields });
    prop_oneof![with_fields, Just(Origin::Local.into())]
}

/// Bytes that are a header, and what it says.
fn encoded() -> impl Strategy<Value = (Vec<u8>, Header)> {
    let v1 = prop_oneof![ip(SocketKind::Stream), Just(Origin::Unknown)];
    prop_oneof![
        v1.prop_map(|origin| {
            let header = Header::from(origin);
            (header.to_v1(), header)
        }),
        header().prop_map(|header| {
            let bytes = header.to_v2();
            // A checksum has been computed.
            let (read, _) = Header::parse(&bytes, MAX).unwrap().unwrap();
            (
                bytes,
                Header {
                    fields: read.fields,
                    ..header
                },
            )
        }),
    ]
}

/// Bytes that might be taken for a header.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (
        encoded(),
        vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    );
    let damaged = damaged.prop_map(|((mut bytes, _), changes)| {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    let behind = |start: &'static [u8]| {
        vec(any::<u8>(), 0..300).prop_map(move |rest| [start, &rest].concat())
    };
    let words = prop::sample::select(vec![
        "TCP4", "TCP6", "UNKNOWN", "1.2.3.4", "::1", "80", "\r\n", "\r", "\n", "",
    ]);
    let words =
        vec(words, 0..9).prop_map(|words| ["PROXY", &words.join(" ")].join(" ").into_bytes());
    prop_oneof![
        damaged,
        behind(b""),
        behind(b"PROXY "),
        behind(SIGNATURE),
        behind(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x20"),
        words,
    ]
}

proptest! {
    #[test]
    fn a_header_is_the_same_however_it_is_cut_and_nothing_behind_it_matters(
        (bytes, header) in encoded(),
        behind in vec(any::<u8>(), 0..200),
    ) {
        // rule: PROXY-3
        for len in 0..bytes.len() {
            prop_assert_eq!(Header::parse(&bytes[..len], MAX), Ok(None), "of {} bytes", len);
        }
        let expected = Ok(Some((header, bytes.len())));
        prop_assert_eq!(&Header::parse(&bytes, MAX), &expected);
        prop_assert_eq!(&Header::parse(&[bytes, behind].concat(), MAX), &expected);
    }

    #[test]
    fn what_was_read_can_be_passed_on(header in header()) {
        let bytes = header.to_v2();
        let (read, len) = Header::parse(&bytes, MAX).unwrap().unwrap();
        prop_assert_eq!((&read.origin, len), (&header.origin, bytes.len()));
        let kinds = |header: &Header| header.fields.iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        prop_assert_eq!(kinds(&read), kinds(&header));
        prop_assert_eq!(read.to_v2(), bytes);
    }

    #[test]
    fn bytes_are_judged_once_and_alike_however_they_are_cut(bytes in almost()) {
        // rule: PROXY-3
        let whole = Header::parse(&bytes, 200);
        if let Ok(Some((_, len))) = &whole {
            prop_assert!(*len <= bytes.len().min(200));
        }
        let mut judged = (0..=bytes.len()).map(|len| Header::parse(&bytes[..len], 200));
        let first = judged.find(|judged| *judged != Ok(None));
        prop_assert_eq!(first.unwrap_or(Ok(None)), whole);
    }
}
