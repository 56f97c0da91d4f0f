//! What a client and its driver share.

use std::{collections::VecDeque, task::Waker};

use hashbrown::HashMap;
use wireframe_proto::{CallId, CloseReason};

/// What the driver has for the client, and what the client has done with.
pub(crate) struct Inbox<F> {
    /// How many listen for pushes now.
    pub(super) listening: usize,
    pub(super) pushes: VecDeque<F>,
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

impl<F> Default for Inbox<F> {
    fn default() -> Self {
        Self {
            listening: 0,
            pushes: VecDeque::new(),
            lagged: 0,
            ended: None,
            listeners: 0,
            wakers: HashMap::new(),
            given_up: Vec::new(),
        }
    }
}
