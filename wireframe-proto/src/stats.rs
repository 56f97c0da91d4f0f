//! What a connection has counted.

/// Counters of one connection since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whole frames decoded.
    pub frames_received: u64,
    /// Frames encoded, of every source.
    pub frames_sent: u64,
    /// Bytes given to the engine.
    pub bytes_received: u64,
    /// Bytes that the transport has taken.
    pub bytes_sent: u64,
    /// Commands handed to the application.
    pub requests: u64,
    /// Requests dropped during a drain, held back ones included.
    pub requests_dropped: u64,
    /// Body frames of no live command, or of one that reads no body.
    pub bodies_discarded: u64,
    /// Replies to no pending call.
    pub replies_discarded: u64,
    /// What came of messages that the peer sent in fragments.
    pub fragments: FragmentStats,
    /// High pushes.
    pub high: PushStats,
    /// Low pushes; calls are among them.
    pub low: PushStats,
}

/// What came of messages that the peer sent in fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FragmentStats {
    /// Messages that became whole.
    pub messages: u64,
    /// Messages that were dropped because a fragment was missing.
    pub gaps: u64,
    /// Messages that were dropped because they were not whole in time.
    pub timed_out: u64,
    /// Messages of which a fragment would have crossed a limit, which ended the connection.
    pub over_limit: u64,
    /// Messages of which a fragment contradicted what had come before, or came out of its turn
    /// where a message cannot be dropped alone, which ended the connection.
    pub malformed: u64,
    /// Fragments that had come before, and were ignored.
    pub duplicates: u64,
    /// Fragments of messages that had been dropped, and were ignored.
    pub late: u64,
}

/// What became of the pushes of one priority. At any time
/// `accepted = sent + unencodable + connection_ended + queued`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushStats {
    /// Frames that took a slot.
    pub accepted: u64,
    /// Frames whose last byte the transport has taken.
    pub sent: u64,
    /// Frames that could not be encoded.
    pub unencodable: u64,
    /// Frames that were queued or under way when the connection ended.
    pub connection_ended: u64,
    /// Frames that wait: queued, or encoded and not yet taken by the transport.
    pub queued: u64,
}

/// The counters that a connection keeps itself; those of pushes are kept with the queues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) frames_received: u64,
    pub(crate) frames_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) requests: u64,
    pub(crate) requests_dropped: u64,
    pub(crate) bodies_discarded: u64,
    pub(crate) replies_discarded: u64,
}
