//! Fragments as they arrive: interleaved, doubled, missing, late.

use alloc::{format, vec, vec::Vec};
use core::time::Duration;

use bytes::Bytes;

use super::{
    super::support::{Frame, InOrder, Kind},
    RawConnection, events, feed, fragment, raw, unit_by_unit, whole,
};
use crate::{
    CloseReason, Config, DeadlineReason, DropReason, DroppedMessage, End, Event, FragmentStats,
    Instant, LenFlag32K, Multiplexed, config::nonzero,
};

fn receiver() -> RawConnection<Multiplexed> {
    raw(Multiplexed::new(), Config::default())
}

fn pushes(frames: &[&'static [u8]]) -> Vec<Event<Bytes>> {
    let push = |frame: &&'static [u8]| Event::Push(Bytes::from_static(frame));
    frames.iter().map(push).collect()
}

fn after(units: &[Vec<u8>]) -> (RawConnection<Multiplexed>, Vec<Event<Bytes>>) {
    let mut receiver = receiver();
    feed(&mut receiver, &units.concat());
    let events = events(&mut receiver);
    (receiver, events)
}

#[test]
fn interleaved_messages_are_told_apart() {
    // rule: REASM-1
    let (receiver, events) = after(&[
        fragment(1, 0, Some(6), false, b"a1"),
        fragment(2, 0, Some(6), false, b"b1"),
        fragment(1, 1, None, false, b"a2"),
        fragment(2, 1, None, false, b"b2"),
        whole(b"beat"),
        fragment(1, 2, None, true, b"a3"),
        fragment(2, 2, None, true, b"b3"),
    ]);
    assert_eq!(events, pushes(&[b"beat", b"a1a2a3", b"b1b2b3"]));
    let stats = receiver.stats();
    assert_eq!(stats.fragments.messages, 2);
    assert_eq!(stats.frames_received, 3);
}

#[test]
fn a_message_may_be_one_fragment() {
    // rule: REASM-1
    let (_, events) = after(&[fragment(1, 0, None, true, b"one")]);
    assert_eq!(events, pushes(&[b"one"]));
}

#[test]
fn a_duplicate_is_ignored_and_counted() {
    // rule: REASM-4
    let first = fragment(1, 0, Some(3), false, b"a");
    let second = fragment(1, 1, None, false, b"b");
    let (receiver, events) = after(&[
        first.clone(),
        first.clone(),
        second.clone(),
        second,
        first,
        fragment(1, 2, None, true, b"c"),
    ]);
    assert_eq!(events, pushes(&[b"abc"]));
    assert_eq!(receiver.stats().fragments.duplicates, 3);
}

#[test]
fn a_gap_drops_its_message_alone() {
    // rule: REASM-4, REASM-5
    let (mut receiver, seen) = after(&[
        fragment(1, 0, Some(6), false, b"a1"),
        fragment(2, 0, Some(4), false, b"b1"),
        fragment(1, 2, None, true, b"a3"),
        fragment(1, 1, None, false, b"a2"),
        fragment(2, 1, None, true, b"b2"),
    ]);
    let dropped = DroppedMessage {
        id: 1,
        received: 2,
        why: DropReason::SequenceGap {
            expected: 1,
            got: 2,
        },
    };
    let text = "message 1 was dropped after 2 bytes: sequence gap: expected fragment 1, got 2";
    assert_eq!(format!("{dropped}"), text);
    let mut expected = vec![Event::MessageDropped(dropped)];
    expected.extend(pushes(&[b"b1b2"]));
    assert_eq!(seen, expected);
    // What is late is ignored.
    feed(&mut receiver, &fragment(1, 3, None, true, b"a4"));
    assert_eq!(events(&mut receiver), []);
    let stats = receiver.stats().fragments;
    assert_eq!((stats.gaps, stats.late, stats.messages), (1, 2, 1));
    assert_eq!(receiver.poll_timeout(), None);
}

#[test]
fn a_message_without_its_beginning_is_a_gap() {
    // rule: REASM-4
    let (receiver, events) = after(&[fragment(9, 3, None, true, b"end")]);
    let why = DropReason::SequenceGap {
        expected: 0,
        got: 3,
    };
    let dropped = DroppedMessage {
        id: 9,
        received: 0,
        why,
    };
    assert_eq!(events, [Event::MessageDropped(dropped)]);
    assert_eq!(receiver.stats().fragments.gaps, 1);
}

#[test]
fn a_declared_total_is_binding() {
    // rule: REASM-7
    let begin = fragment(1, 0, Some(5), false, b"abc");
    for (rest, what) in [
        (
            fragment(1, 1, None, true, b"d"),
            "message of 4 bytes, declared with 5",
        ),
        (
            fragment(1, 1, None, false, b"def"),
            "message of 6 bytes, declared with 5",
        ),
    ] {
        let (receiver, events) = after(&[begin.clone(), rest]);
        let [Event::Closing(CloseReason::Malformed(error))] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(receiver.stats().fragments.malformed, 1);
        assert_eq!(error.what, what);
    }
    // To have all of it and yet to go on is no error: what follows may be empty.
    let all = fragment(1, 1, None, false, b"de");
    let (_, events) = after(&[begin, all, fragment(1, 2, None, true, b"")]);
    assert_eq!(events, pushes(&[b"abcde"]));
}

fn at(receiver: &mut RawConnection<Multiplexed>, millis: u64) -> Vec<Event<Bytes>> {
    let now = Instant::from_millis(millis);
    receiver.handle_timeout(now);
    core::iter::from_fn(|| receiver.poll_event(now)).collect()
}

fn due<P: crate::WireframeProtocol>(
    receiver: &crate::Connection<P>,
) -> Option<(DeadlineReason, u64)> {
    let deadline = receiver.poll_timeout()?;
    Some((deadline.reason, deadline.at.as_nanos() / 1_000_000))
}

#[test]
fn an_abandoned_message_is_dropped_exactly_at_its_deadline() {
    // rule: REASM-5
    let (mut receiver, _) = after(&[fragment(1, 0, Some(2), false, b"a")]);
    assert_eq!(due(&receiver), Some((DeadlineReason::Reassembly, 30_000)));
    assert_eq!(at(&mut receiver, 29_999), []);
    let dropped = DroppedMessage {
        id: 1,
        received: 1,
        why: DropReason::TimedOut,
    };
    assert_eq!(at(&mut receiver, 30_000), [Event::MessageDropped(dropped)]);
    assert_eq!(due(&receiver), None);
    assert_eq!(at(&mut receiver, 60_000), []);
    feed(&mut receiver, &fragment(1, 1, None, true, b"b"));
    feed(&mut receiver, &whole(b"on"));
    assert_eq!(events(&mut receiver), pushes(&[b"on"]));
    let expected = FragmentStats {
        timed_out: 1,
        late: 1,
        ..FragmentStats::default()
    };
    assert_eq!(receiver.stats().fragments, expected);
}

#[test]
fn what_was_received_gives_a_message_more_time() {
    // rule: REASM-2
    let mut receiver = receiver();
    let large = vec![1; 512 * 1024];
    feed(&mut receiver, &fragment(1, 0, Some(2 << 20), false, &large));
    assert_eq!(events(&mut receiver), []);
    assert_eq!(due(&receiver), Some((DeadlineReason::Reassembly, 32_000)));
    // One that began later and is small has to be whole before.
    assert_eq!(at(&mut receiver, 1_000), []);
    let now = Instant::from_millis(1_000);
    receiver
        .receive_buffer()
        .extend_from_slice(&fragment(2, 0, Some(9), false, b"b"));
    receiver.handle_received(now);
    assert_eq!(receiver.poll_event(now), None);
    assert_eq!(due(&receiver), Some((DeadlineReason::Reassembly, 31_000)));
    feed(&mut receiver, &fragment(2, 1, None, false, b""));
    feed(&mut receiver, &fragment(1, 1, None, false, &large));
    assert_eq!(events(&mut receiver), []);
    let ids = |events: Vec<Event<Bytes>>| -> Vec<u64> {
        let id = |event| match event {
            Event::MessageDropped(message) => message.id,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(id).collect()
    };
    assert_eq!(ids(at(&mut receiver, 33_999)), [2]);
    assert_eq!(due(&receiver), Some((DeadlineReason::Reassembly, 34_000)));
    assert_eq!(ids(at(&mut receiver, 34_000)), [1]);
}

#[test]
fn time_stands_still_while_the_engine_does_not_read() {
    // rule: REASM-5, RESP-7
    let (mut receiver, _) = after(&[fragment(1, 0, Some(2), false, b"a")]);
    receiver.hold_input(true, Instant::from_millis(10_000));
    assert_eq!(due(&receiver), None);
    receiver.hold_input(false, Instant::from_millis(100_000));
    assert_eq!(due(&receiver), Some((DeadlineReason::Reassembly, 120_000)));
}

#[test]
fn time_stands_still_while_nothing_is_decoded_though_it_is_read() {
    // rule: REASM-5, RESP-7, FRAME-4
    let mut link = unit_by_unit(InOrder::default());
    let payload = |frame: Frame| frame.wire().split_off(4);
    let push = payload(Frame::numbered(7));
    link.receive_bytes(&fragment(1, 0, Some(8), false, &push[..4]));
    link.receive_bytes(&whole(&payload(Frame::new(Kind::Exclusive, []))));
    let command = link.started()[0];
    // The rest has come, but stands behind the command.
    link.receive_bytes(&fragment(1, 1, None, true, &push[4..]));
    assert_eq!(link.events(), []);
    assert_eq!(link.due(), None);
    link.pass_until(100_000);
    assert_eq!(link.events(), []);
    let finished = link.connection.finish(command.id, End::Complete);
    assert_eq!(finished, Ok(()));
    assert_eq!(link.events(), [Event::Push(Frame::numbered(7))]);
    // What begins now has all its time.
    link.receive_bytes(&fragment(2, 0, Some(8), false, &push[..4]));
    assert_eq!(link.events(), []);
    assert_eq!(link.due(), Some((DeadlineReason::Reassembly, 130_000)));
}

#[test]
fn without_an_id_a_message_that_is_late_ends_the_connection() {
    // rule: REASM-5
    let mut config = Config::default();
    config.fragments.reassembly_timeout = Duration::from_millis(50);
    let mut receiver = raw(LenFlag32K, config);
    feed(&mut receiver, &[0, 1, b'a']);
    assert_eq!(events(&mut receiver), []);
    assert_eq!(due(&receiver), Some((DeadlineReason::Reassembly, 50)));
    let now = Instant::from_millis(50);
    receiver.handle_timeout(now);
    assert_eq!(
        receiver.poll_event(now),
        Some(Event::Closing(CloseReason::MessageTimedOut))
    );
    assert_eq!(receiver.stats().fragments.timed_out, 1);
}

#[test]
fn without_an_id_there_is_one_message_at_a_time() {
    // rule: REASM-1
    let mut receiver = raw(LenFlag32K, Config::default());
    feed(
        &mut receiver,
        b"\0\x01a\0\x01b\x80\x01c\x80\x01d\0\x01e\x80\0",
    );
    assert_eq!(events(&mut receiver), pushes(&[b"abc", b"d", b"e"]));
    assert_eq!(receiver.poll_timeout(), None);
}

#[test]
fn as_much_may_come_as_the_limit_says_whatever_its_memory_takes() {
    // rule: REASM-2
    let mut config = Config::default();
    config.fragments.max_partial_bytes = Some(nonzero(8));
    let mut receiver = raw(LenFlag32K, config);
    feed(&mut receiver, b"\0\x05abcde\0\x03fgh\x80\0");
    assert_eq!(events(&mut receiver), pushes(&[b"abcdefgh"]));
}
