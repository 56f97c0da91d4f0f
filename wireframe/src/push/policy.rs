//! What becomes of a push that finds no room.

/// What [`push_with_policy`](super::PushHandle::push_with_policy) does when there is no
/// room, or no token where the rate of pushes is limited.
///
/// What a policy drops goes to the [dead letter queue](crate::dead_letter_queue) of the
/// app, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PushPolicy {
    /// Gives the frame back with [`TryPushError::Full`](super::TryPushError::Full) or
    /// [`TryPushError::RateLimited`](super::TryPushError::RateLimited).
    ReturnErrorIfFull,
    /// Drops the frame and counts it.
    DropIfFull,
    /// Drops the frame, counts it and logs a warning.
    ///
    /// Where the app has a dead letter queue nothing is logged but what that could not
    /// take, as its [`DeadLetterLog`](crate::DeadLetterLog) says.
    ///
    /// So that a stalled peer cannot flood the log, only one in
    /// [`Throttle::INTERVAL`](wireframe_proto::Throttle::INTERVAL) is logged for each
    /// connection, with the number of those that were not.
    WarnAndDropIfFull,
}

/// What became of a frame that [`push_with_policy`](super::PushHandle::push_with_policy) took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "the frame may have been dropped"]
#[non_exhaustive]
pub enum Pushed {
    /// It waits to be sent.
    Queued,
    /// There was no room, the policy dropped it, and the dead letter queue has it.
    DeadLettered,
    /// There was no room and the policy dropped it.
    Dropped,
}
