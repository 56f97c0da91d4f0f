//! Who waits, who is woken, and in which order.

use std::sync::Arc;

use wireframe_proto::Priority::{High, Low};

use super::{Rig, Task, frame, now, sized};

const ROOMY: usize = 1 << 20;

#[test]
fn a_push_that_finds_room_is_done_at_its_first_poll() {
    // rule: PUSH-2, PUSH-10
    let mut rig = Rig::new(1_000, ROOMY);
    for id in 0..1_000 {
        now(rig.handle.push_high_priority(frame(id))).unwrap();
    }
    assert_eq!(rig.send(High, 1_000), (0..1_000).collect::<Vec<_>>());
}

#[test]
fn the_short_forms_push_with_their_priority() {
    // rule: PUSH-2
    let mut rig = Rig::new(2, ROOMY);
    now(rig.handle.push_low_priority(frame(1))).unwrap();
    now(rig.handle.push_high_priority(frame(2))).unwrap();
    assert_eq!(rig.send(High, 9), [2]);
    assert_eq!(rig.send(Low, 9), [1]);
}

#[test]
fn as_many_are_woken_as_slots_are_freed_in_the_order_they_came() {
    // rule: PUSH-2
    let mut rig = Rig::new(2, ROOMY);
    let handle = rig.handle.clone();
    now(handle.push(Low, frame(1))).unwrap();
    now(handle.push(Low, frame(2))).unwrap();
    let mut waiting: Vec<_> = (3..7)
        .map(|id| Task::waiting(handle.push(Low, frame(id))))
        .collect();
    rig.send(Low, 2);
    assert_eq!(wakes(&waiting), [1, 1, 0, 0]);
    waiting[1].ready().unwrap();
    waiting[0].ready().unwrap();
    assert_eq!(
        rig.send(Low, 1),
        [4],
        "frames leave in the order they were accepted"
    );
    assert_eq!(wakes(&waiting), [1, 1, 1, 0]);
    waiting[2].ready().unwrap();
    rig.send(Low, 2);
    waiting[3].ready().unwrap();
    assert_eq!(rig.send(Low, 2), [6]);
}

#[test]
fn a_waiter_holds_no_slot() {
    // rule: PUSH-2
    let mut rig = Rig::new(1, ROOMY);
    let handle = rig.handle.clone();
    now(handle.push(High, frame(1))).unwrap();
    let mut waiting = Task::waiting(handle.push(High, frame(2)));
    let mut later = Task::waiting(handle.push(High, frame(4)));
    rig.send(High, 1);
    assert_eq!(waiting.wakes(), 1);
    handle.try_push(High, frame(3)).unwrap();
    assert!(waiting.poll().is_pending(), "another was faster");

    rig.send(High, 1);
    assert_eq!(
        (waiting.wakes(), later.wakes()),
        (2, 0),
        "it is still the first in line"
    );
    waiting.ready().unwrap();
    rig.send(High, 1);
    later.ready().unwrap();
}

fn wakes<T: Future>(waiting: &[Task<T>]) -> Vec<usize> {
    waiting.iter().map(Task::wakes).collect()
}

#[test]
fn those_woken_who_have_not_come_are_counted_when_more_room_is_made() {
    // rule: PUSH-2
    let mut rig = Rig::new(3, 30);
    let handle = rig.handle.clone();
    for id in 1..4 {
        now(handle.push(Low, sized(id, 10))).unwrap();
    }
    let mut waiting: Vec<_> = (4..9)
        .map(|id| Task::waiting(handle.push(Low, sized(id, 10))))
        .collect();
    for expected in [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]] {
        rig.send(Low, 1);
        assert_eq!(wakes(&waiting), expected);
    }
    // Each takes what it was woken for, and no more.
    for index in [1, 2, 0] {
        waiting[index].ready().unwrap();
    }
    assert_eq!(rig.send(Low, 1), [5]);
    assert_eq!(wakes(&waiting), [1, 1, 1, 1, 0]);
    drop(waiting.remove(3));
    assert_eq!(wakes(&waiting), [1, 1, 1, 1], "it has passed its wake on");
    waiting[3].ready().unwrap();
    assert_eq!(rig.send(Low, 9), [6, 4, 8]);
}

