//! What a client and its driver share.

use std::task::Waker;

use hashbrown::HashMap;
use wireframe_proto::{CallId, CloseReason};

use crate::backlog::Backlog;

/// What the driver has for the client, and what the client has done with.
pub(crate) struct Inbox<F> {
    /// How many listen for pushes now.
    pub(super) listening: usize,
    pub(super) pushes: Backlog<F>,
    pub(super) lagged: u64,
    /// Why calls are refused, but for a drain of this end.
    pub(super) ended: Option<CloseReason>,
    /// How many have ever listened.
    pub(super) listeners: u64,
    /// Those who wait for a push, by listener.
    pub(super) wakers: HashMap<u64, Waker>,
    /// Calls whose replies nobody waits for any more.
    pub(super) given_up: Vec<CallId>,
}

impl<F> Inbox<F> {
    /// Nothing yet; so many bytes of pushes may wait.
    pub(super) fn new(max_push_bytes: usize) -> Self {
        Self {
            listening: 0,
            pushes: Backlog::new(max_push_bytes),
            lagged: 0,
            ended: None,
            listeners: 0,
            wakers: HashMap::new(),
            given_up: Vec::new(),
        }
    }
}
