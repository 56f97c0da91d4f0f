//! Frames that cannot be put on the wire.

use alloc::{vec, vec::Vec};

use bytes::Bytes;

use super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, numbers};
use crate::{
    CloseReason, Config, ConnectionId, CorrelationId, End, Event, Limits, Outcome, Peer, Priority,
    Reaction, Refusal, Undelivered, UndeliveredReason, WireframeProtocol, codec::FrameBuf,
    config::nonzero, stats::PushStats,
};

/// Room for 28 bytes of payload: a body of 24.
fn config() -> Config {
    let limits = Limits {
        max_frame_len: nonzero(28),
        ..Limits::default()
    };
    Config {
        limits,
        ..Config::default()
    }
}

fn flawed() -> Frame {
    Frame::new(Kind::Flawed, [1; 20])
}

/// More than `max_frame_len`, and so large that it would be chained by reference.
fn oversize() -> Frame {
    Frame::new(Kind::Push, vec![1; FrameBuf::CHAIN_THRESHOLD])
}

fn just_too_large() -> Frame {
    Frame::new(Kind::Push, [1; 25])
}

#[test]
fn a_frame_of_exactly_the_limit_goes() {
    // rule: FRAME-6
    let mut link = Link::new(config(), InOrder::default());
    let frame = Frame::new(Kind::Push, [1; 24]);
    link.connection.push(Priority::Low, frame.clone()).unwrap();
    assert_eq!(link.sent(), [frame]);
}

#[test]
fn a_push_that_cannot_be_encoded_leaves_no_byte_and_comes_back() {
    // rule: FRAME-6, PUSH-9
    for bad in [flawed(), oversize(), just_too_large()] {
        let mut link = Link::new(config(), InOrder::default());
        for frame in [Frame::numbered(1), bad.clone(), Frame::numbered(2)] {
            link.connection.push(Priority::High, frame).unwrap();
        }
        assert_eq!(numbers(&link.sent()), [1, 2]);
        let events = link.events();
        let [Event::Undelivered(undelivered)] = &events[..] else {
            panic!("{events:?}");
        };
        let Undelivered { frame, why, .. } = undelivered;
        assert_eq!(*frame, bad);
        assert_eq!(undelivered.priority, Priority::High);
        assert!(matches!(why, UndeliveredReason::Unencodable(_)));
        let stats = PushStats {
            accepted: 3,
            sent: 2,
            unencodable: 1,
            ..PushStats::default()
        };
        assert_eq!(link.connection.stats().high, stats);
        let released = link.connection.take_released(Priority::High);
        assert_eq!((released.sent, released.unencodable), (2, 1));
        assert_eq!(released.bytes, 2 * 8 + 4 + bad.body.len());
    }
}

#[test]
fn the_refusal_names_the_limit_and_its_value() {
    // rule: FRAME-6
    let mut link = Link::new(config(), InOrder::default());
    link.connection
        .push(Priority::Low, just_too_large())
        .unwrap();
    assert_eq!(link.sent(), []);
    let Some(Event::Undelivered(undelivered)) = link.events().pop() else {
        panic!();
    };
    let UndeliveredReason::Unencodable(error) = undelivered.why else {
        panic!();
    };
    assert_eq!(error.what, "max_frame_len is 28, got 29");
}

#[test]
fn a_push_that_came_back_keeps_its_slot_until_its_event_is_taken() {
    // rule: LIM-10, PUSH-1
    let mut link = Link::new(config(), InOrder::default());
    let mut accepted = 0;
    for _ in 0..10_000 {
        accepted += u64::from(link.connection.push(Priority::Low, flawed()).is_ok());
        let _ = link.fill();
    }
    assert_eq!(accepted, 256, "the queue's bound holds");
    assert_eq!(link.connection.stats().low.queued, 256);
    assert_eq!(link.events().len(), 256);
    assert_eq!(link.connection.stats().low.unencodable, 256);
    assert_eq!(link.connection.stats().low.queued, 0);
}

