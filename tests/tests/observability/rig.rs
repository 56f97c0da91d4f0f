//! A server's end of one connection, on virtual time.

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use wireframe::{
    App, CloseReason, Config, Driver, Protocol, PushHandle, WireframeApp,
    testing::{Link, Simulation, Spawned, link},
};
use wireframe_tests::wire;

use crate::recorder;

pub(crate) struct Rig<P: Protocol> {
    pub(crate) simulation: Simulation,
    pub(crate) peer: Link,
    pub(crate) push: PushHandle<P::Frame>,
    pub(crate) driver: Spawned<CloseReason>,
}

/// Where the peers of all tests are.
pub(crate) fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 4711))
}

impl<P: Protocol> Rig<P> {
    pub(crate) fn new(app: WireframeApp<P>) -> Self {
        Self::over(app, 1 << 24)
    }

    /// Over a link that holds so many bytes.
    pub(crate) fn over(app: WireframeApp<P>, capacity: usize) -> Self {
        recorder::listen();
        let rig = Self::idle(app, capacity);
        rig.simulation.run();
        rig
    }

    /// The driver has not been polled yet.
    pub(crate) fn idle(app: WireframeApp<P>, capacity: usize) -> Self {
        Self::of(&app.build().expect("fit to serve"), capacity)
    }

    /// One of several connections of an app, which has not been polled yet either.
    pub(crate) fn of(app: &App<P>, capacity: usize) -> Self {
        let simulation = Simulation::new();
        let (near, peer) = link(capacity);
        let driver = Driver::server(app, near, Some(address()), &simulation.environment());
        Self {
            push: driver.push_handle(),
            driver: simulation.spawn(driver),
            simulation,
            peer,
        }
    }

    /// The peer sends frames, each a text behind its length, and the server works.
    pub(crate) fn send<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        for text in texts {
            self.peer.send(&wire(text.as_ref()));
        }
        self.simulation.run();
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.simulation.advance(by);
    }

    /// How it ends when the peer does.
    pub(crate) fn end(&mut self) -> Option<CloseReason> {
        self.peer.finish();
        self.simulation.run();
        self.peer.receive();
        self.simulation.run();
        self.driver.take()
    }

    pub(crate) fn id(&self) -> String {
        self.push.connection().id().to_string()
    }

    /// The connection's span.
    pub(crate) fn span(&self) -> String {
        connection(&self.id(), "server")
    }
}

pub(crate) fn connection(id: &str, side: &str) -> String {
    format!("connection{{id={id} peer={} side={side}}}", address())
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

pub(crate) fn some(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("not zero")
}
