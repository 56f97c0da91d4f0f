//! The rest of a command, in frames of its own.

use core::time::Duration;

use super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, ends, numbers};
use crate::{
    Body, CloseReason, Config, DeadlineReason, Discarded, End, Event, Heartbeat, Outcome, Priority,
    Reaction, Refusal, RequestInfo, WireframeProtocol, config::nonzero,
};

const DISCARDED: Event<Frame> = Event::Discarded(Discarded::Body);

fn config() -> Config {
    let mut config = Config::default();
    config.limits.max_body_frames = nonzero(3);
    config.timeouts.body = Duration::from_millis(30);
    config
}

fn body(id: u16) -> Frame {
    Frame::new(Kind::Body, []).with_id(id)
}

fn last(id: u16) -> Frame {
    Frame::new(Kind::LastBody, []).with_id(id)
}

impl<P> Link<P>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = alloc::vec::Vec<Hook>>,
{
    fn next_body(&mut self, of: RequestInfo) -> Body<Frame> {
        self.connection.next_body(of.id, self.now)
    }

    fn takes_body(&mut self, of: RequestInfo) -> bool {
        matches!(self.next_body(of), Body::Frame(_))
    }

    fn respond_with(&mut self, to: RequestInfo, n: u32) {
        self.connection.respond(to.id, Frame::numbered(n)).unwrap();
    }

    fn complete(&mut self, of: RequestInfo) {
        self.connection.finish(of.id, End::Complete).unwrap();
    }
}

#[test]
fn the_last_frame_is_delivered_and_then_the_end() {
    // rule: REQ-2
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1])[0];
    assert_eq!(link.next_body(command), Body::Pending);
    link.receive(&[body(1), last(1)]);
    assert_eq!(link.events(), [Event::Body(command), Event::Body(command)]);
    assert!(link.takes_body(command));
    assert!(link.takes_body(command));
    assert_eq!(link.next_body(command), Body::End);
    assert_eq!(link.next_body(command), Body::End);
    link.receive(&[body(1)]);
    assert_eq!(link.events(), [DISCARDED], "behind the end");
}

#[test]
fn a_full_body_stops_decoding_until_a_frame_is_taken() {
    // rule: REQ-3
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1])[0];
    link.receive(&[body(1), body(1), body(1), body(1), Frame::request(2)]);
    assert_eq!(link.events().len(), 3);
    assert!(!link.connection.wants().read);
    // Writing goes on.
    link.connection
        .push(Priority::Low, Frame::numbered(7))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [7]);

    assert!(link.takes_body(command));
    assert!(link.connection.wants().event);
    assert_eq!(link.events(), [Event::Body(command)]);
    assert!(!link.connection.wants().read, "full again");
    assert!(link.takes_body(command));
    assert_eq!(link.started().len(), 1);
    assert!(link.connection.wants().read);
}

#[test]
fn a_full_body_that_is_dropped_lets_decoding_go_on() {
    // rule: REQ-3, REQ-4
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1])[0];
    link.receive(&[body(1), body(1), body(1), last(1), Frame::request(2)]);
    link.events();
    link.connection.drop_body(command.id);
    assert!(link.connection.wants().event);
    assert_eq!(link.started().len(), 1);
    assert_eq!(link.connection.stats().bodies_discarded, 1);
    assert_eq!(link.next_body(command), Body::Gone);
}

#[test]
fn a_body_that_its_last_frame_fills_is_not_full() {
    // rule: REQ-3
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1])[0];
    link.receive(&[body(1), body(1), last(1), Frame::request(2)]);
    assert_eq!(link.started().len(), 1);
    for _ in 0..3 {
        assert!(link.takes_body(command));
    }
    assert_eq!(link.next_body(command), Body::End);
}

#[test]
fn a_body_frame_of_no_live_command_is_discarded_and_counted() {
    // rule: REQ-4
    let mut link = Link::new(config(), Correlated::default());
    link.receive(&[body(9), Frame::new(Kind::Body, [])]);
    assert_eq!(link.events(), [DISCARDED, DISCARDED]);
    assert_eq!(link.connection.stats().bodies_discarded, 2);
}

