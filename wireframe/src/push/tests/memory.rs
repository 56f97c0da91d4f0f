//! Pushes while connections have no memory left.

use std::{num::NonZeroU32, num::NonZeroUsize, thread, time::Duration};

use proptest::prelude::*;
use wireframe_proto::{
    ConnectionId, Peer,
    Priority::{self, High, Low},
    RateLimit,
};

use super::{
    Frame, Rig, Task, counting_waker, frame, now, sized,
    stress::{block_on, sent, thread_waker},
};
use crate::{
    budget::{Holding, MemoryBudget},
    push::{Control, Push, PushError, PushPolicy, Pushed, Settled, TryPushError},
    rt::Timer,
    sync::Arc,
};

/// The limit of each budget here.
const LIMIT: usize = 1_000;

fn budget() -> MemoryBudget {
    MemoryBudget::new(NonZeroUsize::new(LIMIT).unwrap())
}

fn peer(id: u64) -> Peer {
    Peer::client_of(ConnectionId(id))
}

fn rig(budget: &MemoryBudget, id: u64, frames: usize) -> Rig {
    Rig::within(budget, &peer(id), frames, 1 << 20, None, None)
}

/// What another connection holds.
fn other(budget: &MemoryBudget, held: usize) -> Holding {
    let holding = Holding::new(budget, &Arc::new(Control::new(&peer(1_000))));
    holding.set(held);
    holding
}

/// Does what a driver does that was told something; says whether it was told of memory.
fn heed(rig: &Rig) -> bool {
    let has_memory = rig.mailbox.control().take_asked().has_memory();
    if has_memory {
        rig.mailbox.wake_after_shortage();
    }
    has_memory
}

#[test]
fn without_memory_there_is_no_room_for_a_push_of_any_kind() {
    // rule: LIM-6, PUSH-3, PUSH-4, HOOK-4
    let budget = budget();
    let rig = rig(&budget, 1, 8);
    let permit = now(rig.handle.reserve(High)).unwrap();
    let holding = other(&budget, LIMIT);
    let full = rig.handle.try_push(High, frame(1)).unwrap_err();
    assert_eq!(full, TryPushError::Full(frame(1)));
    assert_eq!(rig.mailbox.hook_push(Low, frame(2)), Err(frame(2)));
    let policy = PushPolicy::ReturnErrorIfFull;
    let full = rig.handle.push_with_policy(Low, frame(3), policy);
    assert_eq!(full, Err(TryPushError::Full(frame(3))));
    let policy = PushPolicy::DropIfFull;
    let dropped = rig.handle.push_with_policy(Low, frame(4), policy);
    assert_eq!(dropped, Ok(Pushed::Dropped));
    let mut waits = Task::waiting(rig.handle.push(Low, frame(5)));
    let mut reserves = Task::waiting(rig.handle.reserve(High));
    // What was promised is kept.
    permit.send(frame(6)).unwrap();

    holding.set(LIMIT - 1);
    assert!(heed(&rig));
    assert_eq!((waits.wakes(), reserves.wakes()), (1, 1));
    waits.ready().unwrap();
    drop(reserves.ready().unwrap());
    rig.handle.try_push(High, frame(7)).unwrap();
    let stats = rig.handle.stats();
    assert_eq!((stats.accepted, stats.queued, stats.lost_policy), (4, 3, 1));
}

#[test]
fn a_driver_that_sleeps_is_woken_for_those_who_wait_for_memory() {
    // rule: LIM-6
    let budget = budget();
    let (rig, idle) = (rig(&budget, 1, 8), rig(&budget, 2, 8));
    let (wakes, waker) = counting_waker();
    let (others, other_waker) = counting_waker();
    let holding = other(&budget, LIMIT);
    let waits = Task::waiting(rig.handle.push(Low, frame(1)));
    assert_eq!(rig.mailbox.park(&waker, None), Some(0));
    assert_eq!(idle.mailbox.park(&other_waker, None), Some(0));
    holding.set(LIMIT + 1);
    assert_eq!(wakes.count(), 0);
    drop(holding);
    assert_eq!((wakes.count(), others.count()), (1, 0));
    assert!(
        rig.mailbox.park(&waker, None).is_none(),
        "it was told something"
    );
    assert!(heed(&rig));
    assert_eq!(waits.wakes(), 1);
}

#[test]
fn those_who_wait_are_woken_in_order_and_only_as_many_as_have_room() {
    // rule: LIM-6, PUSH-2
    let budget = budget();
    let rig = rig(&budget, 1, 2);
    let holding = other(&budget, LIMIT);
    let mut waits = [1, 2, 3].map(|id| Task::waiting(rig.handle.push(Low, frame(id))));
    holding.set(0);
    assert!(heed(&rig));
    assert_eq!([1, 1, 0], [0, 1, 2].map(|n: usize| waits[n].wakes()));
    waits[0].ready().unwrap();
    // The memory is gone before the second comes: it keeps its place.
    holding.set(LIMIT);
    assert!(waits[1].poll().is_pending());
    let mut later = Task::waiting(rig.handle.push(Low, frame(4)));
    holding.set(0);
    assert!(heed(&rig));
    assert_eq!(
        [2, 0, 0],
        [waits[1].wakes(), waits[2].wakes(), later.wakes()]
    );
    waits[1].ready().unwrap();
    assert!(waits[2].poll().is_pending() && later.poll().is_pending());
}

