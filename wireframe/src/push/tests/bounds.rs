//! What fits, and what becomes of what does not.

use wireframe_proto::{
    ConnectionId, Peer,
    Priority::{self, High, Low},
    PushCapacity,
};

use super::{Rig, Task, frame, now, sized};
use crate::push::{PushHandle, PushLimits, PushPolicy, Pushed, TryPushError};

const ROOMY: usize = 1 << 20;

#[test]
fn the_default_capacity_is_256_frames_and_one_mebibyte() {
    // rule: PUSH-1
    let limits = PushLimits::default();
    for capacity in [limits.high, limits.low] {
        assert_eq!(
            (capacity.frames.get(), capacity.bytes.get()),
            (256, 1 << 20)
        );
    }
}

#[test]
fn a_slot_is_held_until_the_frame_is_sent() {
    // rule: PUSH-1, PUSH-3
    let mut rig = Rig::new(2, ROOMY);
    rig.handle.try_push(High, frame(1)).unwrap();
    rig.handle.try_push(High, frame(2)).unwrap();
    rig.drain();
    assert_eq!(
        rig.handle.try_push(High, frame(3)),
        Err(TryPushError::Full(frame(3))),
        "the engine has them, but the transport has not"
    );
    assert_eq!(rig.handle.queued(High), 2);
    assert_eq!(rig.send(High, 1), [1]);
    rig.handle.try_push(High, frame(3)).unwrap();
    assert!(rig.handle.try_push(High, frame(4)).is_err());
}

#[test]
fn each_priority_has_a_bound_of_its_own() {
    // rule: PUSH-1
    let rig = Rig::new(1, ROOMY);
    rig.handle.try_push(High, frame(1)).unwrap();
    rig.handle.try_push(Low, frame(2)).unwrap();
    for priority in Priority::ALL {
        assert!(rig.handle.try_push(priority, frame(3)).is_err());
        assert_eq!(rig.handle.queued(priority), 1);
    }
    let limits = PushLimits::new().with(
        Low,
        PushCapacity::new().with_frames(std::num::NonZero::<usize>::MIN),
    );
    assert_eq!(
        (limits.high.frames.get(), limits.low.frames.get()),
        (256, 1)
    );
}

#[test]
fn bytes_are_bounded_as_the_codec_measures_them() {
    // rule: PUSH-1
    let mut rig = Rig::new(100, 10);
    rig.handle.try_push(Low, sized(1, 6)).unwrap();
    assert!(rig.handle.try_push(Low, sized(2, 5)).is_err());
    rig.handle.try_push(Low, sized(3, 4)).unwrap();
    assert!(
        rig.handle.try_push(Low, sized(4, 0)).is_err(),
        "not a byte is left"
    );
    assert_eq!(rig.send(Low, 1), [1]);
    assert!(rig.handle.try_push(Low, sized(5, 7)).is_err());
    rig.handle.try_push(Low, sized(6, 6)).unwrap();
}

#[test]
fn a_frame_larger_than_the_byte_bound_goes_when_nothing_is_outstanding() {
    // rule: PUSH-1
    let mut rig = Rig::new(100, 10);
    rig.handle.try_push(High, sized(1, 1)).unwrap();
    let mut large = Task::waiting(rig.handle.push(High, sized(2, 1_000)));
    let sent = {
        rig.mailbox.drain_into(&mut rig.batch);
        rig.batch.high.pop_front().unwrap()
    };
    assert_eq!(large.wakes(), 0);
    let released = wireframe_proto::Released {
        sent: 1,
        bytes: sent.charge,
        ..Default::default()
    };
    rig.mailbox.settle(&super::settled(High, released));
    assert_eq!(large.wakes(), 1);
    large.ready().unwrap();
    assert!(rig.handle.try_push(High, sized(3, 1)).is_err());
    drop(large);
    assert_eq!(rig.send(High, 1), [2]);
    rig.handle.try_push(High, sized(3, 1)).unwrap();
}

#[test]
fn a_permit_is_a_slot_and_may_pass_the_byte_bound_by_its_frame() {
    // rule: PUSH-1, PUSH-5
    let mut rig = Rig::new(3, 10);
    let first = now(rig.handle.reserve(High)).unwrap();
    let second = now(rig.handle.reserve(High)).unwrap();
    rig.handle.try_push(High, sized(1, 10)).unwrap();
    assert!(
        rig.handle.try_push(High, sized(2, 0)).is_err(),
        "three slots of three"
    );
    first.send(sized(3, 8)).unwrap();
    second.send(sized(4, 9)).unwrap();
    assert_eq!(rig.send(High, 1), [1]);
    let handle = rig.handle.clone();
    let waiting = Task::waiting(handle.reserve(High));
    assert_eq!(rig.send(High, 1), [3], "17 of 10 bytes were outstanding");
    assert_eq!(waiting.wakes(), 1, "9 of 10 bytes leave one for a permit");
    assert_eq!(rig.handle.stats().queued, 1);
}

#[test]
fn a_dropped_permit_gives_its_slot_back() {
    // rule: PUSH-5
    let rig = Rig::new(1, ROOMY);
    let permit = now(rig.handle.reserve(Low)).unwrap();
    assert_eq!(rig.handle.queued(Low), 0, "a permit is no frame");
    let mut waiting = Task::waiting(rig.handle.push_low_priority(frame(1)));
    drop(permit);
    assert_eq!(waiting.wakes(), 1);
    waiting.ready().unwrap();
}

#[test]
fn a_policy_disposes_of_what_finds_no_room() {
    // rule: PUSH-4, PUSH-9
    let rig = Rig::new(1, ROOMY);
    let push = |id, policy| rig.handle.push_with_policy(High, frame(id), policy);
    assert_eq!(push(1, PushPolicy::DropIfFull), Ok(Pushed::Queued));
    assert_eq!(
        push(2, PushPolicy::ReturnErrorIfFull),
        Err(TryPushError::Full(frame(2)))
    );
    assert_eq!(push(3, PushPolicy::DropIfFull), Ok(Pushed::Dropped));
    assert_eq!(push(4, PushPolicy::WarnAndDropIfFull), Ok(Pushed::Dropped));
    let stats = rig.handle.stats();
    assert_eq!((stats.accepted, stats.queued, stats.lost_policy), (3, 1, 2));
    rig.mailbox.close_to_new();
    assert_eq!(
        push(5, PushPolicy::DropIfFull),
        Err(TryPushError::Closed(frame(5)))
    );
    assert_eq!(rig.handle.stats().accepted, 3);
}

#[test]
fn handles_are_clones_of_one_another_on_either_end() {
    // rule: PUSH-7, PUSH-8
    fn shareable<T: Clone + Send + Sync>(handle: &T) -> T {
        handle.clone()
    }
    for peer in [
        Peer::client_of(ConnectionId(1)),
        Peer::server_of(ConnectionId(1)),
    ] {
        let mut rig = Rig::of(&peer, 2, ROOMY);
        let clone: PushHandle<_> = shareable(&rig.handle);
        clone.try_push(Low, frame(1)).unwrap();
        drop(clone);
        rig.handle.try_push(Low, frame(2)).unwrap();
        assert!(!rig.handle.is_closed());
        assert_eq!(rig.send(Low, 2), [1, 2]);
    }
}
