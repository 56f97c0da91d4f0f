//! TLS, with certificates of both sides: the same on every runtime.

use std::{io, num::NonZeroUsize, time::Duration};

use wireframe::{
    Backoff, CallError, Client, ConnectionHandle, Envelope, EnvelopeProtocol, WireframeApp,
    rt::Runtime,
    server::{ConnectionLimits, ListenOptions, Server, WhenFull},
    tls::{self, TlsAcceptor, TlsConnector},
};
use wireframe_tests::{Authority, Lines, Outsider, Serving, spawn};

use crate::support::{Count, echo, patient};

pub(crate) mod ends;
mod openssl;

scenarios! {
    calls_go_over_tls_and_handlers_see_what_was_agreed
    hooks_see_what_was_agreed
    a_certificate_that_is_not_trusted_is_refused_and_others_are_served
    a_client_without_a_certificate_is_refused_where_one_is_required
    certificates_that_have_expired_are_refused
    a_client_connects_again_when_its_server_is_there_again
    a_handshake_that_does_not_go_on_ends_at_its_time_limit
    a_connection_in_its_handshake_counts_towards_the_limits
}

/// How long a handshake may take that is not to end by itself.
const FOREVER: Duration = Duration::from_secs(3600);

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

async fn certificates_that_have_expired_are_refused<R: Runtime>() {
    // rule: TLS-2
    let authority = Authority::new();
    let tls = authority.expired_server();
    let server = serve::<R, _>(WireframeApp::new(), tls).await;
    let refused = client::<R>(&server, &authority.connector(None)).await;
    let refused = refused.expect_err("it is out of date");
    assert!(refused.to_string().contains("expired"), "{refused}");
    server.end().await;

    let protocol = Lines::new();
    let notes = protocol.notes.clone();
    let app = WireframeApp::with_protocol(protocol);
    let server = serve::<R, _>(app, authority.server(true)).await;
    let stale = authority.sign_expired("somebody");
    // A client learns it with its handshake or behind it.
    if let Ok(client) = client::<R>(&server, &authority.connector(Some(&stale))).await {
        let refused = client.call(Envelope::new(1, "")).await;
        refused.expect_err("it is out of date");
    }
    let handle = server.handle.clone();
    server.end().await;
    assert_eq!(handle.failed_handshakes(), 1);
    assert!(notes.all().is_empty(), "{:?}", notes.all());
}

async fn a_client_connects_again_when_its_server_is_there_again<R: Runtime>() {
    // rule: TLS-1, CLI-6
    let authority = Authority::new();
    let app = || WireframeApp::new().route(1, echo);
    let server = serve::<R, _>(app(), authority.server(true)).await;
    let address = server.address;
    let identity = authority.sign("somebody");
    let tls = authority.connector(Some(&identity));
    let client = tls::reconnecting::<R, _>(address, tls, WireframeApp::new());
    let backoff = Backoff::new().with_first(Duration::from_millis(1));
    let client = client.expect("fit to serve").with_backoff(backoff);
    let reply = client.call(Envelope::new(1, "before")).await;
    assert_eq!(reply.expect("an echo").payload, "before");
    server.end().await;
    // A call may still meet the end of the connection before.
    let asking = spawn::<R, _>(async move {
        loop {
            match client.call(Envelope::new(1, "behind")).await {
                Ok(reply) => break reply,
                Err(CallError::Closed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    let mut options = ListenOptions::default();
    options.tls = Some(authority.server(true));
    let server = Server::<R>::bind_with(address, &options).await;
    let server = server.expect("the port is free again");
    let handle = server.handle();
    let served = spawn::<R, _>(server.serve(app()));
    assert_eq!(asking.join().await.payload, "behind");
    handle.shutdown();
    served.join().await.expect("fit to serve");
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

async fn a_connection_in_its_handshake_counts_towards_the_limits<R: Runtime>() {
    // rule: TLS-2, LIM-4
    let authority = Authority::new();
    let mut limits = ConnectionLimits::default();
    limits.max_connections = NonZeroUsize::MIN;
    limits.when_full = WhenFull::Refuse;
    let tls = authority.server(false).timeout(FOREVER);
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
