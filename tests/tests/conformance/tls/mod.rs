//! TLS, with certificates of both sides: the same on every runtime.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    time::Duration,
};

use rustls::ClientConnection;
use wireframe::{
    Client, ConnectionHandle, Envelope, EnvelopeProtocol, WireframeApp,
    rt::Runtime,
    server::{ConnectionLimits, ListenOptions, WhenFull},
    tls::{self, TlsAcceptor, TlsConnector},
};
use wireframe_tests::{Authority, Lines, Outsider, Serving, aside};

use crate::support::{Count, echo, never, patient};

mod openssl;

scenarios! {
    calls_go_over_tls_and_handlers_see_what_was_agreed
    hooks_see_what_was_agreed
    a_certificate_that_is_not_trusted_is_refused_and_others_are_served
    a_client_without_a_certificate_is_refused_where_one_is_required
    a_handshake_that_does_not_go_on_ends_at_its_time_limit
    a_shutdown_does_not_wait_for_a_handshake
    a_connection_in_its_handshake_counts_towards_the_limits
    a_drain_ends_with_close_notify
    an_end_inside_a_frame_is_told_without_close_notify
}

async fn serve<R: Runtime, P: wireframe::Protocol>(
    app: WireframeApp<P>,
    tls: TlsAcceptor,
) -> Serving {
    serve_within::<R, P>(app, tls, ConnectionLimits::default()).await
}

async fn serve_within<R: Runtime, P: wireframe::Protocol>(
    app: WireframeApp<P>,
    tls: TlsAcceptor,
    limits: ConnectionLimits,
) -> Serving {
    let mut options = ListenOptions::default();
    options.tls = Some(tls);
    Serving::start_with::<R, P>(app, &options, limits).await
}

async fn client<R: Runtime>(server: &Serving, tls: &TlsConnector) -> io::Result<Client> {
    tls::connect::<R, EnvelopeProtocol>(server.address, tls, WireframeApp::new()).await
}

/// Says what TLS told of the client.
async fn who(connection: ConnectionHandle) -> Vec<u8> {
    let Some(tls) = connection.tls() else {
        return b"nobody".to_vec();
    };
    assert_eq!(tls.alpn_protocol.as_deref(), Some(&b"wireframe"[..]));
    assert_eq!(tls.server_name.as_deref(), Some("db.example"));
    tls.peer_certificates
        .first()
        .map_or_else(Vec::new, |certificate| certificate.to_vec())
}

async fn calls_go_over_tls_and_handlers_see_what_was_agreed<R: Runtime>() {
    // rule: TLS-1, TLS-3
    let authority = Authority::new();
    let app = WireframeApp::new().route(1, echo).route(2, who);
    let server = serve::<R, _>(app, authority.server(true)).await;
    let identity = authority.sign("somebody");
    let client = client::<R>(&server, &authority.connector(Some(&identity))).await;
    let client = client.expect("both are trusted");
    for len in [0, 1, 100, 20_000, 900_000] {
        let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
        let reply = client.call(Envelope::new(1, payload.clone())).await;
        assert!(reply.expect("an echo").payload == payload, "{len} bytes");
    }
    let identity = client.call(Envelope::new(2, "")).await.expect("an answer");
    assert!(
        identity
            .payload
            .windows(8)
            .any(|bytes| bytes == b"somebody")
    );
    drop(client);
    server.end().await;
}

async fn hooks_see_what_was_agreed<R: Runtime>() {
    // rule: TLS-3
    let authority = Authority::new();
    let protocol = Lines::new();
    let notes = protocol.notes.clone();
    let app = WireframeApp::with_protocol(protocol);
    let server = serve::<R, _>(app, authority.server(true)).await;
    let config = authority.connector(Some(&authority.sign("somebody")));
    let app = WireframeApp::with_protocol(Lines::new());
    let client = tls::connect::<R, _>(server.address, &config, app).await;
    let agreed = notes.find("setup").await;
    for part in [
        "peer_certificates: 1,",
        "alpn_protocol: Some(",
        "server_name: Some(\"db.example\")",
    ] {
        assert!(agreed.contains(part), "{agreed}");
    }
    drop(client.expect("both are trusted"));
    server.end().await;
}

async fn a_certificate_that_is_not_trusted_is_refused_and_others_are_served<R: Runtime>() {
    // rule: TLS-2
    let (authority, other) = (Authority::new(), Authority::new());
    let server = WireframeApp::new().route(1, echo);
    let server = serve::<R, _>(server, authority.server(false)).await;
    let honest = authority.connector(None);
    let honest = client::<R>(&server, &honest).await.expect("it is trusted");
    let elsewhere = "other.example".try_into().expect("a name");
    for connector in [
        other.connector(None),
        TlsConnector::new(authority.client(None), elsewhere),
    ] {
        let refused = client::<R>(&server, &connector).await;
        let refused = refused.expect_err("it is not trusted");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
    }
    let reply = honest.call(Envelope::new(1, "still here")).await;
    assert_eq!(reply.expect("an echo").payload, "still here");
    drop(honest);
    server.end().await;
}

