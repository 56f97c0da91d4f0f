//! Threads: producers that wait, producers that give up, and a driver that parks.

use std::{
    collections::VecDeque,
    future::Future,
    num::NonZeroU32,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use wireframe_proto::{
    Accepted,
    Priority::{self, High, Low},
    RateLimit, Released,
};

use super::{Frame, Rig, sized};
use crate::{
    push::{Command, PushHandle, Settled},
    rt::Timer,
};

const PRODUCERS: u32 = 4;
const FRAMES: u32 = if cfg!(miri) { 50 } else { 20_000 };

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(super) fn thread_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

pub(super) fn block_on<T: Future>(future: T) -> T::Output {
    let waker = thread_waker();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Pushes in every way there is, at times giving up and trying again.
fn produce(handle: &PushHandle<Frame>, producer: u32) {
    let priority = if producer.is_multiple_of(2) {
        High
    } else {
        Low
    };
    for n in 0..FRAMES {
        let frame = sized(producer * FRAMES + n, (n as usize * 7) % 30);
        match n % 5 {
            0 => block_on(handle.reserve(priority))
                .unwrap()
                .send(frame)
                .unwrap(),
            1 => {
                // Gives up once, whether asleep or woken by then.
                let mut given_up = Box::pin(handle.reserve(priority));
                let poll = given_up
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                drop(poll);
                thread::yield_now();
                drop(given_up);
                block_on(handle.push(priority, frame)).unwrap();
            }
            2 => match handle.try_push(priority, frame) {
                Ok(()) => {}
                Err(full) => block_on(handle.push(priority, full.into_frame())).unwrap(),
            },
            _ => block_on(handle.push(priority, frame)).unwrap(),
        }
    }
}

pub(super) fn sent(queue: &mut VecDeque<Accepted<Frame>>, into: &mut Vec<u32>) -> Released {
    let mut released = Released::default();
    for accepted in queue.drain(..) {
        released.sent += 1;
        released.bytes += accepted.charge;
        into.push(accepted.frame.id);
    }
    released
}

/// Sends what comes until it is told to end, parking when there is nothing.
fn drive(rig: &mut Rig) -> (Vec<u32>, Vec<u32>) {
    let waker = thread_waker();
    let (mut high, mut low) = (Vec::new(), Vec::new());
    let mut ending = false;
    loop {
        let mailbox = Arc::clone(&rig.mailbox);
        mailbox.control().signal().resume();
        ending |= mailbox.control().take_asked().command() == Some(Command::Close);
        rig.drain();
        mailbox.settle(&Settled {
            high: sent(&mut rig.batch.high, &mut high),
            low: sent(&mut rig.batch.low, &mut low),
            ..Settled::default()
        });
        if mailbox.park(&waker, None).is_some() {
            if ending {
                drop(mailbox.end());
                return (high, low);
            }
            thread::park();
        }
    }
}

#[test]
fn every_frame_arrives_once_and_in_its_producers_order() {
    // rule: PUSH-2, PUSH-9, PUSH-10, PUSH-11
    let mut rig = Rig::new(8, 60);
    let handle = rig.handle.clone();
    let driver = thread::spawn(move || drive(&mut rig));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let handle = handle.clone();
            thread::spawn(move || produce(&handle, producer))
        })
        .collect();
    for producer in producers {
        producer.join().unwrap();
    }
    handle.connection().close();
    let (high, low) = driver.join().unwrap();

    for producer in 0..PRODUCERS {
        let all = if producer.is_multiple_of(2) {
            &high
        } else {
            &low
        };
        let own = all.iter().copied().filter(|id| id / FRAMES == producer);
        assert!(own.eq(producer * FRAMES..(producer + 1) * FRAMES));
    }
    let stats = handle.stats();
    assert_eq!(stats.accepted, u64::from(PRODUCERS * FRAMES));
    assert_eq!(stats.sent, stats.accepted);
    assert_eq!(stats.queued, 0);
}

#[test]
fn an_end_amid_a_flood_loses_count_of_nothing() {
    // rule: PUSH-6, PUSH-9
    for round in 0..20_u64 {
        let mut rig = Rig::new(8, 60);
        let handle = rig.handle.clone();
        let flood = |priority: Priority| {
            let handle = handle.clone();
            thread::spawn(move || {
                let mut taken = 0;
                while block_on(handle.push(priority, sized(0, 3))).is_ok() {
                    taken += 1;
                }
                taken
            })
        };
        let producers = [flood(High), flood(Low), flood(High), flood(Low)];
        let mut sent = 0;
        while sent < 100 * round {
            sent += rig.send(High, 3).len() as u64 + rig.send(Low, 5).len() as u64;
        }
        rig.mailbox.settle(&rig.batch.as_ended());
        rig.mailbox.settle(&rig.mailbox.end().as_ended());
        let taken: u64 = producers
            .into_iter()
            .map(|producer| producer.join().unwrap())
            .sum();
        let stats = handle.stats();
        assert_eq!((stats.accepted, stats.sent, stats.queued), (taken, sent, 0));
        assert_eq!(stats.sent + stats.lost_closed, stats.accepted);
    }
}

/// Takes what comes, and lets time pass when there is nothing but a token to wait for.
fn drive_limited(rig: &mut Rig) -> u64 {
    let waker = thread_waker();
    let mut taken = 0;
    loop {
        let mailbox = Arc::clone(&rig.mailbox);
        mailbox.control().signal().resume();
        let ending = mailbox.control().take_asked().command() == Some(Command::Close);
        mailbox.wake_due(rig.clock.now());
        taken += rig.send(High, usize::MAX).len() as u64;
        taken += rig.send(Low, usize::MAX).len() as u64;
        if ending {
            return taken;
        }
        let armed = mailbox.alarm();
        if mailbox.park(&waker, armed).is_some() {
            match armed {
                Some(at) => rig
                    .clock
                    .advance(at.saturating_duration_since(rig.clock.now())),
                None => thread::park(),
            }
        }
    }
}

#[test]
fn whoever_waits_for_a_token_gets_one_whatever_others_do() {
    // rule: PUSH-2, RATE-2
    let limit = RateLimit::per_second(NonZeroU32::new(1_000).unwrap());
    let mut rig = Rig::limited(8, limit.with_burst(NonZeroU32::new(2).unwrap()));
    let (handle, clock) = (rig.handle.clone(), rig.clock.clone());
    let driver = thread::spawn(move || drive_limited(&mut rig));
    let producers = [High, Low, High, Low].map(|priority| {
        let handle = handle.clone();
        thread::spawn(move || {
            for n in 0..FRAMES / 20 {
                match n % 4 {
                    // Gives up, asleep or woken, and a permit that is not used.
                    0 => drop(poll_once(handle.push(priority, sized(n, 1)))),
                    1 => drop(block_on(handle.reserve(priority)).unwrap()),
                    _ => block_on(handle.push(priority, sized(n, 1))).unwrap(),
                }
            }
        })
    });
    for producer in producers {
        producer.join().unwrap();
    }
    handle.connection().close();
    let taken = driver.join().unwrap();
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.sent), (taken, taken));
    let least = u64::from(FRAMES / 20 / 2 * PRODUCERS);
    assert!(taken >= least);
    // Each token but those of the burst took a millisecond to come.
    assert!(taken <= 2 + clock.now().as_nanos() / 1_000_000);
}

fn poll_once<T: Future>(future: T) -> Option<T::Output> {
    let mut future = Box::pin(future);
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    thread::yield_now();
    match polled {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
