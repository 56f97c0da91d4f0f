//! Bytes of bodies that wait for their handlers.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::support::{Correlated, Frame, Hook, InOrder, Kind, Link};
use crate::{
    Body, Config, DeadlineReason, End, Event, Heartbeat, Instant, Priority, RequestInfo, Shutdown,
    WireframeProtocol, config::nonzero,
};

/// At 100 bytes of all bodies nothing more is decoded.
fn config() -> Config {
    let mut config = Config::default();
    config.limits.max_body_bytes = Some(nonzero(100));
    config.timeouts.body = Duration::from_millis(30);
    config
}

/// A body frame with a payload of so many bytes.
fn body(id: u16, len: usize) -> Frame {
    Frame::new(Kind::Body, vec![0; len - 4]).with_id(id)
}

fn last(id: u16, len: usize) -> Frame {
    Frame {
        kind: Kind::LastBody,
        ..body(id, len)
    }
}

impl<P> Link<P>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    /// Bytes of bodies that wait.
    fn body_bytes(&self) -> usize {
        let commands = &self.connection.commands;
        assert_eq!(commands.body_bytes(), commands.count_body_bytes());
        commands.body_bytes()
    }

    fn takes_frame(&mut self, of: RequestInfo) {
        let next = self.connection.next_body(of.id, self.now);
        assert!(matches!(next, Body::Frame(_)), "{next:?}");
    }
}

#[test]
fn bodies_that_have_as_many_bytes_as_may_wait_stop_decoding() {
    // rule: REQ-3, RESP-7
    let mut link = Link::new(config(), Correlated::default());
    let commands = link.requests(&[1, 2]);
    link.receive(&[body(1, 40), body(2, 40), body(1, 20), Frame::request(3)]);
    assert_eq!(link.events().len(), 3);
    assert_eq!(link.body_bytes(), 100);
    assert!(!link.connection.wants().read);
    // Writing goes on.
    link.connection
        .push(Priority::Low, Frame::numbered(7))
        .unwrap();
    assert_eq!(link.sent().len(), 1);
    link.takes_frame(commands[1]);
    assert_eq!(link.body_bytes(), 60);
    assert!(link.connection.wants().event);
    assert_eq!(link.started().len(), 1);
    assert!(link.connection.wants().read);
}

#[test]
fn one_frame_may_cross_the_bytes_that_may_wait() {
    // rule: REQ-3
    let mut link = Link::new(config(), Correlated::default());
    link.requests(&[1]);
    link.receive(&[body(1, 99), body(1, 1_000), body(1, 4)]);
    assert_eq!(link.events().len(), 2);
    assert_eq!(link.body_bytes(), 1_099);
}

#[test]
fn a_frame_that_ends_its_body_counts_like_the_others() {
    // rule: REQ-3
    let mut link = Link::new(config(), Correlated::default());
    let command = link.requests(&[1])[0];
    link.receive(&[last(1, 100), Frame::request(2)]);
    assert_eq!(link.events().len(), 1);
    assert!(!link.connection.wants().read);
    link.takes_frame(command);
    assert_eq!(link.started().len(), 1);
}

#[test]
fn a_body_of_one_large_frame_passes() {
    // rule: REQ-3
    let mut config = config();
    config.limits.max_body_bytes = Some(nonzero(1));
    let mut link = Link::new(config, InOrder::default());
    let command = link.requests(&[1])[0];
    link.receive(&[body(1, 5_000), body(1, 4), last(1, 5_000)]);
    for _ in 0..3 {
        assert_eq!(link.events(), [Event::Body(command)]);
        link.takes_frame(command);
    }
    assert_eq!(link.connection.next_body(command.id, link.now), Body::End);
    assert_eq!(link.body_bytes(), 0);
}

#[test]
fn by_default_bodies_may_have_the_bytes_of_a_message() {
    // rule: REQ-3
    let frames = |change: fn(&mut Config)| {
        let mut config = Config::default();
        config.limits.max_frame_len = nonzero(100);
        config.limits.max_body_frames = nonzero(1_000);
        change(&mut config);
        let mut link = Link::new(config, Correlated::default());
        link.requests(&[1, 2]);
        link.receive(&vec![body(1, 100); 30]);
        link.events().len()
    };
    assert_eq!(frames(|_| {}), 16);
    let larger = |config: &mut Config| config.fragments.max_message_size = Some(nonzero(2_001));
    assert_eq!(frames(larger), 21);
}