#[test]
fn those_who_find_no_room_go_back_in_the_order_in_which_they_came() {
    // rule: PUSH-2
    for order in [
        [0, 1, 2],
        [2, 1, 0],
        [1, 2, 0],
        [1, 0, 2],
        [2, 0, 1],
        [0, 2, 1],
    ] {
        let mut rig = Rig::new(3, ROOMY);
        let handle = rig.handle.clone();
        let fill = || (0..3).for_each(|id| handle.try_push(Low, frame(id)).unwrap());
        fill();
        let mut waiting: Vec<_> = (3..7)
            .map(|id| Task::waiting(handle.push(Low, frame(id))))
            .collect();
        rig.send(Low, 3);
        assert_eq!(wakes(&waiting), [1, 1, 1, 0]);
        fill();
        for index in order {
            assert!(waiting[index].poll().is_pending());
        }
        for expected in [[2, 1, 1, 0], [2, 2, 1, 0], [2, 2, 2, 0], [2, 2, 2, 1]] {
            rig.send(Low, 1);
            assert_eq!(wakes(&waiting), expected, "{order:?}");
            let woken = expected
                .iter()
                .zip([1, 1, 1, 0])
                .rposition(|(now, then)| *now > then);
            waiting[woken.unwrap()].ready().unwrap();
        }
    }
}

#[test]
fn a_sleeping_waiter_that_is_polled_takes_room_that_a_woken_one_has_not() {
    // rule: PUSH-2
    for polled in [0, 1] {
        let mut rig = Rig::new(1, ROOMY);
        let handle = rig.handle.clone();
        now(handle.push(High, frame(1))).unwrap();
        // Kept, and not polled: perhaps the same task now awaits another.
        let mut forgotten = Task::waiting(handle.push(High, frame(2)));
        let mut waiting: Vec<_> = (3..5)
            .map(|id| Task::waiting(handle.push(High, frame(id))))
            .collect();
        rig.send(High, 1);
        assert_eq!((forgotten.wakes(), wakes(&waiting)), (1, vec![0, 0]));
        let mut goes = waiting.remove(polled);
        goes.ready().unwrap();
        assert_eq!(Arc::strong_count(&goes.wakes), 2, "it has left the line");
        // What was promised is gone: the next room is for the next in line.
        rig.send(High, 1);
        assert_eq!(wakes(&waiting), [1]);
        assert!(waiting[0].poll().is_ready());
        assert!(forgotten.poll().is_pending());
        rig.send(High, 1);
        assert_eq!(forgotten.wakes(), 2);
        forgotten.ready().unwrap();
    }
}

#[test]
fn bytes_that_another_took_are_promised_no_more() {
    // rule: PUSH-2
    let mut rig = Rig::new(100, 10);
    let handle = rig.handle.clone();
    now(handle.push(Low, sized(1, 10))).unwrap();
    let large = Task::waiting(handle.push(Low, sized(2, 10)));
    let mut small = Task::waiting(handle.push(Low, sized(3, 2)));
    rig.send(Low, 1);
    assert_eq!((large.wakes(), small.wakes()), (1, 0));
    handle.try_push(Low, sized(4, 10)).unwrap();
    rig.send(Low, 1);
    assert_eq!(small.wakes(), 1);
    small.ready().unwrap();
}

#[test]
fn a_woken_waiter_that_is_dropped_passes_its_wake_on() {
    // rule: PUSH-2
    let mut rig = Rig::new(1, ROOMY);
    let handle = rig.handle.clone();
    now(handle.push(High, frame(1))).unwrap();
    let first = Task::waiting(handle.push(High, frame(2)));
    let second = Task::waiting(handle.reserve(High));
    let mut third = Task::waiting(handle.push(High, frame(4)));
    rig.send(High, 1);
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    drop(second);
    assert_eq!(third.wakes(), 1);
    third.ready().unwrap();
    assert_eq!(rig.send(High, 1), [4]);
}

