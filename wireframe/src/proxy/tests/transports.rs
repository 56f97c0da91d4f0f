//! A transport that begins with a header.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;

use crate::{
    proxy::{Header, Network, Origin, Proxied, ProxyInfo, ProxyProtocol, SocketKind, Untrusted},
    testing::{Link, link},
    transport::Transport,
};

/// What a proxy has told.
fn told_by(transport: &impl Transport) -> Option<ProxyInfo> {
    transport.info().get().cloned()
}

const CLIENT: ([u8; 4], u16) = ([203, 0, 113, 7], 4321);

fn proxy() -> SocketAddr {
    ([10, 0, 0, 1], 1).into()
}

fn header() -> Header {
    Header::tcp(CLIENT.into(), ([10, 0, 0, 2], 443).into())
}

fn protocol() -> ProxyProtocol {
    ProxyProtocol::from_sources(["10.0.0.0/8".parse::<Network>().unwrap()])
}

/// An end that may be behind a proxy, and the other one.
fn accepted(protocol: &ProxyProtocol, peer: Option<SocketAddr>) -> (Proxied<Link>, Link) {
    accepted_reading(protocol, peer, &[])
}

/// The same, over a transport that reads so many bytes at once, in turn.
fn accepted_reading(
    protocol: &ProxyProtocol,
    peer: Option<SocketAddr>,
    sizes: &[usize],
) -> (Proxied<Link>, Link) {
    let (near, far) = link(10_000);
    near.script().read_sizes(sizes.iter().copied());
    (protocol.accept(near, peer), far)
}

fn prepare(transport: &mut Proxied<Link>) -> Poll<io::Result<()>> {
    transport.poll_prepare(&mut Context::from_waker(Waker::noop()))
}

/// Reads with room for so many bytes, until nothing comes.
fn read(transport: &mut Proxied<Link>, room: usize) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut buf = BytesMut::with_capacity(room);
        match transport.poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
            Poll::Ready(read) => assert_eq!(read.unwrap(), buf.len()),
            Poll::Pending => return all,
        }
        if buf.is_empty() {
            return all;
        }
        all.extend(buf);
    }
}

