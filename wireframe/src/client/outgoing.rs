//! A call on its way, and the time that it has.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use wireframe_proto::{AnswerOrder, CallId, Instant};

use super::{CallError, ClientShared, limit::Limit, slot::Slot};
use crate::{push::PushCall, sync::Arc};

/// The half of a call that its answer has no part in. It keeps the connection open.
pub(super) struct Outgoing<F> {
    pub(super) client: Arc<ClientShared<F>>,
    /// On its way into the queue, until it has found room.
    sending: Option<PushCall<F>>,
    limit: Limit,
}

impl<F> Outgoing<F> {
    pub(super) fn new(
        client: Arc<ClientShared<F>>,
        order: AnswerOrder,
        frame: F,
        slot: Slot<F>,
    ) -> Self {
        let sending = client.begin(order, frame, slot);
        Self {
            client,
            sending: Some(sending),
            limit: Limit::default(),
        }
    }

    /// Gives it so long from now.
    pub(super) fn set_timeout(&mut self, limit: Duration) {
        self.limit = Limit::within(&self.client.clock, limit);
    }

    /// Gives it until then.
    pub(super) fn set_deadline(&mut self, at: Instant) {
        self.limit = Limit::until(&self.client.clock, at);
    }

    /// Its time matters no more; a timer would wake the task for nothing.
    pub(super) fn forget_limit(&mut self) {
        self.limit = Limit::default();
    }

    /// The error of a call whose time is over, if it is.
    pub(super) fn check_limit(&self) -> Result<(), CallError> {
        self.limit.check(&self.client.clock)
    }

    /// The same, once it is over.
    pub(super) fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<CallError> {
        self.limit.poll(&self.client.clock, cx)
    }

    /// Ready when it is on its way, which has to be in time.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let Some(sending) = &mut self.sending else {
            return Poll::Ready(Ok(()));
        };
        self.limit.check(&self.client.clock)?;
        // One that is refused is dropped when it is given up: not before, because what is
        // dropped with it would answer the call.
        let sent = ready!(Pin::new(sending).poll(cx));
        sent.map_err(|_| self.client.closed())?;
        self.sending = None;
        Poll::Ready(Ok(()))
    }

    /// Ends it; the driver is told if it knows the call by that name. Nobody may want an
    /// answer by now.
    pub(super) fn give_up(&mut self, call: Option<CallId>) {
        self.sending = None;
        if let Some(call) = call {
            self.client.give_up(call);
        }
    }
}
