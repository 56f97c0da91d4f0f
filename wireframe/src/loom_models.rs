//! Models of what several threads do at once, run in all interleavings or in those of at
//! most `LOOM_MAX_PREEMPTIONS` preemptions.
//!
//! A wake-up that is lost leaves a thread blocked for ever, which loom reports. It takes
//! `SeqCst` accesses for `AcqRel` ones, so what rests on their one order (the commands of a
//! `ConnectionHandle`) is not modelled: what is modelled rests on locks.

use std::{
    num::NonZeroUsize,
    pin::pin,
    task::{Context, Poll, Wake, Waker},
};

use loom::{model, sync::Notify, thread};
use wireframe_proto::{ConnectionId, Peer, Priority, PushCapacity, Released};

use crate::{
    budget::MemoryBudget,
    push::{Batch, Common, Control, Mailbox, PushHandle, PushLimits, Settled},
    rt::{BoxTask, Spawn},
    sync::{Arc, Mutex, lock},
    tasks::TaskTracker,
    testing::ManualClock,
};

/// Blocks its thread until it is woken.
struct Sleeper(Notify);

impl Sleeper {
    fn new() -> (Arc<Self>, Waker) {
        let sleeper = Arc::new(Self(Notify::new()));
        (Arc::clone(&sleeper), Waker::from(sleeper))
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (sleeper, waker) = Sleeper::new();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        sleeper.0.wait();
    }
}

/// A mailbox with room for so many frames.
fn mailbox(frames: usize) -> (Arc<Mailbox<u32>>, PushHandle<u32>) {
    let capacity = PushCapacity::new().with_frames(NonZeroUsize::new(frames).unwrap());
    let mailbox = Arc::new(Mailbox::new(
        Arc::new(Control::new(&Peer::client_of(ConnectionId(7)))),
        Arc::new(Common {
            encoding: Box::new(|_: &u32| 1),
            limits: PushLimits::both(capacity),
            budget: MemoryBudget::default(),
        }),
        &ManualClock::new().clock(),
    ));
    let handle = PushHandle::new(Arc::clone(&mailbox));
    (mailbox, handle)
}

/// Does what the driver does until `count` frames came.
fn receive(mailbox: &Mailbox<u32>, count: usize) -> Vec<u32> {
    let (sleeper, waker) = Sleeper::new();
    let mut got = Vec::new();
    let mut batch = Batch::default();
    loop {
        mailbox.control().signal().resume();
        mailbox.drain_into(&mut batch);
        let before = got.len();
        got.extend(batch.low.drain(..).map(|accepted| accepted.frame));
        let sent = got.len() - before;
        mailbox.settle(&Settled {
            low: Released {
                sent: sent as u64,
                bytes: sent,
                ..Released::default()
            },
            ..Settled::default()
        });
        if got.len() >= count {
            return got;
        }
        if mailbox.park(&waker, None).is_some() {
            sleeper.0.wait();
        }
    }
}

#[test]
fn two_push_and_the_driver_that_sleeps_gets_both() {
    // rule: PUSH-2
    model(|| {
        let (mailbox, handle) = mailbox(2);
        let pushers = [1, 2].map(|id| {
            let handle = handle.clone();
            thread::spawn(move || handle.try_push(Priority::Low, id).unwrap())
        });
        let mut got = receive(&mailbox, 2);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        pushers
            .into_iter()
            .for_each(|pusher| pusher.join().unwrap());
    });
}

/// Keeps tasks, and never runs them.
struct Kept(Mutex<Vec<BoxTask>>);

impl Spawn for Kept {
    fn spawn(&self, task: BoxTask) {
        lock(&self.0).push(task);
    }
}

#[test]
fn who_waits_for_the_end_of_tasks_learns_of_it() {
    // rule: SHUT-5
    model(|| {
        let kept = Arc::new(Kept(Mutex::new(Vec::new())));
        let spawner: Arc<dyn Spawn> = kept.clone();
        let tasks = TaskTracker::new(spawner);
        tasks.spawn_unabortable(async {});
        let first = lock(&kept.0).pop();
        let ends = thread::spawn(move || drop(first));
        let tracks = {
            let (tasks, kept) = (tasks.clone(), Arc::clone(&kept));
            thread::spawn(move || {
                tasks.spawn_unabortable(async {});
                let second = lock(&kept.0).pop();
                drop(second);
            })
        };
        block_on(tasks.wait());
        ends.join().unwrap();
        tracks.join().unwrap();
        assert!(tasks.is_empty());
    });
}
