//! How commands end, and that they do so once.

use alloc::string::ToString;

use super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, ends, numbers};
use crate::{
    AnswerError, CloseReason, Config, End, Event, Malformed, Outcome, Reaction, State, Unencodable,
    config::nonzero,
};

fn stream_ends(hooks: &[Hook]) -> usize {
    hooks
        .iter()
        .filter(|hook| **hook == Hook::StreamEnd)
        .count()
}

#[test]
fn the_end_frame_is_asked_once_and_only_for_streams() {
    // rule: RESP-3
    let ways = [
        (End::StreamComplete, 1, &[1, 2, 9][..]),
        (End::Complete, 0, &[1, 2]),
        (End::Failed(AnswerError::Protocol(1)), 0, &[1, 2]),
        (End::Cancelled, 0, &[1, 2]),
    ];
    for (end, asked, sent) in ways {
        let protocol = InOrder {
            stream_end: Some(Frame::numbered(9)),
            ..InOrder::default()
        };
        let mut link = Link::new(Config::default(), protocol);
        let command = link.requests(&[1])[0];
        for n in [1, 2] {
            link.connection
                .respond(command.id, Frame::numbered(n))
                .unwrap();
        }
        link.connection.finish(command.id, end).unwrap();
        assert_eq!(numbers(&link.sent()), sent);
        let hooks = link.hooks();
        assert_eq!(stream_ends(&hooks), asked);
        let seen = hooks
            .iter()
            .filter(|hook| matches!(hook, Hook::BeforeSend(_)));
        assert_eq!(seen.count(), sent.len(), "the end frame is seen too");
    }
}

#[test]
fn a_stream_without_an_end_frame_ends_with_its_last_frame() {
    // rule: RESP-3
    let mut link = Link::new(Config::default(), InOrder::default());
    let command = link.requests(&[1])[0];
    link.connection
        .finish(command.id, End::StreamComplete)
        .unwrap();
    assert_eq!(link.sent(), []);
    let hooks = link.hooks();
    assert_eq!(stream_ends(&hooks), 1);
    assert_eq!(ends(&hooks), [(Outcome::Done, Some(1))]);
}

#[test]
fn a_command_ends_after_its_last_frame_was_encoded() {
    // rule: RESP-4
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    let protocol = Correlated {
        stream_end: Some(Frame::numbered(9)),
        ..Correlated::default()
    };
    let mut link = Link::new(config, protocol);
    let command = link.requests(&[1])[0];
    for n in [1, 2] {
        link.connection
            .respond(command.id, Frame::numbered(n))
            .unwrap();
    }
    link.connection
        .finish(command.id, End::StreamComplete)
        .unwrap();
    for _ in 0..2 {
        assert_eq!(ends(&link.hooks()), []);
        link.take_bytes(usize::MAX);
        let _ = link.fill();
    }
    let hooks = link.hooks();
    let [
        ..,
        Hook::BeforeSend(last),
        Hook::CommandEnd(Outcome::Done, Some(1)),
    ] = &hooks[..]
    else {
        panic!("{hooks:?}");
    };
    assert_eq!(last.number(), 9);
    assert_eq!(
        link.connection.finish(command.id, End::Complete),
        Err(crate::Refusal::Unknown)
    );
    assert_eq!(ends(&link.hooks()), []);
}

#[test]
fn every_way_to_end_is_told_once() {
    // rule: RESP-4
    let ways = [
        (End::Complete, Outcome::Done),
        (End::StreamComplete, Outcome::Done),
        (End::Failed(AnswerError::Protocol(3)), Outcome::Failed),
        (End::Cancelled, Outcome::Cancelled),
        (End::Fatal("io".into()), Outcome::Failed),
        (End::Panicked, Outcome::Panicked),
    ];
    for (end, outcome) in ways {
        let mut link = Link::new(Config::default(), InOrder::default());
        let command = link.requests(&[7])[0];
        link.connection.finish(command.id, end).unwrap();
        link.sent();
        link.eof();
        link.wind_up();
        assert_eq!(ends(&link.hooks()), [(outcome, Some(7))]);
        assert_eq!(link.connection.state(), State::Closed);
    }
}

#[test]
fn a_finished_command_whose_answer_was_not_sent_ends_disconnected() {
    // rule: RESP-4
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    let mut link = Link::new(config, InOrder::default());
    let command = link.requests(&[1])[0];
    for n in [1, 2] {
        link.connection
            .respond(command.id, Frame::numbered(n))
            .unwrap();
    }
    link.connection.finish(command.id, End::Complete).unwrap();
    link.connection.handle_transport_failed(link.now, "reset");
    link.events();
    assert_eq!(ends(&link.hooks()), [(Outcome::Disconnected, Some(1))]);
}

#[test]
fn a_command_that_was_held_back_and_dropped_does_not_end() {
    // rule: RESP-4
    let mut link = Link::new(Config::default(), InOrder::default());
    link.requests(&[1, 2, 3]);
    link.connection.handle_transport_failed(link.now, "reset");
    link.events();
    assert_eq!(ends(&link.hooks()), [(Outcome::Disconnected, Some(1))]);
}

