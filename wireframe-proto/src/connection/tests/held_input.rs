//! Input that the application does not want for now.

use core::time::Duration;

use super::support::{Correlated, Frame, InOrder, Kind, Link, OVERHEAD, numbers};
use crate::{
    Body, CloseReason, Config, DeadlineReason, End, Event, Fault, HalfClose, Heartbeat, Priority,
    Shutdown, State, UnexpectedEof, Wants, config::nonzero,
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn link(config: Config) -> Link<Correlated> {
    let mut link = Link::new(config, Correlated::default());
    link.events();
    link
}

impl Link<Correlated> {
    fn hold(&mut self, held: bool) {
        self.connection.hold_input(held, self.now);
    }
}

fn push() -> Frame {
    Frame::new(Kind::Push, [])
}

#[test]
fn while_input_is_held_one_buffer_is_read_ahead_and_nothing_decoded() {
    // rule: RESP-7
    let mut config = Config::default();
    config.limits.read_buffer = nonzero(3 * OVERHEAD);
    let mut link = link(config);
    link.receive(&[push(), push()]);
    assert_eq!(
        link.connection.poll_event(link.now),
        Some(Event::Push(push()))
    );
    link.hold(true);
    let read = Wants {
        read: true,
        ..Wants::default()
    };
    assert_eq!(
        link.connection.wants(),
        read,
        "the peer's end has to be seen"
    );
    assert_eq!(link.events(), []);
    link.receive(&[push(), push()]);
    assert_eq!(
        link.connection.wants(),
        Wants::default(),
        "there is no room"
    );
    assert_eq!(link.events(), []);
    link.receive(&[push()]);
    assert_eq!(link.events(), [], "what is read all the same waits, too");
    link.hold(false);
    assert!(link.connection.wants().event);
    assert_eq!(link.events().len(), 4);
    assert!(link.connection.wants().read);
}

#[test]
fn the_heartbeat_goes_on_while_held_input_is_read() {
    // rule: RESP-7, HB-1
    let mut config = Config {
        heartbeat: Some(Heartbeat::expecting(ms(100))),
        ..Config::default()
    };
    config.limits.read_buffer = nonzero(2 * OVERHEAD);
    let mut link = link(config);
    link.hold(true);
    link.pass_until(90);
    link.receive(&[push()]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 190)));
    link.pass_until(180);
    link.receive(&[push()]);
    link.events();
    assert_eq!(link.due(), None, "a sign of life would not be read");
    link.pass_until(1_000);
    link.hold(false);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 1_100)));
}

#[test]
fn while_reading_is_paused_nothing_is_read_ahead_and_the_heartbeat_stands_still() {
    // rule: LIM-6, HB-1
    let mut config = Config {
        heartbeat: Some(Heartbeat::expecting(ms(100))),
        ..Config::default()
    };
    config.timeouts.idle = Some(ms(150));
    let mut link = link(config);
    link.pass_until(90);
    link.connection.pause_reading(true, link.now);
    // It is paused beside being held, and goes on when neither is so.
    link.hold(true);
    assert_eq!(link.connection.wants(), Wants::default());
    assert_eq!(link.due(), None);
    link.pass_until(1_000);
    link.hold(false);
    assert_eq!(link.connection.wants(), Wants::default());
    assert_eq!(link.due(), None);
    link.connection.pause_reading(false, link.now);
    assert!(link.connection.wants().read);
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 1_010)));
}

#[test]
fn writing_pushes_and_commands_go_on_while_input_is_held() {
    // rule: RESP-7
    let mut config = Config::default();
    config.limits.max_in_flight = Some(nonzero(1));
    let mut link = link(config);
    let first = link.requests(&[1, 2])[0];
    link.hold(true);
    link.connection
        .push(Priority::High, Frame::numbered(5))
        .unwrap();
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [5, 1]);
    let second = link.started()[0];
    link.connection
        .answer(second.id, Frame::numbered(2))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [2]);
}