#[test]
fn what_comes_with_the_header_is_read_behind_it() {
    // rule: PROXY-3
    let behind: Vec<u8> = (0..=255).cycle().take(2000).collect();
    for bytes in [header().to_v1(), header().to_v2()] {
        for (sizes, room) in [(&[][..], 100), (&[1], 4096), (&[7, 3], 1), (&[600], 5000)] {
            let (mut transport, mut far) = accepted_reading(&protocol(), Some(proxy()), sizes);
            far.send(&bytes);
            far.send(&behind);
            assert!(transport.preparation().is_some());
            assert_eq!(transport.address(Some(proxy())), None, "nobody knows yet");
            assert!(matches!(prepare(&mut transport), Poll::Ready(Ok(()))));
            assert_eq!(transport.preparation(), None);
            assert_eq!(transport.address(Some(proxy())), Some(CLIENT.into()));
            assert!(read(&mut transport, room) == behind);
            far.send(b"later");
            assert_eq!(read(&mut transport, room), b"later");
            let told = told_by(&transport).unwrap();
            assert_eq!((&told.header, told.proxy), (&header(), Some(proxy())));
        }
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    // rule: PROXY-3
    for bytes in [header().to_v1(), header().to_v2()] {
        let (mut transport, mut far) = accepted(&protocol(), Some(proxy()));
        for byte in &bytes {
            assert!(prepare(&mut transport).is_pending());
            far.send(&[*byte]);
        }
        assert!(matches!(prepare(&mut transport), Poll::Ready(Ok(()))));
        assert_eq!(transport.address(None), Some(CLIENT.into()));
    }
}

#[test]
fn a_header_of_the_longest_kind_is_read_to_its_end() {
    // rule: PROXY-3
    let mut header = header();
    header.fields = header.fields.with(0xE0, &[7; 3000]).unwrap();
    let (mut transport, mut far) = accepted(&protocol(), Some(proxy()));
    far.send(&header.to_v2());
    far.send(b"behind");
    assert!(matches!(prepare(&mut transport), Poll::Ready(Ok(()))));
    assert_eq!(read(&mut transport, 100), b"behind");
    assert_eq!(told_by(&transport).unwrap().header, header);
    let (mut transport, mut far) = accepted(&protocol().max_header_len(3000), Some(proxy()));
    far.send(&header.to_v2());
    let refused = failed(&mut transport, io::ErrorKind::InvalidData);
    assert_eq!(refused, "max_header_len is 3000, got 3031");
}

#[track_caller]
fn failed(transport: &mut Proxied<Link>, kind: io::ErrorKind) -> String {
    let Poll::Ready(Err(error)) = prepare(transport) else {
        panic!("it has to fail");
    };
    assert_eq!(error.kind(), kind);
    error.to_string()
}

#[test]
fn who_is_not_trusted_is_not_listened_to() {
    // rule: PROXY-1
    let stranger = Some(SocketAddr::from(([192, 0, 2, 1], 5)));
    let (mut transport, mut far) = accepted(&protocol(), stranger);
    far.send(&header().to_v2());
    assert!(transport.preparation().is_some());
    assert_eq!(transport.address(stranger), stranger);
    let refused = failed(&mut transport, io::ErrorKind::PermissionDenied);
    assert_eq!(
        refused,
        "192.0.2.1:5 is not trusted to speak the PROXY protocol"
    );

    let open = protocol().others(Untrusted::Serve);
    let (mut transport, mut far) = accepted(&open, stranger);
    far.send(&header().to_v2());
    assert_eq!(transport.preparation(), None);
    assert_eq!(transport.address(stranger), stranger);
    assert_eq!(
        read(&mut transport, 100),
        header().to_v2(),
        "it is no header"
    );
    assert_eq!(told_by(&transport), None);
    assert_eq!(transport.address(stranger), stranger);
}

#[test]
fn whoever_connects_in_the_file_system_is_trusted() {
    // rule: PROXY-1
    let nobody: [Network; 0] = [];
    let (mut transport, mut far) = accepted(&ProxyProtocol::from_sources(nobody), None);
    far.send(&header().to_v1());
    assert!(matches!(prepare(&mut transport), Poll::Ready(Ok(()))));
    assert_eq!(transport.address(None), Some(CLIENT.into()));
    assert_eq!(told_by(&transport).unwrap().proxy, None);
}

#[test]
fn the_address_is_that_of_whoever_the_proxy_speaks_for() {
    // rule: PROXY-2
    let unix = Origin::Unix {
        kind: SocketKind::Stream,
        source: [0; 108].into(),
        destination: [0; 108].into(),
    };
    for (origin, address) in [
        (Origin::Local, Some(proxy())),
        (Origin::Unknown, Some(proxy())),
        (unix, None),
    ] {
        let (mut transport, mut far) = accepted(&protocol(), Some(proxy()));
        far.send(&Header::from(origin.clone()).to_v2());
        assert!(matches!(prepare(&mut transport), Poll::Ready(Ok(()))));
        assert_eq!(transport.address(Some(proxy())), address, "{origin:?}");
        let told = told_by(&transport).unwrap();
        assert_eq!(told.is_local(), origin == Origin::Local);
        assert_eq!(told.header.origin, origin);
    }
}

#[test]
fn what_is_no_header_or_ends_within_one_is_an_error() {
    // rule: PROXY-3
    let (mut transport, mut far) = accepted(&protocol(), Some(proxy()));
    far.send(b"\0\0\0\x05hello");
    assert_eq!(
        failed(&mut transport, io::ErrorKind::InvalidData),
        "expected a header of the PROXY protocol, got 0x00 as byte 0"
    );
    let (mut transport, mut far) = accepted(&protocol(), Some(proxy()));
    far.send(&header().to_v2()[..20]);
    far.finish();
    assert_eq!(
        failed(&mut transport, io::ErrorKind::UnexpectedEof),
        "the peer ended the connection after 20 bytes of its PROXY header"
    );
}

#[test]
fn nothing_goes_either_way_before_the_header_has_come() {
    // rule: PROXY-3
    let (mut transport, mut far) = accepted(&protocol(), Some(proxy()));
    let cx = &mut Context::from_waker(Waker::noop());
    let greeting = [IoSlice::new(b"welcome")];
    assert!(transport.poll_write(cx, &greeting).is_pending());
    assert_eq!(far.receive(), b"");
    far.send(&header().to_v1());
    far.send(b"behind");
    assert!(matches!(
        transport.poll_write(cx, &greeting),
        Poll::Ready(Ok(7))
    ));
    assert_eq!(far.receive(), b"welcome");
    assert_eq!(read(&mut transport, 100), b"behind");
}
