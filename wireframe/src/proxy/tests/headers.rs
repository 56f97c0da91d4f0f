//! What headers say, and what is none.

use crate::proxy::{Fields, Header, HeaderError, Origin, SocketKind, UnixAddress};

use super::{MAX, SIGNATURE, binary, refused, whole};

/// From that of AWS's load balancers, with a checksum, the name of an endpoint, and padding.
fn of_aws() -> Vec<u8> {
    let id = b"\xEA\0\x17\x01vpce-08d2bf15fac5001c9";
    let addresses = b"\xAC\x1F\x07\x71\xAC\x1F\x0A\x1F\xC8\xF2\0\x50";
    let checksum = b"\x03\0\x04\xE8\xD6\x89\x2D";
    let padding = [&b"\x04\0\x24"[..], &[0; 36]].concat();
    binary(
        0x21,
        0x11,
        &[addresses, &checksum[..], &id[..], &padding].concat(),
    )
}

#[test]
fn the_lines_of_the_specification_are_understood() {
    // rule: PROXY-3
    let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n";
    let (header, len) = Header::parse(line, MAX).unwrap().unwrap();
    assert_eq!(&line[len..], b"GET / HTTP/1.1\r\n");
    let tcp = |source: &str, destination: &str| {
        Header::tcp(source.parse().unwrap(), destination.parse().unwrap())
    };
    assert_eq!(header, tcp("192.168.0.1:56324", "192.168.0.11:443"));
    assert_eq!(
        whole(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
        tcp("255.255.255.255:65535", "255.255.255.255:65535")
    );
    let longest = ["ffff"; 8].join(":");
    let line = format!("PROXY TCP6 {longest} ::1 65535 0\r\n");
    let (source, destination) = (format!("[{longest}]:65535"), "[::1]:0");
    assert_eq!(whole(line.as_bytes()), tcp(&source, destination));
    for rest in ["", " ", " anything\rat\nall \u{e9}"] {
        let line = format!("PROXY UNKNOWN{rest}\r\n");
        assert_eq!(whole(line.as_bytes()), Origin::Unknown.into());
    }
    let line = format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n");
    assert_eq!(line.len(), 107);
    assert_eq!(whole(line.as_bytes()), Origin::Unknown.into());
}

#[test]
fn a_line_that_is_not_exactly_as_it_must_be_is_refused() {
    // rule: PROXY-3
    for (line, what) in [
        (
            "TCP4 1.2.3.4 5.6.7.8 1 2 ",
            "expected CR LF in a PROXY header, got \"\"",
        ),
        (
            "TCP4 1.2.3.4 5.6.7.8 1 2 3",
            "expected CR LF in a PROXY header, got \"3\"",
        ),
        (
            "TCP4 1.2.3.4 5.6.7.8 1",
            "expected a port, 0 to 65535 in a PROXY header, got \"\"",
        ),
        (
            "TCP4 1.2.3.4 5.6.7.8 1 02",
            "expected a port, 0 to 65535 in a PROXY header, got \"02\"",
        ),
        (
            "TCP4 1.2.3.4 5.6.7.8 +1 2",
            "expected a port, 0 to 65535 in a PROXY header, got \"+1\"",
        ),
        (
            "TCP4 1.2.3.4 5.6.7.8 65536 2",
            "expected a port, 0 to 65535 in a PROXY header, got \"65536\"",
        ),
        (
            "TCP4 1.2.3.04 5.6.7.8 1 2",
            "expected an IP address of its family in a PROXY header, got \"1.2.3.04\"",
        ),
        (
            "TCP4 1.2.3.4  5.6.7.8 1 2",
            "expected an IP address of its family in a PROXY header, got \"\"",
        ),
        (
            "TCP4 ::1 ::1 1 2",
            "expected an IP address of its family in a PROXY header, got \"::1\"",
        ),
        (
            "TCP6 ::1 1.2.3.4 1 2",
            "expected an IP address of its family in a PROXY header, got \"1.2.3.4\"",
        ),
        (
            "TCP4 1.2.3.4 5.6.7.8 1 2\n",
            "expected a port, 0 to 65535 in a PROXY header, got \"2\\n\"",
        ),
        (
            "tcp4 1.2.3.4 5.6.7.8 1 2",
            "expected TCP4, TCP6 or UNKNOWN in a PROXY header, got \"tcp4\"",
        ),
        (
            "UNKNOWNS",
            "expected TCP4, TCP6 or UNKNOWN in a PROXY header, got \"UNKNOWNS\"",
        ),
        (
            "",
            "expected TCP4, TCP6 or UNKNOWN in a PROXY header, got \"\"",
        ),
    ] {
        assert_eq!(
            refused(format!("PROXY {line}\r\n").as_bytes()),
            what,
            "{line:?}"
        );
    }
    let endless = ["PROXY UNKNOWN ", &"x".repeat(92), "\r\n"].concat();
    assert_eq!(endless.len(), 108);
    assert_eq!(
        refused(endless.as_bytes()),
        "expected CR LF within 107 bytes of a PROXY header"
    );
    assert_eq!(Header::parse(&endless.as_bytes()[..106], MAX), Ok(None));
}

#[test]
fn what_begins_as_neither_version_is_refused_at_its_first_byte() {
    // rule: PROXY-3
    for (bytes, at, got) in [
        (&b"\0\0\0\x05hello"[..], 0, 0),
        (b"\x16\x03\x01", 0, 0x16),
        (b"PROXYTCP4", 5, b'T'),
        (b"POST /", 1, b'O'),
        (b"\r\n\r\n\r", 4, b'\r'),
        (b"\n", 0, b'\n'),
    ] {
        let refused = Header::parse(bytes, MAX);
        assert_eq!(refused, Err(HeaderError::NoHeader { at, got }), "{bytes:?}");
    }
    assert_eq!(
        refused(b"GET /"),
        "expected a header of the PROXY protocol, got 0x47 as byte 0"
    );
}

#[test]
fn addresses_of_all_families_are_understood_in_version_2() {
    // rule: PROXY-3
    let inet = b"\x0A\0\0\x01\x0A\0\0\x02\x10\x00\x01\xBB";
    let inet6 = [&[0; 15][..], &[1], &[0; 15], &[2], b"\x10\x00\x01\xBB"].concat();
    let mut unix = [0; 216];
    unix[..7].copy_from_slice(b"/client");
    unix[108..116].fill(b'x');
    for (kind, low) in [(SocketKind::Stream, 1), (SocketKind::Datagram, 2)] {
        let ip = |source: &str, destination: &str| Origin::Ip {
            kind,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let header = whole(&binary(0x21, 0x10 | low, inet));
        assert_eq!(header, ip("10.0.0.1:4096", "10.0.0.2:443").into());
        let header = whole(&binary(0x21, 0x20 | low, &inet6));
        assert_eq!(header, ip("[::1]:4096", "[::2]:443").into());
        let header = whole(&binary(0x21, 0x30 | low, &unix));
        let (source, destination) = unix.split_at(108);
        let [source, destination]: [UnixAddress; 2] =
            [source, destination].map(|half| <[u8; 108]>::try_from(half).unwrap().into());
        assert_eq!(
            (source.path(), destination.path()),
            (&b"/client"[..], &b"xxxxxxxx"[..])
        );
        let unix = Origin::Unix {
            kind,
            source,
            destination,
        };
        assert_eq!(header, unix.into());
    }
}

#[test]
fn a_proxy_speaks_for_itself_or_for_nobody_that_it_can_name() {
    // rule: PROXY-2
    for (family, block) in [(0, &b""[..]), (0x11, b"no addresses"), (0xFF, b"\x01")] {
        let header = whole(&binary(0x20, family, block));
        assert_eq!(header, Origin::Local.into());
    }
    let field = b"\x02\0\x02db";
    let mut addresses = vec![7; 36];
    addresses.extend(field);
    for (family, block) in [(0x00, &field[..]), (0x01, field), (0x20, &addresses)] {
        let header = whole(&binary(0x21, family, block));
        assert_eq!(header.origin, Origin::Unknown);
        assert_eq!(header.fields.authority(), Some("db"));
    }
}

#[test]
fn what_version_2_does_not_assign_is_refused() {
    // rule: PROXY-3
    for (bytes, what) in [
        (
            binary(0x11, 0x11, b""),
            "expected the version 2 in a PROXY header, got 1",
        ),
        (
            binary(0x22, 0x11, b""),
            "expected the command LOCAL (0) or PROXY (1) in a PROXY header, got 2",
        ),
        (
            binary(0x21, 0x41, b""),
            "expected an address family of 0 to 3 in a PROXY header, got 4",
        ),
        (
            binary(0x21, 0x13, b""),
            "expected a transport of 0 to 2 in a PROXY header, got 3",
        ),
        (
            binary(0x21, 0x11, &[0; 11]),
            "expected 12 bytes of addresses in a PROXY header, got 11",
        ),
        (
            binary(0x21, 0x00, b"\x05\0"),
            "expected 3 bytes of a field's type and length in a PROXY header, got 2",
        ),
        (
            binary(0x21, 0x00, b"\x05\0\x03id"),
            "expected 3 bytes of a field's value in a PROXY header, got 2",
        ),
        (
            binary(0x21, 0x00, b"\x20\0\x02\x01\0"),
            "expected 5 bytes of the SSL field in a PROXY header, got 2",
        ),
        (
            binary(0x21, 0x00, b"\x20\0\x09\x01\0\0\0\0\x21\0\x02T"),
            "expected 2 bytes of a field's value in a PROXY header, got 1",
        ),
        (
            binary(0x21, 0x00, b"\x03\0\x02\0\0"),
            "expected 4 bytes of the checksum in a PROXY header, got 2",
        ),
        (
            binary(0x20, 0, &[0; 4081]),
            "max_header_len is 4096, got 4097",
        ),
    ] {
        assert_eq!(refused(&bytes), what);
    }
    let most = binary(0x20, 0, &[0; 4080]);
    assert_eq!(whole(&most), Origin::Local.into());
}

#[test]
fn what_the_fixed_part_says_wrong_is_refused_before_the_rest_has_come() {
    // rule: PROXY-3
    let too_short = binary(0x21, 0x31, &[0; 215]);
    let too_long = binary(0x21, 0x11, &[0; 4081]);
    for (bytes, seen) in [
        (binary(0x31, 0x11, b""), 13),
        (binary(0x2F, 0x11, b""), 13),
        (binary(0x21, 0x51, b""), 14),
        (too_short, 16),
        (too_long, 16),
    ] {
        assert_eq!(Header::parse(&bytes[..seen - 1], MAX), Ok(None));
        assert!(Header::parse(&bytes[..seen], MAX).is_err(), "{bytes:?}");
    }
}

#[test]
fn fields_are_kept_and_the_checksum_is_looked_at() {
    // rule: PROXY-3
    let bytes = of_aws();
    let header = whole(&bytes);
    assert_eq!(header.source(), Some(([172, 31, 7, 113], 51442).into()));
    assert_eq!(header.destination(), Some(([172, 31, 10, 31], 80).into()));
    let id = header.fields.get(0xEA).unwrap();
    assert_eq!(id, b"\x01vpce-08d2bf15fac5001c9");
    let kinds: Vec<_> = header.fields.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Fields::CRC32C, 0xEA, Fields::NOOP]);
    assert_eq!(header.to_v2(), bytes);
    let all = SIGNATURE.len() + 4..bytes.len();
    // With another type it is no checksum.
    for at in all.filter(|at| *at != 28) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        assert!(Header::parse(&bytes, MAX).is_err(), "byte {at}");
    }
    let mut bytes = bytes;
    bytes[16] ^= 1;
    assert_eq!(
        refused(&bytes),
        "a PROXY header has the checksum 0xf494536e, got 0xe8d6892d"
    );
}

