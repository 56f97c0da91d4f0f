//! The ends of connections over TLS, as a client sees them that knows nothing of the library.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConnection, ServerConfig};
use wireframe::{
    WireframeApp,
    rt::Runtime,
    server::{ConnectionLimits, ServerHandle, WhenFull},
    tls::TlsAcceptor,
};
use wireframe_tests::{Authority, Lines, Outsider, aside, lines};

use super::{FOREVER, serve, serve_within};
use crate::support::{Count, never, patient};

scenarios! {
    a_drain_is_announced_and_ends_with_close_notify
    who_is_refused_is_told_why_and_then_the_end
    an_end_inside_a_frame_is_told_without_close_notify
    an_abort_or_a_shutdown_frees_a_handshake_under_way
}

/// A blocking client that knows nothing of the library, past its handshake.
pub(crate) fn blocking(
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

async fn a_drain_is_announced_and_ends_with_close_notify<R: Runtime>() {
    // rule: TLS-4, SHUT-2
    let authority = Authority::new();
    let app = WireframeApp::with_protocol(Lines::new()).config(patient());
    let server = serve::<R, _>(app, authority.server(false)).await;
    let (handle, address) = (server.handle.clone(), server.address);
    let read = aside(move || {
        let mut peer = blocking(&authority, address);
        let mut first = [0; 9];
        peer.read_exact(&mut first).expect("it is greeted");
        handle.shutdown();
        let mut rest = Vec::new();
        // An end without `close_notify` would be `UnexpectedEof`.
        peer.read_to_end(&mut rest).map(|_| rest)
    });
    let rest = read.await.expect("an orderly end");
    assert_eq!(lines(&rest), ["draining", "goodbye: drained"]);
    server.end().await;
}

async fn who_is_refused_is_told_why_and_then_the_end<R: Runtime>() {
    // rule: TLS-4, LIM-4
    let authority = Authority::new();
    let mut limits = ConnectionLimits::default();
    limits.max_connections = NonZeroUsize::MIN;
    limits.when_full = WhenFull::Refuse;
    let app = WireframeApp::with_protocol(Lines::new()).config(patient());
    let server = serve_within::<R, _>(app, authority.server(false), limits).await;
    let address = server.address;
    let read = aside(move || {
        let mut first = blocking(&authority, address);
        first.read_exact(&mut [0; 9]).expect("it is greeted");
        let mut told = Vec::new();
        let read = blocking(&authority, address).read_to_end(&mut told);
        read.map(|_| told)
    });
    let told = lines(&read.await.expect("an orderly end"));
    let goodbye = "goodbye: max_connections is 1, got 2".to_owned();
    assert_eq!(told.last(), Some(&goodbye), "{told:?}");
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

async fn an_abort_or_a_shutdown_frees_a_handshake_under_way<R: Runtime>() {
    // rule: TLS-2
    for end in [ServerHandle::abort, ServerHandle::shutdown] {
        let authority = Authority::new();
        let config: Arc<ServerConfig> = authority.server_config(false);
        let tls = TlsAcceptor::new(Arc::clone(&config)).timeout(FOREVER);
        let app = WireframeApp::with_protocol(Lines::new()).config(patient());
        let server = serve::<R, _>(app, tls).await;
        let silent = Outsider::connect(server.address).await;
        // Half a header of a record.
        silent.send([22, 3]).await;
        // Behind it in the queue, so that it has been accepted.
        let (handle, address) = (server.handle.clone(), server.address);
        let greeted = aside(move || blocking(&authority, address).read_exact(&mut [0; 9]));
        greeted.await.expect("a greeting");
        end(&handle);
        server.ended().await;
        silent.expect_broken().await;
        // The handshake held it, too.
        assert_eq!(Arc::strong_count(&config), 1);
        assert_eq!(handle.failed_handshakes(), 0);
    }
}
