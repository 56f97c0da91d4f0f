//! Requests beyond the limit wait, and everything else goes on.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, OVERHEAD, numbers};
use crate::{
    Body, Config, ConnectionId, CorrelationId, DeadlineReason, End, Event, Peer, Priority,
    Reaction, RequestInfo, WireframeProtocol, config::nonzero,
};

fn config(max_held_back: usize) -> Config {
    let mut config = Config::default();
    config.limits.max_held_back = nonzero(max_held_back);
    config
}

/// The names of events, and the ids of requests in them.
fn outline(events: &[Event<Frame>]) -> Vec<(&'static str, u64)> {
    let id = |info: &RequestInfo| info.correlation.map_or(0, |id| id.0);
    let name = |event: &Event<Frame>| match event {
        Event::Request { info, .. } => ("request", id(info)),
        Event::HeldBack(info) => ("held back", id(info)),
        Event::Body(info) => ("body", id(info)),
        Event::Control => ("control", 0),
        Event::Reply { .. } => ("reply", 0),
        Event::Push(_) => ("push", 0),
        Event::Closing(_) => ("closing", 0),
        Event::Closed(_) => ("closed", 0),
        _ => ("other", 0),
    };
    events.iter().map(name).collect()
}

#[test]
fn control_body_reply_and_end_are_seen_beside_a_busy_and_a_held_back_command() {
    // rule: RESP-7
    let mut link = Link::new(config(8), InOrder::default());
    link.connection.call(Frame::numbered(1), None).unwrap();
    link.sent();
    link.receive(&[
        Frame::request(1),
        Frame::request(2),
        Frame::new(Kind::Control, []),
        Frame::new(Kind::Body, b"for the first"),
        Frame::new(Kind::LastReply, []),
        Frame::new(Kind::Push, []),
    ]);
    link.eof();
    let events = link.events();
    let expected = [
        ("request", 1),
        ("held back", 2),
        ("control", 0),
        ("body", 1),
        ("reply", 0),
        ("push", 0),
    ];
    assert_eq!(outline(&events), expected);
    let Event::Request { info, .. } = events[0] else {
        panic!("{events:?}");
    };
    let body = link.connection.next_body(info.id, link.now);
    assert!(matches!(body, Body::Frame(_)));
    // That the end was seen is what the next one says.
    let body = link.connection.next_body(info.id, link.now);
    assert_eq!(body, Body::UnexpectedEof);
    assert_eq!(link.connection.commands_held_back(), 1);
}

#[test]
fn at_most_so_many_are_held_back_and_then_nothing_is_decoded_or_read() {
    // rule: RESP-7
    let mut link = Link::new(config(2), InOrder::default());
    let first = link.requests(&[1, 2, 3, 4])[0];
    assert_eq!(link.connection.commands_held_back(), 2);
    assert!(!link.connection.wants().read);
    assert!(!link.connection.wants().event);
    // What was read already waits undecoded, control too.
    link.receive(&[Frame::new(Kind::Control, [])]);
    assert_eq!(link.events(), []);

    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert!(link.connection.wants().event);
    let events = outline(&link.events());
    assert_eq!(events, [("request", 2), ("held back", 4)]);
    assert!(!link.connection.wants().read);
}

#[test]
fn the_frame_that_crosses_the_bytes_of_what_is_held_back_is_kept() {
    // rule: RESP-7
    let mut config = config(32);
    config.limits.max_frame_len = nonzero(100);
    let mut link = Link::new(config, InOrder::default());
    let sized = |len: usize| Frame::new(Kind::Request, vec![7; len - (OVERHEAD - 4)]);
    link.receive(&[sized(10), sized(60), sized(40), sized(90), sized(20)]);
    let first = link.started()[0];
    // 60 + 40 is at the bound, the 90 crosses it.
    assert_eq!(link.connection.commands_held_back(), 3);
    assert!(!link.connection.wants().read);
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    let second = link.started()[0];
    // 130 are still too much.
    assert_eq!(link.connection.commands_held_back(), 2);
    link.connection
        .answer(second.id, Frame::numbered(1))
        .unwrap();
    let third = link.started()[0];
    // 90, and the 20 that were let in by that.
    assert_eq!(link.connection.commands_held_back(), 2);
    assert!(!link.connection.wants().read);
    link.connection
        .answer(third.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.started().len(), 1);
    assert!(link.connection.wants().read);
}

#[test]
fn writing_and_pushes_and_timers_go_on_at_the_bound() {
    // rule: RESP-7
    let mut config = config(1);
    config.timeouts.write_stall = Duration::from_millis(40);
    let mut link = Link::new(config, InOrder::default());
    let first = link.requests(&[1, 2])[0];
    assert!(!link.connection.wants().read);
    link.connection
        .respond(first.id, Frame::numbered(1))
        .unwrap();
    link.connection
        .push(Priority::High, Frame::numbered(2))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [1, 2]);
    link.connection
        .push(Priority::Low, Frame::numbered(3))
        .unwrap();
    let _ = link.fill();
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 40)));
}