#[test]
fn room_that_comes_without_memory_wakes_nobody_until_there_is_some() {
    // rule: LIM-6, PUSH-2
    let budget = budget();
    let mut rig = rig(&budget, 1, 1);
    let handle = rig.handle.clone();
    let permit = now(handle.reserve(High)).unwrap();
    now(handle.push(Low, frame(0))).unwrap();
    // They wait for room alone, so far.
    let mut low = Task::waiting(handle.push(Low, frame(1)));
    let mut high = Task::waiting(handle.push(High, frame(2)));
    let given_up = Task::waiting(handle.push(High, frame(3)));
    let holding = other(&budget, LIMIT);
    assert_eq!(rig.send(Low, 1), [0]);
    drop(permit);
    drop(given_up);
    assert_eq!((low.wakes(), high.wakes()), (0, 0));
    holding.set(0);
    assert!(heed(&rig));
    assert_eq!((low.wakes(), high.wakes()), (1, 1));
    low.ready().unwrap();
    high.ready().unwrap();
}

#[test]
fn tokens_that_come_without_memory_neither_wake_anybody_nor_set_a_timer() {
    // rule: LIM-6, RATE-2
    let budget = budget();
    let limit = RateLimit::per_second(NonZeroU32::new(1_000).unwrap())
        .with_burst(NonZeroU32::new(3).unwrap());
    let rig = Rig::within(&budget, &peer(1), 8, 1 << 20, Some(limit), None);
    for id in 0..3 {
        now(rig.handle.push(Low, frame(id))).unwrap();
    }
    let mut waits = Task::waiting(rig.handle.push(Low, frame(3)));
    let due = rig.mailbox.alarm().unwrap();
    let holding = other(&budget, LIMIT);
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(rig.clock.now(), due);
    rig.mailbox.wake_due(due);
    assert_eq!((waits.wakes(), rig.mailbox.alarm()), (0, None));
    assert!(waits.poll().is_pending());
    assert_eq!(rig.mailbox.alarm(), None);
    holding.set(0);
    assert!(heed(&rig));
    assert_eq!(waits.wakes(), 1);
    waits.ready().unwrap();
}

#[test]
fn who_is_woken_for_a_token_and_finds_no_memory_is_woken_again() {
    // rule: LIM-6, RATE-1
    let budget = budget();
    let limit = RateLimit::per_second(NonZeroU32::new(1_000).unwrap())
        .with_burst(NonZeroU32::new(1).unwrap());
    let rig = Rig::within(&budget, &peer(1), 8, 1 << 20, Some(limit), None);
    now(rig.handle.push(Low, frame(0))).unwrap();
    let mut waits = Task::waiting(rig.handle.push(Low, frame(1)));
    rig.clock.advance(Duration::from_millis(1));
    rig.mailbox.wake_due(rig.clock.now());
    assert_eq!(waits.wakes(), 1);
    let holding = other(&budget, LIMIT);
    assert!(waits.poll().is_pending());
    assert_eq!((waits.wakes(), rig.mailbox.alarm()), (1, None));
    drop(holding);
    assert!(heed(&rig));
    assert_eq!(waits.wakes(), 2);
    waits.ready().unwrap();
}

#[test]
fn the_end_of_a_connection_is_told_to_those_who_wait_for_memory() {
    // rule: LIM-6, PUSH-6
    let budget = budget();
    let rig = rig(&budget, 1, 8);
    rig.handle.try_push(Low, frame(0)).unwrap();
    let holding = other(&budget, LIMIT);
    let mut waits = Task::waiting(rig.handle.push(Low, frame(1)));
    let references = Arc::strong_count(rig.mailbox.control());
    let leftovers = rig.mailbox.end().as_ended();
    // Room for one who was woken, and has not come yet.
    rig.mailbox.settle(&leftovers);
    assert_eq!(waits.wakes(), 1);
    assert_eq!(waits.ready(), Err(PushError::Closed(frame(1))));
    // Nor does the budget remember it.
    assert_eq!(Arc::strong_count(rig.mailbox.control()), references - 1);
    drop(holding);
    assert!(!heed(&rig));
}

/// What may happen around two mailboxes of two frames each.
#[derive(Clone, Debug)]
enum Op {
    /// Another connection holds so much.
    Hold(usize),
    Push(usize, Priority),
    /// One who waits is polled, whether it was woken or not.
    Poll(usize),
    GiveUp(usize),
    /// A driver that was told something takes note.
    Heed(usize),
    Send(usize, Priority),
}

