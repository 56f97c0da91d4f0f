//! What the driver sees: when it is woken, what it drains, what an idle mailbox keeps.

use std::{
    sync::{Arc, Weak},
    task::{Wake, Waker},
    time::Duration,
};

use wireframe_proto::{
    ConnectionId, Heartbeat, Peer,
    Priority::{High, Low},
    Released,
};

use super::{Rig, counting_waker, frame, now};
use crate::{
    budget::MemoryBudget,
    push::{Command, Common, Control, Mailbox, PushHandle, PushLimits, PushPolicy, Pushed},
    testing::ManualClock,
};

const ROOMY: usize = 1 << 20;

#[test]
fn a_burst_wakes_the_driver_once() {
    // rule: PUSH-10
    let mut rig = Rig::new(100, ROOMY);
    let (wakes, waker) = counting_waker();
    let permit = now(rig.handle.reserve(High)).unwrap();
    assert!(rig.mailbox.park(&waker, None).is_some());
    for id in 0..50 {
        now(rig.handle.push(High, frame(id))).unwrap();
        rig.handle.try_push(Low, frame(id)).unwrap();
    }
    permit.send(frame(50)).unwrap();
    assert_eq!(wakes.count(), 1);
    assert!(rig.mailbox.park(&waker, None).is_none(), "there is work");

    rig.mailbox.control().signal().resume();
    rig.drain();
    assert_eq!((rig.batch.high.len(), rig.batch.low.len()), (51, 50));
    assert!(rig.mailbox.park(&waker, None).is_some());
    rig.handle.try_push(Low, frame(60)).unwrap();
    assert_eq!(wakes.count(), 2);
}

#[test]
fn every_way_to_push_wakes_a_parked_driver() {
    // rule: PUSH-10
    let mut rig = Rig::new(100, ROOMY);
    let permit = now(rig.handle.reserve(High)).unwrap();
    let handle = rig.handle.clone();
    let ways: [Box<dyn FnOnce()>; 3] = [
        Box::new(|| now(handle.push(Low, frame(1))).unwrap()),
        Box::new(|| handle.try_push(High, frame(2)).unwrap()),
        Box::new(|| permit.send(frame(3)).unwrap()),
    ];
    for way in ways {
        let (wakes, waker) = counting_waker();
        assert!(rig.mailbox.park(&waker, None).is_some());
        way();
        assert_eq!(wakes.count(), 1);
        rig.drain();
    }
}

#[test]
fn a_running_driver_is_not_woken() {
    // rule: PUSH-10
    let mut rig = Rig::new(100, ROOMY);
    let (wakes, waker) = counting_waker();
    assert!(rig.mailbox.park(&waker, None).is_some());
    rig.mailbox.control().signal().resume();
    rig.handle.try_push(High, frame(1)).unwrap();
    assert_eq!(wakes.count(), 0);
    rig.drain();
    assert!(
        rig.mailbox.park(&waker, None).is_some(),
        "the waker kept from before serves"
    );
    rig.handle.try_push(High, frame(2)).unwrap();
    assert_eq!(wakes.count(), 1);
}

