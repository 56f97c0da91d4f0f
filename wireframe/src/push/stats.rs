//! Where every accepted frame has gone.

/// Where the frames pushed on one connection have gone.
///
/// Nothing vanishes: at any time `accepted` is the sum of `sent`, `dead_lettered`, the
/// three `lost_*` and `queued`, and each frame stands under exactly one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushStats {
    /// Frames that a call took, or that a policy disposed of.
    pub accepted: u64,
    /// Frames whose last byte the transport has.
    pub sent: u64,
    /// Frames that the dead letter queue took, for whatever reason.
    pub dead_lettered: u64,
    /// Frames that a policy dropped for lack of room. Of these and the other lost ones,
    /// there was no dead letter queue, or it could not take them.
    pub lost_policy: u64,
    /// Frames that could not be encoded.
    pub lost_unencodable: u64,
    /// Frames that were waiting when the connection ended, or began a call that could not
    /// begin.
    pub lost_closed: u64,
    /// Frames that were waiting when the connection ended, lost or taken by the dead letter
    /// queue: they stand under one of those, too, and this is no term of the sum.
    pub unsent_at_end: u64,
    /// Frames on their way, those already encoded included.
    pub queued: u64,
}
