//! Calls that this end has made and that await their replies.

use alloc::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

use crate::{
    ids::{CallId, CorrelationId},
    protocol::PendingCalls,
};

/// Forgotten calls whose ids are remembered, so that their late replies are told from
/// frames that the peer sends of its own accord.
const REMEMBERED: usize = 1024;

/// The calls of one connection.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    made: u64,
    /// Calls that somebody waits for.
    pending: HashSet<CallId>,
    /// Calls with an id, forgotten ones too.
    by_id: HashMap<CorrelationId, CallId>,
    /// Calls without an id, in wire order, forgotten ones too.
    in_order: VecDeque<CallId>,
    /// Ids of forgotten calls, oldest first.
    forgotten: VecDeque<(CorrelationId, CallId)>,
    /// The ids of pending calls that have one.
    ids: HashMap<CallId, CorrelationId>,
}

impl PendingCalls for Calls {
    fn is_pending(&self, id: CorrelationId) -> bool {
        !self.by_id.is_empty() && self.by_id.contains_key(&id)
    }
}

impl Calls {
    /// Calls that somebody waits for.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether a call with that id may be made.
    pub(crate) fn is_free(&self, id: CorrelationId) -> bool {
        !self.by_id.contains_key(&id)
    }

    /// Enters a call.
    pub(crate) fn insert(&mut self, id: Option<CorrelationId>) -> CallId {
        let call = CallId::new(self.made, id.is_some());
        self.made += 1;
        self.pending.insert(call);
        if let Some(id) = id {
            self.by_id.insert(id, call);
            self.ids.insert(call, id);
        }
        call
    }

    /// The call's frame was encoded: from now on its reply can come.
    pub(crate) fn sent(&mut self, call: CallId) {
        if !call.is_named() {
            self.in_order.push_back(call);
        }
    }

    /// The call was never sent.
    pub(crate) fn cancel(&mut self, call: CallId) {
        self.pending.remove(&call);
        if let Some(id) = self.ids.remove(&call) {
            self.by_id.remove(&id);
        }
    }

    /// Nobody waits for the call any more; its reply, should it come, is discarded.
    pub(crate) fn forget(&mut self, call: CallId) -> bool {
        if !self.pending.remove(&call) {
            return false;
        }
        if let Some(&id) = self.ids.get(&call) {
            self.forgotten.push_back((id, call));
            if self.forgotten.len() > REMEMBERED
                && let Some((id, call)) = self.forgotten.pop_front()
                && self.by_id.get(&id) == Some(&call)
            {
                self.by_id.remove(&id);
                self.ids.remove(&call);
            }
        }
        true
    }

    /// Which call a reply answers; `None` if nobody waits for it.
    pub(crate) fn reply(&mut self, to: Option<CorrelationId>, last: bool) -> Option<CallId> {
        let call = match to {
            Some(id) => *self.by_id.get(&id)?,
            None => *self.in_order.front()?,
        };
        let waited_for = self.pending.contains(&call);
        if last {
            match to {
                Some(id) => drop(self.by_id.remove(&id)),
                None => drop(self.in_order.pop_front()),
            }
            self.ids.remove(&call);
            self.pending.remove(&call);
        }
        waited_for.then_some(call)
    }

    /// The connection has ended: nobody is answered any more.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            made: self.made,
            ..Self::default()
        };
    }
}
