//! What the application sends of its own accord: pushes and calls.

use alloc::collections::VecDeque;

use super::{Connection, Phase, Respond, hooks::EngineSink};
use crate::{
    codec::Codec,
    context::PushSink,
    error::{Refusal, Rejected},
    ids::{CallId, CallKind, CorrelationId, Priority},
    protocol::WireframeProtocol,
    schedule::accepted::{Accepted, Released},
};

impl<P: WireframeProtocol> Connection<P> {
    /// Queues a frame of this end's own accord.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] if its queue has no slot for it, [`Refusal::Closed`] if the
    /// connection takes no more pushes.
    pub fn push(&mut self, priority: Priority, frame: P::Frame) -> Respond<P> {
        if self.in_user_code {
            return Err(Rejected::new(frame, Refusal::Closed));
        }
        self.in_user_code = true;
        let pushed = EngineSink::<P> {
            pushes: &mut self.pushes,
            codec: &self.codec,
        }
        .push(priority, frame);
        self.in_user_code = false;
        pushed
    }

    /// What [`Codec::encoded_len`] says of a frame, asked as a hook is: should it panic, the
    /// connection ends as [`ProtocolPanicked`](crate::CloseReason::ProtocolPanicked). After that
    /// nothing is measured, and this is 0.
    pub fn measure(&mut self, frame: &P::Frame) -> usize {
        if self.in_user_code {
            return 0;
        }
        self.in_user_code = true;
        let charge = self.codec.encoded_len(frame);
        self.in_user_code = false;
        charge
    }

    /// Takes pushes that the caller has accepted, and empties `batch`: for
    /// [`PushBound::Caller`](crate::PushBound::Caller). They are taken whatever there is, until
    /// [`end_pushes`](Self::end_pushes) or the end of the connection; after that `batch`
    /// is left as it is.
    pub fn accept_pushes(&mut self, priority: Priority, batch: &mut VecDeque<Accepted<P::Frame>>) {
        if !self.in_user_code && !self.pushes_ended && self.is_open() {
            self.pushes.accept_all(priority, batch);
        }
    }

    /// With [`PushBound::Caller`](crate::PushBound::Caller): every accepted push has been
    /// handed over, and no more will come.
    pub fn end_pushes(&mut self) {
        self.pushes_ended = true;
        self.pushes.open = false;
    }

    /// Slots that pushes of one priority have given back since this was last asked.
    pub fn take_released(&mut self, priority: Priority) -> Released {
        self.pushes.take_released(priority)
    }

    /// Whether a call with that id may be made now.
    pub fn is_call_free(&self, id: CorrelationId) -> bool {
        self.calls.is_free(id)
    }

    /// Sends a frame that the peer will reply to. It goes as a low push; with an id it is
    /// [correlated](WireframeProtocol::correlate) first, without one its reply is the one
    /// that comes in its turn.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push); [`Refusal::InUse`] if a call with that id is pending, or
    /// was forgotten and may still be answered; and [`Refusal::Full`] for a call without
    /// an id while more than 1 024 of those were forgotten and still await their turn.
    pub fn call(
        &mut self,
        frame: P::Frame,
        id: Option<CorrelationId>,
    ) -> Result<CallId, Rejected<P::Frame>> {
        self.call_as(CallKind::Single, frame, id)
    }

    /// The same for a call that is answered with any number of frames:
    /// [`View::is_streaming`](crate::View::is_streaming) tells it from others.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_streaming(
        &mut self,
        frame: P::Frame,
        id: Option<CorrelationId>,
    ) -> Result<CallId, Rejected<P::Frame>> {
        self.call_as(CallKind::Streaming, frame, id)
    }

    fn call_as(
        &mut self,
        kind: CallKind,
        mut frame: P::Frame,
        id: Option<CorrelationId>,
    ) -> Result<CallId, Rejected<P::Frame>> {
        if self.in_user_code || !self.pushes.open {
            return Err(Rejected::new(frame, Refusal::Closed));
        }
        self.in_user_code = true;
        let charge = self.codec.encoded_len(&frame);
        self.in_user_code = false;
        if !self.pushes.has_room(Priority::Low, charge) {
            return Err(Rejected::new(frame, Refusal::Full));
        }
        match self.register_call(&mut frame, id, kind) {
            Ok(call) => {
                let mut accepted = Accepted::new(frame, charge);
                accepted.begin_call(call);
                self.pushes.accept(Priority::Low, accepted);
                Ok(call)
            }
            Err(refusal) => Err(Rejected::new(frame, refusal)),
        }
    }

    /// Enters a call whose frame the caller will hand over itself, with
    /// [`accept_pushes`](Self::accept_pushes), marked with [`Accepted::begin_call`]: for
    /// [`PushBound::Caller`](crate::PushBound::Caller). The frame is correlated here.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closed`] if the connection does not begin calls any more, and
    /// [`Refusal::InUse`] and [`Refusal::Full`] as for [`call`](Self::call).
    pub fn register_call(
        &mut self,
        frame: &mut P::Frame,
        id: Option<CorrelationId>,
        kind: CallKind,
    ) -> Result<CallId, Refusal> {
        if self.in_user_code || !matches!(self.phase, Phase::Active) {
            return Err(Refusal::Closed);
        }
        if let Some(id) = id {
            if !self.calls.is_free(id) {
                return Err(Refusal::InUse);
            }
            self.correlate(frame, id);
        } else if self.calls.unnamed_are_full() {
            return Err(Refusal::Full);
        }
        Ok(self.calls.insert(id, kind))
    }

    /// Nobody waits for the call's reply any more: should it come, it is discarded, and
    /// no other call can receive it.
    pub fn forget(&mut self, call: CallId) -> bool {
        self.calls.forget(call)
    }
}
