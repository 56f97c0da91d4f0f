//! The peer's end.

use super::support::{Correlated, Frame, InOrder, Kind, Link, ends, goodbyes, numbers};
use crate::{
    CloseReason, Config, End, Event, HalfClose, Outcome, Priority, PushBound, Refusal, State,
    UnexpectedEof, config::nonzero,
};

fn ending() -> Config {
    Config {
        half_close: HalfClose::Ends,
        ..Config::default()
    }
}

const PEER_CLOSED: Event<Frame> = Event::Closed(CloseReason::PeerClosed);

#[test]
fn an_end_between_frames_is_a_clean_close() {
    // rule: SHUT-6
    for config in [Config::default(), ending()] {
        let mut link = Link::new(config, InOrder::default());
        link.events();
        link.eof();
        assert!(link.connection.wants().event);
        let (sent, events) = link.wind_up();
        assert_eq!(sent, []);
        assert_eq!(
            events,
            [Event::Closing(CloseReason::PeerClosed), PEER_CLOSED]
        );
        assert_eq!(goodbyes(&link.hooks()), []);
    }
}

#[test]
fn an_end_within_a_frame_says_how_much_was_missing() {
    // rule: SHUT-6
    let cases = [
        (
            &[0, 0, 0][..],
            3,
            None,
            "closed inside a header, after 3 bytes",
        ),
        (
            &[0, 0, 0, 9],
            0,
            Some(9),
            "inside a frame: 9 of 9 payload bytes missing",
        ),
        (
            &[0, 0, 0, 9, 1, 2],
            2,
            Some(7),
            "inside a frame: 7 of 9 payload bytes missing",
        ),
    ];
    for (bytes, received, missing, text) in cases {
        for config in [Config::default(), ending()] {
            let mut link = Link::new(config, InOrder::default());
            link.receive_bytes(bytes);
            link.eof();
            let (_, events) = link.wind_up();
            let eof = UnexpectedEof { received, missing };
            let reason = CloseReason::UnexpectedEof(eof);
            assert_eq!(events.last(), Some(&Event::Closed(reason.clone())));
            assert!(alloc::format!("{reason}").ends_with(text), "{reason}");
        }
    }
}

#[test]
fn pending_answers_and_held_back_requests_and_pushes_are_still_sent() {
    // rule: SHUT-6, RESP-10
    let mut link = Link::new(Config::default(), InOrder::default());
    let first = link.requests(&[1, 2])[0];
    link.connection
        .push(Priority::Low, Frame::numbered(7))
        .unwrap();
    link.eof();
    assert_eq!(
        link.wind_up(),
        (alloc::vec![Frame::numbered(7)], alloc::vec![])
    );
    link.connection
        .push(Priority::Low, Frame::numbered(8))
        .unwrap();
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [8, 1]);
    let second = link.started()[0];
    link.connection
        .push(Priority::Low, Frame::numbered(9))
        .unwrap();
    for n in 2..=4 {
        link.connection
            .respond(second.id, Frame::numbered(n))
            .unwrap();
        link.sent();
    }
    link.connection
        .finish(second.id, End::StreamComplete)
        .unwrap();
    let (_, events) = link.wind_up();
    assert_eq!(events.last(), Some(&PEER_CLOSED));
    assert_eq!(link.connection.stats().low.sent, 3);
    let outcomes = [(Outcome::Done, Some(1)), (Outcome::Done, Some(2))];
    assert_eq!(ends(&link.hooks()), outcomes);
}

#[test]
fn a_push_that_waits_while_the_last_answer_goes_is_sent_before_the_close() {
    // rule: SHUT-6
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    let mut link = Link::new(config, InOrder::default());
    let command = link.requests(&[1])[0];
    link.eof();
    link.connection
        .push(Priority::Low, Frame::numbered(2))
        .unwrap();
    let _ = link.fill();
    link.connection
        .push(Priority::Low, Frame::numbered(3))
        .unwrap();
    link.connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.events(), []);
    assert_eq!(link.connection.state(), State::Active);
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [2, 3, 1]);
    assert_eq!(events.last(), Some(&PEER_CLOSED));
}

