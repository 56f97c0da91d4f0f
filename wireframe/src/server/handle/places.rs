//! The places of a server's connections: who has one, and who is told that there is none.

use std::net::IpAddr;

use wireframe_proto::{CloseReason, ConnectionId, Instant, LimitExceeded};

use super::{Member, ServerHandle, Stage, at_most};
use crate::{
    contain,
    push::PushHandle,
    server::ConnectionLimits,
    sync::{Arc, lock},
};

/// Connections that are being refused at once; those beyond are dropped.
const MAX_REFUSED: usize = 64;

impl ServerHandle {
    /// A seat for one more connection, or the limit that it would cross.
    pub(in crate::server) fn admit(
        &self,
        limits: &ConnectionLimits,
        address: Option<IpAddr>,
    ) -> Result<Seat, LimitExceeded> {
        let mut state = lock(&self.state);
        at_most("max_connections", limits.max_connections, state.taken() + 1)?;
        let address = state.one_more_of(limits, address)?;
        state.preparing += 1;
        Ok(Seat {
            server: self.clone(),
            address,
            left: false,
        })
    }

    /// A connection is being refused, if there is room for that.
    pub(in crate::server) fn refuse(&self) -> Option<Refusal> {
        let mut state = lock(&self.state);
        if state.refused >= MAX_REFUSED {
            return None;
        }
        state.refused += 1;
        Some(Refusal(self.clone()))
    }

    /// A connection is there `since` then, by its own clock, and its seat becomes its place.
    pub(in crate::server) fn enter<F: Send + 'static>(
        &self,
        connection: &PushHandle<F>,
        mut seat: Seat,
        since: Instant,
    ) -> Place {
        let mailbox = Arc::clone(connection.mailbox());
        let id = mailbox.control().id();
        let mut state = lock(&self.state);
        let stage = state.stage;
        state.connections.insert(id, Member { mailbox, since });
        state.preparing -= 1;
        seat.left = true;
        drop(state);
        match stage {
            Stage::Serving => {}
            Stage::Draining => connection.connection().close(),
            Stage::Aborting | Stage::Ended => connection.connection().abort(),
        }
        Place {
            server: self.clone(),
            id,
            address: seat.address,
        }
    }
}

/// A connection's place among those of its server.
pub(in crate::server) struct Place {
    server: ServerHandle,
    id: ConnectionId,
    /// The address that it counts for.
    address: Option<IpAddr>,
}

impl Place {
    /// The connection has ended, for no reason if its task was dropped. Once is enough.
    pub(in crate::server) fn leave(&self, reason: Option<&CloseReason>, undelivered: u64) {
        let mut state = lock(&self.server.state);
        let Some(gone) = state.connections.remove(&self.id) else {
            return;
        };
        state.one_less_of(self.address);
        if state.stage > Stage::Serving {
            state.report.add(reason, undelivered);
        }
        let server = state.take_waiting();
        drop(state);
        drop(gone);
        if let Some(server) = server {
            contain::wake(server);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave(None, 0);
    }
}

/// A place for a connection that the app does not know of yet.
pub(in crate::server) struct Seat {
    server: ServerHandle,
    /// The address that it counts for.
    address: Option<IpAddr>,
    left: bool,
}

impl Seat {
    /// Makes it count for this address, from now on, unless that would cross a limit.
    pub(in crate::server) fn settle(
        &mut self,
        limits: &ConnectionLimits,
        address: Option<IpAddr>,
    ) -> Result<(), LimitExceeded> {
        let mut state = lock(&self.server.state);
        state.one_less_of(self.address.take());
        self.address = state.one_more_of(limits, address)?;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut state = lock(&self.server.state);
        state.preparing -= 1;
        state.one_less_of(self.address);
        let waiting = state.take_waiting();
        drop(state);
        if let Some(waiting) = waiting {
            contain::wake(waiting);
        }
    }
}

/// A connection that is being refused.
pub(in crate::server) struct Refusal(ServerHandle);

impl Drop for Refusal {
    fn drop(&mut self) {
        lock(&self.0.state).refused -= 1;
    }
}
