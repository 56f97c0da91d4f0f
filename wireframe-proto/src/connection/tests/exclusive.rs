//! Commands that change what later bytes mean.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::support::{Correlated, Frame, InOrder, Kind, Link, OVERHEAD, ends};
use crate::{
    Body, CloseReason, Config, DeadlineReason, Discarded, Event, Instant, Outcome, Shutdown,
    config::nonzero,
};

fn exclusive(id: u16) -> Frame {
    Frame::new(Kind::Exclusive, []).with_id(id)
}

fn body(last: bool, text: &str) -> Frame {
    Frame::new(if last { Kind::LastBody } else { Kind::Body }, text)
}

#[test]
fn an_exclusive_request_starts_when_all_before_have_ended() {
    // rule: FRAME-4, REQ-1
    let mut link = Link::new(Config::default(), Correlated::default());
    link.receive(&[Frame::request(1), Frame::request(2), exclusive(3)]);
    let before = link.started();
    assert_eq!(before.len(), 2);
    link.connection
        .answer(before[1].id, Frame::numbered(2))
        .unwrap();
    assert_eq!(link.started(), []);
    link.connection
        .answer(before[0].id, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.started().len(), 1);
}

#[test]
fn it_waits_for_their_last_frames_too() {
    // rule: FRAME-4
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    let mut link = Link::new(config, Correlated::default());
    link.receive(&[Frame::request(1), exclusive(2)]);
    let first = link.started()[0];
    for n in [1, 2] {
        link.connection
            .respond(first.id, Frame::numbered(n))
            .unwrap();
    }
    link.connection
        .finish(first.id, crate::End::Complete)
        .unwrap();
    assert_eq!(link.started(), [], "an answer waits at the high-water mark");
    link.sent();
    assert_eq!(link.started().len(), 1);
}

#[test]
fn nothing_behind_it_is_decoded_until_it_has_ended() {
    // rule: FRAME-4
    let mut link = Link::new(Config::default(), Correlated::default());
    link.receive(&[
        exclusive(1),
        Frame::new(Kind::Control, []),
        Frame::request(2),
    ]);
    let first = link.started()[0];
    assert_eq!(link.connection.stats().frames_received, 1);
    assert!(!link.connection.wants().event);
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert!(link.connection.wants().event);
    assert_eq!(link.started().len(), 1);
    assert_eq!(link.connection.stats().frames_received, 3);
}

#[test]
fn one_frame_is_decoded_each_time_its_handler_awaits_a_body() {
    // rule: FRAME-4, REQ-2
    let mut link = Link::new(Config::default(), InOrder::default());
    link.receive(&[
        exclusive(1),
        body(false, "a"),
        body(true, "b"),
        exclusive(2),
    ]);
    let first = link.started()[0];
    for (decoded, text) in [(2, "a"), (3, "b")] {
        let pending = link.connection.next_body(first.id, link.now);
        assert_eq!(pending, Body::Pending);
        assert!(link.connection.wants().event);
        assert_eq!(link.events(), [Event::Body(first)]);
        assert_eq!(link.connection.stats().frames_received, decoded);
        let Body::Frame(frame) = link.connection.next_body(first.id, link.now) else {
            panic!("no frame");
        };
        assert_eq!(frame.body, text);
    }
    assert_eq!(link.connection.next_body(first.id, link.now), Body::End);
    assert_eq!(link.events(), [], "the body has ended, its command has not");
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.started().len(), 1);
}

#[test]
fn no_command_starts_behind_one_that_awaits_its_body() {
    // rule: FRAME-4
    let mut link = Link::new(Config::default(), Correlated::default());
    let first = body(true, "b").with_id(1);
    let behind = [Frame::request(2), Frame::request(None), exclusive(3)];
    link.receive(&[exclusive(1)]);
    let started = link.started()[0];
    link.receive(&behind);
    link.receive(&[Frame::request(4), Frame::request(None), first]);
    assert_eq!(
        link.connection.next_body(started.id, link.now),
        Body::Pending
    );
    let events = link.events();
    assert_eq!(events.last(), Some(&Event::Body(started)));
    let held = |event: &Event<Frame>| matches!(event, Event::HeldBack(_));
    assert!(events[..5].iter().all(held), "{events:?}");
    // Each waits for its turn, and none passes the second exclusive one.
    let mut turn = vec![started];
    let mut turns: Vec<Vec<_>> = vec![];
    while !turn.is_empty() {
        turns.push(turn.iter().map(|c| c.correlation.map(|id| id.0)).collect());
        for command in turn {
            link.connection
                .answer(command.id, Frame::numbered(1))
                .unwrap();
        }
        turn = link.started();
    }
    let expected: [Vec<Option<u64>>; 4] = [
        vec![Some(1)],
        vec![Some(2), None],
        vec![Some(3)],
        vec![Some(4), None],
    ];
    assert_eq!(turns, expected);
}

#[test]
fn its_body_is_found_behind_another_exclusive_request() {
    // rule: FRAME-4
    let mut link = Link::new(Config::default(), InOrder::default());
    link.receive(&[exclusive(1)]);
    let first = link.started()[0];
    assert_eq!(link.connection.next_body(first.id, link.now), Body::Pending);
    link.receive(&[exclusive(2), body(true, "b"), Frame::request(3)]);
    let events = link.events();
    assert!(matches!(events[..], [Event::HeldBack(_), Event::Body(info)] if info == first));
    assert!(matches!(
        link.connection.next_body(first.id, link.now),
        Body::Frame(_)
    ));
    assert_eq!(link.connection.next_body(first.id, link.now), Body::End);
    let mut running = first;
    for id in [2, 3] {
        assert_eq!(link.events(), []);
        link.connection
            .answer(running.id, Frame::numbered(1))
            .unwrap();
        running = link.started()[0];
        assert_eq!(running.correlation.map(|id| id.0), Some(id));
    }
}

