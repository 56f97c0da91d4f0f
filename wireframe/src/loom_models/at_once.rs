//! Three threads at one mailbox, each of which does one thing, in all interleavings.
//!
//! What has nothing to do with the race is done before it, or after it: then those who were
//! woken are polled in turn, until nobody has anything left to do.

use std::{
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Poll, Wake, Waker},
};

use loom::thread;
use wireframe_proto::Priority;

use super::{mailbox, model_in_full, send};
use crate::{
    push::{Batch, Command, ConnectionHandle, Mailbox},
    sync::Arc,
};

/// Whether a task is to be polled. Of no interest to loom: it changes with the access before it.
#[derive(Default)]
struct Woken(AtomicBool);

impl Woken {
    fn new() -> (Arc<Self>, Waker) {
        let woken = Arc::<Self>::default();
        (Arc::clone(&woken), Waker::from(woken))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A task of an executor that the model is.
struct Task<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    woken: Arc<Woken>,
    waker: Waker,
    output: Option<T>,
}

impl<T> Task<T> {
    /// It has been polled once.
    fn begun(future: impl Future<Output = T> + 'static) -> Self {
        let (woken, waker) = Woken::new();
        let mut task = Self {
            future: Box::pin(future),
            woken,
            waker,
            output: None,
        };
        task.poll();
        task
    }

    fn poll(&mut self) {
        let mut cx = Context::from_waker(&self.waker);
        if let Poll::Ready(output) = self.future.as_mut().poll(&mut cx) {
            self.output = Some(output);
        }
    }

    /// Polls it if it was woken, and says whether it was.
    fn goes_on(&mut self) -> bool {
        let is_due = self.output.is_none() && self.woken.take();
        if is_due {
            self.poll();
        }
        is_due
    }
}

/// Does with a mailbox what the driver does.
struct Driver {
    mailbox: Arc<Mailbox<u32>>,
    woken: Arc<Woken>,
    waker: Waker,
    /// Frames that the engine has.
    batch: Batch<u32>,
    sent: Vec<u32>,
    /// What was left when the mailbox was ended.
    left: Option<Batch<u32>>,
    is_asleep: bool,
}

impl Driver {
    fn new(mailbox: &Arc<Mailbox<u32>>) -> Self {
        let (woken, waker) = Woken::new();
        Self {
            mailbox: Arc::clone(mailbox),
            woken,
            waker,
            batch: Batch::default(),
            sent: Vec::new(),
            left: None,
            is_asleep: false,
        }
    }

    /// Takes what was pushed, does as was asked, and goes to sleep if it may.
    fn poll(&mut self) {
        let control = self.mailbox.control();
        control.signal().resume();
        let command = control.take_asked().command();
        if command == Some(Command::Close) {
            self.mailbox.close_to_new();
        }
        if command != Some(Command::Abort) {
            self.mailbox.drain_into(&mut self.batch);
        }
        if command.is_some() {
            self.left = Some(self.mailbox.end());
            self.is_asleep = true;
        } else {
            self.is_asleep = self.mailbox.park(&self.waker, None).is_some();
        }
    }

    /// The transport takes what the engine has.
    fn flush(&mut self) {
        send(&self.mailbox, &mut self.batch, &mut self.sent);
    }

