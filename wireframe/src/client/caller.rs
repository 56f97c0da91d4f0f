//! The driver's side of a client.

use std::task::Waker;

use hashbrown::HashMap;
use wireframe_proto::{
    CallId, CallKind, CloseReason, Connection, Refusal, UndeliveredReason, WireframeProtocol,
};

use super::{CallError, Inbox, MAX_PUSHES, Reply, ReplySlot};
use crate::{
    push::{Batch, QueuedCall},
    sync::{Arc, Mutex, lock},
};

/// The driver's side of a client.
pub(crate) struct Caller<F> {
    pub(super) inbox: Arc<Mutex<Inbox<F>>>,
    pub(super) replies: HashMap<CallId, ReplySlot<F>>,
}

impl<F> Caller<F> {
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
            match engine.register_call(&mut accepted.frame, call.id, CallKind::Single) {
                Ok(id) => {
                    accepted.begin_call(id);
                    self.begun(id, call.reply, engine);
                    None
                }
                Err(refusal) => {
                    let error = match refusal {
                        Refusal::Closed => CallError::Closed(lock(&self.inbox).end_reason()),
                        _ => CallError::Unsent(refusal.to_string()),
                    };
                    come(&call.reply, Err(error));
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
        slot: ReplySlot<F>,
        engine: &mut Connection<P>,
    ) {
        let wanted = match &mut *lock(&slot) {
            Reply::Waiting { call, .. } => {
                *call = Some(id);
                true
            }
            Reply::Came(_) | Reply::Done => false,
        };
        if wanted {
            self.replies.insert(id, slot);
        } else {
            engine.forget(id);
        }
    }

    /// Calls that wait for their replies.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.replies.len()
    }

    /// Whether there are calls for [`forget_given_up`](Self::forget_given_up).
    pub(crate) fn has_given_up(&self) -> bool {
        !lock(&self.inbox).given_up.is_empty()
    }

    /// Forgets the calls whose replies nobody waits for any more.
    pub(crate) fn forget_given_up<P: WireframeProtocol<Frame = F>>(
        &mut self,
        engine: &mut Connection<P>,
    ) {
        let given_up = std::mem::take(&mut lock(&self.inbox).given_up);
        for call in given_up {
            if self.replies.remove(&call).is_some() {
                engine.forget(call);
            }
        }
    }

    pub(crate) fn replied(&mut self, call: CallId, frame: F, last: bool) {
        let slot = if last {
            self.replies.remove(&call)
        } else {
            self.replies.get(&call).cloned()
        };
        if let Some(slot) = slot {
            come(&slot, Ok(frame));
        }
    }

    pub(crate) fn undelivered(&mut self, call: CallId, why: &UndeliveredReason) {
        if let Some(slot) = self.replies.remove(&call) {
            let why = match why {
                UndeliveredReason::Unencodable(error) => error.to_string(),
                _ => "connection ended".to_owned(),
            };
            come(&slot, Err(CallError::Unsent(why)));
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
        for (_, slot) in self.replies.drain() {
            come(&slot, Err(CallError::Closed(reason.clone())));
        }
    }

    /// The connection has ended; these calls had not begun.
    pub(crate) fn end(&mut self, reason: &CloseReason, queued: &[(usize, QueuedCall<F>)]) {
        for (_, call) in queued {
            come(&call.reply, Err(CallError::Closed(reason.clone())));
        }
        let wakers = std::mem::take(&mut lock(&self.inbox).wakers);
        wakers.into_values().for_each(Waker::wake);
    }
}

/// Hands a reply over, and wakes who waits for it. The first that comes is the call's.
fn come<F>(slot: &Mutex<Reply<F>>, result: Result<F, CallError>) {
    let mut reply = lock(slot);
    if !matches!(*reply, Reply::Waiting { .. }) {
        return;
    }
    let before = std::mem::replace(&mut *reply, Reply::Came(result));
    drop(reply);
    if let Reply::Waiting {
        waker: Some(waker), ..
    } = before
    {
        waker.wake();
    }
}