fn op() -> impl Strategy<Value = Op> {
    let priority = || prop_oneof![Just(High), Just(Low)];
    let held = prop_oneof![Just(0), Just(LIMIT - 1), Just(LIMIT)];
    prop_oneof![
        3 => held.prop_map(Op::Hold),
        5 => (0..2usize, priority()).prop_map(|(which, p)| Op::Push(which, p)),
        3 => (0..8usize).prop_map(Op::Poll),
        1 => (0..8usize).prop_map(Op::GiveUp),
        3 => (0..2usize).prop_map(Op::Heed),
        3 => (0..2usize, priority()).prop_map(|(which, p)| Op::Send(which, p)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_who_waits_is_forgotten(ops in proptest::collection::vec(op(), 0..80)) {
        // rule: LIM-6
        let budget = budget();
        let mut rigs = [rig(&budget, 1, 2), rig(&budget, 2, 2)];
        let handles = [rigs[0].handle.clone(), rigs[1].handle.clone()];
        let holding = other(&budget, 0);
        let mut waits: Vec<Task<Push<'_, Frame>>> = vec![];
        for op in ops {
            match op {
                Op::Hold(held) => holding.set(held),
                Op::Push(which, priority) => {
                    let mut push = Task::new(handles[which].push(priority, frame(0)));
                    if push.poll().is_pending() {
                        waits.push(push);
                    }
                }
                Op::Poll(n) if n < waits.len() => {
                    if waits[n].poll().is_ready() {
                        waits.remove(n);
                    }
                }
                Op::GiveUp(n) if n < waits.len() => drop(waits.remove(n)),
                Op::Heed(which) => drop(heed(&rigs[which])),
                Op::Send(which, priority) => drop(rigs[which].send(priority, 1)),
                Op::Poll(_) | Op::GiveUp(_) => {}
            }
        }
        // Only who was woken is polled, and each driver does only what it was told.
        holding.set(0);
        let mut seen: Vec<usize> = vec![0; waits.len()];
        for _ in 0..200 {
            for rig in &mut rigs {
                heed(rig);
                rig.send(High, 1);
                rig.send(Low, 1);
            }
            let mut n = 0;
            while n < waits.len() {
                let wakes = waits[n].wakes();
                if wakes > seen[n] && waits[n].poll().is_ready() {
                    waits.remove(n);
                    seen.remove(n);
                } else {
                    seen[n] = wakes;
                    n += 1;
                }
            }
        }
        prop_assert_eq!(waits.len(), 0);
    }
}

#[test]
fn no_wake_up_is_lost_between_threads() {
    // rule: LIM-6
    let budget = budget();
    let frames = if cfg!(miri) { 20 } else { 1_000 };
    let handles: Vec<_> = (1..=2)
        .map(|id| {
            let mut rig = rig(&budget, id, 2);
            let handle = rig.handle.clone();
            (handle, thread::spawn(move || drive(&mut rig)))
        })
        .collect();
    let holders = (0..2).map(|id| {
        let holding = Holding::new(&budget, &Arc::new(Control::new(&peer(100 + id))));
        let handles: Vec<_> = handles.iter().map(|(handle, _)| handle.clone()).collect();
        thread::spawn(move || {
            while handles.iter().any(|handle| !handle.is_closed()) {
                holding.set(LIMIT);
                thread::yield_now();
                holding.set(0);
                thread::yield_now();
            }
        })
    });
    let holders: Vec<_> = holders.collect();
    let producers: Vec<_> = [High, Low, High, Low]
        .into_iter()
        .enumerate()
        .map(|(n, priority)| {
            let handle = handles[n / 2].0.clone();
            thread::spawn(move || {
                for id in 0..frames {
                    block_on(handle.push(priority, sized(id, 1))).unwrap();
                }
            })
        })
        .collect();
    for producer in producers {
        producer.join().unwrap();
    }
    for (handle, driver) in handles {
        handle.connection().close();
        assert_eq!(driver.join().unwrap(), 2 * frames as usize);
    }
    for holder in holders {
        holder.join().unwrap();
    }
    assert_eq!(budget.used(), 0);
}

/// Sends what comes until it is told to end, parking when there is nothing.
fn drive(rig: &mut Rig) -> usize {
    let waker = thread_waker();
    let mut ids = vec![];
    loop {
        let mailbox = Arc::clone(&rig.mailbox);
        mailbox.control().signal().resume();
        let asked = mailbox.control().take_asked();
        if asked.has_memory() {
            mailbox.wake_after_shortage();
        }
        rig.drain();
        let released = [&mut rig.batch.high, &mut rig.batch.low].map(|queue| sent(queue, &mut ids));
        let [high, low] = released;
        mailbox.settle(&Settled {
            high,
            low,
            ..Settled::default()
        });
        if asked.command().is_some() {
            drop(mailbox.end());
            return ids.len();
        }
        if mailbox.park(&waker, None).is_some() {
            thread::park();
        }
    }
}
