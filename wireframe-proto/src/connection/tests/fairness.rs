//! The quotas, as exact sequences on the wire.

use alloc::vec::Vec;
use core::time::Duration;

use super::support::{Correlated, Frame, Kind, Link, numbers};
use crate::{Config, FairnessConfig, Instant, Priority, Reaction, RequestInfo};

fn with(fairness: FairnessConfig) -> Link<Correlated> {
    let config = Config {
        fairness,
        ..Config::default()
    };
    let protocol = Correlated {
        on_control: |frame| Reaction::Send(frame),
        ..Correlated::default()
    };
    Link::new(config, protocol)
}

/// No quota but this one, of high over low.
fn high_quota(max_high_before_low: u32) -> FairnessConfig {
    FairnessConfig {
        max_high_before_low,
        ..FairnessConfig::strict()
    }
}

impl Link<Correlated> {
    fn high(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            let frame = Frame::numbered(n);
            self.connection.push(Priority::High, frame).unwrap();
        }
    }

    fn low(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            let frame = Frame::numbered(n);
            self.connection.push(Priority::Low, frame).unwrap();
        }
    }

    /// A command of the peer beside which there is always another.
    fn command(&mut self) -> RequestInfo {
        self.requests(&[1, 2])[0]
    }

    fn respond(&mut self, to: RequestInfo, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            let frame = Frame::numbered(n);
            self.connection.respond(to.id, frame).unwrap();
        }
    }

    fn sent_numbers(&mut self) -> Vec<u32> {
        numbers(&self.sent())
    }
}

#[test]
fn one_low_goes_after_every_three_highs() {
    // rule: SEL-3
    let mut link = with(high_quota(3));
    link.low([101, 102]);
    link.high(1..=6);
    assert_eq!(link.sent_numbers(), [1, 2, 3, 101, 4, 5, 6, 102]);
}

#[test]
fn a_quota_of_two_lets_a_low_go_after_every_two_highs() {
    // rule: SEL-3
    let mut link = with(high_quota(2));
    link.high(1..=5);
    link.low(101..=104);
    assert_eq!(
        link.sent_numbers(),
        [1, 2, 101, 3, 4, 102, 5, 103, 104],
        "highs are over before the third turn of the lows"
    );
}

#[test]
fn a_quota_of_zero_is_none() {
    // rule: SEL-3
    let mut link = with(high_quota(0));
    link.low([101, 102]);
    link.high(1..=20);
    let expected: Vec<u32> = (1..=20).chain([101, 102]).collect();
    assert_eq!(link.sent_numbers(), expected);
}

#[test]
fn the_count_of_highs_stands_while_no_low_is_ready() {
    // rule: SEL-3
    let mut link = with(high_quota(3));
    link.high(1..=5);
    assert_eq!(link.sent_numbers(), [1, 2, 3, 4, 5]);
    link.high(6..=9);
    link.low([101, 102]);
    assert_eq!(link.sent_numbers(), [101, 6, 7, 8, 102, 9]);
}

#[test]
fn only_a_low_restarts_the_count_of_highs() {
    // rule: SEL-3, SEL-1
    let mut link = with(high_quota(3));
    let command = link.command();
    link.high(1..=2);
    assert_eq!(link.sent_numbers(), [1, 2]);
    link.respond(command, [201]);
    link.receive(&[Frame::new(Kind::Control, 301u32.to_be_bytes())]);
    link.events();
    assert_eq!(link.sent_numbers(), [301, 201]);
    link.high(3..=5);
    link.low([101]);
    assert_eq!(link.sent_numbers(), [3, 101, 4, 5]);
}

#[test]
fn a_low_goes_once_highs_went_back_to_back_for_the_time_slice() {
    // rule: SEL-4
    let mut link = with(FairnessConfig {
        time_slice: Some(Duration::from_millis(10)),
        ..FairnessConfig::strict()
    });
    alloc::sync::Arc::make_mut(&mut link.connection.config)
        .limits
        .high_water = crate::config::nonzero(1);
    link.high(1..=5);
    link.low([101, 102]);
    let mut order = Vec::new();
    for millis in [0, 9, 10, 10, 19, 20, 20] {
        link.now = Instant::from_millis(millis);
        let _ = link.fill();
        order.extend(numbers(&Frame::parse_all(&link.take_bytes(usize::MAX))));
    }
    // The second slice starts with frame 3, at 10 ms.
    assert_eq!(order, [1, 2, 101, 3, 4, 102, 5]);
}

#[test]
fn the_time_slice_ends_when_highs_run_dry() {
    // rule: SEL-4
    let mut link = with(FairnessConfig {
        time_slice: Some(Duration::from_millis(10)),
        ..FairnessConfig::strict()
    });
    link.high([1]);
    assert_eq!(link.sent_numbers(), [1]);
    link.now = Instant::from_millis(50);
    link.high([2]);
    link.low([101]);
    assert_eq!(link.sent_numbers(), [2, 101]);
}

