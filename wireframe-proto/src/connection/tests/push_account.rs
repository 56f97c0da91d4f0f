//! Slots of pushes: what takes one, what gives it back, and that nothing vanishes.

use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::support::{Frame, Hook, InOrder, Kind, Link, OVERHEAD};
use crate::{
    Config, Event, Priority, PushBound, PushCapacity, Refusal, Released, Shutdown, config::nonzero,
    stats::PushStats,
};

fn capacity(frames: usize, bytes: usize) -> Config {
    Config {
        push_bound: PushBound::Engine(PushCapacity {
            frames: nonzero(frames),
            bytes: nonzero(bytes),
        }),
        ..Config::default()
    }
}

impl Link<InOrder> {
    fn push(&mut self, frame: Frame) -> Result<(), Refusal> {
        let pushed = self.connection.push(Priority::High, frame);
        pushed.map_err(|rejected| rejected.reason)
    }

    fn stats(&self) -> PushStats {
        let stats = self.connection.stats().high;
        let terms = stats.sent + stats.unencodable + stats.connection_ended + stats.queued;
        assert_eq!(stats.accepted, terms, "{stats:?}");
        stats
    }

    fn released(&mut self) -> Released {
        self.connection.take_released(Priority::High)
    }

    fn undelivered(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        for event in self.events() {
            if let Event::Undelivered(undelivered) = event {
                frames.push(undelivered.frame);
            }
        }
        frames
    }
}

#[test]
fn capacity_is_frames_outstanding_with_a_stalled_peer_too() {
    // rule: PUSH-1
    let mut link = Link::new(capacity(4, 1_000), InOrder::default());
    for n in 0..4 {
        link.push(Frame::numbered(n)).unwrap();
        let _ = link.fill();
    }
    assert_eq!(link.push(Frame::numbered(9)), Err(Refusal::Full));
    assert_eq!(link.released(), Released::default());
}

#[test]
fn a_slot_comes_back_with_the_last_byte() {
    // rule: PUSH-1, PUSH-9
    let mut link = Link::new(capacity(1, 1_000), InOrder::default());
    let frame = Frame::numbered(1);
    link.push(frame.clone()).unwrap();
    let _ = link.fill();
    let len = frame.wire().len();
    assert_eq!(link.take_bytes(len - 1).len(), len - 1);
    assert_eq!(link.push(frame.clone()), Err(Refusal::Full));
    assert_eq!(link.stats().queued, 1);
    link.take_bytes(1);
    let released = Released {
        sent: 1,
        bytes: 8,
        ..Released::default()
    };
    assert_eq!(link.released(), released);
    assert_eq!(link.released(), Released::default(), "given back once");
    assert_eq!(link.stats().sent, 1);
    assert_eq!(link.push(frame), Ok(()));
}

#[test]
fn bytes_are_bounded_as_frames_are() {
    // rule: PUSH-1
    let mut link = Link::new(capacity(100, 100), InOrder::default());
    let of = |payload: usize| Frame::new(Kind::Push, alloc::vec![0; payload + 4 - OVERHEAD]);
    link.push(of(60)).unwrap();
    assert_eq!(link.push(of(41)), Err(Refusal::Full));
    assert_eq!(link.push(of(40)), Ok(()));
    link.sent();
    assert_eq!(link.push(of(100)), Ok(()));
}

#[test]
fn a_frame_larger_than_the_byte_bound_goes_alone() {
    // rule: PUSH-1
    let mut link = Link::new(capacity(100, 100), InOrder::default());
    let large = Frame::new(Kind::Push, [0; 500]);
    link.push(Frame::numbered(1)).unwrap();
    assert_eq!(link.push(large.clone()), Err(Refusal::Full));
    link.sent();
    assert_eq!(link.push(large.clone()), Ok(()));
    assert_eq!(link.push(Frame::numbered(2)), Err(Refusal::Full));
    assert_eq!(link.sent(), [large]);
    assert_eq!(link.push(Frame::numbered(2)), Ok(()));
}

#[test]
fn a_refused_frame_comes_back_as_it_was() {
    // rule: PUSH-3
    let mut link = Link::new(capacity(1, 100), InOrder::default());
    link.push(Frame::numbered(1)).unwrap();
    let refused = link.connection.push(Priority::High, Frame::numbered(2));
    assert_eq!(refused.unwrap_err().frame, Frame::numbered(2));
    assert_eq!(link.stats().accepted, 1);
}

#[test]
fn what_is_queued_or_half_sent_when_the_connection_ends_is_accounted_for() {
    // rule: PUSH-9
    let mut link = Link::new(capacity(10, 1_000), InOrder::default());
    alloc::sync::Arc::make_mut(&mut link.connection.config)
        .limits
        .high_water = nonzero(2 * (OVERHEAD + 4));
    for n in 0..5 {
        link.push(Frame::numbered(n)).unwrap();
    }
    let _ = link.fill();
    // Of the two that were encoded the first has left, and half of the second.
    link.take_bytes(OVERHEAD + 4 + 3);
    link.connection.shutdown(link.now, Shutdown::Immediate);
    link.stats();
    let undelivered = link.undelivered();
    assert_eq!(undelivered, [2, 3, 4].map(Frame::numbered));
    let expected = PushStats {
        accepted: 5,
        sent: 1,
        connection_ended: 4,
        ..PushStats::default()
    };
    assert_eq!(link.stats(), expected);
    let released = link.released();
    assert_eq!((released.sent, released.ended, released.bytes), (1, 4, 40));
    assert_eq!(link.push(Frame::numbered(9)), Err(Refusal::Closed));
}

#[test]
fn a_push_over_which_the_protocol_panics_is_accounted_for() {
    // rule: PUSH-9, HOOK-7
    let protocol = InOrder {
        in_hooks: |hook, _| match hook {
            Hook::BeforeSend(frame) if frame.number() == 3 => panic!("a hook"),
            _ => {}
        },
        ..InOrder::default()
    };
    let mut link = Link::new(capacity(10, 1_000), protocol);
    link.events();
    let flawed = Frame {
        kind: Kind::Flawed,
        ..Frame::numbered(1)
    };
    link.push(flawed.clone()).unwrap();
    for n in 2..=4 {
        link.push(Frame::numbered(n)).unwrap();
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| link.fill()));
    assert!(panicked.is_err());
    assert_eq!(link.stats().queued, 4);
    assert_eq!(link.undelivered(), [flawed, Frame::numbered(4)]);
    let expected = PushStats {
        accepted: 4,
        unencodable: 1,
        connection_ended: 3,
        ..PushStats::default()
    };
    assert_eq!(link.stats(), expected);
    let released = link.released();
    assert_eq!((released.unencodable, released.ended), (1, 3));
    assert_eq!(released.bytes, 4 * 8);
}