#[test]
fn in_order_the_rest_of_an_answer_waits_until_a_dropped_body_was_discarded() {
    // rule: REQ-4
    let mut link = Link::new(config(), InOrder::default());
    let first = link.requests(&[1, 2])[0];
    link.receive(&[body(1)]);
    link.events();
    link.respond_with(first, 1);
    link.connection.drop_body(first.id);
    link.respond_with(first, 2);
    link.complete(first);
    assert_eq!(numbers(&link.sent()), [1]);
    link.receive(&[body(1), body(1)]);
    assert_eq!(link.events(), [DISCARDED, DISCARDED]);
    assert_eq!(numbers(&link.sent()), []);
    link.receive(&[last(1)]);
    assert_eq!(link.started(), [], "the answer has not been sent");
    assert_eq!(numbers(&link.sent()), [2]);
    assert_eq!(link.started().len(), 1);
    assert_eq!(link.connection.stats().bodies_discarded, 3);
}

#[test]
fn what_was_accepted_before_a_body_was_dropped_does_not_wait_for_it_however_much_it_is() {
    // rule: REQ-2, REQ-4
    let mut config = config();
    config.limits.high_water = nonzero(1);
    let mut link = Link::new(config, InOrder::default());
    let command = link.requests(&[1])[0];
    assert_eq!(link.next_body(command), Body::Pending);
    // The slot is for two, and the first is encoded at once.
    for n in 1..=5 {
        let accepted = link
            .connection
            .accept_response(command.id, Frame::numbered(n));
        assert_eq!(accepted, Ok(()));
    }
    let refused = link.connection.respond(command.id, Frame::numbered(0));
    assert_eq!(refused.unwrap_err().reason, Refusal::Full);
    link.connection.drop_body(command.id);
    let answer = Frame::numbered(6);
    assert_eq!(link.connection.accept_response(command.id, answer), Ok(()));
    link.complete(command);
    let late = link
        .connection
        .accept_response(command.id, Frame::numbered(7));
    assert_eq!(late.unwrap_err().reason, Refusal::Unknown);
    assert_eq!(numbers(&link.sent()), [1, 2, 3, 4, 5]);
    link.receive(&[last(1)]);
    link.events();
    assert_eq!(numbers(&link.sent()), [6]);
}

#[test]
fn in_order_a_body_that_its_handler_outlived_is_discarded_before_the_next_begins() {
    // rule: REQ-4
    let mut link = Link::new(config(), InOrder::default());
    let first = link.requests(&[1, 2])[0];
    assert_eq!(link.next_body(first), Body::Pending);
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.started(), []);
    link.receive(&[Frame::new(Kind::Body, []), Frame::new(Kind::LastBody, [])]);
    assert_eq!(link.events(), [DISCARDED, DISCARDED]);
    assert_eq!(numbers(&link.sent()), [1]);
    assert_eq!(link.started().len(), 1);
}

#[test]
fn in_order_a_body_that_begins_after_its_handler_ended_is_discarded() {
    // rule: REQ-4
    let mut config = config();
    config.limits.high_water = nonzero(1);
    let mut link = Link::new(config, InOrder::default());
    let first = link.requests(&[1])[0];
    link.respond_with(first, 1);
    link.respond_with(first, 2);
    link.complete(first);
    let frames = [body(1), body(1), body(1), body(1), Frame::request(2)];
    link.receive(&frames);
    assert_eq!(link.events()[..4], [DISCARDED; 4], "nobody will read it");
    // What was answered before it began need not wait for it, but its end does.
    assert_eq!(numbers(&link.sent()), [1, 2]);
    assert_eq!(link.started(), []);
    link.receive(&[last(1)]);
    assert_eq!(link.started().len(), 1);
}

#[test]
fn in_order_an_answer_that_fails_leaves_its_body_to_be_discarded() {
    // rule: REQ-4, RESP-6
    let protocol = InOrder {
        on_error: |_| Reaction::Send(Frame::numbered(9)),
        ..InOrder::default()
    };
    let mut link = Link::new(config(), protocol);
    let first = link.requests(&[1, 2])[0];
    assert_eq!(link.next_body(first), Body::Pending);
    // The handler is still at it when its frame turns out to be unencodable.
    link.connection
        .respond(first.id, Frame::new(Kind::Flawed, []))
        .unwrap();
    assert_eq!(numbers(&link.sent()), []);
    link.receive(&[last(1)]);
    link.events();
    assert_eq!(numbers(&link.sent()), [9]);
    assert_eq!(link.started().len(), 1);
}

#[test]
fn correlated_answers_do_not_wait_for_dropped_bodies() {
    // rule: REQ-4
    let mut link = Link::new(config(), Correlated::default());
    let first = link.requests(&[1])[0];
    link.receive(&[body(1)]);
    link.events();
    link.connection.drop_body(first.id);
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [1]);
    assert_eq!(link.connection.commands_in_flight(), 0);
    link.receive(&[body(1), last(1)]);
    assert_eq!(link.events(), [DISCARDED, DISCARDED]);
}

