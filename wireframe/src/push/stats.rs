//! Where every accepted frame has gone.

/// Where the frames pushed on one connection have gone.
///
/// Nothing vanishes: at any time `accepted` is the sum of `sent`, the three `lost_*`
/// and `queued`, and each frame stands under exactly one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushStats {
    /// Frames that a call took, or that a policy disposed of.
    pub accepted: u64,
    /// Frames whose last byte the transport has.
    pub sent: u64,
    /// Frames that a policy dropped for lack of room.
    pub lost_policy: u64,
    /// Frames that could not be encoded.
    pub lost_unencodable: u64,
    /// Frames that were waiting when the connection ended.
    pub lost_closed: u64,
    /// Frames on their way, those already encoded included.
    pub queued: u64,
}