#[test]
fn bytes_are_released_when_a_body_is_dropped_or_its_command_ends() {
    // rule: REQ-3, REQ-4
    let ways: [fn(&mut Link<Correlated>, RequestInfo); 4] = [
        |link, command| link.connection.drop_body(command.id),
        |link, command| {
            link.connection
                .answer(command.id, Frame::numbered(1))
                .unwrap();
        },
        |link, command| link.connection.finish(command.id, End::Cancelled).unwrap(),
        |link, command| {
            let flawed = Frame::new(Kind::Flawed, []);
            link.connection.respond(command.id, flawed).unwrap();
            link.sent();
        },
    ];
    for release in ways {
        let mut link = Link::new(config(), Correlated::default());
        let commands = link.requests(&[1, 2]);
        link.receive(&[body(1, 40), body(2, 40), body(1, 30), Frame::request(3)]);
        link.events();
        assert_eq!(link.body_bytes(), 110);
        release(&mut link, commands[0]);
        assert_eq!(link.body_bytes(), 40);
        assert!(link.connection.wants().event);
        assert_eq!(link.started().len(), 1);
        // What comes of it now is discarded, and takes no room.
        link.receive(&[body(1, 200), body(2, 30)]);
        link.events();
        assert_eq!(link.body_bytes(), 70);
    }
}

#[test]
fn bytes_are_released_with_requests_that_a_drain_drops_and_when_the_connection_closes() {
    // rule: REQ-3, SHUT-2
    let mut config = config();
    config.limits.max_in_flight = Some(nonzero(1));
    let mut link = Link::new(config, Correlated::default());
    link.requests(&[1, 2]);
    link.receive(&[body(1, 30), body(2, 40)]);
    link.events();
    assert_eq!(link.body_bytes(), 70);
    let deadline = Instant::MAX;
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    assert_eq!(link.body_bytes(), 30);
    link.connection.shutdown(link.now, Shutdown::Immediate);
    assert_eq!(link.body_bytes(), 0);
}

#[test]
fn a_body_that_is_awaited_comes_when_the_handler_of_another_reads() {
    // rule: REQ-3, LIM-3
    fn check<P>(protocol: P)
    where
        P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
    {
        let mut config = config();
        config.limits.max_in_flight = Some(nonzero(2));
        let mut link = Link::new(config, protocol);
        let [reader, awaits] = link.requests(&[1, 2])[..] else {
            panic!("two commands");
        };
        let pending = link.connection.next_body(awaits.id, link.now);
        assert_eq!(pending, Body::Pending);
        link.pass_until(10);
        link.receive(&[body(1, 60), body(1, 60), body(2, 4), last(1, 60)]);
        link.events();
        // The peer has sent the others first, so this one is late by its own doing.
        assert!(!link.connection.wants().read);
        assert_eq!(link.due(), Some((DeadlineReason::Body, 30)));
        link.takes_frame(reader);
        assert_eq!(link.events()[0], Event::Body(awaits));
        link.takes_frame(awaits);
        let pending = link.connection.next_body(awaits.id, link.now);
        assert_eq!(pending, Body::Pending);
        assert!(!link.connection.wants().read);
        // And if nobody reads it is told so.
        link.pass_until(40);
        assert_eq!(link.events(), [Event::Body(awaits)]);
        let late = link.connection.next_body(awaits.id, link.now);
        assert_eq!(late, Body::TimedOut);
    }
    check(Correlated::default());
    check(InOrder::default());
}

#[test]
fn behind_bodies_of_as_many_bytes_as_may_wait_no_clock_runs_but_that_of_bodies() {
    // rule: LIM-3, REQ-3, RESP-7
    let mut config = config();
    config.heartbeat = Some(Heartbeat::expecting(Duration::from_millis(20)));
    config.timeouts.idle = Some(Duration::from_millis(20));
    let mut link = Link::new(config, Correlated::default());
    let command = link.requests(&[1, 2])[0];
    link.receive(&[body(2, 100)]);
    link.receive_bytes(&body(1, 4).wire()[..5]);
    link.events();
    assert_eq!(link.due(), None);
    link.pass_until(1_000);
    link.connection.next_body(command.id, link.now);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 1_030)));
    link.connection.hold_input(true, link.now);
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 1_020)));
}
