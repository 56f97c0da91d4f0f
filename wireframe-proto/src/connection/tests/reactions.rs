//! What hooks answer with, and the last frame of a connection.

use alloc::vec::Vec;
use core::time::Duration;

use super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, ends, goodbyes, numbers};
use crate::{
    AnswerError, CloseReason, Config, DeadlineReason, End, Event, Outcome, Priority, Reaction,
    State, config::nonzero,
};

/// A hook, what is sent because of it, and what becomes of the connection.
type Case = (fn(Frame) -> Reaction<Frame>, &'static [u32], State);

const CLOSING: Event<Frame> = Event::Closing(CloseReason::Protocol);

/// Each reaction, the frames that it sends, and the state that it leaves.
const REACTIONS: [Case; 4] = [
    (|_| Reaction::Continue, &[], State::Active),
    (|_| Reaction::Send(last_word()), &[99], State::Active),
    (|_| Reaction::Close(None), &[], State::Closing),
    (
        |_| Reaction::Close(Some(last_word())),
        &[99],
        State::Closing,
    ),
];

fn last_word() -> Frame {
    Frame::numbered(99)
}

fn control() -> Frame {
    Frame::new(Kind::Control, [])
}

#[test]
fn on_control_may_continue_send_or_close() {
    // rule: HOOK-6
    for (on_control, sent, state) in REACTIONS {
        let mut link = Link::new(
            Config::default(),
            Correlated {
                on_control,
                ..Correlated::default()
            },
        );
        link.receive(&[control()]);
        assert_eq!(link.connection.poll_event(link.now), Some(Event::Control));
        assert_eq!(link.connection.state(), state);
        assert_eq!(numbers(&link.sent()), sent);
        let hooks = link.hooks();
        assert_eq!(goodbyes(&hooks), [], "a reaction needs no goodbye");
    }
}

#[test]
fn what_on_control_sends_goes_as_control() {
    // rule: HOOK-6, SEL-1
    let protocol = Correlated {
        on_control: |_| Reaction::Send(Frame::numbered(1)),
        ..Correlated::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    link.connection
        .push(Priority::High, Frame::numbered(2))
        .unwrap();
    link.receive(&[control()]);
    link.events();
    assert_eq!(numbers(&link.sent()), [1, 2]);
}

#[test]
fn after_a_close_on_control_nothing_else_is_sent_and_the_frame_is_the_last() {
    // rule: HOOK-6
    let protocol = Correlated {
        on_control: |_| Reaction::Close(Some(last_word())),
        goodbye: Some(Frame::numbered(50)),
        ..Correlated::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    let command = link.requests(&[1])[0];
    link.connection
        .push(Priority::High, Frame::numbered(1))
        .unwrap();
    link.receive(&[control(), Frame::request(2)]);
    let events = link.events();
    assert_eq!(events[..2], [Event::Control, CLOSING]);
    assert!(matches!(events[2..], [Event::Undelivered(_)]));
    let late = link.connection.respond(command.id, Frame::numbered(2));
    assert!(late.is_err());
    assert!(
        !link.connection.wants().half_close,
        "the last word was not said"
    );
    // To report it unasked changes nothing.
    link.connection.handle_half_closed(link.now);
    assert_eq!(numbers(&link.sent()), [99]);
    assert!(link.connection.wants().half_close);
    link.connection.handle_half_closed(link.now);
    assert_eq!(link.events(), [], "waits for the peer");
    link.eof();
    assert_eq!(link.events(), [Event::Closed(CloseReason::Protocol)]);
    let hooks = link.hooks();
    assert_eq!(goodbyes(&hooks), []);
    assert_eq!(ends(&hooks), [(Outcome::Disconnected, Some(1))]);
    assert_eq!(hooks.last(), Some(&Hook::Disconnect(CloseReason::Protocol)));
}

#[test]
fn a_closing_connection_waits_for_its_peer_no_longer_than_the_deadline() {
    // rule: HOOK-6
    let mut config = Config::default();
    config.timeouts.close = Duration::from_millis(20);
    let protocol = Correlated {
        on_control: |_| Reaction::Close(None),
        ..Correlated::default()
    };
    let mut link = Link::new(config, protocol);
    link.receive(&[control()]);
    link.wind_up();
    assert!(
        link.connection.wants().read,
        "what still comes is read and dropped"
    );
    link.receive(&[control()]);
    assert_eq!(link.events(), []);
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 20)));
    link.pass_until(20);
    assert_eq!(link.events(), [Event::Closed(CloseReason::Protocol)]);
}

