//! Models of what a few threads do at once.
//!
//! Those in [`at_once`] and [`tasks`] run in all interleavings: up to three threads, of which
//! each does one thing. Those in [`whole`] follow a mailbox to its end, and run in the
//! interleavings of at most `LOOM_MAX_PREEMPTIONS` preemptions: each one more takes them some
//! nine times as long.
//!
//! A wake-up that is lost leaves a thread blocked for ever, which loom reports, or a task
//! asleep that has something to do, which the model sees. Loom takes `SeqCst` accesses for
//! `AcqRel` ones, so what rests on their one order (who holds how much of a budget) is not
//! modelled.

mod at_once;
mod tasks;
mod whole;

use std::{
    num::NonZeroUsize,
    pin::pin,
    task::{Context, Poll, Wake, Waker},
};

use loom::{model, sync::Notify};
use wireframe_proto::{ConnectionId, Peer, PushCapacity, Released};

use crate::{
    budget::MemoryBudget,
    push::{Batch, Common, Control, Mailbox, PushHandle, PushLimits, Settled},
    sync::Arc,
    testing::ManualClock,
};

/// Runs a model in all interleavings, whatever the environment bounds others to.
fn model_in_full(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = model::Builder::new();
    builder.preemption_bound = None;
    builder.check(run);
}

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

/// The transport takes the low frames that the engine has, and their slots are given back.
fn send(mailbox: &Mailbox<u32>, batch: &mut Batch<u32>, sent: &mut Vec<u32>) {
    let frames = batch.low.len();
    sent.extend(batch.low.drain(..).map(|accepted| accepted.frame));
    mailbox.settle(&Settled {
        low: Released {
            sent: frames as u64,
            bytes: frames,
            ..Released::default()
        },
        ..Settled::default()
    });
}
