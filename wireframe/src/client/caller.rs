//! The driver's side of a client.

use std::{fmt, task::Waker};

use hashbrown::HashMap;
use wireframe_proto::{
    CallId, CallKind, CloseReason, Connection, Refusal, Unencodable, WireframeProtocol,
};

use super::{
    CallError,
    call::{self, ReplySlot},
    inbox::Inbox,
    pushes::MAX_PUSHES,
    replies::{self, QueueSlot},
};
use crate::{
    push::{Batch, Encoding, QueuedCall},
    sync::{Arc, Mutex, lock},
};

/// Where what answers a call goes.
#[derive(Clone)]
pub(crate) enum Slot<F> {
    Single(ReplySlot<F>),
    Stream(QueueSlot<F>),
}

impl<F> Slot<F> {
    fn kind(&self) -> CallKind {
        match self {
            Self::Single(_) => CallKind::Single,
            Self::Stream(_) => CallKind::Streaming,
        }
    }

    /// The call has begun; says whether anybody waits for what answers it.
    fn begun(&self, id: CallId) -> bool {
        match self {
            Self::Single(slot) => call::begun(slot, id),
            Self::Stream(slot) => replies::begun(slot, id),
        }
    }

    fn fail(&self, error: CallError) {
        match self {
            Self::Single(slot) => call::come(slot, Err(error)),
            Self::Stream(slot) => replies::end(slot, Some(error)),
        }
    }

    /// The answer has ended behind its last frame, if it had any.
    fn end(&self) {
        match self {
            // One that has got its frame keeps it.
            Self::Single(slot) => call::come(slot, Err(CallError::Empty)),
            Self::Stream(slot) => replies::end(slot, None),
        }
    }
}

impl<F> fmt::Debug for Slot<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.kind()).finish()
    }
}

/// The driver's side of a client.
pub(crate) struct Caller<F> {
    inbox: Arc<Mutex<Inbox<F>>>,
    calls: HashMap<CallId, Slot<F>>,
    /// The stream that was full when it last got a frame: until there is room again the
    /// connection takes no input.
    full: Option<QueueSlot<F>>,
}

impl<F> Caller<F> {
    pub(super) fn new(inbox: Arc<Mutex<Inbox<F>>>) -> Self {
        Self {
            inbox,
            calls: HashMap::new(),
            full: None,
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
        let calls = std::mem::take(&mut batch.calls);
        let mut begin = |place: usize, call: QueuedCall<F>| {
            let accepted = batch.low.get_mut(place)?;
            match engine.register_call(&mut accepted.frame, call.id, call.slot.kind()) {
                Ok(id) => {
                    accepted.begin_call(id);
                    self.begun(id, call.slot, engine);
                    None
                }
                Err(refusal) => {
                    let error = match refusal {
                        Refusal::Closed => CallError::Closed(lock(&self.inbox).end_reason()),
                        _ => CallError::Unsent(refusal.to_string()),
                    };
                    call.slot.fail(error);
                    Some(place)
                }
            }
        };
        let places: Vec<_> = calls
            .into_iter()
            .filter_map(|(place, call)| begin(place, call))
            .collect();
        // From the back, so that those before keep their places.
        for place in places.into_iter().rev() {
            refused.low.extend(batch.low.remove(place));
        }
        refused
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
    pub(crate) fn replied(
        &mut self,
        call: CallId,
        frame: F,
        last: bool,
        encoding: &dyn Encoding<F>,
    ) -> bool {
        let ended;
        let slot = if last {
            ended = self.calls.remove(&call);
            ended.as_ref()
        } else {
            self.calls.get(&call)
        };
        match slot {
            Some(Slot::Single(slot)) => call::come(slot, Ok(frame)),
            Some(Slot::Stream(slot)) => {
                let charge = encoding.encoded_len(&frame);
                let full = replies::come(slot, frame, charge);
                if last {
                    replies::end(slot, None);
                } else if full {
                    self.full = Some(Arc::clone(slot));
                    return false;
                }
            }
            None => {}
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

    /// Keeps a frame for those who listen; gives back what is dropped for it, if anything.
    pub(crate) fn pushed(&mut self, frame: F) -> Option<F> {
        let mut inbox = lock(&self.inbox);
        if inbox.listening == 0 {
            return Some(frame);
        }
        let oldest = if inbox.pushes.len() >= MAX_PUSHES {
            inbox.lagged += 1;
            inbox.pushes.pop_front()
        } else {
            None
        };
        inbox.pushes.push_back(frame);
        let wakers = std::mem::take(&mut inbox.wakers);
        drop(inbox);
        wakers.into_values().for_each(Waker::wake);
        oldest
    }

    /// The connection begins to close: no reply comes any more.
    pub(crate) fn fail_all(&mut self, reason: &CloseReason) {
        lock(&self.inbox)
            .ended
            .get_or_insert_with(|| reason.clone());
        self.full = None;
        for (_, slot) in self.calls.drain() {
            slot.fail(CallError::Closed(reason.clone()));
        }
    }

    /// The connection has ended; these calls had not begun.
    pub(crate) fn end(&mut self, reason: &CloseReason, queued: &[(usize, QueuedCall<F>)]) {
        for (_, call) in queued {
            call.slot.fail(CallError::Closed(reason.clone()));
        }
        let wakers = std::mem::take(&mut lock(&self.inbox).wakers);
        wakers.into_values().for_each(Waker::wake);
    }
}
