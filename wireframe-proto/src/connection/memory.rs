//! What a connection has allocated, and what becomes of it when memory is short.

use alloc::boxed::Box;

use bytes::BytesMut;

use super::{Connection, Phase};
use crate::{
    error::{CloseReason, LimitExceeded},
    fragment::reassembler::Reassembler,
    protocol::WireframeProtocol,
    time::Instant,
};

impl<P: WireframeProtocol> Connection<P> {
    /// The bytes that are allocated for this connection's buffers, in constant time:
    /// the read buffer, the peer's messages that are not whole and the account of them,
    /// frames of commands that are held back and of bodies that wait to be read, and
    /// output that was copied, that of a message that is being split until its last
    /// fragment. Buffers count with their capacity, frames with the length of their
    /// payload. So does what the transport [holds](Self::handle_held).
    ///
    /// What belongs to the application and is only shared does not count: output that is
    /// chained by reference, and frames of answers and pushes. A payload that goes to a
    /// hundred peers is one payload.
    pub fn buffered(&self) -> usize {
        let partial = |r: &Reassembler| r.allocated() + r.account();
        let partial = self.reassembler.as_deref().map_or(0, partial);
        let split = self.begun.as_ref().map_or(0, |begun| begun.copied());
        let own = self.receive.capacity()
            + partial
            + self.commands.waiting_bytes()
            + self.transmit.allocated()
            + split;
        own.saturating_add(self.held.bytes)
    }

    /// While this is set, a fragment that begins a message and is not all of it ends the
    /// connection with that limit, as if it had crossed it. Messages that have begun go on.
    ///
    /// It is for whoever bounds the memory of many connections together.
    pub fn refuse_messages(&mut self, limit: Option<LimitExceeded>) {
        self.refused_messages = limit.map(Box::new);
    }

    /// Whether messages in fragments are refused.
    pub fn refuses_messages(&self) -> bool {
        self.refused_messages.is_some()
    }

    /// Whether messages of the peer have begun that are not whole.
    pub fn has_partial_messages(&self) -> bool {
        self.partial_message().is_some()
    }

    /// Closes the connection because it holds too much: with that limit as the reason, and
    /// the protocol's [`goodbye`](WireframeProtocol::goodbye). What has arrived is freed at
    /// once; output that waits still goes.
    ///
    /// A connection that is closing already ends at once.
    pub fn close_over_limit(&mut self, now: Instant, limit: LimitExceeded) {
        self.observe(now);
        if self.in_user_code {
            return;
        }
        let reason = CloseReason::Limit(limit);
        match self.phase {
            Phase::Closing(_) => self.abort(reason),
            _ => self.close_with_goodbye(reason),
        }
        self.receive = BytesMut::new();
        self.counted = 0;
        self.update_clocks();
    }
}
