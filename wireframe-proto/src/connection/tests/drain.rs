//! A connection that this end drains, and one that it aborts.

use super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, ends, goodbyes, numbers};
use crate::{
    AnswerError, Body, CloseReason, Config, DeadlineReason, Discarded, End, Event, Fault, Instant,
    Outcome, Priority, PushBound, Refusal, Shutdown, State, UndeliveredReason, config::nonzero,
};

fn protocol() -> Correlated {
    Correlated {
        drain_notice: Some(Frame::numbered(40)),
        goodbye: Some(Frame::numbered(50)),
        ..Correlated::default()
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.max_in_flight = Some(nonzero(2));
    config
}

fn link() -> Link<Correlated> {
    Link::new(config(), protocol())
}

impl<P: crate::WireframeProtocol> Link<P> {
    fn drain(&mut self, millis: u64) {
        let deadline = Instant::from_millis(millis);
        self.connection
            .shutdown(self.now, Shutdown::Drain { deadline });
    }
}

#[test]
fn a_life_goes_from_active_over_draining_and_closing_to_closed() {
    // rule: SHUT-1
    let mut link = link();
    let command = link.requests(&[1])[0];
    assert_eq!(link.connection.state(), State::Active);
    link.drain(100);
    assert_eq!(link.connection.state(), State::Draining);
    link.connection.finish(command.id, End::Complete).unwrap();
    link.wind_up();
    assert_eq!(link.connection.state(), State::Closing);
    link.eof();
    link.events();
    assert_eq!(link.connection.state(), State::Closed);
}

#[test]
fn the_notice_goes_at_once_and_the_goodbye_last() {
    // rule: SHUT-2
    let mut link = link();
    let command = link.requests(&[1])[0];
    link.connection
        .push(Priority::High, Frame::numbered(1))
        .unwrap();
    link.drain(100);
    assert_eq!(numbers(&link.sent()), [40, 1], "control goes first");
    link.connection
        .answer(command.id, Frame::numbered(2))
        .unwrap();
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [2, 50]);
    assert_eq!(events, [Event::Closing(CloseReason::Drained)]);
    link.drain(50);
    let hooks = link.hooks();
    let notices = hooks.iter().filter(|hook| **hook == Hook::DrainNotice);
    assert_eq!(notices.count(), 1);
    assert_eq!(goodbyes(&hooks), [CloseReason::Drained]);
}

#[test]
fn no_new_request_is_surfaced_and_those_held_back_are_dropped_and_counted() {
    // rule: SHUT-2, RESP-4
    let mut link = link();
    let commands = link.requests(&[1, 2, 3, 4]);
    assert_eq!(link.connection.commands_held_back(), 2);
    link.drain(100);
    assert_eq!(link.connection.commands_held_back(), 0);
    link.receive(&[Frame::request(5)]);
    assert_eq!(link.events(), [Event::Discarded(Discarded::Request)]);
    assert_eq!(link.connection.stats().requests_dropped, 3);
    for command in commands {
        link.connection
            .answer(command.id, Frame::numbered(1))
            .unwrap();
    }
    link.wind_up();
    let ended = [(Outcome::Done, Some(1)), (Outcome::Done, Some(2))];
    assert_eq!(ends(&link.hooks()), ended, "not for those that never began");
}

#[test]
fn commands_in_flight_are_finished_bodies_included() {
    // rule: SHUT-2
    let mut link = link();
    let command = link.requests(&[1])[0];
    assert_eq!(
        link.connection.next_body(command.id, link.now),
        Body::Pending
    );
    link.drain(100);
    link.receive(&[Frame::new(Kind::LastBody, b"late").with_id(1)]);
    assert_eq!(link.events(), [Event::Body(command)]);
    let body = link.connection.next_body(command.id, link.now);
    assert!(matches!(body, Body::Frame(_)));
    for n in 1..=5 {
        link.connection
            .respond(command.id, Frame::numbered(n))
            .unwrap();
        link.sent();
    }
    assert_eq!(link.connection.state(), State::Draining);
    link.connection.finish(command.id, End::Complete).unwrap();
    assert_eq!(link.wind_up().1, [Event::Closing(CloseReason::Drained)]);
}

#[test]
fn pushes_that_were_accepted_are_sent_and_none_after_that() {
    // rule: SHUT-2, PUSH-6
    let mut link = link();
    for n in 1..=3 {
        link.connection
            .push(Priority::Low, Frame::numbered(n))
            .unwrap();
    }
    link.drain(100);
    let (sent, _) = link.wind_up();
    assert_eq!(numbers(&sent), [40, 1, 2, 3, 50]);
    let refused = link.connection.push(Priority::Low, Frame::numbered(4));
    assert_eq!(refused.unwrap_err().reason, Refusal::Closed);
    assert_eq!(link.connection.stats().low.sent, 3);
}

