//! What a protocol wants done.

use crate::error::Malformed;

/// What the protocol makes of the first bytes that a peer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preamble<F> {
    /// There is none: the first byte is a frame's. No event tells of it, unless the protocol
    /// was asked before and said [`Incomplete`](Self::Incomplete).
    Absent,
    /// More bytes are needed.
    Incomplete,
    /// It is whole; the bytes behind it are frames.
    Done {
        /// Its length.
        len: usize,
        /// What to do about it. A frame is sent as control.
        reaction: Reaction<F>,
    },
    /// It is none that is known here. The connection closes.
    Malformed(Malformed),
}

/// What a hook wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction<F> {
    /// Nothing.
    Continue,
    /// Send this frame.
    Send(F),
    /// Send this frame, if any, as the last, and close. What is not encoded by then does not
    /// go, answers to requests that came in the same read among it. A hook that wants these
    /// to go asks for a drain, with [`close`](crate::ConnectionContext::close).
    Close(Option<F>),
}
