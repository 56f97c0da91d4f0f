//! What hooks see of their connection, and ask of it.

use core::{any::Any, fmt};

use crate::{
    error::Rejected,
    escape::Escaped,
    heartbeat::Heartbeat,
    ids::{ConnectionId, Peer, Priority},
    protocol::RequestInfo,
    time::Instant,
    transport_info::TransportInfo,
};

/// Takes what a hook pushes.
///
/// The engine has one; a layer with a queue of its own in front puts that in its place
/// with [`ConnectionContext::rebind`].
pub trait PushSink<F> {
    /// Takes a slot and the frame, or gives the frame back.
    ///
    /// # Errors
    ///
    /// The queue is full, or the connection takes no more.
    fn push(&mut self, priority: Priority, frame: F) -> Result<(), Rejected<F>>;
}

/// Says whether a warning of a kind may be logged, see [`ConnectionContext::may_warn`].
pub type MayWarn<'a> = dyn FnMut(&'static str, Instant) -> Option<u64> + 'a;

/// What hooks see of their connection, and ask of it.
pub struct ConnectionContext<'a, F, S> {
    pub(crate) session: &'a mut S,
    pub(crate) peer: &'a Peer,
    pub(crate) transport_info: &'a TransportInfo,
    pub(crate) request: Option<RequestInfo>,
    pub(crate) in_flight: usize,
    pub(crate) now: Instant,
    pub(crate) close: &'a mut bool,
    pub(crate) may_warn: &'a mut MayWarn<'a>,
    /// The heartbeat that was asked for last, if one was, or none of it.
    pub(crate) heartbeat: &'a mut Option<Option<Heartbeat>>,
    pub(crate) pushes: &'a mut dyn PushSink<F>,
}

impl<'a, F, S> ConnectionContext<'a, F, S> {
    /// The connection's session.
    pub fn session(&mut self) -> &mut S {
        self.session
    }

    /// This end's name for the connection.
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        self.peer.id
    }

    /// The connection as its two ends know it.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.peer
    }

    /// What the transport knows of the peer and has that type: its certificates, say.
    #[must_use]
    pub fn transport_info<T: Any>(&self) -> Option<&T> {
        self.transport_info.get()
    }

    /// The command that the hook is about, if it is about one.
    #[must_use]
    pub fn request(&self) -> Option<&RequestInfo> {
        self.request.as_ref()
    }

    /// Commands of the peer that have begun and not ended.
    #[must_use]
    pub fn commands_in_flight(&self) -> usize {
        self.in_flight
    }

    /// Queues a push. It takes its slot now and no rate token, and goes when it is its
    /// turn, after the hook has returned.
    ///
    /// # Errors
    ///
    /// Gives the frame back if its queue is full or the connection is closing.
    pub fn push(&mut self, priority: Priority, frame: F) -> Result<(), Rejected<F>> {
        self.pushes.push(priority, frame)
    }

    /// Asks for a drain of this connection, once the hook has returned.
    pub fn close(&mut self) {
        *self.close = true;
    }

    /// Sets or ends the heartbeat of this connection, once the hook has returned.
    pub fn set_heartbeat(&mut self, heartbeat: Option<Heartbeat>) {
        *self.heartbeat = Some(heartbeat);
    }

    /// Whether to log a warning of that kind now: with the number of those that were not
    /// logged since the last one that was. At most one in
    /// [`Throttle::INTERVAL`](crate::Throttle::INTERVAL) is, for each kind and connection,
    /// so that a peer that provokes them fills no log.
    ///
    /// ```
    /// use tracing::warn;
    /// use wireframe_proto::{ConnectionContext, Escaped};
    ///
    /// fn complain<F, S>(name: &str, ctx: &mut ConnectionContext<'_, F, S>) {
    ///     if let Some(suppressed) = ctx.may_warn("unknown_user") {
    ///         let connection = ctx.connection_id();
    ///         warn!(%connection, name = %Escaped(name), suppressed, "nobody has this name");
    ///     }
    /// }
    /// ```
    #[must_use = "a warning that may be logged counts as logged"]
    pub fn may_warn(&mut self, kind: &'static str) -> Option<u64> {
        (self.may_warn)(kind, self.now)
    }

    /// Logs that the answer to the request has failed.
    pub(crate) fn warn_of_failure(&mut self, error: &dyn fmt::Display) {
        if let Some(suppressed) = self.may_warn("answer_failed") {
            let (connection, route) = (self.connection_id(), self.route());
            let error = Escaped(error);
            tracing::warn!(%connection, route, %error, suppressed, "an answer failed");
        }
    }

    /// The route of the request that the hook is about.
    pub(crate) fn route(&self) -> Option<u32> {
        self.request.map(|request| request.route)
    }

    /// The same context with another session and another place for pushes: for a
    /// protocol that wraps another.
    pub fn rebind<'b, S2>(
        &'b mut self,
        session: &'b mut S2,
        pushes: &'b mut dyn PushSink<F>,
    ) -> ConnectionContext<'b, F, S2> {
        ConnectionContext {
            session,
            peer: self.peer,
            transport_info: self.transport_info,
            request: self.request,
            in_flight: self.in_flight,
            now: self.now,
            close: self.close,
            may_warn: self.may_warn,
            heartbeat: self.heartbeat,
            pushes,
        }
    }

    /// The same context, in which [`may_warn`](Self::may_warn) asks another: for what
    /// connections can have so often, one after the other, that it has to be counted over all
    /// of them.
    #[must_use]
    pub fn with_warnings(mut self, may_warn: &'a mut MayWarn<'a>) -> Self {
        self.may_warn = may_warn;
        self
    }
}

impl<F, S: fmt::Debug> fmt::Debug for ConnectionContext<'_, F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionContext")
            .field("session", self.session)
            .field("peer", &self.peer)
            .field("request", &self.request)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}