#[test]
fn the_waker_of_the_last_park_is_woken() {
    // rule: PUSH-10
    let rig = Rig::new(1, ROOMY);
    let (old, old_waker) = counting_waker();
    let (new, new_waker) = counting_waker();
    assert!(rig.mailbox.park(&old_waker, None).is_some());
    assert!(rig.mailbox.park(&new_waker, None).is_some());
    rig.handle.try_push(High, frame(1)).unwrap();
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn a_hook_pushes_without_waking_its_driver() {
    // rule: PUSH-10
    let mut rig = Rig::new(1, ROOMY);
    let (wakes, waker) = counting_waker();
    assert!(rig.mailbox.park(&waker, None).is_some());
    rig.mailbox.hook_push(High, frame(1)).unwrap();
    assert_eq!(rig.mailbox.hook_push(High, frame(2)), Err(frame(2)));
    assert_eq!(wakes.count(), 0);
    assert_eq!(rig.send(High, 1), [1]);
}

#[test]
fn draining_keeps_the_order_of_what_the_engine_had() {
    let mut rig = Rig::new(9, ROOMY);
    assert!(!rig.drain());
    for ids in [[1, 2], [3, 4]] {
        for id in ids {
            rig.handle.try_push(High, frame(id)).unwrap();
        }
        assert!(rig.drain());
    }
    assert_eq!(rig.send(High, 9), [1, 2, 3, 4]);
    assert!(!rig.drain());
}

#[test]
fn what_the_engine_lost_is_counted_and_gives_room() {
    // rule: PUSH-1, PUSH-9
    let mut rig = Rig::new(3, ROOMY);
    for id in 0..3 {
        rig.handle.try_push(Low, frame(id)).unwrap();
    }
    rig.drain();
    let released = Released {
        sent: 1,
        unencodable: 1,
        ended: 1,
        bytes: 3,
    };
    rig.mailbox.settle(&super::settled(Low, released));
    let stats = rig.handle.stats();
    assert_eq!((stats.accepted, stats.queued), (3, 0));
    assert_eq!(
        (stats.sent, stats.lost_unencodable, stats.lost_closed),
        (1, 1, 1)
    );
    for id in 0..3 {
        rig.handle.try_push(Low, frame(id)).unwrap();
    }
}

#[test]
fn an_idle_mailbox_gives_its_memory_up() {
    // rule: LIM-5
    let mut rig = Rig::new(1_000, ROOMY);
    let (_wakes, waker) = counting_waker();
    for priority in [High, Low] {
        for id in 0..1_000 {
            rig.handle.try_push(priority, frame(id)).unwrap();
        }
    }
    let waiting: Vec<_> = (0..10)
        .map(|id| super::Task::waiting(rig.handle.push(High, frame(id))))
        .collect();
    drop(waiting);
    // Targets that are not empty leave the buffers where they are.
    for target in [&mut rig.batch.high, &mut rig.batch.low] {
        target.push_back(wireframe_proto::Accepted::new(frame(0), 0));
    }
    rig.drain();
    assert!(rig.mailbox.lock().high.queue.capacity() >= 1_000);
    assert!(rig.mailbox.park(&waker, None).is_some());
    let inner = rig.mailbox.lock();
    for lane in [&inner.high, &inner.low] {
        assert!(lane.queue.capacity() <= 4);
        assert!(!lane.remembers_waiters());
    }
    assert!(size_of::<Mailbox<u8>>() + size_of::<Control>() <= 416);
}

/// Runs once, when the last of its wakers is dropped.
struct OnDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Wake for OnDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

#[test]
fn what_comes_between_the_first_look_and_sleep_is_seen() {
    // rule: PUSH-10, PUSH-11
    let mut rig = Rig::new(9, ROOMY);
    let (_wakes, waker) = counting_waker();
    // A park drops the waker of the one before after its first look for work.
    let park_amid = |rig: &Rig, work: Box<dyn FnOnce() + Send + Sync>| {
        assert!(
            rig.mailbox
                .park(&Waker::from(Arc::new(OnDrop(Some(work)))), None)
                .is_some()
        );
        rig.mailbox.park(&waker, None).is_some()
    };
    let mailbox = Arc::clone(&rig.mailbox);
    let push = move || mailbox.hook_push(Low, frame(1)).unwrap();
    assert!(!park_amid(&rig, Box::new(push)), "slept beside a frame");
    assert_eq!(rig.send(Low, 1), [1]);
    let connection = rig.handle.connection();
    let close = move || connection.close();
    assert!(!park_amid(&rig, Box::new(close)), "slept beside a command");
    assert_eq!(
        rig.mailbox.control().take_asked().command(),
        Some(Command::Close)
    );
    let connection = rig.handle.connection();
    let heartbeat = Some(Heartbeat::expecting(Duration::from_secs(1)));
    let set = move || connection.set_heartbeat(heartbeat);
    assert!(!park_amid(&rig, Box::new(set)), "slept beside a heartbeat");
    assert_eq!(rig.mailbox.control().take_heartbeat(), Some(heartbeat));
    assert_eq!(rig.mailbox.control().take_heartbeat(), None);
}

/// Calls back into the mailbox whenever user code may run.
struct Nosy(Weak<Mailbox<Nosy>>);

impl Nosy {
    fn look(&self) {
        if let Some(mailbox) = self.0.upgrade() {
            mailbox.stats();
        }
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.look();
    }
}

struct NosyWaker(Nosy);

impl Wake for NosyWaker {
    fn wake(self: Arc<Self>) {
        self.0.look();
    }
}

#[test]
fn no_user_code_runs_inside_the_critical_section() {
    let control = Arc::new(Control::new(&Peer::client_of(ConnectionId(1))));
    let mailbox = Arc::new(Mailbox::new(
        control,
        Arc::new(Common {
            encoding: Box::new(|frame: &Nosy| {
                frame.look();
                1 << 20
            }),
            limits: PushLimits::new(),
            budget: MemoryBudget::default(),
        }),
        &ManualClock::new().clock(),
    ));
    let handle = PushHandle::new(Arc::clone(&mailbox));
    let nosy = || Nosy(Arc::downgrade(&mailbox));
    let waker = || Waker::from(Arc::new(NosyWaker(nosy())));
    // A relapse is a deadlock, not a failure.
    assert!(mailbox.park(&waker(), None).is_some());
    now(handle.push(High, nosy())).unwrap();
    assert!(handle.try_push(High, nosy()).is_err());
    let dropped = handle.push_with_policy(High, nosy(), PushPolicy::DropIfFull);
    assert!(matches!(dropped, Ok(Pushed::Dropped)));
    let mut waiting: Vec<_> = (0..4)
        .map(|_| super::Task::new(handle.push(High, nosy())))
        .collect();
    for task in &mut waiting {
        task.waker = waker();
        assert!(task.poll().is_pending());
        task.waker = waker();
        assert!(task.poll().is_pending());
    }
    // The mailbox has the last of this one's wakers.
    waiting[3].waker = waker();
    waiting.pop();
    let mut batch = crate::push::Batch::default();
    mailbox.drain_into(&mut batch);
    batch.high.clear();
    let released = Released {
        sent: 1,
        bytes: 1 << 20,
        ..Released::default()
    };
    mailbox.settle(&super::settled(High, released));
    waiting[0].ready().unwrap();
    assert!(mailbox.park(&waker(), None).is_some() || mailbox.drain_into(&mut batch));
    assert!(mailbox.park(&waker(), None).is_some());
    assert!(mailbox.park(&waker(), None).is_some());
    drop(mailbox.end());
}
