//! Servers behind proxies: the same on every runtime.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use wireframe::{
    ConnectionHandle, WireframeApp,
    proxy::{Fields, Header, Network, ProxyProtocol, Untrusted},
    rt::Runtime,
    server::{ConnectionLimits, ListenOptions},
};
use wireframe_tests::{Authority, Lines, Outsider, Serving, aside, wire};

use crate::{
    support::{patient, some},
    tls::ends::blocking,
};

scenarios! {
    handlers_see_the_client_that_a_proxy_tells_of
    clients_behind_a_proxy_have_the_limit_of_their_own_address
    a_source_that_is_not_trusted_is_refused_or_served_as_who_it_is
    a_connection_without_a_header_ends_and_others_are_served
    a_header_that_does_not_come_ends_at_its_time_limit
    a_header_goes_before_tls
    a_client_counts_for_its_address_before_its_handshake
}

/// The loopback, where the tests are.
fn here() -> ProxyProtocol {
    ProxyProtocol::from_sources([IpAddr::from(Ipv4Addr::LOCALHOST)])
}

/// Somewhere else.
fn elsewhere() -> ProxyProtocol {
    let network: Network = "192.0.2.0/24".parse().expect("a network");
    ProxyProtocol::from_sources([network])
}

/// The header for a client of this address.
fn of(client: [u8; 4]) -> Header {
    Header::tcp((client, 4321).into(), ([192, 0, 2, 80], 443).into())
}

/// The header for one that has asked for a host, with a checksum.
fn with_host(client: [u8; 4]) -> Header {
    let mut header = of(client);
    let fields = header.fields.with(Fields::AUTHORITY, b"db.example");
    let fields = fields.and_then(Fields::with_checksum);
    header.fields = fields.expect("short");
    header
}

/// Says who the peer is, and whose the name is that it has asked for.
async fn who(connection: ConnectionHandle) -> String {
    let peer = connection.peer().expect("TCP has addresses").ip();
    let told = connection.proxied();
    let name = told.and_then(|told| told.header.fields.authority());
    format!("{peer} {}", name.unwrap_or("-"))
}

fn app() -> WireframeApp<Lines> {
    let app = WireframeApp::with_protocol(Lines::new());
    app.config(patient()).route(1, who)
}

async fn serve<R: Runtime>(proxy: ProxyProtocol) -> Serving {
    let mut options = ListenOptions::default();
    options.proxy = Some(proxy);
    Serving::start_with::<R, _>(app(), &options, ConnectionLimits::default()).await
}

/// The same over TLS, with all the time for it, and with one connection of each address.
async fn serve_tls<R: Runtime>(proxy: ProxyProtocol, authority: &Authority) -> Serving {
    let (mut options, mut limits) = (ListenOptions::default(), ConnectionLimits::default());
    options.proxy = Some(proxy);
    options.tls = Some(authority.server(false).timeout(Duration::from_secs(3600)));
    limits.max_per_address = Some(some(1));
    Serving::start_with::<R, _>(app(), &options, limits).await
}

/// What a peer hears that sends these bytes and asks who it is, but for the greeting.
async fn told(server: &Serving, bytes: &[u8]) -> String {
    let peer = Outsider::connect(server.address).await;
    // With the first frame in one segment.
    peer.send([bytes, &wire("1")].concat()).await;
    let mut line = peer.next_line().await;
    if line.as_deref() == Some("hello") {
        line = peer.next_line().await;
    }
    line.expect("it is told something")
}

async fn handlers_see_the_client_that_a_proxy_tells_of<R: Runtime>() {
    // rule: PROXY-2, PROXY-3
    let server = serve::<R>(here()).await;
    let header = with_host([203, 0, 113, 7]);
    let line = told(&server, &header.to_v1()).await;
    assert_eq!(line, "1=203.0.113.7 -");
    let line = told(&server, &header.to_v2()).await;
    assert_eq!(line, "1=203.0.113.7 db.example");
    let line = told(&server, b"PROXY UNKNOWN\r\n").await;
    assert_eq!(line, "1=127.0.0.1 -");
    // Segment by segment; nobody is greeted before.
    let peer = Outsider::connect(server.address).await;
    for byte in header.to_v2() {
        peer.send([byte]).await;
    }
    assert_eq!(peer.next_line().await.as_deref(), Some("hello"));
    peer.send_line("1").await;
    let line = peer.next_line().await;
    assert_eq!(line.as_deref(), Some("1=203.0.113.7 db.example"));
    drop(peer);
    server.end().await;
}

