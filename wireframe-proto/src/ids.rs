//! Names of things: connections, requests, calls, priorities.

use core::{fmt, net::SocketAddr};

/// Names one connection of a server or client; never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The protocol's own name for an exchange, as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(pub u64);

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one inbound command of one connection, from its arrival to its end.
///
/// An id that has ended names nothing: every call with it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl RequestId {
    /// A small number, below the most commands that were ever live at once, that no
    /// other live command has: an index for a table beside the engine.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.index as usize
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Names one call that this end has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(crate) core::num::NonZeroU64);

impl CallId {
    /// The name of the n-th call; `named` tells whether it has a correlation id.
    pub(crate) const fn new(n: u64, named: bool, kind: CallKind) -> Self {
        let streaming = matches!(kind, CallKind::Streaming) as u64;
        let bits = n.wrapping_add(1).wrapping_shl(2) | streaming << 1 | named as u64;
        match core::num::NonZeroU64::new(bits) {
            Some(bits) => Self(bits),
            None => Self(core::num::NonZeroU64::MIN),
        }
    }

    /// Whether the call has a correlation id.
    pub(crate) const fn is_named(self) -> bool {
        self.0.get() & 1 == 1
    }

    /// Whether the call is answered with a stream.
    pub(crate) const fn is_streaming(self) -> bool {
        self.0.get() & 2 == 2
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a call is to be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// One frame.
    Single,
    /// Any number of frames, one after the other, and then their end.
    Streaming,
}

/// Which of the two push queues a frame goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Before low pushes and responses.
    High,
    /// Before responses.
    Low,
}

impl Priority {
    /// Both, in the order in which they are served.
    pub const ALL: [Self; 2] = [Self::High, Self::Low];
}

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This end accepted the connection.
    Server,
    /// This end opened the connection.
    Client,
}

/// The connection as its two ends know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which end this is.
    pub side: Side,
    /// This end's name for the connection.
    pub id: ConnectionId,
    /// The other end's address, where the transport has one.
    pub address: Option<SocketAddr>,
}

impl Peer {
    /// A peer of a server, without an address: what a unit test needs.
    #[must_use]
    pub const fn client_of(id: ConnectionId) -> Self {
        Self {
            side: Side::Server,
            id,
            address: None,
        }
    }

    /// The server that this end has connected to, without an address.
    #[must_use]
    pub const fn server_of(id: ConnectionId) -> Self {
        Self {
            side: Side::Client,
            id,
            address: None,
        }
    }
}