#[test]
fn the_clocks_of_input_stand_still_while_it_is_held() {
    // rule: RESP-7
    let mut config = Config::default();
    config.timeouts.idle = Some(ms(90));
    config.timeouts.body = ms(50);
    let mut link = link(config);
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 90)));
    link.pass_until(80);
    link.hold(true);
    link.hold(true);
    assert_eq!(link.due(), None);
    link.pass_until(1_080);
    assert_eq!(link.connection.state(), State::Active);
    link.hold(false);
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 1_090)));

    link.pass_until(1_085);
    let command = link.requests(&[1])[0];
    assert_eq!(
        link.connection.next_body(command.id, link.now),
        Body::Pending
    );
    assert_eq!(link.due(), Some((DeadlineReason::Body, 1_135)));
    link.hold(true);
    link.pass_until(2_085);
    link.hold(false);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 2_135)));
}

#[test]
fn after_input_was_held_idle_counts_from_what_came_went_or_ended_last() {
    // rule: RESP-7, LIM-3
    let mut config = Config::default();
    config.timeouts.idle = Some(ms(90));
    let mut link = link(config);
    link.hold(true);
    link.pass_until(1_000);
    link.hold(false);
    link.pass_until(1_010);
    link.receive(&[push()]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 1_100)));
    link.pass_until(1_020);
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    link.sent();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 1_110)));
    let command = link.requests(&[1])[0];
    link.pass_until(1_050);
    link.connection.finish(command.id, End::Cancelled).unwrap();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 1_140)));
}

#[test]
fn a_frame_that_has_begun_is_timed_anew_when_input_goes_on() {
    // rule: RESP-7, LIM-3
    let mut link = link(Config::default());
    link.receive_bytes(&push().wire()[..5]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 30_000)));
    link.pass_until(10_000);
    link.hold(true);
    assert_eq!(link.due(), None);
    link.pass_until(50_000);
    link.hold(false);
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 80_000)));
}

#[test]
fn other_clocks_run_while_input_is_held() {
    // rule: RESP-7, LIM-3, SHUT-3
    let mut link = link(Config::default());
    link.hold(true);
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    let _ = link.fill();
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 30_000)));
    let command = link.connection.call(push(), None);
    assert!(command.is_ok());
    let deadline = crate::Instant::from_millis(70);
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 70)));
    link.pass_until(70);
    let closed = Event::Closed(CloseReason::DrainTimedOut { fault: Fault::Peer });
    assert_eq!(link.events().last(), Some(&closed));
}

#[test]
fn held_input_waits_behind_the_peers_end_too() {
    // rule: RESP-7, SHUT-6
    for half_close in [HalfClose::Answers, HalfClose::Ends] {
        let mut config = Config {
            half_close,
            ..Config::default()
        };
        config.timeouts.idle = Some(ms(90));
        let mut link = link(config);
        link.hold(true);
        link.receive(&[push()]);
        link.receive_bytes(&[0]);
        assert!(link.connection.wants().read);
        link.eof();
        assert_eq!(link.events(), []);
        assert_eq!(link.connection.wants(), Wants::default());
        assert_eq!(link.due(), None);
        link.pass_until(1_000);
        link.hold(false);
        let (_, events) = link.wind_up();
        let eof = UnexpectedEof {
            received: 1,
            missing: None,
        };
        assert_eq!(
            events,
            [
                Event::Push(push()),
                Event::Closing(CloseReason::UnexpectedEof(eof)),
                Event::Closed(CloseReason::UnexpectedEof(eof)),
            ]
        );
    }
}

#[test]
fn a_connection_that_closes_drops_held_input() {
    // rule: SHUT-2, LIM-10
    let mut link = Link::new(Config::default(), InOrder::default());
    link.events();
    link.connection.hold_input(true, link.now);
    link.receive(&[push()]);
    let deadline = crate::Instant::from_millis(70);
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    let (_, events) = link.wind_up();
    assert_eq!(events, [Event::Closing(CloseReason::Drained)]);
    assert!(
        link.connection.wants().read,
        "the peer's end has to be seen"
    );
    link.eof();
    assert_eq!(link.events(), [Event::Closed(CloseReason::Drained)]);
}