#[test]
fn a_handler_that_awaits_a_body_is_told_when_none_comes_in_time() {
    // rule: LIM-3
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1])[0];
    link.pass_until(10);
    assert_eq!(link.due(), None, "nobody awaits one");
    assert_eq!(link.next_body(command), Body::Pending);
    link.pass_until(20);
    assert_eq!(
        link.next_body(command),
        Body::Pending,
        "asking again changes nothing"
    );
    assert_eq!(link.due(), Some((DeadlineReason::Body, 40)));
    link.pass_until(39);
    assert_eq!(link.events(), []);
    link.pass_until(40);
    assert_eq!(link.due(), None);
    assert_eq!(link.events(), [Event::Body(command)]);
    assert_eq!(link.next_body(command), Body::TimedOut);
    assert_eq!(
        link.next_body(command),
        Body::Pending,
        "the connection goes on"
    );
    assert_eq!(link.due(), Some((DeadlineReason::Body, 70)));
    link.connection.stop_awaiting_body(command.id);
    assert_eq!(link.due(), None);
}

#[test]
fn a_frame_that_comes_after_its_time_is_a_frame_and_no_longer_late() {
    // rule: LIM-3
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1])[0];
    link.next_body(command);
    link.pass_until(30);
    link.receive(&[body(1)]);
    link.events();
    assert!(link.takes_body(command));
    assert_eq!(link.next_body(command), Body::Pending);
}

#[test]
fn a_handler_that_stopped_awaiting_is_not_told_that_its_time_was_over() {
    // rule: LIM-3
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1])[0];
    link.next_body(command);
    link.pass_until(30);
    link.connection.stop_awaiting_body(command.id);
    link.pass_until(50);
    assert_eq!(link.next_body(command), Body::Pending);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 80)));
}

#[test]
fn a_handler_that_awaits_a_body_is_told_once_when_its_answer_has_failed() {
    // rule: RESP-6
    let mut link = Link::new(config(), Correlated::default());
    let commands = link.requests(&[1, 2]);
    for command in &commands {
        link.next_body(*command);
    }
    let flawed = Frame::new(Kind::Flawed, []);
    link.connection.respond(commands[0].id, flawed).unwrap();
    assert_eq!(link.sent(), []);
    assert_eq!(link.events(), [Event::Failed(commands[0])]);
    assert_eq!(link.next_body(commands[0]), Body::Gone);
    assert_eq!(link.next_body(commands[1]), Body::Pending);
}

#[test]
fn each_body_frame_restarts_the_body_clock() {
    // rule: LIM-3
    let mut link = Link::new(config(), Correlated::default());
    let commands = link.requests(&[1, 2]);
    link.next_body(commands[0]);
    link.pass_until(10);
    link.next_body(commands[1]);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
    link.pass_until(20);
    link.receive(&[body(1)]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Body, 40)));
    link.takes_body(commands[0]);
    link.next_body(commands[0]);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 40)));
    link.pass_until(40);
    assert_eq!(link.events(), [Event::Body(commands[1])]);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 50)));
}

#[test]
fn the_rest_of_a_discarded_body_must_come_in_time_too() {
    // rule: LIM-3, REQ-4
    let mut link = Link::new(config(), InOrder::default());
    let command = link.requests(&[1])[0];
    link.receive(&[body(1)]);
    link.events();
    link.connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
    // A handler's future that goes away stops awaiting; the rest is due all the same.
    link.connection.stop_awaiting_body(command.id);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
    link.pass_until(30);
    assert_eq!(link.events(), [Event::Closing(CloseReason::BodyTimedOut)]);
    assert_eq!(ends(&link.hooks()), [(Outcome::Disconnected, Some(1))]);
}

#[test]
fn bodies_end_with_an_error_when_the_peer_ends() {
    // rule: RESP-10, SHUT-6
    let mut link = Link::new(config(), Correlated::default());
    let commands = link.requests(&[1, 2]);
    link.next_body(commands[0]);
    link.receive(&[body(2)]);
    link.eof();
    assert_eq!(
        link.events(),
        [Event::Body(commands[1]), Event::Body(commands[0])]
    );
    assert_eq!(link.next_body(commands[0]), Body::UnexpectedEof);
    assert!(link.takes_body(commands[1]), "what came is delivered first");
    assert_eq!(link.next_body(commands[1]), Body::UnexpectedEof);
    assert_eq!(link.due(), None);
}