#[test]
fn a_call_that_cannot_be_encoded_is_over() {
    // rule: FRAME-6, PUSH-9
    let peer = Peer::server_of(ConnectionId(1));
    let mut link = Link::of(peer, config(), InOrder::default());
    let id = Some(CorrelationId(5));
    for id in [id, None] {
        let call = link.connection.call(flawed(), id).unwrap();
        assert_eq!(link.sent(), []);
        let events = link.events();
        let [Event::Undelivered(undelivered)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(undelivered.call, Some(call));
        assert_eq!(link.connection.calls_pending(), 0);
    }
    assert!(link.connection.is_call_free(CorrelationId(5)));
}

fn excuses_itself() -> Correlated {
    Correlated {
        on_error: |_| Reaction::Send(Frame::numbered(500)),
        ..Correlated::default()
    }
}

fn is_unencodable(hook: &Hook) -> bool {
    matches!(hook, Hook::Error(what) if what.starts_with("frame cannot be encoded"))
}

/// The answer ended once, as a failure, and the protocol was asked so many times what to
/// say to that.
fn fails_with<P>(link: &mut Link<P>, errors: usize)
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    let hooks = link.hooks();
    let asked = hooks.iter().filter(|hook| is_unencodable(hook)).count();
    assert_eq!(asked, errors, "{hooks:?}");
    let ends = hooks.iter().filter(|h| matches!(h, Hook::CommandEnd(..)));
    let ends: Vec<_> = ends.collect();
    assert_eq!(ends, [&Hook::CommandEnd(Outcome::Failed, Some(1))]);
}

#[test]
fn an_answer_that_cannot_be_encoded_ends_as_an_error() {
    // rule: FRAME-6, RESP-6
    for bad in [flawed(), oversize(), just_too_large()] {
        let mut link = Link::new(config(), excuses_itself());
        let command = link.requests(&[1])[0];
        link.connection.answer(command.id, bad).unwrap();
        let excuse = Frame::numbered(500).with_id(1);
        assert_eq!(link.sent(), [excuse]);
        fails_with(&mut link, 1);
        assert_eq!(link.connection.commands_in_flight(), 0);
    }
}

#[test]
fn an_answer_whose_queued_frame_cannot_be_encoded_ends_as_an_error_too() {
    // rule: FRAME-6, RESP-6, RESP-4
    let mut link = Link::new(config(), excuses_itself());
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    let command = link.requests(&[1])[0];
    link.connection.respond(command.id, flawed()).unwrap();
    link.connection
        .respond(command.id, Frame::numbered(2))
        .unwrap();
    link.connection.finish(command.id, End::Complete).unwrap();
    assert_eq!(numbers(&link.sent()), [1, 500], "the rest of it is dropped");
    fails_with(&mut link, 1);
}

#[test]
fn a_running_answer_that_failed_takes_no_more_frames() {
    // rule: FRAME-6
    let mut link = Link::new(config(), excuses_itself());
    let commands = link.requests(&[1, 2]);
    link.connection.respond(commands[0].id, flawed()).unwrap();
    link.connection
        .respond(commands[1].id, Frame::numbered(2))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [2, 500]);
    let refused = link.connection.respond(commands[0].id, Frame::numbered(3));
    assert_eq!(refused.unwrap_err().reason, Refusal::Unknown);
    let refused = link.connection.finish(commands[0].id, End::Complete);
    assert_eq!(refused, Err(Refusal::Unknown));
    fails_with(&mut link, 1);
}

#[test]
fn the_failure_of_a_running_command_is_told_before_another_takes_its_place() {
    // rule: RESP-6, RESP-7
    fn check<P>(protocol: P, waits: bool)
    where
        P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
    {
        let mut config = config();
        config.limits.max_in_flight = Some(nonzero(1));
        let mut link = Link::new(config, protocol);
        let first = link.requests(&[1, 2])[0];
        if waits {
            link.connection
                .push(Priority::Low, Frame::numbered(1))
                .unwrap();
        }
        link.connection.respond(first.id, flawed()).unwrap();
        link.sent();
        let events = link.events();
        let [Event::Failed(failed), Event::Request { info, .. }] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(*failed, first);
        assert_eq!(info.correlation, Some(CorrelationId(2)));
    }
    for waits in [false, true] {
        check(InOrder::default(), waits);
        check(Correlated::default(), waits);
    }
}