async fn a_client_without_a_certificate_is_refused_where_one_is_required<R: Runtime>() {
    // rule: TLS-2
    let authority = Authority::new();
    let begun = Count::default();
    let seen = begun.clone();
    let app = WireframeApp::new().route(1, echo).on_connect(move || {
        let seen = seen.clone();
        async move {
            seen.add();
        }
    });
    let server = serve::<R, _>(app, authority.server(true)).await;
    let stray = Authority::new().sign("somebody");
    for identity in [None, Some(&stray)] {
        // A client learns it with its handshake or behind it.
        if let Ok(client) = client::<R>(&server, &authority.connector(identity)).await {
            let refused = client.call(Envelope::new(1, "")).await;
            refused.expect_err("the server does not know it");
        }
    }
    let handle = server.handle.clone();
    server.end().await;
    assert_eq!(handle.failed_handshakes(), 2);
    assert_eq!(begun.now(), 0, "the app has seen a connection");
}

async fn a_handshake_that_does_not_go_on_ends_at_its_time_limit<R: Runtime>() {
    // rule: TLS-2
    let authority = Authority::new();
    let tls = authority.server(false).timeout(Duration::from_millis(50));
    let server = serve::<R, _>(WireframeApp::new().route(1, echo), tls).await;
    let silent = Outsider::connect(server.address).await;
    silent.expect_end().await;
    assert_eq!(server.handle.failed_handshakes(), 1);
    server.end().await;
}

async fn a_shutdown_does_not_wait_for_a_handshake<R: Runtime>() {
    // rule: TLS-2
    let authority = Authority::new();
    let tls = authority.server(false).timeout(Duration::from_secs(3600));
    let app = WireframeApp::new().config(patient()).route(1, echo);
    let server = serve::<R, _>(app, tls).await;
    let silent = Outsider::connect(server.address).await;
    // Behind it in the queue, so that it has been accepted.
    let honest = authority.connector(None);
    drop(client::<R>(&server, &honest).await.expect("it is trusted"));
    server.end().await;
    silent.expect_end().await;
}

async fn a_connection_in_its_handshake_counts_towards_the_limits<R: Runtime>() {
    // rule: TLS-2, LIM-4
    let authority = Authority::new();
    let mut limits = ConnectionLimits::default();
    limits.max_connections = NonZeroUsize::MIN;
    limits.when_full = WhenFull::Refuse;
    let tls = authority.server(false).timeout(Duration::from_secs(3600));
    let app = WireframeApp::new().config(patient()).route(1, echo);
    let server = serve_within::<R, _>(app, tls, limits).await;
    let connector = authority.connector(None);
    let silent = Outsider::connect(server.address).await;
    let second = client::<R>(&server, &connector).await;
    let second = second.expect("it shakes hands, to be told why it is refused");
    let refused = second.call(Envelope::new(1, "")).await;
    refused.expect_err("the first has the only place");
    // It ends within its handshake, and leaves its place.
    silent.end_output();
    silent.expect_end().await;
    assert_eq!(server.handle.failed_handshakes(), 1);
    let third = client::<R>(&server, &connector).await.expect("a handshake");
    let reply = third.call(Envelope::new(1, "there is room")).await;
    assert_eq!(reply.expect("an echo").payload, "there is room");
    drop(third);
    server.end().await;
}

/// A blocking client that knows nothing of the library, past its handshake.
fn blocking(
    authority: &Authority,
    address: SocketAddr,
) -> rustls::StreamOwned<ClientConnection, TcpStream> {
    let name = "db.example".try_into().expect("a name");
    let connection = ClientConnection::new(authority.client(None), name).expect("fit");
    let socket = TcpStream::connect(address).expect("a server listens");
    let patience = Some(Duration::from_secs(20));
    socket.set_read_timeout(patience).expect("not zero");
    rustls::StreamOwned::new(connection, socket)
}

async fn a_drain_ends_with_close_notify<R: Runtime>() {
    // rule: TLS-4
    let authority = Authority::new();
    let app = WireframeApp::with_protocol(Lines::new()).config(patient());
    let server = serve::<R, _>(app, authority.server(false)).await;
    let (handle, address) = (server.handle.clone(), server.address);
    let read = aside(move || {
        let mut peer = blocking(&authority, address);
        let mut first = [0; 4];
        peer.read_exact(&mut first).expect("it is greeted");
        handle.shutdown();
        // An end without `close_notify` would be `UnexpectedEof`.
        peer.read_to_end(&mut Vec::new())
    });
    read.await.expect("an orderly end");
    server.end().await;
}

async fn an_end_inside_a_frame_is_told_without_close_notify<R: Runtime>() {
    // rule: TLS-4, SHUT-6
    let authority = Authority::new();
    let protocol = Lines::new();
    let app = WireframeApp::with_protocol(protocol).state(Count::default());
    let app = app.config(patient()).route(7, never);
    let server = serve::<R, _>(app, authority.server(false)).await;
    let address = server.address;
    let read = aside(move || {
        let mut peer = blocking(&authority, address);
        peer.write_all(b"\0\0\0\x051hi").expect("it takes bytes");
        peer.sock.shutdown(std::net::Shutdown::Write).expect("up");
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all)
    });
    let read = read.await.expect("an orderly end");
    let goodbye = b"goodbye: peer closed inside a frame: 2 of 5 payload bytes missing";
    let told = read.windows(goodbye.len()).any(|bytes| bytes == goodbye);
    assert!(told, "{}", String::from_utf8_lossy(&read));
    server.end().await;
}
