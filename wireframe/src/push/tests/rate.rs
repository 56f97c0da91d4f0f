//! A rate limit: who gets a token, who waits for one, and what the driver is told.

use std::{num::NonZeroU32, time::Duration};

use wireframe_proto::{
    Instant,
    Priority::{High, Low},
    RateLimit,
};

use super::{Frame, Rig, Task, counting_waker, frame, now};
use crate::{
    push::{PushPolicy, TryPushError},
    rt::Timer,
};

/// So many per second, and so many at once.
fn limit(rate: u32, burst: u32) -> RateLimit {
    let of = |n| NonZeroU32::new(n).unwrap();
    RateLimit::per_second(of(rate)).with_burst(of(burst))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Rig {
    /// So much time passes, and the driver does what it is there for.
    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.mailbox.wake_due(self.clock.now());
    }

    fn retry_after(&self) -> Option<Duration> {
        match self.handle.try_push(High, frame(99)) {
            Err(TryPushError::RateLimited {
                frame: refused,
                retry_after,
            }) => {
                assert_eq!(refused, frame(99));
                Some(retry_after)
            }
            _ => None,
        }
    }
}

fn wakes<T: Future>(tasks: &[Task<T>]) -> Vec<usize> {
    tasks.iter().map(Task::wakes).collect()
}

#[test]
fn without_a_token_a_push_is_told_exactly_when_there_will_be_one() {
    // rule: PUSH-3, RATE-2
    let rig = Rig::limited(100, limit(3, 2));
    for id in 0..2 {
        rig.handle.try_push(Low, frame(id)).unwrap();
    }
    let third = Duration::from_nanos(333_333_334);
    assert_eq!(rig.retry_after(), Some(third), "both priorities share them");
    rig.clock.advance(ms(100));
    assert_eq!(rig.retry_after(), Some(third - ms(100)));
    rig.clock.advance(third - ms(100) - Duration::from_nanos(1));
    assert_eq!(rig.retry_after(), Some(Duration::from_nanos(1)));
    rig.clock.advance(Duration::from_nanos(1));
    assert_eq!(rig.retry_after(), None);
}

#[test]
fn for_a_policy_a_missing_token_is_missing_room() {
    // rule: PUSH-4
    let rig = Rig::limited(100, limit(1, 1));
    rig.handle.try_push(Low, frame(0)).unwrap();
    let push = |policy| rig.handle.push_with_policy(Low, frame(1), policy);
    assert_eq!(
        push(PushPolicy::ReturnErrorIfFull),
        Err(TryPushError::RateLimited {
            frame: frame(1),
            retry_after: ms(1_000),
        })
    );
    assert_eq!(push(PushPolicy::DropIfFull), Ok(crate::Pushed::Dropped));
    let stats = rig.handle.stats();
    assert_eq!((stats.accepted, stats.lost_policy, stats.queued), (2, 1, 1));
}

#[test]
fn what_finds_no_slot_takes_no_token() {
    // rule: PUSH-2, PUSH-3
    let mut rig = Rig::limited(1, limit(1, 2));
    let handle = rig.handle.clone();
    handle.try_push(High, frame(0)).unwrap();
    for _ in 0..3 {
        let full = handle.try_push(High, frame(1));
        assert_eq!(full, Err(TryPushError::Full(frame(1))));
    }
    let waiting = Task::waiting(handle.push(High, frame(2)));
    drop(waiting);
    rig.send(High, 1);
    handle.try_push(High, frame(3)).unwrap();
    assert_eq!(rig.send(High, 9), [3]);
    assert!(rig.retry_after().is_some());
}

#[test]
fn those_who_wait_are_woken_at_the_time_of_their_token_in_order() {
    // rule: PUSH-2, RATE-2
    let rig = Rig::limited(100, limit(4, 1));
    rig.handle.try_push(Low, frame(0)).unwrap();
    assert_eq!(rig.mailbox.alarm(), None, "nobody waits");
    let mut waiting: Vec<_> = (1..4)
        .map(|id| Task::waiting(rig.handle.push(Low, frame(id))))
        .collect();
    for turn in 0..3 {
        let due = Instant::from_millis(250 * (turn + 1));
        assert_eq!(rig.mailbox.alarm(), Some(due));
        rig.pass(ms(249));
        let turn = usize::try_from(turn).unwrap();
        assert_eq!(waiting[turn].wakes(), 0);
        rig.pass(ms(1));
        assert_eq!(waiting[turn].wakes(), 1);
        waiting[turn].ready().unwrap();
    }
    assert_eq!(wakes(&waiting), [1, 1, 1]);
    assert_eq!(rig.mailbox.alarm(), None);
}

