//! Servers behind proxies, which tell whose connections they pass on.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use wireframe::{
    ConnectionHandle, HeldOutput, Transport, TransportInfo,
    proxy::{Header, Origin, Proxied, ProxyProtocol, SocketKind, Untrusted},
    server::ConnectionLimits,
    testing::Link,
};

use crate::{
    rig::{Record, Text, nonzero, secs, text, wire},
    serving::{Serving, heard},
};

/// The only one that is trusted.
const PROXY: [u8; 4] = [10, 0, 0, 1];

async fn who(connection: ConnectionHandle) -> String {
    let peer = connection
        .peer()
        .map_or("nobody".into(), |peer| peer.to_string());
    let Some(told) = connection.proxied() else {
        return peer;
    };
    let through = told.proxy.expect("it has an address");
    format!("{peer} through {through}")
}

fn protocol() -> ProxyProtocol {
    ProxyProtocol::from_sources([IpAddr::from(PROXY)])
}

fn serving(
    protocol: ProxyProtocol,
    limit: impl FnOnce(&mut ConnectionLimits),
) -> (Serving, Record) {
    let over = move |link, peer| protocol.accept(link, peer);
    serving_over(limit, over)
}

fn serving_over<T: Transport + 'static>(
    limit: impl FnOnce(&mut ConnectionLimits),
    over: impl FnMut(Link, Option<SocketAddr>) -> T + Send + 'static,
) -> (Serving, Record) {
    let mut limits = ConnectionLimits::default();
    limit(&mut limits);
    let protocol = Text {
        has_goodbye: true,
        ..Text::default()
    };
    let app = text(&protocol).route(1, who);
    (Serving::over(app, limits, over), protocol.record)
}

/// The header for a client of this address.
fn of(client: [u8; 4]) -> Header {
    Header::tcp((client, 4321).into(), ([10, 0, 0, 2], 443).into())
}

fn proxy(serving: &Serving) -> Link {
    serving.connect_from(Some(PROXY.into()), 1000)
}

/// The proxy passes a client on.
fn passed_on(serving: &Serving, header: &Header) -> Link {
    let mut peer = proxy(serving);
    peer.send(&header.to_v2());
    serving.simulation.run();
    peer
}

/// What comes back for a request.
fn asked(peer: &mut Link, serving: &Serving) -> Vec<String> {
    peer.send(&wire("1"));
    heard(peer, &serving.simulation)
}

/// Whether it is answered.
fn is_served(peer: &mut Link, serving: &Serving) -> bool {
    let answer = asked(peer, serving);
    matches!(&*answer, [answer] if answer.starts_with("1:"))
}

/// Whether it is closed without a word.
fn is_closed(peer: &mut Link, serving: &Serving) -> bool {
    heard(peer, &serving.simulation).is_empty() && peer.is_at_end()
}

#[test]
fn the_client_that_a_proxy_tells_of_is_the_peer() {
    // rule: PROXY-2
    let (serving, _) = serving(protocol(), |_| {});
    let client = of([203, 0, 113, 7]);
    for header in [client.to_v1(), client.to_v2()] {
        let mut peer = proxy(&serving);
        // With the first frame in one segment.
        peer.send(&[header, wire("1")].concat());
        let told = heard(&mut peer, &serving.simulation);
        assert_eq!(told, ["1:203.0.113.7:4321 through 10.0.0.1:1"]);
        assert_eq!(asked(&mut peer, &serving), told);
    }
    for origin in [Origin::Local, Origin::Unknown] {
        let mut peer = passed_on(&serving, &origin.into());
        assert_eq!(
            asked(&mut peer, &serving),
            ["1:10.0.0.1:1 through 10.0.0.1:1"]
        );
    }
    let unix = Origin::Unix {
        kind: SocketKind::Stream,
        source: [b'x'; 108].into(),
        destination: [b'y'; 108].into(),
    };
    let mut peer = passed_on(&serving, &unix.into());
    assert_eq!(asked(&mut peer, &serving), ["1:nobody through 10.0.0.1:1"]);
    assert_eq!(serving.handle.failed_handshakes(), 0);
}