/// A streaming answer on a connection that takes one frame at a time, beside another.
fn streaming<const C: bool>(
    on_error: fn(AnswerError<u8>) -> Reaction<Frame>,
) -> Link<super::support::Test<C>> {
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    config.limits.max_in_flight = Some(nonzero(2));
    config.limits.response_slot = nonzero(3);
    let protocol = super::support::Test {
        on_error,
        on_unknown_route: |_| Reaction::Close(Some(last_word())),
        goodbye: Some(Frame::numbered(50)),
        ..super::support::Test::default()
    };
    let mut link = Link::new(config, protocol);
    let commands = link.requests(&[1, 2]);
    // At most the first of these goes at once and the others wait for it.
    for n in [1, 2, 3] {
        link.connection
            .respond(commands[0].id, Frame::numbered(n))
            .unwrap();
    }
    link.connection
        .respond(commands[1].id, Frame::numbered(20))
        .unwrap();
    link.connection
        .finish(commands[0].id, End::Failed(AnswerError::Protocol(7)))
        .unwrap();
    link
}

fn ids(frames: &[Frame]) -> Vec<(u32, Option<u16>)> {
    frames.iter().map(|f| (f.number(), f.id)).collect()
}

#[test]
fn what_handle_error_sends_is_the_last_frame_of_its_answer_in_its_place() {
    // rule: HOOK-6, RESP-6
    let mut link = streaming::<false>(|_| Reaction::Send(last_word()));
    let sent = link.sent();
    let first = [(1, Some(1)), (2, Some(1)), (3, Some(1)), (99, Some(1))];
    assert_eq!(ids(&sent)[..4], first);
    assert_eq!(
        ids(&sent)[4..],
        [(20, Some(2))],
        "and the connection goes on"
    );
    assert_eq!(link.connection.state(), State::Active);
    assert_eq!(ends(&link.hooks()), [(Outcome::Failed, Some(1))]);

    let mut link = streaming::<true>(|_| Reaction::Send(last_word()));
    let of_first: Vec<_> = link
        .sent()
        .into_iter()
        .filter(|f| f.id == Some(1))
        .collect();
    assert_eq!(numbers(&of_first), [1, 2, 3, 99]);
}

#[test]
fn after_a_close_by_handle_error_only_that_answer_is_finished() {
    // rule: HOOK-6
    for_both(|mut link: AnyLink| {
        link.push(30);
        assert_eq!(
            link.sent(),
            [(1, Some(1)), (2, Some(1)), (3, Some(1)), (99, Some(1))]
        );
        let (hooks, _) = link.end();
        assert_eq!(goodbyes(&hooks), []);
        let ended = [(Outcome::Failed, Some(1)), (Outcome::Disconnected, Some(2))];
        assert_eq!(ends(&hooks), ended);
        assert_eq!(hooks.last(), Some(&Hook::Disconnect(CloseReason::Protocol)));
    });
}

#[test]
fn a_close_that_is_decided_stands_whatever_comes_after_it() {
    // rule: HOOK-6
    for_both(|mut link: AnyLink| {
        link.receive(&[control(), Frame::new(Kind::Flawed, [])]);
        assert_eq!(
            link.sent(),
            [(1, Some(1)), (2, Some(1)), (3, Some(1)), (99, Some(1))]
        );
        let (hooks, _) = link.end();
        assert_eq!(goodbyes(&hooks), []);
        let controls = hooks.iter().filter(|hook| matches!(hook, Hook::Control(_)));
        assert_eq!(controls.count(), 0, "what still comes is dropped unread");
    });
    for_both(|mut link: AnyLink| {
        // Another handler panics meanwhile: fatal, but the last word has been chosen.
        link.other_panics();
        assert_eq!(
            link.sent(),
            [(1, Some(1)), (2, Some(1)), (3, Some(1)), (99, Some(1))]
        );
        assert_eq!(goodbyes(&link.end().0), []);
    });
}