#[test]
fn once_the_peer_has_ended_and_all_is_done_no_push_is_taken() {
    // rule: SHUT-6, PUSH-6
    let mut link = Link::new(Config::default(), InOrder::default());
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    link.eof();
    assert_eq!(link.events(), []);
    let refused = link.connection.push(Priority::Low, Frame::numbered(2));
    assert_eq!(refused.unwrap_err().reason, Refusal::Closed);
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [1]);
    assert_eq!(events.last(), Some(&PEER_CLOSED));
}

#[test]
fn where_an_end_ends_everything_does_at_once() {
    // rule: RESP-10
    let mut link = Link::new(ending(), InOrder::default());
    let first = link.requests(&[1, 2])[0];
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    link.eof();
    let events = link.events();
    assert_eq!(events.last(), Some(&PEER_CLOSED));
    let late = link.connection.answer(first.id, Frame::numbered(1));
    assert!(late.is_err());
    assert_eq!(link.sent(), []);
    // The second never began.
    assert_eq!(ends(&link.hooks()), [(Outcome::Disconnected, Some(1))]);
}

#[test]
fn where_an_end_ends_it_does_so_though_decoding_has_stopped() {
    // rule: RESP-10, RESP-7
    let mut config = ending();
    config.limits.max_held_back = nonzero(1);
    let mut link = Link::new(config, InOrder::default());
    link.requests(&[1, 2]);
    link.receive(&[Frame::request(3)]);
    assert!(!link.connection.wants().event);
    link.eof();
    assert!(link.connection.wants().event, "or nobody would take notice");
    assert_eq!(link.events().last(), Some(&PEER_CLOSED));
}

#[test]
fn the_end_is_seen_at_the_bound_of_what_is_held_back() {
    // rule: RESP-7, SHUT-6
    let mut config = Config::default();
    config.limits.max_held_back = nonzero(1);
    let mut link = Link::new(config, InOrder::default());
    let first = link.requests(&[1, 2])[0];
    link.eof();
    assert!(link.connection.wants().event);
    assert_eq!(link.events(), []);
    let body = link.connection.next_body(first.id, link.now);
    assert_eq!(body, crate::Body::UnexpectedEof);
}

#[test]
fn bytes_after_the_end_are_dropped_and_those_before_it_are_not() {
    // rule: LIM-10
    let mut link = Link::new(Config::default(), InOrder::default());
    link.receive(&[Frame::request(1)]);
    link.eof();
    link.receive(&[Frame::request(2)]);
    assert_eq!(link.started().len(), 1);
    assert_eq!(link.connection.commands_held_back(), 0);
}

#[test]
fn replies_end_with_the_peers_output() {
    // rule: SHUT-6
    let mut link = Link::new(Config::default(), Correlated::default());
    link.connection
        .call(Frame::new(Kind::Request, []), None)
        .unwrap();
    link.sent();
    link.eof();
    // Nothing can answer the call any more.
    let (_, events) = link.wind_up();
    assert_eq!(events.last(), Some(&PEER_CLOSED));
}

#[test]
fn a_caller_who_bounds_the_pushes_is_asked_to_end_them_at_the_peers_end() {
    // rule: SHUT-6
    let config = Config {
        push_bound: PushBound::Caller,
        ..Config::default()
    };
    let mut link = Link::new(config, InOrder::default());
    link.eof();
    assert_eq!(link.wind_up().1, []);
    assert!(link.connection.wants().end_of_pushes);
    link.connection.end_pushes();
    assert!(link.connection.wants().event);
    assert_eq!(link.wind_up().1.last(), Some(&PEER_CLOSED));
}

#[test]
fn a_failed_transport_ends_everything_at_once() {
    // rule: RESP-10
    let mut link = Link::new(Config::default(), InOrder::default());
    link.requests(&[1]);
    link.connection.handle_transport_failed(link.now, "reset");
    let reason = CloseReason::Transport("reset".into());
    assert_eq!(link.events().last(), Some(&Event::Closed(reason)));
    assert_eq!(ends(&link.hooks()), [(Outcome::Disconnected, Some(1))]);
}