#[test]
fn what_is_held_behind_one_that_awaits_its_body_is_bounded() {
    // rule: FRAME-4, RESP-7
    let mut config = Config::default();
    config.limits.max_held_back = nonzero(2);
    config.limits.read_buffer = nonzero(OVERHEAD);
    config.timeouts.body = Duration::from_millis(30);
    let mut link = Link::new(config, InOrder::default());
    link.receive(&[exclusive(1)]);
    let first = link.started()[0];
    assert_eq!(link.connection.next_body(first.id, link.now), Body::Pending);
    link.receive(&[2, 3, 4].map(Frame::request));
    link.receive(&[body(true, "too far behind")]);
    assert_eq!(link.events().len(), 2);
    assert!(!link.connection.wants().read);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
    link.pass_until(30);
    assert_eq!(link.events(), [Event::Body(first)]);
    assert_eq!(
        link.connection.next_body(first.id, link.now),
        Body::TimedOut
    );
}

#[test]
fn bytes_behind_it_are_read_up_to_one_read_buffer_so_that_the_end_is_seen() {
    // rule: FRAME-4
    let mut config = Config::default();
    config.limits.read_buffer = nonzero(4 * OVERHEAD);
    let mut link = Link::new(config, InOrder::default());
    link.receive(&[exclusive(1)]);
    let first = link.started()[0];
    for _ in 0..4 {
        assert!(link.connection.wants().read);
        link.receive(&[Frame::new(Kind::Control, [])]);
        assert_eq!(link.events(), []);
    }
    assert!(!link.connection.wants().read);
    link.eof();
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    let (_, events) = link.wind_up();
    assert_eq!(events[..4], [const { Event::Control }; 4], "none is lost");
    assert_eq!(events.last(), Some(&Event::Closed(CloseReason::PeerClosed)));
}

#[test]
fn a_frame_cut_short_behind_it_is_timed_from_when_it_may_be_decoded() {
    // rule: FRAME-4, LIM-3
    let mut config = Config::default();
    config.timeouts.frame_completion = Duration::from_millis(30);
    let mut link = Link::new(config, InOrder::default());
    link.receive(&[exclusive(1)]);
    let first = link.started()[0];
    link.receive_bytes(&Frame::request(2).wire()[..6]);
    link.events();
    assert_eq!(link.due(), None);
    link.pass_until(100);
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    link.sent();
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 130)));
}

#[test]
fn a_frame_that_was_seen_to_be_cut_short_is_timed_anew_once_it_is_awaited_again() {
    // rule: FRAME-4, LIM-3
    let mut config = Config::default();
    config.timeouts.frame_completion = Duration::from_millis(30);
    let mut link = Link::new(config, InOrder::default());
    link.receive(&[exclusive(1)]);
    let first = link.started()[0];
    link.connection.next_body(first.id, link.now);
    link.receive_bytes(&body(true, "a").wire()[..6]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 30)));
    link.connection.stop_awaiting_body(first.id);
    assert_eq!(link.due(), None);
    link.pass_until(100);
    // No byte has come since, and none will.
    link.connection.next_body(first.id, link.now);
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 130)));
}

#[test]
fn a_drain_drops_what_stands_behind_an_exclusive_request_that_it_drops() {
    // rule: SHUT-2, FRAME-4
    for held in [true, false] {
        let mut link = Link::new(Config::default(), InOrder::default());
        let deadline = Instant::from_millis(5_000);
        let first = link.requests(&[1])[0];
        // In the phase that the exclusive one would have brought these are no garbage.
        let mut bytes = exclusive(2).wire();
        bytes.extend([0xff; 40]);
        if held {
            link.receive_bytes(&bytes);
            link.events();
        }
        link.connection
            .shutdown(link.now, Shutdown::Drain { deadline });
        if !held {
            link.receive_bytes(&bytes);
            assert_eq!(link.events(), [Event::Discarded(Discarded::Request)]);
        }
        assert_eq!(link.connection.stats().requests_dropped, 1);
        link.receive_bytes(&[0xff; 40]);
        assert_eq!(link.events(), []);
        link.connection
            .answer(first.id, Frame::numbered(1))
            .unwrap();
        let (sent, events) = link.wind_up();
        assert_eq!(sent.len(), 1);
        assert_eq!(events, [Event::Closing(CloseReason::Drained)]);
        let outcomes: Vec<_> = ends(&link.hooks()).iter().map(|end| end.0).collect();
        assert_eq!(outcomes, [Outcome::Done]);
    }
}

#[test]
fn there_is_room_to_read_behind_a_whole_body_frame_that_nobody_awaits() {
    // rule: FRAME-4, LIM-10
    let mut link = Link::new(Config::default(), InOrder::default());
    link.receive(&[exclusive(1)]);
    let command = link.started()[0];
    assert_eq!(
        link.connection.next_body(command.id, link.now),
        Body::Pending
    );
    let wire = body(true, "all of it").wire();
    let (front, rest) = wire.split_at(wire.len() - 1);
    link.receive_bytes(front);
    assert_eq!(link.events(), []);
    link.connection.stop_awaiting_body(command.id);
    // A buffer that the rest of the frame fills to the brim.
    let mut exact = bytes::BytesMut::with_capacity(link.connection.receive_buffer().len() + 1);
    exact.extend_from_slice(&link.connection.receive_buffer()[..]);
    *link.connection.receive_buffer() = exact;
    link.receive_bytes(rest);
    assert!(link.connection.wants().read);
    let buffer = link.connection.receive_buffer();
    assert!(buffer.capacity() > buffer.len());
}
