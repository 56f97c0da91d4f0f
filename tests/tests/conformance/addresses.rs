//! Names, ports, and what is wrong with them: the same on every runtime.

use std::{
    io,
    net::{TcpListener, ToSocketAddrs},
};

use wireframe::{Envelope, EnvelopeProtocol, WireframeApp, rt::Runtime, server::Server};
use wireframe_tests::spawn;

use crate::support::echo;

scenarios! {
    names_are_looked_up_to_listen_and_to_connect
    what_is_no_address_fails_as_it_does_in_std
    a_port_that_is_taken_is_refused
    where_nobody_listens_a_client_is_refused
    a_client_tries_one_address_after_the_other
}

async fn names_are_looked_up_to_listen_and_to_connect<R: Runtime>() {
    for name in ["localhost:0", "127.0.0.1:0"] {
        let server = Server::<R>::bind(name).await.expect("a free port");
        let (port, handle) = (server.local_addr().unwrap().port(), server.handle());
        assert!(server.local_addr().unwrap().ip().is_loopback());
        assert_ne!(port, 0);
        let served = spawn::<R, _>(server.serve(WireframeApp::new().route(1, echo)));
        let client = wireframe::connect::<R, _>(("localhost", port), WireframeApp::new()).await;
        let client = client.expect("a server listens");
        let reply = client.call(Envelope::new(1, name)).await;
        assert_eq!(reply.expect("an echo").payload, name);
        drop(client);
        handle.shutdown();
        served.join().await.expect("fit to serve");
    }
}

async fn fails_to_connect<R: Runtime>(address: impl Into<wireframe::rt::Address>) -> io::Error {
    let connected = wireframe::connect::<R, EnvelopeProtocol>(address, WireframeApp::new());
    connected.await.expect_err("nobody is there")
}

async fn what_is_no_address_fails_as_it_does_in_std<R: Runtime>() {
    // None of them asks a name server.
    for text in ["no host:80", "localhost", "localhost:http", ":", ""] {
        let expected = text.to_socket_addrs().expect_err("no address").kind();
        let server = Server::<R>::bind(text).await.expect_err("no address");
        assert_eq!(server.kind(), expected, "to listen on {text:?}");
        let client = fails_to_connect::<R>(text).await;
        assert_eq!(client.kind(), expected, "to connect to {text:?}");
    }
    let none = Server::<R>::bind(&[][..]).await.expect_err("no address");
    assert_eq!(none.kind(), io::ErrorKind::InvalidInput);
    let none = fails_to_connect::<R>(&[][..]).await;
    assert_eq!(none.kind(), io::ErrorKind::InvalidInput);
}

async fn a_port_that_is_taken_is_refused<R: Runtime>() {
    let taken = Server::<R>::bind("127.0.0.1:0").await.expect("a free port");
    let refused = Server::<R>::bind(taken.local_addr().unwrap()).await;
    let refused = refused.expect_err("it is taken");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
}

/// A socket that does not listen any more, or not yet: nobody else gets its port.
fn nobody() -> (socket2::Socket, std::net::SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let address = address.as_socket().expect("an IP address");
    (socket, address)
}

async fn where_nobody_listens_a_client_is_refused<R: Runtime>() {
    let (_reserved, address) = nobody();
    let refused = fails_to_connect::<R>(address).await;
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

async fn a_client_tries_one_address_after_the_other<R: Runtime>() {
    let (_reserved, nobody) = nobody();
    let somebody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let somebody = somebody.local_addr().map(|address| (somebody, address));
    let (listener, address) = somebody.expect("it is bound");
    let addresses = vec![nobody, address];
    let connected = wireframe::connect::<R, EnvelopeProtocol>(addresses, WireframeApp::new());
    let client = connected.await.expect("the second listens");
    assert_eq!(client.connection().peer(), Some(address));
    drop(listener);
}