#[test]
fn highs_that_ran_dry_at_the_high_water_mark_have_run_dry() {
    // rule: SEL-4
    let mut link = with(FairnessConfig {
        time_slice: Some(Duration::from_millis(10)),
        ..FairnessConfig::strict()
    });
    alloc::sync::Arc::make_mut(&mut link.connection.config)
        .limits
        .high_water = crate::config::nonzero(1);
    link.high([1]);
    let _ = link.fill();
    link.now = Instant::from_millis(50);
    link.high([2]);
    link.low([101]);
    assert_eq!(link.sent_numbers(), [1, 2, 101]);
}

#[test]
fn one_response_unit_goes_after_so_many_pushes() {
    // rule: SEL-5
    let mut link = with(FairnessConfig {
        max_push_before_response: 2,
        ..FairnessConfig::strict()
    });
    let command = link.command();
    link.high([1]);
    link.low(101..=104);
    link.respond(command, [201, 202]);
    assert_eq!(link.sent_numbers(), [1, 101, 201, 102, 103, 202, 104]);
}

#[test]
fn the_count_of_pushes_stands_while_no_response_is_ready() {
    // rule: SEL-5
    let mut link = with(FairnessConfig {
        max_push_before_response: 3,
        ..FairnessConfig::strict()
    });
    let command = link.command();
    link.high(1..=5);
    assert_eq!(link.sent_numbers(), [1, 2, 3, 4, 5]);
    link.high(6..=8);
    link.respond(command, [201]);
    assert_eq!(link.sent_numbers(), [201, 6, 7, 8]);
}

#[test]
fn with_both_quotas_due_the_low_goes_first_and_then_the_response() {
    // rule: SEL-5, SEL-3
    let mut link = with(FairnessConfig {
        max_high_before_low: 3,
        max_push_before_response: 3,
        time_slice: None,
    });
    let command = link.command();
    link.high(1..=8);
    link.low(101..=102);
    link.respond(command, [201, 202]);
    assert_eq!(
        link.sent_numbers(),
        // The low counts as a push: it, 4 and 5 make the next three.
        [1, 2, 3, 101, 201, 4, 5, 6, 102, 202, 7, 8]
    );
}

#[test]
fn a_response_sent_without_waiting_restarts_the_count_too() {
    // rule: SEL-5
    let mut link = with(FairnessConfig {
        max_push_before_response: 2,
        ..FairnessConfig::strict()
    });
    let command = link.requests(&[1])[0];
    link.high(1..=2);
    assert_eq!(link.sent_numbers(), [1, 2]);
    link.respond(command, [201]);
    link.high(3..=5);
    link.respond(command, [202]);
    assert_eq!(link.sent_numbers(), [201, 3, 4, 202, 5]);
}

#[test]
fn a_whole_answer_that_is_sent_without_waiting_restarts_the_count_too() {
    // rule: SEL-5
    let mut link = with(FairnessConfig {
        max_push_before_response: 2,
        ..FairnessConfig::strict()
    });
    let command = link.requests(&[1])[0];
    link.low([1, 2]);
    link.sent();
    link.connection
        .answer(command.id, Frame::numbered(10))
        .unwrap();
    let command = link.requests(&[2])[0];
    link.low([3, 4]);
    link.connection
        .answer(command.id, Frame::numbered(11))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [10, 3, 4, 11]);
}

#[test]
fn strict_is_the_literal_order_of_sources() {
    // rule: SEL-5, SEL-1
    let mut link = with(FairnessConfig::strict());
    let command = link.command();
    link.respond(command, [201, 202]);
    link.low(101..=200);
    link.high(1..=100);
    link.receive(&[Frame::new(Kind::Control, 301u32.to_be_bytes())]);
    link.events();
    let expected: Vec<u32> = [301]
        .into_iter()
        .chain(1..=100)
        .chain(101..=200)
        .chain([201, 202])
        .collect();
    assert_eq!(link.sent_numbers(), expected);
}

#[test]
fn the_defaults_are_eight_highs_and_sixty_four_pushes() {
    // rule: SEL-3, SEL-5
    let mut link = with(FairnessConfig::default());
    let command = link.command();
    link.high(1..=72);
    link.low(101..=110);
    link.respond(command, [201]);
    let order = link.sent_numbers();
    let place = |n: u32| order.iter().position(|&sent| sent == n).unwrap();
    assert_eq!(place(101), 8);
    assert_eq!(place(102), 17);
    assert_eq!(place(201), 64);
}
