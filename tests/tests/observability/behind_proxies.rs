//! Whom a log names when a proxy passes connections on.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use wireframe::{
    Envelope, FragmentLimits, FragmentMeta, FragmentStrategy, Malformed, Unencodable, WireframeApp,
    proxy::{Header, Origin, Proxied, ProxyProtocol, SocketKind, UnixAddress},
    server::{self, Accepted, ConnectionLimits, Listener, ServerHandle},
    testing::{Link, Simulation, link},
};

use crate::recorder::{self, Heard, heard_here};

/// One connection on its way to a server.
struct Coming(Option<Accepted<Proxied<Link>>>);

impl Listener for Coming {
    type Transport = Proxied<Link>;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted<Proxied<Link>>>> {
        self.0
            .take()
            .map_or(Poll::Pending, |one| Poll::Ready(Ok(one)))
    }
}

/// A framing that no connection gets.
struct NeverMade;

impl Clone for NeverMade {
    fn clone(&self) -> Self {
        panic!("told to")
    }
}

impl FragmentStrategy<Envelope> for NeverMade {
    fn decode_header(&mut self, _: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        Ok(None)
    }

    fn encode_header(
        &mut self,
        _: &mut Vec<u8>,
        _: &Envelope,
        _: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        Ok(())
    }
}

fn proxy() -> SocketAddr {
    ([10, 0, 0, 1], 1).into()
}

fn client() -> SocketAddr {
    ([203, 0, 113, 7], 4321).into()
}

/// What is said with that message of a connection over which the protocol panics, and which
/// begins with these bytes.
fn heard_of_one(begins: &[u8], message: &str) -> Heard {
    recorder::listen();
    let simulation = Simulation::new();
    let (near, mut far) = link(1000);
    far.send(begins);
    let near = ProxyProtocol::from_sources([proxy().ip()]).accept(near, Some(proxy()));
    let serving = server::serve(
        Coming(Some((near, Some(proxy())))),
        WireframeApp::new().fragmentation(NeverMade, FragmentLimits::default()),
        simulation.environment(),
        ServerHandle::default(),
        ConnectionLimits::default(),
    );
    let _served = simulation.spawn(async { serving.await.expect("fit to serve") });
    simulation.run();
    far.finish();
    simulation.run();
    let mut heard = heard_here().into_iter();
    let heard = heard.find(|heard| heard.message == message);
    heard.expect("it is said")
}

#[test]
fn a_protocol_that_panics_over_a_new_connection_is_logged_with_its_client() {
    // rule: PROXY-2
    let panicked = |header: Header| {
        let message = "code of the application panicked while connections were taken";
        heard_of_one(&header.to_v2(), message)
    };
    let heard = panicked(Header::tcp(client(), proxy()));
    assert_eq!(heard.field("peer"), client().to_string());
    let heard = panicked(of_a_file());
    assert!(!heard.fields.contains_key("peer"), "{heard:?}");
    let heard = panicked(Origin::Local.into());
    assert_eq!(heard.field("peer"), proxy().to_string());
}

/// That of a client which has come to the proxy over a socket of the file system.
fn of_a_file() -> Header {
    let address = UnixAddress::from([b'x'; UnixAddress::LEN]);
    let kind = SocketKind::Stream;
    let (source, destination) = (address.clone(), address);
    Origin::Unix {
        kind,
        source,
        destination,
    }
    .into()
}

#[test]
fn a_connection_that_fails_before_it_begins_is_logged_with_who_it_is_known_to_be() {
    // rule: PROXY-2
    let failed = "a connection failed before it began";
    let heard = heard_of_one(b"GET /", failed);
    assert_eq!(heard.field("peer"), proxy().to_string());
}
