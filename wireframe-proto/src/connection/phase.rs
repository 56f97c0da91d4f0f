//! The phases of a connection's life.

use alloc::{boxed::Box, collections::VecDeque};

use crate::{error::CloseReason, protocol::RequestInfo, time::Instant};

/// How far the connection's life has come.
#[derive(Debug)]
pub(super) enum Phase<F> {
    Active,
    /// Finishes what is under way, since then.
    Draining(Instant),
    /// Says its last word, flushes, half-closes and waits for the peer. Boxed because
    /// every connection has room for it, and few are here.
    Closing(Box<Closing<F>>),
    Closed(Box<Closed>),
}

impl<F> Phase<F> {
    pub(super) fn closed(reason: CloseReason) -> Self {
        let announced = false;
        Self::Closed(Box::new(Closed { reason, announced }))
    }
}

#[derive(Debug)]
pub(super) struct Closed {
    pub(super) reason: CloseReason,
    pub(super) announced: bool,
}

#[derive(Debug)]
pub(super) struct Closing<F> {
    pub(super) reason: CloseReason,
    pub(super) announced: bool,
    /// What is still to be said, and the request that it answers.
    pub(super) last_words: VecDeque<F>,
    pub(super) request: Option<RequestInfo>,
    /// Commands were in flight: the peer waits for something.
    pub(super) cuts_off: bool,
    /// The driver has ended our output, after the last word.
    pub(super) half_closed: bool,
}

impl<F> Closing<F> {
    pub(super) fn new(
        reason: CloseReason,
        request: Option<RequestInfo>,
        last_words: VecDeque<F>,
    ) -> Box<Self> {
        Box::new(Self {
            reason,
            announced: false,
            last_words,
            request,
            cuts_off: false,
            half_closed: false,
        })
    }
}

/// The connection's state, as far as it is anybody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Serves.
    Active,
    /// Finishes what is under way and takes on nothing new.
    Draining,
    /// Only flushes and waits for the peer.
    Closing,
    /// Has ended.
    Closed,
}
