//! What a protocol sees of its connection when it classifies a frame.

use core::fmt;

use crate::{
    calls::Calls,
    ids::{CorrelationId, Side},
};

/// What [`classify`](crate::WireframeProtocol::classify) may look at besides the frame.
pub struct View<'a, S> {
    pub(crate) session: &'a S,
    pub(crate) side: Side,
    pub(crate) in_flight: usize,
    pub(crate) pending: &'a Calls,
}

impl<'a, S> View<'a, S> {
    /// The connection's session.
    #[must_use]
    pub const fn session(&self) -> &'a S {
        self.session
    }

    /// Which end of the connection this is.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Commands of the peer that have begun and not ended.
    #[must_use]
    pub const fn commands_in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a call of this end with that id awaits its reply, or did until it was
    /// forgotten.
    #[must_use]
    pub fn is_pending(&self, id: CorrelationId) -> bool {
        self.pending.is_pending(id)
    }

    /// Whether the call that a reply to `to` answers was made to be answered with a
    /// stream, and still awaits an end of it; `None` is the oldest call. It says so for
    /// one that was forgotten too.
    #[must_use]
    pub fn is_streaming(&self, to: Option<CorrelationId>) -> bool {
        self.pending.is_streaming(to)
    }

    /// The same view of another session: for a protocol that wraps another.
    #[must_use]
    pub const fn with_session<'b, S2>(&self, session: &'b S2) -> View<'b, S2>
    where
        'a: 'b,
    {
        View {
            session,
            side: self.side,
            in_flight: self.in_flight,
            pending: self.pending,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for View<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("session", self.session)
            .field("side", &self.side)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}
