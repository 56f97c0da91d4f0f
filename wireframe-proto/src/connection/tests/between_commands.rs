//! Pushes of a protocol that allows them only between commands.

use super::support::{Between, Frame, Link, numbers};
use crate::{Config, End, Priority, PushBound, PushCapacity, Refusal, config::nonzero};

fn link(frames: usize) -> Link<Between> {
    let capacity = PushCapacity {
        frames: nonzero(frames),
        ..PushCapacity::default()
    };
    let config = Config {
        push_bound: PushBound::Engine(capacity),
        ..Config::default()
    };
    Link::new(config, Between::default())
}

impl Link<Between> {
    fn push(&mut self, priority: Priority, n: u32) -> Result<(), Refusal> {
        let pushed = self.connection.push(priority, Frame::numbered(n));
        pushed.map_err(|rejected| rejected.reason)
    }
}

#[test]
fn pushes_wait_while_a_command_is_in_flight() {
    // rule: SEL-9
    let mut link = link(8);
    let command = link.requests(&[1])[0];
    link.push(Priority::Low, 2).unwrap();
    link.push(Priority::High, 1).unwrap();
    assert_eq!(link.sent(), []);
    link.connection
        .respond(command.id, Frame::numbered(10))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [10]);
    link.connection
        .respond(command.id, Frame::numbered(11))
        .unwrap();
    link.connection.finish(command.id, End::Complete).unwrap();
    assert_eq!(numbers(&link.sent()), [11, 1, 2]);
}

#[test]
fn pushes_wait_while_a_command_is_held_back() {
    // rule: SEL-9
    let mut link = link(8);
    let first = link.requests(&[1, 2])[0];
    assert_eq!(link.connection.commands_held_back(), 1);
    link.push(Priority::High, 1).unwrap();
    link.connection
        .answer(first.id, Frame::numbered(10))
        .unwrap();
    // The second has not begun: nobody has asked for events.
    assert_eq!(link.connection.commands_held_back(), 1);
    assert_eq!(numbers(&link.sent()), [10]);
    let second = link.started()[0];
    assert_eq!(link.sent(), []);
    link.connection
        .answer(second.id, Frame::numbered(20))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [20, 1]);
}

#[test]
fn an_answer_that_waits_to_be_sent_is_still_in_flight() {
    // rule: SEL-9
    let mut link = link(8);
    alloc::sync::Arc::make_mut(&mut link.connection.config)
        .limits
        .high_water = nonzero(1);
    let command = link.requests(&[1])[0];
    for n in [10, 11] {
        link.connection
            .respond(command.id, Frame::numbered(n))
            .unwrap();
    }
    link.connection.finish(command.id, End::Complete).unwrap();
    link.push(Priority::High, 1).unwrap();
    assert_eq!(numbers(&link.sent()), [10, 11, 1]);
}

#[test]
fn waiting_pushes_keep_their_slots_and_their_order() {
    // rule: SEL-9, SEL-2, PUSH-1
    let mut link = link(2);
    let command = link.requests(&[1])[0];
    for n in [1, 2] {
        link.push(Priority::High, n).unwrap();
        link.push(Priority::Low, n + 100).unwrap();
    }
    assert_eq!(link.sent(), []);
    for priority in Priority::ALL {
        assert_eq!(link.push(priority, 99), Err(Refusal::Full));
        assert_eq!(link.connection.take_released(priority).frames(), 0);
    }
    link.connection.finish(command.id, End::Complete).unwrap();
    assert_eq!(numbers(&link.sent()), [1, 2, 101, 102]);
    for priority in Priority::ALL {
        assert_eq!(link.connection.take_released(priority).sent, 2);
        assert_eq!(link.push(priority, 99), Ok(()));
    }
}

#[test]
fn a_waiting_push_does_not_hold_up_an_answer() {
    // rule: SEL-9, SEL-1
    let mut link = link(8);
    let command = link.requests(&[1])[0];
    for n in 1..=8 {
        link.push(Priority::High, n).unwrap();
    }
    for n in 10..200 {
        link.connection
            .respond(command.id, Frame::numbered(n))
            .unwrap();
        assert_eq!(numbers(&link.sent()), [n]);
    }
}
