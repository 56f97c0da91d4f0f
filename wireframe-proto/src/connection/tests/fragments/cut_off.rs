//! The peer's output ends inside a message.

use alloc::format;

use super::{RawConnection, events, feed, fragment, raw};
use crate::{
    CloseReason, Config, Event, HalfClose, Instant, LenFlag32K, Multiplexed, UnexpectedEof,
};

fn ended<S>(mut receiver: RawConnection<S>, wire: &[u8]) -> CloseReason
where
    S: crate::FragmentStrategy<bytes::Bytes> + Clone,
{
    feed(&mut receiver, wire);
    assert_eq!(events(&mut receiver), []);
    receiver.handle_eof(Instant::ZERO);
    match events(&mut receiver).into_iter().next() {
        Some(Event::Closing(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_end_inside_a_message_says_what_is_missing() {
    // rule: SHUT-6
    for half_close in [HalfClose::Answers, HalfClose::Ends] {
        let config = Config {
            half_close,
            ..Config::default()
        };
        let wire = fragment(1, 0, Some(9), false, b"abc");
        let reason = ended(raw(Multiplexed::new(), config.clone()), &wire);
        let text = "peer closed inside a message, after 3 bytes, 6 are missing";
        assert_eq!(format!("{reason}"), text);
        let reason = ended(raw(LenFlag32K, config), b"\0\x01a");
        let text = "peer closed inside a message, after 1 bytes";
        assert_eq!(format!("{reason}"), text);
    }
}

#[test]
fn an_end_inside_a_fragment_is_one_inside_a_frame() {
    // rule: SHUT-6
    let mut wire = fragment(1, 0, Some(9), false, b"abc");
    wire.pop();
    let reason = ended(raw(Multiplexed::new(), Config::default()), &wire);
    let expected = UnexpectedEof {
        received: 2,
        missing: Some(1),
    };
    assert_eq!(reason, CloseReason::UnexpectedEof(expected));
}

#[test]
fn an_end_behind_a_message_that_was_dropped_is_clean() {
    // rule: SHUT-6, REASM-4
    let mut receiver = raw(Multiplexed::new(), Config::default());
    feed(&mut receiver, &fragment(1, 0, Some(9), false, b"abc"));
    feed(&mut receiver, &fragment(1, 2, None, true, b"abc"));
    assert_eq!(events(&mut receiver).len(), 1);
    receiver.handle_eof(Instant::ZERO);
    let reason = CloseReason::PeerClosed;
    assert_eq!(events(&mut receiver), [Event::Closing(reason)]);
}