#[test]
fn a_draining_end_begins_no_calls_and_awaits_its_replies() {
    // rule: SHUT-2
    let mut link = link();
    let call = link.connection.call(Frame::numbered(1), None).unwrap();
    link.drain(100);
    let refused = link.connection.call(Frame::numbered(2), None);
    assert_eq!(refused.unwrap_err().reason, Refusal::Closed);
    link.wind_up();
    assert_eq!(link.connection.state(), State::Draining);
    let reply = Frame::new(Kind::LastReply, []);
    link.receive(core::slice::from_ref(&reply));
    let event = Event::Reply {
        call,
        frame: reply,
        last: true,
    };
    assert_eq!(
        link.wind_up().1,
        [event, Event::Closing(CloseReason::Drained)]
    );
}

#[test]
fn the_deadline_ends_it_in_any_case_and_gives_back_what_was_not_sent() {
    // rule: SHUT-3, PUSH-9
    let mut config = config();
    config.limits.high_water = nonzero(1);
    let mut link = Link::new(config, protocol());
    link.requests(&[1]);
    for n in 1..=2 {
        link.connection
            .push(Priority::Low, Frame::numbered(n))
            .unwrap();
    }
    link.drain(100);
    let _ = link.fill();
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 100)));
    link.pass_until(99);
    assert_eq!(link.connection.state(), State::Draining);
    link.pass_until(100);
    let events = link.events();
    assert_eq!(
        events.first(),
        Some(&Event::Closing(CloseReason::DrainTimedOut {
            fault: Fault::Peer
        }))
    );
    assert_eq!(
        events.last(),
        Some(&Event::Closed(CloseReason::DrainTimedOut {
            fault: Fault::Peer
        }))
    );
    let undelivered = events.iter().filter_map(|event| match event {
        Event::Undelivered(undelivered) => Some(undelivered),
        _ => None,
    });
    let frames: alloc::vec::Vec<_> = undelivered
        .map(|u| (u.frame.number(), u.why.clone()))
        .collect();
    let ended = UndeliveredReason::ConnectionEnded;
    assert_eq!(frames, [(1, ended.clone()), (2, ended)]);
    assert_eq!(link.connection.stats().low.connection_ended, 2);
    let hooks = link.hooks();
    assert_eq!(ends(&hooks), [(Outcome::Disconnected, Some(1))]);
    assert_eq!(goodbyes(&hooks), [], "there is no time for one");
}

#[test]
fn a_second_drain_can_only_bring_the_end_nearer() {
    // rule: SHUT-3
    let mut link = link();
    link.requests(&[1]);
    link.drain(100);
    link.drain(200);
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 100)));
    link.drain(50);
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 50)));
}

#[test]
fn a_drain_does_not_put_off_a_close_that_is_decided() {
    // rule: SHUT-3, HOOK-6
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    config.timeouts.close = core::time::Duration::from_millis(20);
    let protocol = InOrder {
        on_error: |_| crate::Reaction::Close(Some(Frame::numbered(9))),
        ..InOrder::default()
    };
    let mut link = Link::new(config, protocol);
    let command = link.requests(&[1])[0];
    link.connection
        .respond(command.id, Frame::numbered(1))
        .unwrap();
    link.connection
        .finish(command.id, End::Failed(AnswerError::Protocol(1)))
        .unwrap();
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 20)));
    link.drain(500);
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 20)));
}

#[test]
fn immediate_skips_draining() {
    // rule: SHUT-1
    let mut link = link();
    let command = link.requests(&[1])[0];
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    link.connection.shutdown(link.now, Shutdown::Immediate);
    assert_eq!(link.connection.state(), State::Closed);
    let (sent, events) = link.wind_up();
    assert_eq!(sent, []);
    let aborted = CloseReason::Aborted;
    assert_eq!(events.first(), Some(&Event::Closing(aborted.clone())));
    assert_eq!(events.last(), Some(&Event::Closed(aborted.clone())));
    let late = link.connection.answer(command.id, Frame::numbered(1));
    assert_eq!(late.unwrap_err().reason, Refusal::Unknown);
    let hooks = link.hooks();
    assert_eq!(ends(&hooks), [(Outcome::Disconnected, Some(1))]);
    assert_eq!(hooks.last(), Some(&Hook::Disconnect(aborted)));
}

#[test]
fn a_connection_that_never_began_ends_without_a_hook() {
    // rule: HOOK-2
    let mut link = link();
    link.connection.shutdown(link.now, Shutdown::Immediate);
    assert_eq!(
        link.events().last(),
        Some(&Event::Closed(CloseReason::Aborted))
    );
    assert_eq!(link.hooks(), []);
}