#[test]
fn a_sleeping_waiter_that_is_dropped_leaves_the_line() {
    // rule: PUSH-2
    let mut rig = Rig::new(1, ROOMY);
    let handle = rig.handle.clone();
    now(handle.push(High, frame(1))).unwrap();
    let mut line: Vec<_> = (2..7)
        .map(|id| Some(Task::waiting(handle.push(High, frame(id)))))
        .collect();
    // The middle, the first, the last: every kind of neighbourhood.
    for index in [2, 0, 4] {
        line[index] = None;
    }
    line.push(Some(Task::waiting(handle.push(High, frame(7)))));
    for (index, id) in [(1, 3), (3, 5), (5, 7)] {
        rig.send(High, 1);
        line[index].as_mut().unwrap().ready().unwrap();
        assert_eq!(handle.queued(High), 1);
        rig.drain();
        assert_eq!(rig.batch.high[0].frame.id, id);
    }
}

#[test]
fn a_large_frame_that_waits_is_not_passed_by_small_ones() {
    // rule: PUSH-2, PUSH-3
    let mut rig = Rig::new(100, 10);
    let handle = rig.handle.clone();
    now(handle.push(Low, sized(1, 4))).unwrap();
    now(handle.push(Low, sized(2, 4))).unwrap();
    let mut large = Task::waiting(handle.push(Low, sized(3, 9)));
    let mut small = Task::waiting(handle.push(Low, sized(4, 1)));
    assert!(handle.try_push(Low, sized(5, 1)).is_err());
    rig.send(Low, 1);
    assert_eq!((large.wakes(), small.wakes()), (0, 0));
    rig.send(Low, 1);
    assert_eq!((large.wakes(), small.wakes()), (1, 1), "9 + 1 bytes fit");
    large.ready().unwrap();
    small.ready().unwrap();
    assert_eq!(rig.send(Low, 2), [3, 4]);
}

#[test]
fn those_behind_a_large_frame_are_woken_when_it_gives_up() {
    // rule: PUSH-2
    let rig = Rig::new(100, 10);
    now(rig.handle.push(Low, sized(1, 5))).unwrap();
    let large = Task::waiting(rig.handle.push(Low, sized(2, 9)));
    let mut small: Vec<_> = (3..6)
        .map(|id| Task::waiting(rig.handle.push(Low, sized(id, 2))))
        .collect();
    drop(large);
    assert_eq!(wakes(&small), [1, 1, 0], "5 bytes have room for two of 2");
    small[0].ready().unwrap();
}

#[test]
fn one_large_frame_makes_room_for_many_small_ones() {
    // rule: PUSH-2
    let mut rig = Rig::new(100, 10);
    let handle = rig.handle.clone();
    now(handle.push(Low, sized(1, 10))).unwrap();
    let small: Vec<_> = (2..8)
        .map(|id| Task::waiting(handle.push(Low, sized(id, 2))))
        .collect();
    rig.send(Low, 1);
    assert_eq!(wakes(&small), [1, 1, 1, 1, 1, 0]);
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
    // rule: PUSH-2
    let mut rig = Rig::new(1, ROOMY);
    let handle = rig.handle.clone();
    now(handle.push(High, frame(1))).unwrap();
    let mut moved = Task::waiting(handle.push(High, frame(2)));
    let (old, (wakes, waker)) = (moved.wakes.clone(), super::counting_waker());
    moved.waker = waker;
    assert!(moved.poll().is_pending());
    assert!(moved.poll().is_pending());
    rig.send(High, 1);
    assert_eq!((old.count(), wakes.count()), (0, 1));
}

#[test]
fn a_woken_waiter_that_nobody_polls_does_not_block_the_others() {
    // rule: PUSH-2
    let mut rig = Rig::new(1, ROOMY);
    let handle = rig.handle.clone();
    now(handle.push(High, frame(1))).unwrap();
    let _forgotten = Task::waiting(handle.push(High, frame(2)));
    let patient = Task::waiting(handle.push(High, frame(3)));
    rig.send(High, 1);
    assert_eq!(patient.wakes(), 0);
    now(handle.push(High, frame(4))).unwrap();
    rig.send(High, 1);
    assert_eq!(patient.wakes(), 1);
}