#[test]
fn a_header_has_one_checksum_however_often_it_is_added() {
    // rule: PROXY-3
    let fields = Fields::default().with_checksum().unwrap();
    let fields = fields.with(0xE0, b"other").unwrap();
    let fields = fields.with_checksum().unwrap();
    let fields = fields.with(Fields::CRC32C, b"no sum").unwrap();
    let kinds: Vec<_> = fields.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [0xE0, Fields::CRC32C]);
    let mut header = Header::tcp(([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
    header.fields = fields;
    let sent = whole(&header.to_v2());
    assert_eq!(sent.fields.get(0xE0), Some(&b"other"[..]));
}

#[test]
fn of_several_checksums_that_came_one_is_sent() {
    // rule: PROXY-3
    let sum = b"\x03\0\x04\x01\x02\x03\x04";
    let mut header = Header::tcp(([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
    header.fields = Fields::parse(&[&sum[..], b"\xE0\0\x01x", sum].concat()).unwrap();
    let sent = whole(&header.to_v2());
    let kinds: Vec<_> = sent.fields.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [0xE0, Fields::CRC32C]);
}

#[test]
fn fields_say_what_a_proxy_knows() {
    // rule: PROXY-2
    let ssl = |client, verify| {
        let head = [
            &[client, 0, 0, 0, verify][..],
            b"\x21\0\x07TLSv1.3",
            b"\x22\0\x02me",
        ];
        let fields = Fields::default().with(Fields::ALPN, b"h2").unwrap();
        let fields = fields.with(Fields::UNIQUE_ID, b"\xFF7").unwrap();
        let fields = fields.with(Fields::AUTHORITY, b"\xFF").unwrap();
        fields.with(Fields::SSL, &head.concat()).unwrap()
    };
    let fields = ssl(7, 0);
    assert_eq!(fields.alpn(), Some(&b"h2"[..]));
    assert_eq!(fields.unique_id(), Some(&b"\xFF7"[..]));
    assert_eq!(
        (fields.authority(), fields.get(Fields::NETNS)),
        (None, None)
    );
    let known = fields.ssl().unwrap();
    assert_eq!(
        (known.version(), known.common_name()),
        (Some("TLSv1.3"), Some("me"))
    );
    assert_eq!(known.cipher(), None);
    let flags = |client, verify| {
        let fields = ssl(client, verify);
        let known = fields.ssl().unwrap();
        (
            known.is_encrypted(),
            known.has_certificate(),
            known.is_verified(),
        )
    };
    // HAProxy says 0 for verified when there was nothing to verify.
    assert_eq!(flags(1, 0), (true, false, false));
    assert_eq!(flags(3, 0), (true, true, true));
    assert_eq!(flags(5, 0), (true, true, true));
    assert_eq!(flags(7, 1), (true, true, false));
    assert_eq!(flags(0, 0), (false, false, false));
}

#[test]
fn what_cannot_be_said_is_refused_or_said_otherwise() {
    let mixed = Header::tcp(([10, 0, 0, 1], 1).into(), "[::1]:2".parse().unwrap());
    let mapped = Header::tcp(
        "[::ffff:10.0.0.1]:1".parse().unwrap(),
        "[::1]:2".parse().unwrap(),
    );
    assert_eq!(whole(&mixed.to_v1()), mapped);
    assert_eq!(whole(&mixed.to_v2()), mapped);
    let most = Fields::default().with(1, &[0; 65_316]).unwrap();
    let refused = most.clone().with(1, b"").expect_err("there is no room");
    assert_eq!(
        refused.to_string(),
        "fields of a PROXY header is 65319, got 65322"
    );
    let unix = Header {
        origin: Origin::Unix {
            kind: SocketKind::Stream,
            source: [1; 108].into(),
            destination: [2; 108].into(),
        },
        fields: most,
    };
    let bytes = unix.to_v2();
    assert_eq!(bytes.len(), 65_551);
    assert_eq!(Header::parse(&bytes, 65_551), Ok(Some((unix, bytes.len()))));
}