#[test]
fn a_failure_is_not_told_to_an_application_that_is_done_with_the_command() {
    // rule: RESP-6
    for whole in [true, false] {
        let mut link = Link::new(config(), excuses_itself());
        link.connection
            .push(Priority::Low, Frame::numbered(1))
            .unwrap();
        let command = link.requests(&[1])[0];
        if whole {
            link.connection.answer(command.id, flawed()).unwrap();
        } else {
            link.connection.respond(command.id, flawed()).unwrap();
            link.connection.finish(command.id, End::Complete).unwrap();
        }
        assert_eq!(numbers(&link.sent()), [1, 500]);
        assert_eq!(link.events(), []);
        fails_with(&mut link, 1);
    }
}

#[test]
fn an_error_answer_that_cannot_be_encoded_is_not_asked_about_again() {
    // rule: FRAME-6, RESP-6
    let protocol = Correlated {
        on_error: |_| Reaction::Send(Frame::new(Kind::Flawed, [])),
        ..Correlated::default()
    };
    for waits in [false, true] {
        let mut link = Link::new(config(), protocol.clone());
        let command = link.requests(&[1])[0];
        if waits {
            link.connection
                .push(Priority::Low, Frame::numbered(1))
                .unwrap();
        }
        link.connection.answer(command.id, flawed()).unwrap();
        let expected: &[u32] = if waits { &[1] } else { &[] };
        assert_eq!(numbers(&link.sent()), expected);
        fails_with(&mut link, 1);
        assert_eq!(link.connection.commands_in_flight(), 0);
    }
}

#[test]
fn a_control_frame_that_cannot_be_encoded_is_dropped_alone() {
    // rule: FRAME-6
    let protocol = InOrder {
        on_control: |frame| match frame.route {
            1 => Reaction::Send(Frame::new(Kind::Flawed, [])),
            _ => Reaction::Send(frame),
        },
        ..InOrder::default()
    };
    let mut link = Link::new(config(), protocol);
    let control = Frame::new(Kind::Control, 3u32.to_be_bytes());
    link.receive(&[control.clone().with_route(1), control]);
    link.events();
    assert_eq!(numbers(&link.sent()), [3]);
}

#[test]
fn a_last_word_that_cannot_be_encoded_does_not_keep_the_connection_open() {
    // rule: FRAME-6, HOOK-6
    let protocol = InOrder {
        on_control: |_| Reaction::Close(Some(Frame::new(Kind::Flawed, []))),
        ..InOrder::default()
    };
    let mut link = Link::new(config(), protocol);
    link.receive(&[Frame::new(Kind::Control, [])]);
    assert_eq!(
        link.events(),
        [Event::Control, Event::Closing(CloseReason::Protocol)]
    );
    assert_eq!(link.sent(), []);
    assert!(link.connection.wants().half_close);
}

#[test]
fn output_before_and_after_a_refused_frame_is_whole() {
    // rule: FRAME-6, SEL-2
    let mut config = config();
    config.limits.max_frame_len = nonzero(10_000);
    let mut link = Link::new(config, InOrder::default());
    let chained = |byte| Frame::new(Kind::Push, vec![byte; 5_000]);
    let half_written = Frame {
        body: Bytes::from(vec![9; 5_000]),
        ..flawed()
    };
    let frames = [
        chained(1),
        half_written.clone(),
        Frame::numbered(2),
        half_written,
        chained(3),
    ];
    for frame in &frames {
        link.connection.push(Priority::Low, frame.clone()).unwrap();
    }
    let [first, _, second, _, third] = frames;
    assert_eq!(link.sent(), [first, second, third]);
}