/// Either order of answers.
enum AnyLink {
    InOrder(Link<InOrder>),
    Correlated(Link<Correlated>),
}

fn for_both(test: fn(AnyLink)) {
    let close = |_| Reaction::Close(Some(last_word()));
    test(AnyLink::InOrder(streaming::<false>(close)));
    test(AnyLink::Correlated(streaming::<true>(close)));
}

macro_rules! either {
    ($any:expr, $link:ident => $do:expr) => {
        match $any {
            AnyLink::InOrder($link) => $do,
            AnyLink::Correlated($link) => $do,
        }
    };
}

impl AnyLink {
    fn push(&mut self, n: u32) {
        either!(self, link => link.connection.push(Priority::High, Frame::numbered(n)).unwrap());
    }

    fn receive(&mut self, frames: &[Frame]) {
        either!(self, link => {
            link.receive(frames);
            link.events();
        });
    }

    fn other_panics(&mut self) {
        either!(self, link => {
            let other = link.connection.commands.find(Some(crate::CorrelationId(2))).unwrap();
            let id = link.connection.commands.at(other).unwrap().info.id;
            link.connection.finish(id, End::Panicked).unwrap();
        });
    }

    fn sent(&mut self) -> Vec<(u32, Option<u16>)> {
        either!(self, link => ids(&link.sent()))
    }

    fn end(&mut self) -> (Vec<Hook>, Vec<Event<Frame>>) {
        either!(self, link => {
            link.eof();
            let (_, events) = link.wind_up();
            assert_eq!(events.last(), Some(&Event::Closed(CloseReason::Protocol)));
            (link.hooks(), events)
        })
    }
}

#[test]
fn in_order_an_earlier_answer_is_finished_before_a_later_one_closes() {
    // rule: HOOK-6
    let mut config = Config::default();
    config.limits.max_in_flight = Some(nonzero(3));
    let protocol = InOrder {
        on_unknown_route: |_| Reaction::Close(Some(last_word())),
        ..InOrder::default()
    };
    let mut link = Link::new(config, protocol);
    let commands = link.requests(&[1, 2, 3]);
    let unrouted = |link: &mut Link<InOrder>, n: usize| {
        let id = commands[n].id;
        link.connection
            .finish_unrouted(id, Frame::numbered(0))
            .unwrap();
    };
    unrouted(&mut link, 2);
    unrouted(&mut link, 1);
    assert_eq!(link.sent(), []);
    assert_eq!(link.connection.state(), State::Active);
    link.connection
        .answer(commands[0].id, Frame::numbered(1))
        .unwrap();
    // Of the two that close the one whose turn comes first does it.
    assert_eq!(ids(&link.sent()), [(1, Some(1)), (99, Some(2))]);
    assert_eq!(link.connection.state(), State::Closing);
}

#[test]
fn a_close_does_not_wait_for_a_body_that_nobody_reads() {
    // rule: HOOK-6
    let protocol = InOrder {
        on_error: |_| Reaction::Close(Some(last_word())),
        ..InOrder::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    let command = link.requests(&[1])[0];
    link.connection.next_body(command.id, link.now);
    link.connection
        .finish(command.id, End::Failed(AnswerError::Protocol(1)))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [99]);
    assert!(link.connection.wants().half_close);
}

#[test]
fn unknown_route_may_continue_send_or_close() {
    // rule: HOOK-6, RESP-9
    for (on_unknown_route, sent, state) in REACTIONS {
        let mut link = Link::new(
            Config::default(),
            InOrder {
                on_unknown_route,
                ..InOrder::default()
            },
        );
        let command = link.requests(&[1])[0];
        let frame = Frame::request(1).with_route(3);
        link.connection
            .finish_unrouted(command.id, frame.clone())
            .unwrap();
        assert_eq!(numbers(&link.sent()), sent);
        assert_eq!(link.connection.state(), state);
        let again = link.connection.finish_unrouted(command.id, frame.clone());
        assert_eq!(again.unwrap_err().frame, frame);
        let hooks = link.hooks();
        assert_eq!(ends(&hooks), [(Outcome::Failed, Some(1))]);
        assert_eq!(goodbyes(&hooks), []);
    }
}