#[test]
fn whatever_an_answer_failed_with_the_protocol_is_told_and_may_answer() {
    // rule: RESP-6
    let errors: [(AnswerError<u8>, u32); 4] = [
        (AnswerError::Protocol(5), 1),
        (AnswerError::Malformed(Malformed::new("odd")), 2),
        (AnswerError::Unencodable(Unencodable::new("odd")), 3),
        (AnswerError::Other("overloaded".into()), 4),
    ];
    for (error, answer) in errors {
        let protocol = InOrder {
            on_error: |error| {
                Reaction::Send(Frame::numbered(match error {
                    AnswerError::Protocol(_) => 1,
                    AnswerError::Malformed(_) => 2,
                    AnswerError::Unencodable(_) => 3,
                    AnswerError::Other(_) => 4,
                }))
            },
            ..InOrder::default()
        };
        let mut link = Link::new(Config::default(), protocol);
        let said = Hook::Error(error.to_string());
        let command = link.requests(&[1])[0];
        link.connection
            .finish(command.id, End::Failed(error))
            .unwrap();
        assert_eq!(numbers(&link.sent()), [answer]);
        let hooks = link.hooks();
        assert!(hooks.contains(&said), "{said:?}");
        assert_eq!(ends(&hooks), [(Outcome::Failed, Some(1))]);
        assert_eq!(link.connection.state(), State::Active);
    }
}

#[test]
fn an_answer_that_failed_leaves_the_connection_usable() {
    // rule: RESP-6
    let protocol = Correlated {
        on_error: |error| {
            assert!(matches!(error, AnswerError::Protocol(5)), "{error:?}");
            Reaction::Send(Frame::numbered(9))
        },
        stream_end: Some(Frame::numbered(8)),
        ..Correlated::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    let command = link.requests(&[1])[0];
    link.connection
        .respond(command.id, Frame::numbered(1))
        .unwrap();
    link.connection
        .finish(command.id, End::Failed(AnswerError::Protocol(5)))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [1, 9], "no end frame");
    assert_eq!(link.requests(&[2]).len(), 1);
}

#[test]
fn an_io_error_of_a_handler_is_fatal() {
    // rule: RESP-6
    let mut link = Link::new(Config::default(), Correlated::default());
    let commands = link.requests(&[1, 2]);
    let end = End::Fatal("disk".into());
    link.connection.finish(commands[0].id, end).unwrap();
    let reason = CloseReason::HandlerFailed("disk".into());
    assert_eq!(link.events(), [Event::Closing(reason)]);
    let ended = [(Outcome::Failed, Some(1)), (Outcome::Disconnected, Some(2))];
    assert_eq!(ends(&link.hooks()), ended);
}

#[test]
fn a_handler_that_panics_ends_its_request_and_its_connection() {
    // rule: RESP-8
    let mut link = Link::new(Config::default(), Correlated::default());
    let commands = link.requests(&[1, 2]);
    link.connection
        .finish(commands[1].id, End::Panicked)
        .unwrap();
    assert_eq!(
        link.events(),
        [Event::Closing(CloseReason::HandlerPanicked)]
    );
    link.wind_up();
    link.eof();
    assert_eq!(link.events(), [Event::Closed(CloseReason::HandlerPanicked)]);
    let hooks = link.hooks();
    let ended = [
        (Outcome::Disconnected, Some(1)),
        (Outcome::Panicked, Some(2)),
    ];
    assert_eq!(ends(&hooks), ended);
    let disconnect = Hook::Disconnect(CloseReason::HandlerPanicked);
    assert_eq!(hooks.last(), Some(&disconnect));
}

#[test]
fn an_id_that_has_ended_names_nothing_even_when_its_place_is_used_again() {
    // rule: LIM-10
    let mut link = Link::new(Config::default(), Correlated::default());
    let first = link.requests(&[1])[0];
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    let second = link.requests(&[2])[0];
    assert_eq!(first.id.slot(), second.id.slot());
    assert!(
        link.connection
            .respond(first.id, Frame::numbered(2))
            .is_err()
    );
    assert!(link.connection.finish(first.id, End::Complete).is_err());
    assert_eq!(
        link.connection.next_body(first.id, link.now),
        crate::Body::Gone
    );
    link.connection.drop_body(first.id);
    link.receive(&[Frame::new(Kind::Body, []).with_id(2)]);
    assert_eq!(link.events(), [Event::Body(second)]);
}

#[test]
fn a_command_that_is_held_back_cannot_be_answered() {
    // rule: LIM-10
    let mut link = Link::new(Config::default(), InOrder::default());
    link.receive(&[Frame::request(1), Frame::request(2)]);
    let events = link.events();
    let [Event::Request { info: first, .. }, Event::HeldBack(info)] = events[..] else {
        panic!("{events:?}");
    };
    assert!(link.connection.answer(info.id, Frame::numbered(1)).is_err());
    assert!(link.connection.finish(info.id, End::Complete).is_err());
    let unrouted = link.connection.finish_unrouted(info.id, Frame::numbered(1));
    assert!(unrouted.is_err());
    link.connection.drop_body(info.id);
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.started(), [info]);
    assert_eq!(
        link.connection.next_body(info.id, link.now),
        crate::Body::Pending
    );
}
