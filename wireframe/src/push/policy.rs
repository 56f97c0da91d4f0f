//! What becomes of a push that finds no room.

/// What [`push_with_policy`](super::PushHandle::push_with_policy) does when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PushPolicy {
    /// Gives the frame back with [`TryPushError::Full`](super::TryPushError::Full).
    ReturnErrorIfFull,
    /// Drops the frame and counts it.
    DropIfFull,
    /// Drops the frame, counts it and logs a warning.
    ///
    /// So that a stalled peer cannot flood the log, only the 1st, 2nd, 4th, 8th, ...
    /// frame that a policy drops on a connection is logged, with the count.
    WarnAndDropIfFull,
}

/// What became of a frame that [`push_with_policy`](super::PushHandle::push_with_policy) took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "the frame may have been dropped"]
#[non_exhaustive]
pub enum Pushed {
    /// It waits to be sent.
    Queued,
    /// There was no room and the policy dropped it.
    Dropped,
}
