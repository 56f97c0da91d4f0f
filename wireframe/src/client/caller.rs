//! The driver's side of a client.

use std::task::Waker;

use hashbrown::{HashMap, hash_map::Entry};
use wireframe_proto::{
    CallId, CallKind, CloseReason, Connection, Refusal, State, Unencodable, WireframeProtocol,
};

use super::{
    CallError,
    inbox::Inbox,
    replies::{self, QueueSlot},
    slot::Slot,
};
use crate::{
    contain,
    push::Batch,
    sync::{Arc, Mutex, lock},
};

/// The driver's side of a client.
pub(crate) struct Caller<F> {
    inbox: Arc<Mutex<Inbox<F>>>,
    calls: HashMap<CallId, Slot<F>>,
    /// Calls that a closing connection refused. They fail when it says why it closes.
    refused: Vec<Slot<F>>,
    /// The stream that was full when it last got a frame: until there is room again the
    /// connection takes no input.
    full: Option<QueueSlot<F>>,
    /// Empty but while those who wait for a push are woken; kept, so that a push that
    /// somebody waits for allocates nothing.
    waking: Vec<Waker>,
}

impl<F> Caller<F> {
    pub(super) fn new(inbox: Arc<Mutex<Inbox<F>>>) -> Self {
        Self {
            inbox,
            calls: HashMap::new(),
            refused: Vec::new(),
            full: None,
            waking: Vec::new(),
        }
    }

    /// Enters calls that were queued; each has its frame at its place in `low`. Takes the
    /// frames of those that cannot begin out.
    pub(crate) fn begin<P: WireframeProtocol<Frame = F>>(
        &mut self,
        batch: &mut Batch<F>,
        engine: &mut Connection<P>,
    ) -> Batch<F> {
        let mut refused = Batch::default();
        let Batch { low, calls, .. } = batch;
        let mut places = Vec::new();
        for (place, call) in calls.iter_mut() {
            let Some(accepted) = low.get_mut(*place) else {
                continue;
            };
            // The protocol may panic here: then this call and the next ones fail with the
            // batch, when it is known why.
            let begun = engine.register_call(&mut accepted.frame, call.id, call.slot.kind());
            let slot = call.slot.take();
            match begun {
                Ok(id) => {
                    accepted.begin_call(id);
                    self.begun(id, slot, engine);
                }
                Err(refusal) => {
                    places.push(*place);
                    self.refuse(slot, &refusal, engine.state());
                }
            }
        }
        calls.clear();
        // From the back, so that those before keep their places.
        for place in places.into_iter().rev() {
            refused.low.extend(low.remove(place));
        }
        refused
    }

    fn refuse(&mut self, slot: Slot<F>, refusal: &Refusal, state: State) {
        match (refusal, state) {
            (Refusal::Closed, State::Draining) => {
                slot.fail(CallError::Closed(CloseReason::Drained));
            }
            (Refusal::Closed, _) => self.refused.push(slot),
            _ => slot.fail(CallError::Unsent(refusal.to_string())),
        }
    }

    /// A call has begun; perhaps nobody waits for its reply already.
    fn begun<P: WireframeProtocol<Frame = F>>(
        &mut self,
        id: CallId,
        slot: Slot<F>,
        engine: &mut Connection<P>,
    ) {
        if slot.begun(id) {
            self.calls.insert(id, slot);
        } else {
            engine.forget(id);
        }
    }

    /// Calls that wait for their replies.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.calls.len()
    }

    /// Whether there is anything for [`forget_given_up`](Self::forget_given_up) or
    /// [`has_room_again`](Self::has_room_again).
    pub(crate) fn has_news(&self) -> bool {
        !lock(&self.inbox).given_up.is_empty()
            || self
                .full
                .as_deref()
                .is_some_and(|q| !replies::holds_input(q))
    }

    /// Whether the stream that was full is not any more; says so once.
    pub(crate) fn has_room_again(&mut self) -> bool {
        let full = self.full.as_deref();
        let has_room = full.is_some_and(|queue| !replies::holds_input(queue));
        if has_room {
            self.full = None;
        }
        has_room
    }

    /// Forgets the calls whose replies nobody waits for any more.
    pub(crate) fn forget_given_up<P: WireframeProtocol<Frame = F>>(
        &mut self,
        engine: &mut Connection<P>,
    ) {
        let given_up = std::mem::take(&mut lock(&self.inbox).given_up);
        for call in given_up {
            if self.calls.remove(&call).is_some() {
                engine.forget(call);
            }
        }
    }

    /// Hands a reply over. False if no more of them may come before
    /// [`has_room_again`](Self::has_room_again).
    #[must_use]
    pub(crate) fn replied<P: WireframeProtocol<Frame = F>>(
        &mut self,
        call: CallId,
        frame: F,
        last: bool,
        engine: &mut Connection<P>,
    ) -> bool {
        let Entry::Occupied(entry) = self.calls.entry(call) else {
            return true;
        };
        // Before the call is taken out: the protocol may panic here.
        let charge = match entry.get().kind() {
            CallKind::Single => 0,
            CallKind::Streaming => engine.measure(&frame),
        };
        if last {
            entry.remove().complete(frame, charge);
            return true;
        }
        if let Some(full) = entry.get().come(frame, charge) {
            self.full = Some(Arc::clone(full));
            return false;
        }
        true
    }

    /// The answer to a call has ended, with a frame that is no part of it.
    pub(crate) fn reply_ended(&mut self, call: CallId) {
        if let Some(slot) = self.calls.remove(&call) {
            slot.end();
        }
    }

    /// A call's frame cannot be encoded.
    pub(crate) fn unencodable(&mut self, call: CallId, error: &Unencodable) {
        if let Some(slot) = self.calls.remove(&call) {
            slot.fail(CallError::Unsent(error.to_string()));
        }
    }

    /// Takes the oldest frame out that waits for those who listen, if there is no room for
    /// another.
    pub(crate) fn make_room(&mut self) -> Option<F> {
        let mut inbox = lock(&self.inbox);
        if !inbox.pushes.is_full() {
            return None;
        }
        inbox.lagged += 1;
        inbox.pushes.pop()
    }

    /// Keeps a frame of so many bytes for those who listen; gives it back if nobody does.
    pub(crate) fn pushed(&mut self, frame: F, len: usize) -> Option<F> {
        let mut inbox = lock(&self.inbox);
        if inbox.listening == 0 {
            return Some(frame);
        }
        inbox.pushes.push(frame, len);
        let wakers = inbox.wakers.drain().map(|(_, waker)| waker);
        self.waking.extend(wakers);
        drop(inbox);
        self.waking.drain(..).for_each(contain::wake);
        None
    }

    /// The connection ends, as far as is known by now for that reason: for those who find
    /// its mailbox closed.
    pub(crate) fn note_end(&self, reason: &CloseReason) {
        lock(&self.inbox).ended = Some(reason.clone());
    }

    /// No reply comes any more. Whoever is told finds the mailbox closed.
    pub(crate) fn fail_all(&mut self, reason: &CloseReason) {
        self.full = None;
        let calls = std::mem::take(&mut self.calls).into_values();
        for slot in calls.chain(std::mem::take(&mut self.refused)) {
            slot.fail(CallError::Closed(reason.clone()));
        }
    }

    /// The connection has ended. Calls that have not begun fail when they are dropped.
    pub(crate) fn end(&mut self) {
        let wakers = std::mem::take(&mut lock(&self.inbox).wakers);
        wakers.into_values().for_each(contain::wake);
    }
}
