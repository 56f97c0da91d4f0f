//! Models of what several threads do at once. Those of tasks and tokens run in all
//! interleavings, the others in those of at most `LOOM_MAX_PREEMPTIONS` preemptions, if that is
//! set.
//!
//! A wake-up that is lost leaves a thread blocked for ever, which loom reports. It takes
//! `SeqCst` accesses for `AcqRel` ones, so what rests on their one order (who holds how much
//! of a budget) is not modelled.

use std::{
    num::NonZeroUsize,
    pin::pin,
    task::{Context, Poll, Wake, Waker},
};

use loom::{model, sync::Notify, thread};
use wireframe_proto::{ConnectionId, Peer, Priority, PushCapacity, Released};

use crate::{
    budget::MemoryBudget,
    push::{
        Asked, Batch, Common, ConnectionHandle, Control, Mailbox, PushHandle, PushLimits, Settled,
    },
    rt::{BoxTask, Spawn},
    shutdown::ShutdownToken,
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

/// Does with a mailbox what the driver does.
struct Driving {
    mailbox: Arc<Mailbox<u32>>,
    sleeper: Arc<Sleeper>,
    waker: Waker,
    /// Frames that the engine would have.
    batch: Batch<u32>,
    sent: Vec<u32>,
    /// The peer takes what is sent, at once.
    is_heard: bool,
}

impl Driving {
    fn new(mailbox: &Arc<Mailbox<u32>>) -> Self {
        let (sleeper, waker) = Sleeper::new();
        Self {
            mailbox: Arc::clone(mailbox),
            sleeper,
            waker,
            batch: Batch::default(),
            sent: Vec::new(),
            is_heard: true,
        }
    }

    fn send(&mut self) {
        self.mailbox.drain_into(&mut self.batch);
        if !self.is_heard {
            return;
        }
        let before = self.sent.len();
        let frames = self.batch.low.drain(..).map(|accepted| accepted.frame);
        self.sent.extend(frames);
        let sent = self.sent.len() - before;
        self.mailbox.settle(&Settled {
            low: Released {
                sent: sent as u64,
                bytes: sent,
                ..Released::default()
            },
            ..Settled::default()
        });
    }

    /// Sends, and sleeps when there is nothing to do, until it `is_done` with what it has
    /// sent and with what was asked of it.
    fn until(&mut self, is_done: impl Fn(&[u32], Asked) -> bool) {
        loop {
            self.mailbox.control().signal().resume();
            let asked = self.mailbox.control().take_asked();
            self.send();
            if is_done(&self.sent, asked) {
                return;
            }
            if self.mailbox.park(&self.waker, None).is_some() {
                self.sleeper.0.wait();
            }
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
        let mut driving = Driving::new(&mailbox);
        driving.until(|sent, _| sent.len() == 2);
        driving.sent.sort_unstable();
        assert_eq!(driving.sent, [1, 2]);
        pushers
            .into_iter()
            .for_each(|pusher| pusher.join().unwrap());
    });
}

/// Two frames are pushed where there is room for one, and the connection is asked to end
/// meanwhile.
struct Ending {
    driving: Driving,
    handle: PushHandle<u32>,
    pusher: thread::JoinHandle<bool>,
}

impl Ending {
    /// The driver has learnt that it was asked.
    fn begun(is_heard: bool, end: fn(&ConnectionHandle)) -> Self {
        let (mailbox, handle) = mailbox(1);
        handle.try_push(Priority::Low, 1).unwrap();
        let pusher = {
            let handle = handle.clone();
            thread::spawn(move || block_on(handle.push(Priority::Low, 2)).is_ok())
        };
        let connection = handle.connection();
        thread::spawn(move || end(&connection));
        let mut driving = Driving {
            is_heard,
            ..Driving::new(&mailbox)
        };
        driving.until(|_, asked| asked.command().is_some());
        Self {
            driving,
            handle,
            pusher,
        }
    }

    /// The driver has ended its mailbox, with what was left in it. Nobody waits any more,
    /// and whatever was accepted was sent or is lost.
    fn check(self, left: &Batch<u32>) {
        let accepted = 1 + u64::from(self.pusher.join().unwrap());
        let Driving {
            mailbox,
            batch,
            sent,
            ..
        } = self.driving;
        mailbox.settle(&batch.as_ended());
        mailbox.settle(&left.as_ended());
        let lost = batch.low.iter().chain(&left.low);
        let lost: Vec<_> = lost.map(|accepted| accepted.frame).collect();
        let all = [sent.as_slice(), &lost].concat();
        assert_eq!(all, [1, 2][..all.len()]);
        let stats = self.handle.stats();
        assert_eq!((stats.accepted, stats.queued), (accepted, 0));
        let counted = [stats.sent, stats.lost_closed];
        assert_eq!(counted, [sent, lost].map(|frames| frames.len() as u64));
        assert_eq!(stats.sent + stats.lost_closed, accepted);
    }
}

#[test]
fn what_is_accepted_before_a_close_is_sent_and_the_rest_is_refused() {
    // rule: PUSH-6, PUSH-9, PUSH-11, SHUT-2
    model(|| {
        let mut ending = Ending::begun(true, ConnectionHandle::close);
        let driving = &mut ending.driving;
        driving.mailbox.close_to_new();
        driving.send();
        let left = driving.mailbox.end();
        assert!(left.low.is_empty());
        ending.check(&left);
    });
}

#[test]
fn what_is_accepted_before_an_abort_is_lost_and_counted_and_the_rest_is_refused() {
    // rule: PUSH-6, PUSH-9, PUSH-11
    for is_heard in [true, false] {
        model(move || {
            let ending = Ending::begun(is_heard, ConnectionHandle::abort);
            let left = ending.driving.mailbox.end();
            ending.check(&left);
        });
    }
}

#[test]
fn who_waits_for_room_and_is_dropped_leaves_it_to_the_next() {
    // rule: PUSH-2, PUSH-5
    model(|| {
        let (mailbox, handle) = mailbox(1);
        handle.try_push(Priority::Low, 1).unwrap();
        let leaver = {
            let handle = handle.clone();
            thread::spawn(move || {
                let (_, waker) = Sleeper::new();
                let reserve = pin!(handle.reserve(Priority::Low));
                drop(reserve.poll(&mut Context::from_waker(&waker)));
            })
        };
        let pusher = {
            let handle = handle.clone();
            thread::spawn(move || block_on(handle.push(Priority::Low, 2)).unwrap())
        };
        let mut driving = Driving::new(&mailbox);
        driving.until(|sent, _| sent.len() == 2);
        leaver.join().unwrap();
        pusher.join().unwrap();
        assert_eq!(driving.sent, [1, 2]);
        // No slot is lost, nor given back twice.
        handle.try_push(Priority::Low, 3).unwrap();
        assert!(handle.try_push(Priority::Low, 4).is_err());
    });
}

/// Runs a model in all interleavings, whatever the environment bounds others to: for one that
/// takes no time.
fn model_in_full(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = model::Builder::new();
    builder.preemption_bound = None;
    builder.check(run);
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
    model_in_full(|| {
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

#[test]
fn a_task_that_sleeps_learns_that_it_is_aborted() {
    // rule: SHUT-3
    model_in_full(|| {
        let kept = Arc::new(Kept(Mutex::new(Vec::new())));
        let spawner: Arc<dyn Spawn> = kept.clone();
        let tasks = TaskTracker::new(spawner);
        tasks.spawn(std::future::pending());
        let task = lock(&kept.0).pop().unwrap();
        let sleeps = thread::spawn(move || block_on(task));
        tasks.abort();
        sleeps.join().unwrap();
        assert!(tasks.is_empty());
    });
}

#[test]
fn whoever_waits_for_a_token_hears_of_it() {
    // rule: SHUT-5
    model_in_full(|| {
        let token = ShutdownToken::new();
        let (second, third) = (token.clone(), token.clone());
        let waits = thread::spawn(move || block_on(second.triggered()));
        let gives_up = thread::spawn(move || {
            let (_sleeper, waker) = Sleeper::new();
            let mut triggered = pin!(third.triggered());
            let _ = triggered.as_mut().poll(&mut Context::from_waker(&waker));
        });
        token.trigger();
        waits.join().unwrap();
        gives_up.join().unwrap();
    });
}
