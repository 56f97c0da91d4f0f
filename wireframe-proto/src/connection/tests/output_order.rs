//! Which source goes first, what stays in order, and how far encoding runs ahead.

use alloc::vec::Vec;

use super::support::{Correlated, Frame, InOrder, Kind, Link, OVERHEAD, numbers};
use crate::{
    Config, End, FairnessConfig, Filled, Limits, Priority, Reaction, WireframeProtocol,
    config::nonzero,
};

fn config(limits: Limits) -> Config {
    Config {
        limits,
        ..Config::default()
    }
}

fn push(link: &mut Link<impl WireframeProtocol<Frame = Frame>>, priority: Priority, n: u32) {
    let frame = Frame::numbered(n);
    link.connection.push(priority, frame).unwrap();
}

#[test]
fn control_goes_before_everything_that_was_queued_earlier() {
    // rule: SEL-1
    let protocol = InOrder {
        on_control: |frame| Reaction::Send(frame),
        ..InOrder::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    push(&mut link, Priority::Low, 2);
    push(&mut link, Priority::High, 1);
    let command = link.requests(&[1])[0];
    link.connection
        .answer(command.id, Frame::numbered(3))
        .unwrap();
    let control = Frame::new(Kind::Control, 0u32.to_be_bytes());
    link.receive(&[control.clone(), control]);
    link.events();
    assert_eq!(numbers(&link.sent()), [0, 0, 1, 2, 3]);
}

#[test]
fn control_takes_no_push_slot() {
    // rule: SEL-1
    let protocol = InOrder {
        on_control: |frame| Reaction::Send(frame),
        ..InOrder::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    link.receive(&[Frame::new(Kind::Control, 7u32.to_be_bytes())]);
    link.events();
    assert_eq!(numbers(&link.sent()), [7]);
    for priority in Priority::ALL {
        assert_eq!(link.connection.take_released(priority).frames(), 0);
    }
    assert_eq!(link.connection.stats().high.accepted, 0);
}

#[test]
fn correlated_answers_take_turns_of_one_unit() {
    // rule: SEL-6
    let mut link = Link::new(Config::default(), Correlated::default());
    let commands = link.requests(&[1, 2, 3]);
    for (command, first) in commands.iter().zip([11, 21, 31]) {
        for n in [first, first + 1] {
            let frame = Frame::numbered(n);
            link.connection.respond(command.id, frame).unwrap();
        }
    }
    assert_eq!(numbers(&link.sent()), [11, 21, 31, 12, 22, 32]);
}

#[test]
fn an_answer_that_joins_waits_for_one_round_at_most() {
    // rule: SEL-6
    let limits = Limits {
        high_water: nonzero(1),
        response_slot: nonzero(8),
        ..Limits::default()
    };
    let mut link = Link::new(config(limits), Correlated::default());
    let commands = link.requests(&[1, 2, 3]);
    for n in [11, 12, 13] {
        link.connection
            .respond(commands[0].id, Frame::numbered(n))
            .unwrap();
    }
    link.connection
        .respond(commands[1].id, Frame::numbered(21))
        .unwrap();
    assert_eq!(link.fill(), Filled::HighWater);
    // 11 is encoded. The third joins behind 21 and 12.
    link.connection
        .respond(commands[2].id, Frame::numbered(31))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [11, 21, 12, 31, 13]);
}

#[test]
fn answers_in_order_go_whole_the_oldest_command_first() {
    // rule: SEL-6
    let limits = Limits {
        max_in_flight: Some(nonzero(3)),
        ..Limits::default()
    };
    let mut link = Link::new(config(limits), InOrder::default());
    let commands = link.requests(&[1, 2, 3]);
    for (command, n) in [(2, 31), (1, 21), (0, 11), (2, 32), (0, 12), (1, 22)] {
        let frame = Frame::numbered(n);
        link.connection
            .respond(commands[command].id, frame)
            .unwrap();
    }
    link.connection
        .finish(commands[2].id, End::Complete)
        .unwrap();
    assert_eq!(numbers(&link.sent()), [11, 12]);
    link.connection
        .respond(commands[0].id, Frame::numbered(13))
        .unwrap();
    link.connection
        .finish(commands[0].id, End::Complete)
        .unwrap();
    assert_eq!(numbers(&link.sent()), [13, 21, 22]);
    link.connection
        .finish(commands[1].id, End::Complete)
        .unwrap();
    assert_eq!(numbers(&link.sent()), [31, 32]);
}

#[test]
fn a_high_push_is_behind_the_high_water_mark_and_one_unit_at_most() {
    // rule: SEL-8
    const HIGH_WATER: usize = 1_000;
    for unit in [OVERHEAD, 100, 999, 1_000, 1_001, 20_000] {
        let limits = Limits {
            high_water: nonzero(HIGH_WATER),
            ..Limits::default()
        };
        let mut link = Link::new(config(limits), InOrder::default());
        let large = Frame::new(Kind::Push, alloc::vec![9; unit - OVERHEAD]);
        for _ in 0..200 {
            if link.connection.push(Priority::Low, large.clone()).is_err() {
                break;
            }
        }
        let high = Frame::numbered(1);
        let filled = link.fill();
        link.connection.push(Priority::High, high.clone()).unwrap();
        assert_eq!(filled, Filled::HighWater, "units of {unit} bytes");
        let sent = link.sent_bytes();
        let wire = high.wire();
        let before = sent.windows(wire.len()).position(|w| w == wire).unwrap();
        assert!(
            before < HIGH_WATER + unit,
            "{before} bytes before, units of {unit}"
        );
        assert!(
            before >= HIGH_WATER,
            "{before} bytes before, units of {unit}"
        );
    }
}

#[test]
fn an_answer_does_not_run_past_the_high_water_mark() {
    // rule: SEL-8, RESP-5
    let limits = Limits {
        high_water: nonzero(100),
        ..Limits::default()
    };
    let mut link = Link::new(config(limits), InOrder::default());
    let command = link.requests(&[1])[0];
    let mut taken = 0;
    while link
        .connection
        .respond(command.id, Frame::numbered(taken))
        .is_ok()
    {
        taken += 1;
        let _ = link.fill();
    }
    let encoded = link.connection.transmit().unwrap().len();
    assert_eq!(encoded, 108, "9 frames of 12 bytes reach 100");
    assert_eq!(taken, 9 + 2, "and two wait in the slot");
    assert_eq!(link.connection.response_capacity(command.id), 0);
    push(&mut link, Priority::High, 99);
    let order = numbers(&link.sent());
    let expected: Vec<u32> = (0..9).chain([99, 9, 10]).collect();
    assert_eq!(order, expected);
    assert_eq!(link.connection.response_capacity(command.id), 2);
}

#[test]
fn whatever_is_ready_goes_when_nothing_before_it_is() {
    // rule: SEL-1
    let fairness = [FairnessConfig::default(), FairnessConfig::strict()];
    for fairness in fairness {
        let config = Config {
            fairness,
            ..Config::default()
        };
        let mut link = Link::new(config, Correlated::default());
        let command = link.requests(&[1, 2])[0];
        for n in 0..300 {
            link.connection
                .respond(command.id, Frame::numbered(n))
                .unwrap();
            assert_eq!(numbers(&link.sent()), [n]);
        }
        for n in 0..300 {
            push(&mut link, Priority::Low, n);
            assert_eq!(numbers(&link.sent()), [n]);
        }
        for n in 0..300 {
            push(&mut link, Priority::High, n);
            assert_eq!(numbers(&link.sent()), [n]);
        }
    }
}

#[test]
fn an_answer_of_one_frame_does_not_overtake_those_that_wait() {
    // rule: SEL-6, SEL-2
    let mut link = Link::new(Config::default(), Correlated::default());
    let commands = link.requests(&[1, 2, 3]);
    for (command, n) in [(0, 11), (1, 21)] {
        let frame = Frame::numbered(n);
        link.connection
            .respond(commands[command].id, frame)
            .unwrap();
    }
    for (command, n) in [(2, 31), (0, 12)] {
        let frame = Frame::numbered(n);
        link.connection.answer(commands[command].id, frame).unwrap();
    }
    assert_eq!(numbers(&link.sent()), [11, 21, 31, 12]);
}
