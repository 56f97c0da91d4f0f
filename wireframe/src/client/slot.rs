//! Where what answers a call goes.

use std::fmt;

use wireframe_proto::{CallId, CallKind};

use super::{
    CallError,
    call::{self, ReplySlot},
    replies::{self, QueueSlot},
};

/// The driver's end of a call, from when it is queued until it has been answered.
///
/// A call whose driver has let go of this is told that its connection has ended: so no
/// way out of the driver, an unwinding one included, leaves a call waiting.
pub(crate) struct Slot<F>(Option<Target<F>>);

enum Target<F> {
    Single(ReplySlot<F>),
    Stream(QueueSlot<F>),
}

impl<F> Slot<F> {
    pub(super) fn single(reply: ReplySlot<F>) -> Self {
        Self(Some(Target::Single(reply)))
    }

    pub(super) fn stream(queue: QueueSlot<F>) -> Self {
        Self(Some(Target::Stream(queue)))
    }

    /// Moves it out; what is left answers nobody.
    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    pub(super) fn kind(&self) -> CallKind {
        match &self.0 {
            Some(Target::Stream(_)) => CallKind::Streaming,
            Some(Target::Single(_)) | None => CallKind::Single,
        }
    }

    /// The call has begun; says whether anybody waits for what answers it.
    pub(super) fn begun(&self, id: CallId) -> bool {
        match &self.0 {
            Some(Target::Single(reply)) => call::begun(reply, id),
            Some(Target::Stream(queue)) => replies::begun(queue, id),
            None => false,
        }
    }

    /// Hands a frame over that others may follow. Gives the stream back that is full by it.
    pub(super) fn come(&self, frame: F, charge: usize) -> Option<&QueueSlot<F>> {
        match &self.0 {
            Some(Target::Single(reply)) => call::come(reply, Ok(frame)),
            Some(Target::Stream(queue)) => {
                return replies::come(queue, frame, charge).then_some(queue);
            }
            None => {}
        }
        None
    }

    /// Hands the last frame over.
    pub(super) fn complete(mut self, frame: F, charge: usize) {
        match self.0.take() {
            Some(Target::Single(reply)) => call::come(&reply, Ok(frame)),
            Some(Target::Stream(queue)) => {
                replies::come(&queue, frame, charge);
                replies::end(&queue, replies::End::Complete);
            }
            None => {}
        }
    }

    /// The answer has ended behind its last frame, if it had any.
    pub(super) fn end(mut self) {
        match self.0.take() {
            // One that has got its frame keeps it.
            Some(Target::Single(reply)) => call::come(&reply, Err(CallError::Empty)),
            Some(Target::Stream(queue)) => replies::end(&queue, replies::End::Complete),
            None => {}
        }
    }

    pub(super) fn fail(mut self, error: CallError) {
        match self.0.take() {
            Some(Target::Single(reply)) => call::come(&reply, Err(error)),
            Some(Target::Stream(queue)) => replies::end(&queue, replies::End::Failed(error)),
            None => {}
        }
    }
}

impl<F> Drop for Slot<F> {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Target::Single(reply)) => call::lose(&reply),
            Some(Target::Stream(queue)) => replies::end(&queue, replies::End::Lost),
            None => {}
        }
    }
}

impl<F> fmt::Debug for Slot<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.kind()).finish()
    }
}
