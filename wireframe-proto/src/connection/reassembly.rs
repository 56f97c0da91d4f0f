//! Fragments of the peer's messages, on their way to become frames.

use bytes::Bytes;

use super::Connection;
use crate::{
    error::{CloseReason, DropReason, DroppedMessage},
    event::Event,
    fragment::{
        FragmentMeta, FragmentStrategy,
        reassembler::{Bounds, Expired, Reassembler, Taken},
    },
    protocol::{AnswerOrder, WireframeProtocol},
    time::Instant,
};

impl<P: WireframeProtocol> Connection<P> {
    /// Whether a message with an id may be dropped alone. Where answers go in order the next
    /// one would be taken for one that is dropped.
    const DROPS_ALONE: bool = matches!(P::ANSWERS, AnswerOrder::Correlated);

    /// Whether a unit belongs to a message, or says something of one that has to be judged.
    #[inline]
    pub(super) fn is_fragment(&self, meta: &FragmentMeta) -> bool {
        let says_more =
            meta.msg_id.is_some() || meta.seq.is_some() || meta.total_message_len.is_some();
        let belongs = || self.reassembler.as_ref().is_some_and(|r| r.has_anonymous());
        !meta.alone && (!meta.is_final || says_more || belongs())
    }

    fn bounds(&mut self) -> Bounds {
        self.in_user_code = true;
        let reuses_ids = self.framing.reuses_message_ids();
        self.in_user_code = false;
        Bounds {
            refused: self.refused_messages.as_deref().copied(),
            ..Bounds::new(&self.config, reuses_ids, Self::DROPS_ALONE)
        }
    }

    /// Refuses a fragment of which only the header has come, if its payload would cross
    /// a bound.
    #[inline]
    pub(super) fn check_fragment(&mut self, meta: &FragmentMeta) -> Result<(), CloseReason> {
        match self.is_fragment(meta) {
            false => Ok(()),
            true => self.check_bounds(meta),
        }
    }

    #[cold]
    fn check_bounds(&mut self, meta: &FragmentMeta) -> Result<(), CloseReason> {
        let bounds = self.bounds();
        let checked = match &self.reassembler {
            Some(reassembler) => reassembler.check(meta, &bounds),
            None => Reassembler::default().check(meta, &bounds),
        };
        checked.inspect_err(|reason| self.reassembler.get_or_insert_default().count_fatal(reason))
    }

    #[cold]
    pub(super) fn take_fragment(
        &mut self,
        meta: FragmentMeta,
        payload: Bytes,
    ) -> Result<Taken, CloseReason> {
        let bounds = self.bounds();
        let reassembler = self.reassembler.get_or_insert_default();
        let (behind, received) = (self.receive.len(), self.counters.bytes_received);
        let before = received.saturating_sub((behind + payload.len()) as u64);
        let from = reassembler.moment(self.now, before);
        let taken = reassembler.take(meta, payload, from, &bounds);
        taken.inspect_err(|reason| reassembler.count_fatal(reason))
    }

    /// Tells the protocol, and then the driver, of a message of which a fragment is missing.
    #[cold]
    pub(super) fn note_gap(&mut self, message: DroppedMessage) -> Event<P::Frame> {
        let (connection, kind, error) = (self.peer.id, "message", message);
        tracing::debug!(%connection, kind, %error, "frame dropped");
        self.note_dropped(message)
    }

    fn note_dropped(&mut self, message: DroppedMessage) -> Event<P::Frame> {
        let reaction = self.hook(None, |protocol, ctx| {
            protocol.on_message_dropped(&message, ctx)
        });
        self.react(reaction);
        Event::MessageDropped(message)
    }

    /// When the first of the messages that have begun must be whole.
    pub(super) fn reassembly_deadline(&self) -> Option<Instant> {
        let reassembler = self.reassembler.as_ref()?;
        let moment = reassembler.moment(self.now, self.counters.bytes_received);
        reassembler.clock.due(reassembler.deadline(moment)?)
    }

    /// Keeps the clock of the messages in step with whether anything is decoded.
    #[inline]
    pub(super) fn set_decoding(&mut self, decodes: bool) {
        if let Some(reassembler) = &mut self.reassembler {
            match decodes {
                true => reassembler.clock.run(self.now),
                false => reassembler.clock.stop(self.now),
            }
        }
    }

    /// Drops the messages that should have been whole at that time; as long as what the
    /// protocol says to that has room.
    #[cold]
    pub(super) fn expire_messages(&mut self, at: Instant) {
        let bounds = self.bounds();
        while !self.control_is_full()
            && let Some(reassembler) = &mut self.reassembler
            && let moment = reassembler.moment(at, self.counters.bytes_received)
            && let Some(expired) = reassembler.expire(moment, &bounds)
        {
            crate::steps::step();
            let Expired { id, received, .. } = expired;
            if let Some(suppressed) = self.may_warn("message_timed_out") {
                let connection = self.peer.id;
                tracing::warn!(%connection, message = id, received, suppressed, "a message was not whole in time");
            }
            let Some(id) = id.filter(|_| expired.is_alone) else {
                return self.close_with_goodbye(CloseReason::MessageTimedOut);
            };
            let why = DropReason::TimedOut;
            let message = DroppedMessage { id, received, why };
            let event = self.note_dropped(message);
            self.events.push_back(event);
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
