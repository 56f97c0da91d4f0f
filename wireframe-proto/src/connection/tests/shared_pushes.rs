//! Pushes that were encoded elsewhere, once for many connections.

use alloc::{collections::VecDeque, vec};

use bytes::Bytes;

use super::support::{Frame, Hook, InOrder, Kind, Link};
use crate::{
    Accepted, Config, DeadlineReason, Event, FrameBuf, LimitExceeded, Priority, PushBound,
    SharedUnits, Shutdown, Undelivered, UndeliveredReason, Unencodable, UnsentPushes,
    config::nonzero,
};

fn config() -> Config {
    Config {
        push_bound: PushBound::Caller,
        ..Config::default()
    }
}

impl Link<InOrder> {
    fn push_shared(&mut self, frame: Frame, units: &SharedUnits) {
        let mut batch = VecDeque::from([Accepted::shared(frame, units.clone())]);
        self.connection.accept_pushes(Priority::Low, &mut batch);
        assert!(batch.is_empty());
    }

    fn first_undelivered(&mut self) -> Option<Undelivered<Frame>> {
        self.events().into_iter().find_map(|event| match event {
            Event::Undelivered(undelivered) => Some(undelivered),
            _ => None,
        })
    }
}

#[test]
fn shared_bytes_go_as_they_are_in_their_turn_and_past_the_hooks() {
    // rule: REG-3, SEL-2
    let mut link = Link::new(config(), InOrder::default());
    link.events();
    let mut batch = VecDeque::from([Accepted::new(Frame::numbered(1), 8)]);
    link.connection.accept_pushes(Priority::Low, &mut batch);
    // The frame is only what stands for them in a dead letter.
    let two = [Frame::numbered(21).wire(), Frame::numbered(22).wire()].concat();
    link.push_shared(
        Frame::new(Kind::Flawed, []),
        &SharedUnits::new(two.clone().into()),
    );
    let mut batch = VecDeque::from([Accepted::new(Frame::numbered(3), 8)]);
    link.connection.accept_pushes(Priority::Low, &mut batch);
    link.hooks();
    assert_eq!(link.sent(), [1, 21, 22, 3].map(Frame::numbered));
    let seen = [1, 3].map(|n| Hook::BeforeSend(Frame::numbered(n)));
    assert_eq!(link.hooks(), seen);
    let released = link.connection.take_released(Priority::Low);
    assert_eq!((released.sent, released.bytes), (3, 8 + two.len() + 8));
}

#[test]
fn large_shared_bytes_are_not_copied() {
    // rule: REG-3
    let mut link = Link::new(config(), InOrder::default());
    let bytes = Bytes::from(vec![7; FrameBuf::CHAIN_THRESHOLD]);
    link.push_shared(Frame::numbered(1), &SharedUnits::new(bytes.clone()));
    let _ = link.fill();
    let transmit = link.connection.transmit().unwrap();
    let chunk = transmit.chunks().next().unwrap();
    assert_eq!(chunk.as_ptr(), bytes.as_ptr());
}

#[test]
fn shared_bytes_beyond_the_limit_of_a_unit_come_back_unencodable() {
    // rule: REG-3, FRAME-6
    let mut config = config();
    config.limits.max_frame_len = nonzero(10);
    let mut link = Link::new(config, InOrder::default());
    for (len, fits) in [(10, true), (11, false)] {
        link.push_shared(Frame::numbered(1), &SharedUnits::new(vec![0; len].into()));
        assert_eq!(link.sent_bytes().len(), if fits { len } else { 0 });
        let undelivered = link.first_undelivered();
        assert_eq!(undelivered.is_none(), fits);
        if let Some(undelivered) = undelivered {
            let error = LimitExceeded {
                limit: "max_frame_len",
                value: 10,
                got: 11,
            };
            let why = UndeliveredReason::Unencodable(Unencodable::from(error));
            assert_eq!(undelivered.why, why);
            assert_eq!(undelivered.frame, Frame::numbered(1));
        }
    }
}

#[test]
fn the_time_of_a_stall_begins_with_shared_bytes_too() {
    // rule: REG-3, LIM-3
    let mut link = Link::new(config(), InOrder::default());
    link.events();
    link.pass_until(1_000_000);
    let frame = Frame::numbered(1);
    let units = SharedUnits::new(frame.wire().into());
    link.push_shared(frame, &units);
    let _ = link.fill();
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 1_030_000)));
}

#[test]
fn a_shared_push_of_no_bytes_is_sent_at_once() {
    // rule: PUSH-9
    let mut link = Link::new(config(), InOrder::default());
    link.events();
    link.push_shared(Frame::numbered(1), &SharedUnits::new(Bytes::new()));
    let _ = link.fill();
    assert_eq!(link.connection.take_released(Priority::Low).sent, 1);
}

#[test]
fn a_shared_push_that_was_not_sent_comes_back_as_its_frame() {
    // rule: REG-3, DLQ-2
    let config = Config {
        unsent_pushes: UnsentPushes::Returned,
        ..config()
    };
    let mut link = Link::new(config, InOrder::default());
    let frame = Frame::numbered(5);
    link.push_shared(frame.clone(), &SharedUnits::new(frame.wire().into()));
    let _ = link.fill();
    link.take_bytes(3);
    link.connection.shutdown(link.now, Shutdown::Immediate);
    assert_eq!(link.first_undelivered().unwrap().frame, frame);
}
