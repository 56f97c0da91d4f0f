//! What a server's connections are at.

use std::{net::SocketAddr, time::Duration};

use wireframe_proto::{ConnectionId, Instant, Priority};

use crate::push::{AnyMailbox, Progress};

/// What the connections of a server are at; from
/// [`ServerHandle::snapshot`](super::ServerHandle::snapshot).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSnapshot {
    /// Those that are served, in no particular order.
    pub connections: Vec<ConnectionSnapshot>,
    /// How many more are not ready for the app yet: their handshake is under way.
    pub preparing: usize,
    /// How many have failed before they were, since the server began.
    pub failed_handshakes: u64,
}

/// What one connection is at.
///
/// Bytes, requests and the stall are as the connection left them when it last had nothing to
/// do, or let others run; age and queues are those of the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionSnapshot {
    /// The server's name for it.
    pub id: ConnectionId,
    /// The other end's address, where the transport has one.
    pub peer: Option<SocketAddr>,
    /// For how long it has been served. A handshake goes before that.
    pub age: Duration,
    /// Bytes that have come, as the protocol knows them: without those of TLS.
    pub bytes_received: u64,
    /// Bytes that the transport has taken, as the protocol knows them. That the peer has them
    /// is not said by that.
    pub bytes_sent: u64,
    /// High pushes on their way, those already encoded included.
    pub queued_high: usize,
    /// Low pushes on their way, those already encoded included.
    pub queued_low: usize,
    /// Requests that have begun and not ended, those that are held back included.
    pub requests: usize,
    /// For how long the peer has taken nothing of the output that waits for it; `None` if
    /// none waits. After [`write_stall`](wireframe_proto::Timeouts::write_stall) the
    /// connection closes, and this begins anew for its goodbye.
    pub stalled: Option<Duration>,
}

impl ConnectionSnapshot {
    pub(super) fn new(mailbox: &dyn AnyMailbox, since: Instant) -> Self {
        let now = mailbox.clock().now();
        let control = mailbox.control();
        let Progress {
            received,
            sent,
            requests,
            stalled_since,
        } = control.published().get();
        Self {
            id: control.id(),
            peer: control.peer(),
            age: now.saturating_duration_since(since),
            bytes_received: received,
            bytes_sent: sent,
            queued_high: mailbox.queued(Priority::High),
            queued_low: mailbox.queued(Priority::Low),
            requests,
            stalled: stalled_since.map(|since| now.saturating_duration_since(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Driver, WireframeApp,
        server::{ConnectionLimits, ServerHandle},
        testing::{Simulation, link},
    };

    #[test]
    fn each_connection_has_its_age_by_its_own_clock() {
        // rule: OBS-4
        let (handle, limits) = (ServerHandle::default(), ConnectionLimits::default());
        let app = WireframeApp::new().build().unwrap();
        let served = [100, 7].map(|began| {
            let simulation = Simulation::new();
            simulation.advance(Duration::from_secs(began));
            let environment = simulation.environment();
            let driver = Driver::server(&app, link(10).0, None, &environment);
            let (seat, since) = (handle.admit(&limits, None), environment.clock.now());
            let place = handle.enter(&driver.push_handle(), seat.unwrap(), since);
            (simulation, driver, place)
        });
        served[0].0.advance(Duration::from_secs(1));
        served[1].0.advance(Duration::from_secs(60));
        let mut connections = handle.snapshot().connections;
        connections.sort_by_key(|connection| connection.id);
        let ages: Vec<_> = connections.iter().map(|one| one.age.as_secs()).collect();
        assert_eq!(ages, [1, 60]);
    }
}