    /// Polls it if it is awake or was woken, and says whether it did.
    fn goes_on(&mut self) -> bool {
        let is_due = self.left.is_none() && (self.woken.take() || !self.is_asleep);
        if is_due {
            self.poll();
            self.flush();
        }
        is_due
    }
}

/// What the driver and those who push have done. Whoever is the last to be done looks at it: to
/// wait for the end of threads would be a race of its own, and take many times as long.
#[derive(Default)]
struct Pushes {
    /// Frames that the driver has not taken.
    waiting: AtomicUsize,
    is_asleep: AtomicBool,
    woken: Arc<Woken>,
}

impl Pushes {
    /// One of them is done.
    fn leave(self: Arc<Self>) {
        if let Some(mut pushes) = Arc::into_inner(self) {
            let is_awake = !*pushes.is_asleep.get_mut() || pushes.woken.take();
            assert!(is_awake || *pushes.waiting.get_mut() == 0, "it sleeps on");
        }
    }
}

#[test]
fn the_driver_does_not_sleep_over_what_either_of_two_has_pushed() {
    // rule: PUSH-2
    model_in_full(|| pushes_while_the_driver_is_polled(2, false));
}

#[test]
fn the_driver_does_not_sleep_over_what_is_pushed_while_it_wakes() {
    // rule: PUSH-2
    model_in_full(|| pushes_while_the_driver_is_polled(1, true));
}

fn pushes_while_the_driver_is_polled(pushers: u32, is_parked: bool) {
    let (mailbox, handle) = mailbox(2);
    let mut driver = Driver::new(&mailbox);
    if is_parked {
        driver.poll();
    }
    let pushes = Arc::new(Pushes {
        waiting: AtomicUsize::new(pushers as usize),
        woken: Arc::clone(&driver.woken),
        ..Pushes::default()
    });
    for id in 0..pushers {
        let (handle, pushes) = (handle.clone(), Arc::clone(&pushes));
        thread::spawn(move || {
            handle.try_push(Priority::Low, id).unwrap();
            pushes.leave();
        });
    }
    driver.woken.take();
    driver.poll();
    let taken = driver.batch.low.len();
    pushes.waiting.fetch_sub(taken, Ordering::Relaxed);
    pushes.is_asleep.store(driver.is_asleep, Ordering::Relaxed);
    pushes.leave();
}

/// Somebody pushes while the connection is asked to end; so many frames have been pushed, and
/// there is room for one.
fn ending(pushed: u32, end: fn(&ConnectionHandle)) -> (Driver, u64) {
    let (mailbox, handle) = mailbox(1);
    let mut driver = Driver::new(&mailbox);
    for id in 0..pushed {
        handle.try_push(Priority::Low, id).unwrap();
    }
    let pusher = {
        let handle = handle.clone();
        let push = async move { handle.push(Priority::Low, pushed).await.is_ok() };
        thread::spawn(move || Task::begun(push))
    };
    let connection = handle.connection();
    let asking = thread::spawn(move || end(&connection));
    driver.poll();
    asking.join().unwrap();
    let mut pusher = pusher.join().unwrap();
    while driver.goes_on() | pusher.goes_on() {}
    let accepted = u64::from(pushed) + u64::from(pusher.output.unwrap());
    (driver, accepted)
}

#[test]
fn what_is_pushed_while_a_connection_closes_is_sent_or_refused() {
    // rule: PUSH-6, PUSH-9, PUSH-11, SHUT-2
    for pushed in [0, 1] {
        model_in_full(move || {
            let (mut driver, accepted) = ending(pushed, ConnectionHandle::close);
            driver.flush();
            assert_eq!(driver.left.unwrap().low.len(), 0);
            let stats = driver.mailbox.stats();
            assert_eq!((stats.accepted, stats.queued), (accepted, 0));
            assert_eq!(stats.sent, accepted);
            assert_eq!(driver.sent, [0, 1][..driver.sent.len()]);
        });
    }
}

#[test]
fn what_is_pushed_while_a_connection_is_aborted_is_counted_or_refused() {
    // rule: PUSH-6, PUSH-9, PUSH-11
    for pushed in [0, 1] {
        model_in_full(move || {
            let (driver, accepted) = ending(pushed, ConnectionHandle::abort);
            driver.mailbox.settle(&driver.batch.as_ended());
            driver.mailbox.settle(&driver.left.unwrap().as_ended());
            let stats = driver.mailbox.stats();
            assert_eq!((stats.accepted, stats.queued), (accepted, 0));
            assert_eq!(stats.sent, driver.sent.len() as u64);
            assert_eq!(stats.sent + stats.lost_closed, accepted);
        });
    }
}

#[test]
fn room_goes_to_who_waits_when_the_one_before_is_dropped() {
    // rule: PUSH-2, PUSH-5
    model_in_full(|| {
        let (mailbox, handle) = mailbox(1);
        let mut driver = Driver::new(&mailbox);
        handle.try_push(Priority::Low, 1).unwrap();
        let leaver = {
            let handle = handle.clone();
            let reserve = async move { drop(handle.reserve(Priority::Low).await) };
            thread::spawn(move || drop(Task::begun(reserve)))
        };
        let pusher = {
            let handle = handle.clone();
            let push = async move { handle.push(Priority::Low, 2).await.unwrap() };
            thread::spawn(move || Task::begun(push))
        };
        mailbox.drain_into(&mut driver.batch);
        driver.flush();
        leaver.join().unwrap();
        let mut pusher = pusher.join().unwrap();
        while driver.goes_on() | pusher.goes_on() {}
        assert!(pusher.output.is_some());
        assert_eq!(driver.sent, [1, 2]);
        // No slot is lost, nor given back twice.
        handle.try_push(Priority::Low, 3).unwrap();
        assert!(handle.try_push(Priority::Low, 4).is_err());
    });
}
