//! The values of labels. No other value is ever used, so none is a peer's to choose.

use wireframe_proto::{AnswerError, CloseReason};

use crate::{error::WireframeError, push::TryPushError};

/// A label's values: a variant for each, and all of them in order.
macro_rules! values {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant,)* }

        #[cfg(feature = "metrics")]
        impl $name {
            pub(super) const VALUES: &[&str] = &[$($value,)*];
        }
    };
}

values! {
    /// Why a push was not sent, or not taken.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "the engine counts some of these itself")
    )]
    Dropped {
        Policy = "policy",
        Unencodable = "unencodable",
        ConnectionClosed = "connection_closed",
        Full = "full",
        RateLimited = "rate_limited",
    }
}

impl Dropped {
    /// What a refusal counts as: nothing if the connection has ended.
    pub(crate) fn refused<F>(refusal: &TryPushError<F>) -> Option<Self> {
        match refusal {
            TryPushError::Full(_) => Some(Self::Full),
            TryPushError::RateLimited { .. } => Some(Self::RateLimited),
            TryPushError::Closed(_) => None,
        }
    }
}

values! {
    /// What has gone wrong.
    ErrorKind {
        // Before there was a connection.
        Refused = "refused",
        HandshakeFailed = "handshake_failed",
        // What ended one.
        UnexpectedEof = "unexpected_eof",
        Malformed = "malformed",
        Limit = "limit",
        FragmentRefused = "fragment_refused",
        Transport = "transport",
        HeartbeatTimedOut = "heartbeat_timed_out",
        WriteStalled = "write_stalled",
        PreambleTimedOut = "preamble_timed_out",
        FrameTimedOut = "frame_timed_out",
        MessageTimedOut = "message_timed_out",
        BodyTimedOut = "body_timed_out",
        DrainTimedOut = "drain_timed_out",
        HandlerFailed = "handler_failed",
        HandlerPanicked = "handler_panicked",
        ProtocolPanicked = "protocol_panicked",
        // What ended a request, or a handler.
        Protocol = "protocol",
        Payload = "payload",
        Unencodable = "unencodable",
        Other = "other",
    }
}

impl ErrorKind {
    /// What the end of a connection counts as: nothing if it was in good order.
    pub(crate) fn of_end(reason: &CloseReason) -> Option<Self> {
        Some(match reason {
            CloseReason::PeerClosed
            | CloseReason::Idle
            | CloseReason::Protocol
            | CloseReason::Drained
            | CloseReason::Aborted => return None,
            CloseReason::UnexpectedEof(_)
            | CloseReason::MessageEof { .. }
            | CloseReason::PreambleEof { .. } => Self::UnexpectedEof,
            CloseReason::Malformed(_) => Self::Malformed,
            CloseReason::Limit(_) => Self::Limit,
            CloseReason::Unencodable(_) => Self::FragmentRefused,
            CloseReason::Transport(_) => Self::Transport,
            CloseReason::HeartbeatTimedOut => Self::HeartbeatTimedOut,
            CloseReason::WriteStalled => Self::WriteStalled,
            CloseReason::PreambleTimedOut => Self::PreambleTimedOut,
            CloseReason::FrameTimedOut => Self::FrameTimedOut,
            CloseReason::MessageTimedOut => Self::MessageTimedOut,
            CloseReason::BodyTimedOut => Self::BodyTimedOut,
            CloseReason::DrainTimedOut { .. } => Self::DrainTimedOut,
            CloseReason::HandlerFailed(_) => Self::HandlerFailed,
            CloseReason::HandlerPanicked => Self::HandlerPanicked,
            CloseReason::ProtocolPanicked => Self::ProtocolPanicked,
            _ => Self::Other,
        })
    }

    /// What the failure of a request counts as.
    pub(crate) fn of_answer<E>(error: &AnswerError<E>) -> Self {
        match error {
            AnswerError::Protocol(_) => Self::Protocol,
            AnswerError::Malformed(_) => Self::Payload,
            AnswerError::Unencodable(_) => Self::Unencodable,
            _ => Self::Other,
        }
    }

    /// What the failure of a handler counts as whose answer is not sent.
    pub(crate) fn of_handler<E>(error: &WireframeError<E>) -> Self {
        match error {
            WireframeError::Io(_) => Self::HandlerFailed,
            WireframeError::Protocol(_) => Self::Protocol,
            WireframeError::Malformed(_) => Self::Payload,
            WireframeError::Unencodable(_) => Self::Unencodable,
            WireframeError::Other(_) => Self::Other,
        }
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use wireframe_proto::{Fault, LimitExceeded, Malformed, Unencodable, UnexpectedEof};

    use super::*;

    #[test]
    fn each_end_that_is_not_in_good_order_has_a_kind() {
        // rule: OBS-2
        let eof = UnexpectedEof {
            received: 1,
            missing: None,
        };
        let message = CloseReason::MessageEof {
            received: 1,
            missing: None,
        };
        let limit = LimitExceeded {
            limit: "max_frame_len",
            value: 1,
            got: 2,
        };
        for (reason, expected) in [
            (CloseReason::PeerClosed, None),
            (CloseReason::Idle, None),
            (CloseReason::Protocol, None),
            (CloseReason::Drained, None),
            (CloseReason::Aborted, None),
            (CloseReason::UnexpectedEof(eof), Some("unexpected_eof")),
            (message, Some("unexpected_eof")),
            (
                CloseReason::PreambleEof { received: 1 },
                Some("unexpected_eof"),
            ),
            (
                CloseReason::Malformed(Malformed::new("odd")),
                Some("malformed"),
            ),
            (CloseReason::Limit(limit), Some("limit")),
            (
                CloseReason::Unencodable(Unencodable::new("odd")),
                Some("fragment_refused"),
            ),
            (CloseReason::Transport("reset".into()), Some("transport")),
            (CloseReason::HeartbeatTimedOut, Some("heartbeat_timed_out")),
            (CloseReason::WriteStalled, Some("write_stalled")),
            (CloseReason::PreambleTimedOut, Some("preamble_timed_out")),
            (CloseReason::FrameTimedOut, Some("frame_timed_out")),
            (CloseReason::MessageTimedOut, Some("message_timed_out")),
            (CloseReason::BodyTimedOut, Some("body_timed_out")),
            (
                CloseReason::DrainTimedOut { fault: Fault::Own },
                Some("drain_timed_out"),
            ),
            (
                CloseReason::HandlerFailed("disk".into()),
                Some("handler_failed"),
            ),
            (CloseReason::HandlerPanicked, Some("handler_panicked")),
            (CloseReason::ProtocolPanicked, Some("protocol_panicked")),
        ] {
            let kind = ErrorKind::of_end(&reason);
            let value = kind.map(|kind| ErrorKind::VALUES[kind as usize]);
            assert_eq!(value, expected, "{reason:?}");
        }
    }
}
