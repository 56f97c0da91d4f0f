//! Calling into the protocol.

use super::Connection;
use crate::{
    codec::Codec,
    context::{ConnectionContext, PushSink},
    error::{Refusal, Rejected},
    ids::{CorrelationId, Priority},
    protocol::{Context, RequestInfo, WireframeProtocol},
    schedule::{accepted::Accepted, pushes::Pushes},
};

/// The engine's own place for what hooks push.
pub(super) struct EngineSink<'a, P: WireframeProtocol> {
    pub(super) pushes: &'a mut Pushes<P::Frame>,
    pub(super) codec: &'a P::Codec,
}

impl<P: WireframeProtocol> PushSink<P::Frame> for EngineSink<'_, P> {
    fn push(&mut self, priority: Priority, frame: P::Frame) -> Result<(), Rejected<P::Frame>> {
        if !self.pushes.open {
            return Err(Rejected::new(frame, Refusal::Closed));
        }
        let charge = self.codec.encoded_len(&frame);
        if !self.pushes.has_room(priority, charge) {
            return Err(Rejected::new(frame, Refusal::Full));
        }
        self.pushes.accept(priority, Accepted::new(frame, charge));
        Ok(())
    }
}

impl<P: WireframeProtocol> Connection<P> {
    /// Whether to log a warning of that kind now, as
    /// [`ConnectionContext::may_warn`] says: for who drives the connection, and logs what
    /// concerns it.
    #[must_use = "a warning that may be logged counts as logged"]
    pub fn may_warn(&mut self, kind: &'static str) -> Option<u64> {
        self.warnings.pass(kind, self.now)
    }

    /// Has a frame marked with the id of what it belongs to.
    #[inline]
    pub(super) fn correlate(&mut self, frame: &mut P::Frame, id: CorrelationId) {
        self.in_user_code = true;
        self.protocol.correlate(frame, id);
        self.in_user_code = false;
    }

    /// Runs one hook, marked: if it panics, the mark stays.
    #[inline]
    pub(super) fn hook<R>(
        &mut self,
        request: Option<RequestInfo>,
        run: impl FnOnce(&P, &mut Context<'_, P>) -> R,
    ) -> R {
        self.in_user_code = true;
        let mut heartbeat = None;
        let result = run(
            &self.protocol,
            &mut ConnectionContext {
                session: &mut self.session,
                peer: &self.peer,
                transport_info: &self.transport_info,
                request,
                in_flight: self.commands.live(),
                now: self.now,
                close: &mut self.close_asked,
                may_warn: &mut |kind, now| self.warnings.pass(kind, now),
                heartbeat: &mut heartbeat,
                pushes: &mut EngineSink::<P> {
                    pushes: &mut self.pushes,
                    codec: &self.codec,
                },
            },
        );
        self.in_user_code = false;
        if let Some(heartbeat) = heartbeat {
            self.begin_heartbeat(heartbeat);
        }
        result
    }
}