#[test]
fn clients_share_the_limit_of_their_own_address_and_none_of_the_proxy() {
    // rule: PROXY-4, LIM-4
    let (serving, record) = serving(protocol(), |limits| {
        limits.max_per_address = Some(nonzero(2));
    });
    let [greedy, modest] = [[203, 0, 113, 7], [203, 0, 113, 8]].map(of);
    let mut served: Vec<_> = [&greedy, &modest, &greedy, &modest]
        .map(|header| passed_on(&serving, header))
        .into();
    let unnamed = [Origin::Unknown, Origin::Local].map(Header::from);
    served.extend((0..5).flat_map(|_| unnamed.iter().map(|header| passed_on(&serving, header))));
    for peer in &mut served {
        assert!(is_served(peer, &serving));
    }
    let mut third = passed_on(&serving, &greedy);
    assert_eq!(heard(&mut third, &serving.simulation), ["goodbye"]);
    third.finish();
    serving.simulation.run();
    assert_eq!(record.count("disconnect max_per_address is 2, got 3"), 1);
    assert_eq!(serving.handle.connections(), served.len());
    served[0].finish();
    serving.simulation.run();
    let mut again = passed_on(&serving, &greedy);
    assert!(is_served(&mut again, &serving));
    let mut third = passed_on(&serving, &greedy);
    assert_eq!(heard(&mut third, &serving.simulation), ["goodbye"]);
}

#[test]
fn who_has_not_been_told_of_counts_towards_all_connections_alone() {
    // rule: PROXY-4, LIM-4
    let (serving, _) = serving(protocol(), |limits| {
        limits.max_connections = nonzero(3);
        limits.max_per_address = Some(nonzero(1));
    });
    let mut silent = [(); 3].map(|()| proxy(&serving));
    let mut fourth = passed_on(&serving, &of([203, 0, 113, 7]));
    assert_eq!(asked(&mut fourth, &serving), [""; 0], "it waits for room");
    let [first, ..] = &mut silent;
    first.finish();
    serving.simulation.run();
    let told = heard(&mut fourth, &serving.simulation);
    assert_eq!(told, ["1:203.0.113.7:4321 through 10.0.0.1:1"]);
}

#[test]
fn a_header_that_does_not_come_in_time_ends_its_connection_alone() {
    // rule: PROXY-4
    let (serving, record) = serving(protocol(), |limits| limits.max_connections = nonzero(2));
    let mut honest = passed_on(&serving, &of([203, 0, 113, 7]));
    let mut slow = proxy(&serving);
    let header = of([203, 0, 113, 8]).to_v2();
    for byte in &header[..4] {
        slow.send(&[*byte]);
        serving.simulation.advance(secs(1));
    }
    serving.simulation.advance(Duration::from_millis(999));
    assert!(!slow.is_at_end());
    serving.simulation.advance(Duration::from_millis(1));
    assert!(is_closed(&mut slow, &serving));
    assert_eq!(serving.handle.failed_handshakes(), 1);
    assert_eq!(record.count("setup"), 1, "the app has seen it");
    assert!(is_served(&mut honest, &serving));
    let mut next = passed_on(&serving, &of([203, 0, 113, 8]));
    assert!(is_served(&mut next, &serving));
}

#[test]
fn a_connection_without_its_header_never_reaches_the_app() {
    // rule: PROXY-1, PROXY-3
    let (serving, record) = serving(protocol(), |_| {});
    let mut honest = passed_on(&serving, &of([203, 0, 113, 7]));
    let damaged = b"PROXY TCP4 203.0.113.7 10.0.0.2 4321\r\n";
    for (failed, bytes) in [(1, &wire("1")[..]), (2, damaged), (3, &[])] {
        let mut peer = proxy(&serving);
        peer.send(bytes);
        if bytes.is_empty() {
            peer.finish();
        }
        assert!(is_closed(&mut peer, &serving), "{bytes:?}");
        assert_eq!(serving.handle.failed_handshakes(), failed);
    }
    assert_eq!(record.count("setup"), 1);
    assert!(is_served(&mut honest, &serving));
}

#[test]
fn a_header_of_a_stranger_is_none() {
    // rule: PROXY-1
    let stranger = Some(IpAddr::from([192, 0, 2, 1]));
    let forged = of([203, 0, 113, 7]).to_v1();
    let (refusing, record) = serving(protocol(), |_| {});
    let mut peer = refusing.connect_from(stranger, 1000);
    peer.send(&forged);
    assert!(is_closed(&mut peer, &refusing));
    assert_eq!(refusing.handle.failed_handshakes(), 1);
    assert_eq!(record.count("setup"), 0);

    let (open, record) = serving(protocol().others(Untrusted::Serve), |limits| {
        limits.max_per_address = Some(nonzero(1));
    });
    let mut peer = open.connect_from(stranger, 1000);
    assert_eq!(asked(&mut peer, &open), ["1:192.0.2.1:1"]);
    let mut second = open.connect_from(stranger, 1000);
    assert_eq!(heard(&mut second, &open.simulation), ["goodbye"]);
    // To the protocol it is a frame, and too long a one.
    peer.send(&forged);
    assert_eq!(heard(&mut peer, &open.simulation), ["goodbye"]);
    peer.finish();
    open.simulation.run();
    let reason = "disconnect max_frame_len is 1048576, got 1347571544";
    assert_eq!(record.count(reason), 1, "{:?}", record.take());
}

