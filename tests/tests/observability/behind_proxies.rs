//! Whom a log names when a proxy passes connections on.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use wireframe::{
    Envelope, FragmentLimits, FragmentMeta, FragmentStrategy, Malformed, Unencodable, WireframeApp,
    proxy::{Header, Proxied, ProxyProtocol},
    server::{self, Accepted, ConnectionLimits, Listener, ServerHandle},
    testing::{Link, Simulation, link},
};

use crate::recorder::{self, heard_here};

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

#[test]
fn a_protocol_that_panics_over_a_new_connection_is_logged_with_its_client() {
    // rule: PROXY-2
    recorder::listen();
    let simulation = Simulation::new();
    let (proxy, client) = (
        SocketAddr::from(([10, 0, 0, 1], 1)),
        SocketAddr::from(([203, 0, 113, 7], 4321)),
    );
    let (near, mut far) = link(1000);
    far.send(&Header::tcp(client, proxy).to_v2());
    let near = ProxyProtocol::from_sources([proxy.ip()]).accept(near, Some(proxy));
    let serving = server::serve(
        Coming(Some((near, Some(proxy)))),
        WireframeApp::new().fragmentation(NeverMade, FragmentLimits::default()),
        simulation.environment(),
        ServerHandle::default(),
        ConnectionLimits::default(),
    );
    let _served = simulation.spawn(async { serving.await.expect("fit to serve") });
    simulation.run();
    let heard = heard_here();
    let panicked = "the protocol panicked over a new connection";
    let heard = heard.iter().find(|heard| heard.message == panicked);
    assert_eq!(heard.expect("it is said").field("peer"), client.to_string());
}
