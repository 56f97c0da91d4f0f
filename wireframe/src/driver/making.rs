//! Making a driver, of a server's connection or of a client's.

use std::net::SocketAddr;

use wireframe_proto::{Connection, ConnectionId, Instant, LimitExceeded, Peer, Side};

use super::{Driver, Environment, hosted::Hosted, spans};
use crate::{
    app::{App, Surroundings},
    frame::Protocol,
    meter::{Meter, Metrics},
    push::{Buried, Control, Mailbox, PushHandle},
    session::Session,
    sync::{Arc, Ordering, StaticU64},
    transport::Transport,
};

/// A fresh name for a connection of this process.
fn next_id() -> ConnectionId {
    static NEXT: StaticU64 = StaticU64::new(1);
    ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// A driver for one accepted connection, with the address of its socket's other end.
    ///
    /// A transport that begins with a handshake, or a header, is [prepared](crate::prepare)
    /// before: it has no time limit else, and what is learnt by it, who the peer is, is not seen.
    pub fn server(
        app: &App<P>,
        transport: T,
        address: Option<SocketAddr>,
        environment: &Environment,
    ) -> Self {
        let metrics = app.shared.metrics.clone();
        let driver = Self::new(app, transport, Side::Server, address, environment, metrics);
        driver.metrics().connection_began();
        driver
    }

    /// A driver that only says which limit the connection would cross.
    pub(crate) fn refusing(
        app: &App<P>,
        transport: T,
        address: Option<SocketAddr>,
        environment: &Environment,
        limit: LimitExceeded,
    ) -> Self {
        let mut driver = Self::uncounted(app, transport, Side::Server, address, environment);
        driver.engine.close_over_limit(driver.now, limit);
        driver
    }

    /// A driver for a connection that is in no metric.
    pub(crate) fn uncounted(
        app: &App<P>,
        transport: T,
        side: Side,
        address: Option<SocketAddr>,
        environment: &Environment,
    ) -> Self {
        let nothing = Metrics::default();
        Self::new(app, transport, side, address, environment, nothing)
    }

    fn new(
        app: &App<P>,
        transport: T,
        side: Side,
        address: Option<SocketAddr>,
        environment: &Environment,
        metrics: Metrics,
    ) -> Self {
        let app = Arc::clone(&app.shared);
        let peer = Peer {
            side,
            id: next_id(),
            address: transport.address(address),
        };
        let info = transport.info();
        let control = Control::new(&peer)
            .with_metrics(metrics)
            .with_transport_info(info.clone());
        let control = Arc::new(control);
        let pushes = Arc::clone(&app.pushes);
        let mailbox = Mailbox::new(control, pushes, &environment.clock).with_extras(
            app.rate_limit,
            &app.config.fairness,
            app.dead_letters.clone(),
        );
        let mailbox = Arc::new(mailbox);
        let session = Session::new(P::Session::default());
        let hosted = Hosted::new(
            Arc::clone(&app.framed),
            session.clone(),
            Arc::clone(&mailbox),
        );
        let now = environment.clock.now();
        let engine = Connection::new(Arc::clone(&app.config), hosted, peer, now);
        Self {
            engine: engine.with_transport_info(info),
            transport,
            surroundings: Surroundings {
                session,
                push: PushHandle::new(Arc::clone(&mailbox)),
                tasks: environment.tasks.clone(),
                states: Arc::clone(&app.states),
            },
            app,
            mailbox,
            at_work: None,
            caller: None,
            now,
            sleep: None,
            rung: Instant::ZERO,
            waiting_pushes: None,
            connected: false,
            peer_gone: false,
            more_output: false,
            write_blocked: false,
            paused: false,
            unflushed: false,
            ended: None,
            is_over: false,
            batch: None,
            buried: Buried::default(),
            conversations: None,
            holding: None,
            span: spans::connection(&peer),
            output_waits: false,
            meter: Meter::default(),
        }
    }
}