#[test]
fn a_proxy_that_looks_whether_the_server_is_well_has_done_nothing_wrong() {
    // rule: PROXY-4
    let (serving, _) = serving(protocol(), |_| {});
    let mut check = passed_on(&serving, &Origin::Local.into());
    check.finish();
    assert!(is_closed(&mut check, &serving));
    let (over_handshake, _) = serving_over(|_| {}, handshaking(protocol()));
    let mut check = passed_on(&over_handshake, &Origin::Local.into());
    check.finish();
    assert!(is_closed(&mut check, &over_handshake));
    assert_eq!(over_handshake.handle.failed_handshakes(), 0);
    let mut client = passed_on(&over_handshake, &of([203, 0, 113, 7]));
    client.finish();
    assert!(is_closed(&mut client, &over_handshake));
    assert_eq!(over_handshake.handle.failed_handshakes(), 1);
}

#[test]
fn a_shutdown_does_not_wait_for_a_header() {
    // rule: PROXY-4
    let (serving, _) = serving(protocol().timeout(secs(3600)), |_| {});
    let mut silent = proxy(&serving);
    serving.handle.shutdown();
    assert!(is_closed(&mut silent, &serving));
    assert_eq!(serving.report(), (0, 0, 0));
}

/// A transport with a handshake of one byte, behind whatever its own transport does first.
struct Handshake<T> {
    stream: T,
    is_done: bool,
}

fn handshaking(
    protocol: ProxyProtocol,
) -> impl FnMut(Link, Option<SocketAddr>) -> Handshake<Proxied<Link>> {
    move |link, peer| Handshake {
        stream: protocol.accept(link, peer),
        is_done: false,
    }
}

impl<T: Transport> Transport for Handshake<T> {
    fn preparation(&self) -> Option<Duration> {
        let own = (!self.is_done).then_some(secs(60));
        self.stream.preparation().or(own)
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stream.preparation().is_some() {
            return self.stream.poll_prepare(cx);
        }
        let mut byte = BytesMut::with_capacity(1);
        self.is_done = ready!(self.stream.poll_read(cx, &mut byte))? == 1;
        let ended = io::ErrorKind::UnexpectedEof.into();
        Poll::Ready(self.is_done.then_some(()).ok_or(ended))
    }

    fn address(&self, socket: Option<SocketAddr>) -> Option<SocketAddr> {
        self.stream.address(socket)
    }

    fn info(&self) -> TransportInfo {
        self.stream.info()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.stream.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, chunks)
    }

    fn held(&self) -> Option<HeldOutput> {
        self.stream.held()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[test]
fn a_client_is_judged_before_its_handshake_and_each_step_has_its_own_time() {
    // rule: PROXY-4, LIM-4
    let (serving, record) = serving_over(
        |limits| limits.max_per_address = Some(nonzero(1)),
        handshaking(protocol()),
    );
    let client = of([203, 0, 113, 7]);
    let mut first = proxy(&serving);
    serving.simulation.advance(secs(4));
    first.send(&client.to_v1());
    serving.simulation.run();
    let mut second = passed_on(&serving, &client);
    second.send(b"!");
    assert_eq!(heard(&mut second, &serving.simulation), ["goodbye"]);
    assert_eq!(record.count("setup"), 1, "the first is shaking hands");
    let mut other = passed_on(&serving, &of([203, 0, 113, 8]));
    other.send(b"!");
    assert!(is_served(&mut other, &serving));
    serving.simulation.advance(Duration::from_millis(59_999));
    assert!(!first.is_at_end());
    serving.simulation.advance(Duration::from_millis(1));
    assert!(is_closed(&mut first, &serving));
    let mut third = passed_on(&serving, &client);
    third.send(b"!");
    assert!(is_served(&mut third, &serving));
}
