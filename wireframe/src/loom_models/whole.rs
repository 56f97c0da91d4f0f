//! Mailboxes from the first push to the end, with threads that sleep until they are woken, in
//! the interleavings of so many preemptions.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use loom::{model, thread};
use wireframe_proto::Priority;

use super::{Sleeper, block_on, mailbox, send};
use crate::{
    push::{Asked, Batch, ConnectionHandle, Mailbox, PushHandle},
    sync::Arc,
};

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
        send(&self.mailbox, &mut self.batch, &mut self.sent);
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