#[test]
fn correlated_commands_run_beside_each_other_up_to_the_limit() {
    // rule: RESP-7
    let mut config = config(8);
    config.limits.max_in_flight = Some(nonzero(2));
    let mut link = Link::new(config, Correlated::default());
    let commands = link.requests(&[1, 2, 3]);
    assert_eq!(commands.len(), 2);
    link.connection
        .answer(commands[1].id, Frame::numbered(2))
        .unwrap();
    let next = link.started();
    assert_eq!(next[0].correlation, Some(CorrelationId(3)));
    assert_eq!(numbers(&link.sent()), [2]);
}

#[test]
fn by_default_one_runs_in_order_and_sixty_four_correlated() {
    // rule: RESP-7
    let mut link = Link::new(config(100), InOrder::default());
    let ids: Vec<u16> = (1..=70).collect();
    assert_eq!(link.requests(&ids).len(), 1);
    let mut link = Link::new(config(100), Correlated::default());
    assert_eq!(link.requests(&ids).len(), 64);
}

#[test]
fn correlated_requests_without_an_id_run_one_at_a_time_in_order() {
    // rule: RESP-7, WIRE-1
    let mut link = Link::new(config(8), Correlated::default());
    let unnamed = |route| Frame::request(None).with_route(route);
    link.receive(&[unnamed(1), unnamed(2), unnamed(3)]);
    for route in 1..=3 {
        let started = link.started();
        assert_eq!(started.len(), 1);
        assert_eq!(started[0].route, route);
        link.connection
            .answer(started[0].id, Frame::numbered(route))
            .unwrap();
    }
    assert_eq!(numbers(&link.sent()), [1, 2, 3]);
}

#[test]
fn a_request_with_an_id_does_not_wait_for_one_without() {
    // rule: RESP-7
    let mut link = Link::new(config(8), Correlated::default());
    let unnamed = Frame::request(None);
    link.receive(&[unnamed.clone(), unnamed, Frame::request(5)]);
    let started: Vec<_> = link.started().iter().map(|info| info.correlation).collect();
    assert_eq!(started, [None, Some(CorrelationId(5))]);
    assert_eq!(link.connection.commands_held_back(), 1);
}

#[test]
fn at_the_bound_of_waiting_control_output_nothing_is_decoded() {
    // rule: LIM-7
    let mut config = config(8);
    config.limits.max_control = nonzero(3);
    let protocol = InOrder {
        on_control: Reaction::Send,
        ..InOrder::default()
    };
    let mut link = Link::new(config, protocol);
    let pings: Vec<_> = (0..5u32)
        .map(|n| Frame::new(Kind::Control, n.to_be_bytes()))
        .collect();
    link.receive(&pings);
    assert_eq!(link.events().len(), 3);
    assert!(!link.connection.wants().read);
    assert_eq!(numbers(&link.sent()), [0, 1, 2]);
    assert!(link.connection.wants().event);
    assert_eq!(link.events().len(), 2);
    assert!(link.connection.wants().read);
    assert_eq!(numbers(&link.sent()), [3, 4]);
}

/// A connection whose engine does not read, because of requests that are held back.
fn not_reading<P>(protocol: P, body: Duration) -> (Link<P>, RequestInfo)
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    let mut config = config(1);
    config.limits.max_in_flight = Some(nonzero(2));
    config.timeouts.body = body;
    let mut link = Link::of(Peer::client_of(ConnectionId(1)), config, protocol);
    let commands = link.requests(&[1, 2]);
    let awaits = link.connection.next_body(commands[0].id, link.now);
    assert_eq!(awaits, Body::Pending);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
    link.pass_until(10);
    link.requests(&[3]);
    assert!(!link.connection.wants().read);
    (link, commands[1])
}

#[test]
fn the_body_clock_stands_still_while_the_engine_does_not_read() {
    // rule: RESP-7, LIM-3
    let (mut link, second) = not_reading(Correlated::default(), Duration::from_millis(30));
    // The second may still end and let the engine read on.
    assert_eq!(link.due(), None);
    link.pass_until(500);
    assert_eq!(link.events(), []);
    link.connection.finish(second.id, End::Complete).unwrap();
    assert_eq!(outline(&link.events()), [("request", 3)]);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 520)));
}

#[test]
fn the_body_clock_runs_on_if_nothing_can_end_before_the_body_comes() {
    // rule: RESP-7, LIM-3
    let (mut link, _) = not_reading(InOrder::default(), Duration::from_millis(30));
    // The second cannot end before the first, which waits for the peer.
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
    link.pass_until(30);
    assert_eq!(outline(&link.events()), [("body", 1)]);

    let (mut link, second) = not_reading(Correlated::default(), Duration::from_millis(30));
    link.now = crate::Instant::from_millis(15);
    link.connection.next_body(second.id, link.now);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 35)));
}

#[test]
fn the_body_clock_stands_still_while_control_output_is_what_stops_the_reading() {
    // rule: RESP-7, LIM-7, LIM-3
    let mut config = config(8);
    config.limits.max_control = nonzero(1);
    config.timeouts.body = Duration::from_millis(30);
    let protocol = InOrder {
        on_control: Reaction::Send,
        ..InOrder::default()
    };
    let mut link = Link::new(config, protocol);
    let command = link.requests(&[1])[0];
    link.connection.next_body(command.id, link.now);
    link.receive(&[Frame::new(Kind::Control, [])]);
    link.events();
    assert!(!link.connection.wants().read);
    assert_eq!(link.due(), None);
    link.pass_until(100);
    link.sent();
    assert_eq!(link.due(), Some((DeadlineReason::Body, 130)));
}