#[test]
fn as_many_are_woken_as_there_are_tokens_and_slots() {
    // rule: PUSH-2, RATE-2
    let mut rig = Rig::limited(2, limit(4, 3));
    let handle = rig.handle.clone();
    for permit in 0..3 {
        let permit = now(handle.reserve(Low)).map_err(|_| permit).unwrap();
        permit.send(frame(0)).unwrap();
        rig.send(Low, 1);
    }
    let mut waiting: Vec<_> = (1..6)
        .map(|id| Task::waiting(handle.push(Low, frame(id))))
        .collect();
    rig.pass(ms(750));
    assert_eq!(wakes(&waiting), [1, 1, 0, 0, 0], "three tokens, two slots");
    waiting[0].ready().unwrap();
    waiting[1].ready().unwrap();
    rig.send(Low, 2);
    assert_eq!(wakes(&waiting), [1, 1, 1, 0, 0], "one token, two slots");
    waiting[2].ready().unwrap();
    assert_eq!(rig.mailbox.alarm(), Some(Instant::from_millis(1_000)));
}

#[test]
fn those_woken_who_have_not_come_are_counted_when_more_tokens_come() {
    // rule: RATE-2, SEL-3
    let rig = Rig::limited(100, limit(1, 4));
    for id in 0..4 {
        rig.handle.try_push(Low, frame(id)).unwrap();
    }
    let high: Vec<_> = (1..5)
        .map(|id| Task::waiting(rig.handle.push(High, frame(id))))
        .collect();
    let mut low: Vec<_> = (5..7)
        .map(|id| Task::waiting(rig.handle.push(Low, frame(id))))
        .collect();
    for (highs, lows) in [([1, 0, 0, 0], 0), ([1, 1, 0, 0], 0), ([1, 1, 0, 0], 1)] {
        rig.pass(ms(1_000));
        assert_eq!((wakes(&high), low[0].wakes()), (highs.to_vec(), lows));
    }
    // Who takes what was promised to others takes it from none who comes later.
    for id in 0..3 {
        rig.handle.try_push(Low, frame(id)).unwrap();
    }
    rig.pass(ms(1_000));
    assert_eq!((wakes(&high), wakes(&low)), (vec![1, 1, 1, 0], vec![1, 0]));
    low[0].ready().unwrap();
}

#[test]
fn a_full_bucket_has_no_alarm_until_one_of_those_who_were_woken_takes_a_token() {
    // rule: RATE-2
    let rig = Rig::limited(100, limit(4, 1));
    let _permit = now(rig.handle.reserve(Low)).unwrap();
    let (wakes, waker) = counting_waker();
    let mut first = Task::waiting(rig.handle.reserve(Low));
    let mut second = Task::waiting(rig.handle.push(Low, frame(2)));
    rig.pass(ms(5_000));
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    assert_eq!(rig.mailbox.alarm(), None);
    assert!(rig.mailbox.park(&waker, None).is_some());
    let _permit = first.ready().unwrap();
    assert_eq!(wakes.count(), 1, "the driver has to set its timer");
    rig.pass(ms(250));
    assert_eq!(second.wakes(), 1);
    second.ready().unwrap();
}

#[test]
fn a_waiter_holds_no_token_and_a_dropped_one_passes_its_wake_on() {
    // rule: PUSH-2
    let rig = Rig::limited(100, limit(4, 1));
    rig.handle.try_push(Low, frame(0)).unwrap();
    let first = Task::waiting(rig.handle.push(High, frame(1)));
    let second = Task::waiting(rig.handle.reserve(Low));
    let mut third = Task::waiting(rig.handle.push(Low, frame(3)));
    rig.pass(ms(250));
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    drop(second);
    assert_eq!(third.wakes(), 1);
    // Another is faster: it waits on, at the head of the line.
    rig.handle.try_push(High, frame(4)).unwrap();
    assert_eq!(rig.mailbox.alarm(), None, "nobody is in line");
    assert!(third.poll().is_pending());
    assert_eq!(rig.mailbox.alarm(), Some(Instant::from_millis(500)));
    let last = Task::waiting(rig.handle.push(Low, frame(5)));
    rig.pass(ms(250));
    assert_eq!((third.wakes(), last.wakes()), (2, 0));
    third.ready().unwrap();
}

#[test]
fn a_dropped_permit_gives_its_token_to_who_waits() {
    // rule: PUSH-5
    let rig = Rig::limited(100, limit(1, 1));
    let permit = now(rig.handle.reserve(High)).unwrap();
    let mut waiting = Task::waiting(rig.handle.push(Low, frame(1)));
    assert!(rig.retry_after().is_some());
    drop(permit);
    assert_eq!(waiting.wakes(), 1);
    waiting.ready().unwrap();
    assert!(rig.retry_after().is_some());
}

#[test]
fn a_used_permit_does_not() {
    // rule: PUSH-5
    let rig = Rig::limited(100, limit(1, 1));
    let permit = now(rig.handle.reserve(High)).unwrap();
    permit.send(frame(1)).unwrap();
    assert!(rig.retry_after().is_some());
}

#[test]
fn a_token_that_comes_back_to_a_full_bucket_is_lost() {
    // rule: RATE-2
    let rig = Rig::limited(100, limit(1, 2));
    let permit = now(rig.handle.reserve(High)).unwrap();
    rig.clock.advance(ms(1_000));
    drop(permit);
    for id in 0..2 {
        rig.handle.try_push(High, frame(id)).unwrap();
    }
    assert_eq!(rig.retry_after(), Some(ms(1_000)));
}