#[test]
fn a_drain_before_the_first_event_sets_up_first() {
    // rule: HOOK-2, SHUT-2
    let mut link = link();
    link.drain(100);
    link.wind_up();
    let hooks = link.hooks();
    assert_eq!(hooks[..2], [Hook::Setup, Hook::DrainNotice]);
}

#[test]
fn a_caller_who_bounds_the_pushes_is_asked_to_end_them() {
    // rule: SHUT-2, PUSH-6
    let config = Config {
        push_bound: PushBound::Caller,
        ..Config::default()
    };
    let mut link = Link::new(config, protocol());
    let command = link.requests(&[1])[0];
    link.drain(100);
    link.wind_up();
    assert!(
        !link.connection.wants().end_of_pushes,
        "a handler may still push"
    );
    link.connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    link.wind_up();
    assert!(link.connection.wants().end_of_pushes);
    assert_eq!(link.connection.state(), State::Draining);
    let accepted = crate::Accepted::new(Frame::numbered(2), 8);
    let mut batch = [accepted].into();
    link.connection.accept_pushes(Priority::High, &mut batch);
    link.connection.end_pushes();
    assert!(!link.connection.wants().end_of_pushes);
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [2, 50]);
    assert_eq!(events, [Event::Closing(CloseReason::Drained)]);
}

/// Does things to a link, drains it, and says whose fault the deadline's passing is.
fn fault_of_drain(what: impl FnOnce(&mut Link<Correlated>)) -> Fault {
    fault_of_drain_with(what, |_| ())
}

/// Of one half-way through which that happens.
fn fault_of_drain_with(
    before: impl FnOnce(&mut Link<Correlated>),
    half_way: impl FnOnce(&mut Link<Correlated>),
) -> Fault {
    let mut link = Link::new(config(), Correlated::default());
    before(&mut link);
    link.drain(100);
    link.pass_until(50);
    half_way(&mut link);
    link.pass_until(100);
    match link.events().last() {
        Some(Event::Closed(reason @ CloseReason::DrainTimedOut { .. })) => reason.fault(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drain_that_is_late_for_handlers_is_this_ends_fault() {
    // rule: OBS-3, SHUT-3
    let at_work = |link: &mut Link<Correlated>| _ = link.requests(&[1, 2]);
    assert_eq!(fault_of_drain(at_work), Fault::Own);
    let one_awaits = |link: &mut Link<Correlated>| {
        let commands = link.requests(&[1, 2]);
        let _ = link.connection.next_body(commands[0].id, link.now);
    };
    assert_eq!(fault_of_drain(one_awaits), Fault::Own);
    let reads_nothing = |link: &mut Link<Correlated>| {
        link.connection.call(Frame::numbered(1), None).unwrap();
        link.sent();
        link.connection.hold_input(true, link.now);
    };
    assert_eq!(fault_of_drain(reads_nothing), Fault::Own);
}

#[test]
fn a_handler_at_work_is_this_ends_fault_to_a_peer_that_takes_what_it_is_sent() {
    // rule: OBS-3, SHUT-3
    for (takes, fault) in [(1, Fault::Own), (0, Fault::Peer)] {
        let says_more = |link: &mut Link<Correlated>| {
            let commands = link.requests(&[1, 2]);
            let answer = Frame::numbered(1);
            link.connection.answer(commands[0].id, answer).unwrap();
            let _ = link.fill();
        };
        let read = |link: &mut Link<Correlated>| {
            let _ = link.fill();
            link.take_bytes(takes);
        };
        assert_eq!(fault_of_drain_with(says_more, read), fault);
    }
}

#[test]
fn a_drain_that_only_the_peer_could_end_is_the_peers_fault() {
    // rule: OBS-3, SHUT-3
    let takes_nothing = |link: &mut Link<Correlated>| {
        link.requests(&[1]);
        link.connection
            .push(Priority::Low, Frame::numbered(1))
            .unwrap();
        let _ = link.fill();
    };
    assert_eq!(fault_of_drain(takes_nothing), Fault::Peer);
    let held = |link: &mut Link<Correlated>| link.held(1, 0);
    assert_eq!(fault_of_drain(held), Fault::Peer);
    let owes_bodies = |link: &mut Link<Correlated>| {
        for command in link.requests(&[1, 2]) {
            let _ = link.connection.next_body(command.id, link.now);
        }
    };
    assert_eq!(fault_of_drain(owes_bodies), Fault::Peer);
    let owes_a_reply = |link: &mut Link<Correlated>| {
        link.connection.call(Frame::numbered(1), None).unwrap();
        link.sent();
    };
    assert_eq!(fault_of_drain(owes_a_reply), Fault::Peer);
}
