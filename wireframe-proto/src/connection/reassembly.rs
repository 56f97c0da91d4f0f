//! Fragments of the peer's messages, on their way to become frames.

use bytes::Bytes;

use super::Connection;
use crate::{
    error::{CloseReason, DropReason, DroppedMessage},
    event::Event,
    fragment::{
        FragmentMeta, FragmentStrategy,
        reassembler::{Bounds, Reassembler, Taken},
    },
    protocol::WireframeProtocol,
    time::Instant,
};

impl<P: WireframeProtocol> Connection<P> {
    /// Whether a unit is not a whole message by itself.
    #[inline]
    pub(super) fn is_fragment(&self, meta: &FragmentMeta) -> bool {
        !meta.is_final
            || meta.msg_id.is_some()
            || (!meta.alone && self.reassembler.as_ref().is_some_and(|r| r.has_anonymous()))
    }

    fn bounds(&self) -> Bounds {
        Bounds::new(&self.config, self.framing.reuses_message_ids())
    }

    /// Refuses a fragment of which only the header has come, if its payload would cross
    /// a bound.
    #[inline]
    pub(super) fn check_fragment(&self, meta: &FragmentMeta) -> Result<(), CloseReason> {
        match self.is_fragment(meta) {
            false => Ok(()),
            true => self.check_bounds(meta),
        }
    }

    #[cold]
    fn check_bounds(&self, meta: &FragmentMeta) -> Result<(), CloseReason> {
        match &self.reassembler {
            Some(reassembler) => reassembler.check(meta, &self.bounds()),
            None => Reassembler::default().check(meta, &self.bounds()),
        }
    }

    #[cold]
    pub(super) fn take_fragment(
        &mut self,
        meta: FragmentMeta,
        payload: Bytes,
    ) -> Result<Taken, CloseReason> {
        let (bounds, now) = (self.bounds(), self.now);
        let reassembler = self.reassembler.get_or_insert_default();
        let taken = reassembler.take(meta, payload, now, &bounds);
        if let Ok(Taken::Dropped(message)) = &taken {
            tracing::debug!(connection = %self.peer.id, %message, "a message was dropped");
        }
        taken
    }

    /// When the first of the messages that have begun must be whole.
    pub(super) fn reassembly_deadline(&self) -> Option<Instant> {
        self.reassembler.as_ref()?.deadline()
    }

    /// Drops the messages that should be whole by now.
    #[cold]
    pub(super) fn expire_messages(&mut self) {
        let (bounds, now) = (self.bounds(), self.now);
        while let Some(reassembler) = &mut self.reassembler
            && let Some((id, received)) = reassembler.expire(now, &bounds)
        {
            crate::steps::step();
            let connection = self.peer.id;
            tracing::warn!(%connection, message = id, received, "a message was not whole in time");
            let Some(id) = id else {
                return self.close_with_goodbye(CloseReason::MessageTimedOut);
            };
            let why = DropReason::TimedOut;
            let message = DroppedMessage { id, received, why };
            self.events.push_back(Event::MessageDropped(message));
        }
    }

    /// The bytes that have come of a message that is not whole, and those that are known
    /// to be missing.
    pub(super) fn partial_message(&self) -> Option<(u64, Option<u64>)> {
        self.reassembler.as_ref()?.cut_off()
    }

    /// Nothing more is read: messages that are not whole will not be.
    pub(super) fn drop_partial_messages(&mut self) {
        if let Some(reassembler) = &mut self.reassembler {
            reassembler.clear();
        }
    }
}