#[test]
fn in_order_an_answer_does_not_wait_for_a_body_that_cannot_come_any_more() {
    // rule: REQ-4, SHUT-6
    for ends_first in [true, false] {
        let mut link = Link::new(config(), InOrder::default());
        let command = link.requests(&[1])[0];
        link.receive(&[body(1)]);
        link.events();
        if ends_first {
            link.eof();
            link.events();
        }
        link.connection.drop_body(command.id);
        link.respond_with(command, 1);
        link.complete(command);
        if !ends_first {
            assert_eq!(link.sent(), []);
            link.eof();
            link.events();
        }
        let (sent, events) = link.wind_up();
        assert_eq!(numbers(&sent), [1]);
        assert_eq!(events.last(), Some(&Event::Closed(CloseReason::PeerClosed)));
    }
}

#[test]
fn a_full_body_of_a_held_command_does_not_stop_the_clock_of_the_one_that_runs() {
    // rule: LIM-3, REQ-3, RESP-7
    let mut config = config();
    config.limits.max_in_flight = Some(nonzero(1));
    config.limits.max_body_frames = nonzero(2);
    let mut link = Link::new(config, Correlated::default());
    let command = link.requests(&[1])[0];
    assert_eq!(link.next_body(command), Body::Pending);
    link.receive(&[Frame::request(2), body(2), body(2), body(1)]);
    link.events();
    assert!(!link.connection.wants().read, "the held one's body is full");
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
    link.pass_until(30);
    assert_eq!(link.events(), [Event::Body(command)]);
    assert_eq!(link.next_body(command), Body::TimedOut);
    // Once it has ended, the other runs, and its full body is its own affair.
    link.connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    let second = link.started()[0];
    assert!(link.takes_body(second));
    assert!(link.connection.wants().read);
}

#[test]
fn a_full_body_does_not_stop_the_clock_of_others_who_await_a_frame() {
    // rule: LIM-3, REQ-3
    fn check<P>(protocol: P, awaits: usize, full: usize)
    where
        P: WireframeProtocol<Frame = Frame, Error = u8, Session = alloc::vec::Vec<Hook>>,
    {
        let mut config = config();
        config.limits.max_in_flight = Some(nonzero(3));
        let mut link = Link::new(config, protocol);
        // One of them neither awaits a frame nor has a body.
        let commands = link.requests(&[1, 2, 3]);
        let id = u16::try_from(full + 1).unwrap();
        assert_eq!(link.next_body(commands[awaits]), Body::Pending);
        link.pass_until(10);
        link.receive(&[body(id), body(id), body(id), last(id)]);
        link.events();
        assert!(!link.connection.wants().read);
        assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
        link.pass_until(30);
        assert_eq!(link.events(), [Event::Body(commands[awaits])]);
        assert_eq!(link.next_body(commands[awaits]), Body::TimedOut);
        // Whose body is full has all the time there is.
        assert_eq!(link.due(), None);
        link.pass_until(100_000);
        assert_eq!(link.events(), []);
        for _ in 0..3 {
            assert!(link.takes_body(commands[full]));
            link.events();
        }
        assert!(link.takes_body(commands[full]));
        assert_eq!(link.next_body(commands[full]), Body::End);
    }
    for (awaits, full) in [(0, 1), (1, 0), (2, 1)] {
        check(Correlated::default(), awaits, full);
        check(InOrder::default(), awaits, full);
    }
}

#[test]
fn behind_a_full_body_no_clock_runs_but_that_of_bodies() {
    // rule: LIM-3, REQ-3, RESP-7
    let mut config = config();
    config.heartbeat = Some(Heartbeat::expecting(Duration::from_millis(20)));
    config.timeouts.idle = Some(Duration::from_millis(20));
    let mut link = Link::new(config, Correlated::default());
    let commands = link.requests(&[1, 2]);
    // The next frame has begun to come, too.
    link.receive(&[body(2), body(2), body(2)]);
    link.receive_bytes(&body(1).wire()[..5]);
    link.events();
    assert_eq!(link.due(), None);
    link.pass_until(1_000);
    assert_eq!(link.next_body(commands[0]), Body::Pending);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 1_030)));
    link.pass_until(1_030);
    assert_eq!(link.next_body(commands[0]), Body::TimedOut);
    assert_eq!(link.due(), None);
}

#[test]
fn the_body_clock_stands_still_behind_a_full_body_while_the_application_holds_the_input() {
    // rule: LIM-3, REQ-3, RESP-7
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1, 2])[0];
    assert_eq!(link.next_body(command), Body::Pending);
    link.receive(&[body(2), body(2), body(2)]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
    link.connection.hold_input(true, link.now);
    assert_eq!(link.due(), None);
    link.connection.hold_input(false, link.now);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
}