async fn clients_behind_a_proxy_have_the_limit_of_their_own_address<R: Runtime>() {
    // rule: PROXY-4, LIM-4
    let mut limits = ConnectionLimits::default();
    limits.max_per_address = Some(some(1));
    let mut options = ListenOptions::default();
    options.proxy = Some(here());
    let server = Serving::start_with::<R, _>(app(), &options, limits).await;
    let mut peers = Vec::new();
    for last in 0..5 {
        let peer = Outsider::connect(server.address).await;
        peer.send(of([203, 0, 113, last]).to_v2()).await;
        assert_eq!(peer.next_line().await.as_deref(), Some("hello"));
        peers.push(peer);
    }
    let second = told(&server, &of([203, 0, 113, 0]).to_v2()).await;
    let goodbye = "goodbye: max_per_address is 1, got 2";
    assert_eq!(second, goodbye);
    drop(peers);
    server.end().await;
}

async fn a_source_that_is_not_trusted_is_refused_or_served_as_who_it_is<R: Runtime>() {
    // rule: PROXY-1
    let server = serve::<R>(elsewhere()).await;
    let stranger = Outsider::connect(server.address).await;
    stranger.expect_end().await;
    assert_eq!(server.handle.failed_handshakes(), 1);
    server.end().await;

    let server = serve::<R>(elsewhere().others(Untrusted::Serve)).await;
    let line = told(&server, b"").await;
    assert_eq!(line, "1=127.0.0.1 -");
    let forged = told(&server, &of([203, 0, 113, 7]).to_v1()).await;
    let goodbye = "goodbye: max_frame_len is 1048576, got 1347571544";
    assert_eq!(forged, goodbye);
    server.end().await;
}

async fn a_connection_without_a_header_ends_and_others_are_served<R: Runtime>() {
    // rule: PROXY-1, PROXY-3
    let server = serve::<R>(here()).await;
    let honest = Outsider::connect(server.address).await;
    honest.send(of([203, 0, 113, 7]).to_v2()).await;
    assert_eq!(honest.next_line().await.as_deref(), Some("hello"));
    let line = b"PROXY TCP4 203.0.113.7 192.0.2.80 04321 443\r\n";
    for (failed, bytes) in [(1, &b"\0"[..]), (2, line)] {
        let peer = Outsider::connect(server.address).await;
        peer.send(bytes).await;
        peer.expect_end().await;
        assert_eq!(server.handle.failed_handshakes(), failed);
    }
    honest.send_line("1").await;
    let line = honest.next_line().await;
    assert_eq!(line.as_deref(), Some("1=203.0.113.7 -"));
    drop(honest);
    server.end().await;
}

async fn a_header_that_does_not_come_ends_at_its_time_limit<R: Runtime>() {
    // rule: PROXY-4
    let proxy = here().timeout(Duration::from_millis(50));
    let authority = Authority::new();
    let plain = serve::<R>(proxy.clone()).await;
    let over_tls = serve_tls::<R>(proxy, &authority).await;
    for server in [plain, over_tls] {
        let silent = Outsider::connect(server.address).await;
        silent.expect_end().await;
        assert_eq!(server.handle.failed_handshakes(), 1);
        server.end().await;
    }
}

/// What a client over TLS hears that asks who it is, but for the greeting.
fn told_over_tls(authority: &Authority, address: SocketAddr) -> String {
    let mut peer = blocking(authority, address);
    let header = with_host([203, 0, 113, 7]).to_v2();
    peer.sock.write_all(&header).expect("it takes bytes");
    peer.write_all(&wire("1")).expect("a handshake");
    let mut line = || {
        let mut length = [0; 4];
        peer.read_exact(&mut length).expect("a line");
        let mut text = vec![0; u32::from_be_bytes(length) as usize];
        peer.read_exact(&mut text).expect("all of it");
        String::from_utf8(text).expect("text")
    };
    match line() {
        greeting if greeting == "hello" => line(),
        goodbye => goodbye,
    }
}

async fn a_header_goes_before_tls<R: Runtime>() {
    // rule: PROXY-1, TLS-1
    let authority = Authority::new();
    let server = serve_tls::<R>(here(), &authority).await;
    let address = server.address;
    let told = aside(move || told_over_tls(&authority, address)).await;
    assert_eq!(told, "1=203.0.113.7 db.example");
    server.end().await;
}

async fn a_client_counts_for_its_address_before_its_handshake<R: Runtime>() {
    // rule: PROXY-4, LIM-4
    let authority = Arc::new(Authority::new());
    let server = serve_tls::<R>(here(), &authority).await;
    let address = server.address;
    let mut silent = Vec::new();
    // Nobody can see when the server has read the header of the first; so the second may have
    // been faster.
    loop {
        let first = Outsider::connect(address).await;
        first.send(of([203, 0, 113, 7]).to_v1()).await;
        silent.push(first);
        let authority = Arc::clone(&authority);
        let told = aside(move || told_over_tls(&authority, address)).await;
        if told == "goodbye: max_per_address is 1, got 2" {
            break;
        }
        assert_eq!(told, "1=203.0.113.7 db.example");
    }
    server.end().await;
}