#[test]
fn what_a_hook_pushes_takes_a_slot_and_no_token() {
    // rule: HOOK-4
    let rig = Rig::limited(2, limit(1, 1));
    rig.handle.try_push(High, frame(0)).unwrap();
    rig.mailbox.hook_push(High, frame(1)).unwrap();
    assert_eq!(rig.mailbox.hook_push(High, frame(2)), Err(frame(2)));
}

/// Wakes and polls whoever is there, one per token.
fn served(rig: &Rig, waiting: &mut Vec<(u32, Task<crate::Push<'_, Frame>>)>) -> Vec<u32> {
    let mut served = Vec::new();
    while !waiting.is_empty() {
        rig.pass(ms(1_000));
        let woken = waiting.iter().position(|(_, task)| task.wakes() > 0);
        let (id, mut task) = waiting.remove(woken.expect("nobody has the token"));
        task.ready().unwrap();
        served.push(id);
    }
    served
}

#[test]
fn tokens_come_to_high_ones_first_and_after_so_many_a_low_one_gets_one() {
    // rule: RATE-1, SEL-3
    let rig = Rig::limited(100, limit(1, 1));
    rig.handle.try_push(Low, frame(0)).unwrap();
    let mut waiting = Vec::new();
    for id in [101, 102, 103] {
        waiting.push((id, Task::waiting(rig.handle.push(Low, frame(id)))));
    }
    for id in 1..=6 {
        waiting.push((id, Task::waiting(rig.handle.push(High, frame(id)))));
    }
    let order = served(&rig, &mut waiting);
    assert_eq!(order, [1, 2, 101, 3, 4, 102, 5, 6, 103]);
}

#[test]
fn who_waits_for_a_slot_does_not_keep_a_token_from_the_other_priority() {
    // rule: RATE-1
    let rig = Rig::limited(1, limit(1, 1));
    rig.handle.try_push(High, frame(0)).unwrap();
    let slot = Task::waiting(rig.handle.push(High, frame(1)));
    let token = Task::waiting(rig.handle.push(Low, frame(2)));
    rig.pass(ms(1_000));
    assert_eq!((slot.wakes(), token.wakes()), (0, 1));
}

#[test]
fn a_woken_waiter_that_finds_its_slot_gone_passes_its_token_to_the_other_priority() {
    // rule: PUSH-2, RATE-2
    let rig = Rig::limited(2, limit(1, 1));
    rig.handle.try_push(High, frame(0)).unwrap();
    let mut high = Task::waiting(rig.handle.push(High, frame(1)));
    let mut low = Task::waiting(rig.handle.push(Low, frame(2)));
    rig.pass(ms(1_000));
    assert_eq!((high.wakes(), low.wakes()), (1, 0));
    // It takes the slot, and no token.
    rig.mailbox.hook_push(High, frame(3)).unwrap();
    assert!(high.poll().is_pending());
    assert_eq!(low.wakes(), 1);
    low.ready().unwrap();
}

#[test]
fn a_parked_driver_is_woken_for_an_alarm_that_it_does_not_know_and_only_then() {
    // rule: RATE-2, LIM-5
    let rig = Rig::limited(100, limit(4, 1));
    let permit = now(rig.handle.reserve(Low)).unwrap();
    let (wakes, waker) = counting_waker();
    assert!(rig.mailbox.park(&waker, None).is_some(), "nobody waits");
    let first = Task::waiting(rig.handle.push(Low, frame(1)));
    assert_eq!(wakes.count(), 1);
    // It came between the look at the alarm and sleep.
    assert!(rig.mailbox.park(&waker, None).is_none());
    let due = rig.mailbox.alarm();
    assert!(
        rig.mailbox
            .park(&waker, due.map(|due| due + ms(1)))
            .is_none()
    );
    assert!(rig.mailbox.park(&waker, due).is_some());
    let _second = Task::waiting(rig.handle.push(High, frame(2)));
    assert_eq!(wakes.count(), 1, "it will wake in time");
    rig.mailbox.control().signal().resume();
    drop(first);
    drop(permit);
    assert_eq!(rig.mailbox.alarm(), None);
}

#[test]
fn the_end_wakes_those_who_wait_for_a_token() {
    // rule: PUSH-6
    for end in [true, false] {
        let rig = Rig::limited(100, limit(1, 1));
        let permit = now(rig.handle.reserve(High)).unwrap();
        let mut waiting = Task::waiting(rig.handle.push(Low, frame(1)));
        if end {
            drop(rig.mailbox.end());
        } else {
            rig.mailbox.close_to_new();
        }
        assert_eq!(waiting.wakes(), 1);
        assert!(waiting.ready().is_err());
        assert_eq!(rig.mailbox.alarm(), None);
        drop(permit);
        let late = rig.handle.try_push(High, frame(2));
        assert_eq!(late, Err(TryPushError::Closed(frame(2))));
    }
}
