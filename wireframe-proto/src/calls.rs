//! Calls that this end has made and that await their replies.

use alloc::{boxed::Box, collections::VecDeque};

use hashbrown::HashMap;

use crate::{
    forgotten::Forgotten,
    ids::{CallId, CallKind, CorrelationId},
};

/// Forgotten calls whose ids are remembered, so that their late replies are told from
/// frames that the peer sends of its own accord; and those without an id whose turn has
/// to come before more are made.
const REMEMBERED: usize = 1024;

/// The calls of one connection.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    made: u64,
    /// Boxed on first use: most servers make no calls.
    table: Option<Box<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    /// Calls that somebody waits for, each with its id, if it has one.
    pending: HashMap<CallId, Option<CorrelationId>>,
    /// Calls with an id, forgotten ones too.
    by_id: HashMap<CorrelationId, Named>,
    /// Calls without an id, in wire order, forgotten ones too.
    in_order: VecDeque<CallId>,
    /// Forgotten calls with an id; their ids all stand in `by_id`.
    forgotten: Forgotten<CorrelationId>,
    /// Forgotten calls without an id whose turn has not come.
    forgotten_unnamed: usize,
}

/// A call with an id.
#[derive(Debug)]
struct Named {
    call: CallId,
    /// Its place among the forgotten, if it is one of them.
    forgotten: Option<u32>,
}

impl Calls {
    /// Calls that somebody waits for.
    pub(crate) fn pending(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.pending.len())
    }

    /// Whether a call with that id awaits its reply, or did until it was forgotten.
    #[inline]
    pub(crate) fn is_pending(&self, id: CorrelationId) -> bool {
        self.table.is_some() && !self.is_free(id)
    }

    /// Whether the call that a reply to `to` would answer is a streaming one, forgotten
    /// or not.
    pub(crate) fn is_streaming(&self, to: Option<CorrelationId>) -> bool {
        let call = self.table.as_ref().and_then(|table| table.answered(to));
        call.is_some_and(CallId::is_streaming)
    }

    /// Whether a call without an id has been sent and its reply has not ended, forgotten or
    /// not.
    #[inline]
    pub(crate) fn awaits_unnamed(&self) -> bool {
        let table = self.table.as_ref();
        table.is_some_and(|table| !table.in_order.is_empty())
    }

    /// Whether a call with that id may be made.
    pub(crate) fn is_free(&self, id: CorrelationId) -> bool {
        self.table
            .as_ref()
            .is_none_or(|table| !table.by_id.contains_key(&id))
    }

    /// Whether so many calls without an id were forgotten, and still await their turn,
    /// that no more of them may be made.
    pub(crate) fn unnamed_are_full(&self) -> bool {
        let table = self.table.as_ref();
        table.is_some_and(|table| table.forgotten_unnamed > REMEMBERED)
    }

    /// Enters a call.
    pub(crate) fn insert(&mut self, id: Option<CorrelationId>, kind: CallKind) -> CallId {
        let call = CallId::new(self.made, id.is_some(), kind);
        self.made += 1;
        let table = self.table.get_or_insert_with(Box::default);
        table.pending.insert(call, id);
        if let Some(id) = id {
            let forgotten = None;
            table.by_id.insert(id, Named { call, forgotten });
        }
        call
    }

    /// The call's frame was encoded: from now on its reply can come.
    pub(crate) fn sent(&mut self, call: CallId) {
        if let Some(table) = &mut self.table
            && !call.is_named()
        {
            table.in_order.push_back(call);
        }
    }

    /// The call was never sent.
    pub(crate) fn cancel(&mut self, call: CallId) {
        let Some(table) = &mut self.table else {
            return;
        };
        match table.pending.remove(&call) {
            Some(Some(id)) => drop(table.by_id.remove(&id)),
            None if !call.is_named() => table.end_forgotten_unnamed(),
            _ => {}
        }
    }

    /// Nobody waits for the call any more; its reply, should it come, is discarded.
    pub(crate) fn forget(&mut self, call: CallId) -> bool {
        self.table.as_mut().is_some_and(|table| table.forget(call))
    }

    /// Which call a reply answers; `None` if nobody waits for it.
    pub(crate) fn reply(&mut self, to: Option<CorrelationId>, last: bool) -> Option<CallId> {
        self.table.as_mut()?.reply(to, last)
    }

    /// The connection has ended: nobody is answered any more.
    pub(crate) fn clear(&mut self) {
        self.table = None;
    }
}

impl Table {
    fn forget(&mut self, call: CallId) -> bool {
        let Some(id) = self.pending.remove(&call) else {
            return false;
        };
        match id {
            Some(id) => self.remember(id),
            None => self.forgotten_unnamed += 1,
        }
        true
    }

    fn remember(&mut self, id: CorrelationId) {
        if let Some(named) = self.by_id.get_mut(&id) {
            named.forgotten = Some(self.forgotten.remember(id));
        }
        if self.forgotten.len() > REMEMBERED
            && let Some(oldest) = self.forgotten.release_oldest()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// Which call a reply answers, forgotten or not.
    fn answered(&self, to: Option<CorrelationId>) -> Option<CallId> {
        match to {
            Some(id) => self.by_id.get(&id).map(|named| named.call),
            None => self.in_order.front().copied(),
        }
    }

    fn reply(&mut self, to: Option<CorrelationId>, last: bool) -> Option<CallId> {
        let call = self.answered(to)?;
        let waited_for = self.pending.contains_key(&call);
        if last {
            self.end(to, waited_for);
            self.pending.remove(&call);
        } else if let Some(id) = to
            && let Some(place) = self.by_id.get(&id).and_then(|named| named.forgotten)
        {
            // There is more of it to come.
            self.forgotten.renew(place);
        }
        waited_for.then_some(call)
    }

    /// The last frame of a reply has come.
    fn end(&mut self, to: Option<CorrelationId>, waited_for: bool) {
        match to {
            Some(id) => {
                let named = self.by_id.remove(&id);
                if let Some(place) = named.and_then(|named| named.forgotten) {
                    self.forgotten.release(place);
                }
            }
            None => {
                self.in_order.pop_front();
                if !waited_for {
                    self.end_forgotten_unnamed();
                }
            }
        }
    }

    fn end_forgotten_unnamed(&mut self) {
        self.forgotten_unnamed = self.forgotten_unnamed.saturating_sub(1);
    }
}
