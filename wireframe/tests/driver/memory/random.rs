//! Whatever several connections do, memory that is there again reaches who waits for it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
};

use proptest::prelude::*;
use wireframe::{
    Driver,
    Priority::Low,
    PushHandle,
    testing::{Link, Spawned, link},
};

use super::{Blob, Uploads, World, blob, payloads, unit, whole};
use crate::rig::secs;

/// Connections; the first of them run by themselves, the others only when they are told to.
const CONNECTIONS: usize = 5;
const ABSENT: usize = 2;

const LIMIT: usize = 10_000;

/// The length of each message.
const TOTAL: usize = 8_000;

#[derive(Clone, Debug)]
enum Op {
    /// The peer begins a message, or goes on with it; it never ends one.
    Upload(usize, usize),
    Echo(usize),
    Push(usize, usize),
    /// The peer takes what there is.
    Take(usize),
    Abort(usize),
    /// An absent one comes to run.
    Come(usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let one = 0..CONNECTIONS;
    prop_oneof![
        8 => (one.clone(), 1usize..3_000).prop_map(|(one, len)| Op::Upload(one, len)),
        2 => one.clone().prop_map(Op::Echo),
        4 => (one.clone(), 0usize..4_000).prop_map(|(one, len)| Op::Push(one, len)),
        2 => one.clone().prop_map(Op::Take),
        1 => one.prop_map(Op::Abort),
        6 => (0..ABSENT).prop_map(Op::Come),
        1 => (1u64..3).prop_map(Op::Wait),
    ]
}

type Absent = Pin<Box<Driver<Uploads, Link>>>;

struct One {
    peer: Link,
    push: PushHandle<Blob>,
    /// Fragments that were sent, and their bytes.
    fragments: u32,
    sent: usize,
    heard: Vec<u8>,
}

impl One {
    /// The peer sends the next fragment, at most so long.
    fn upload(&mut self, most: usize) {
        let len = most.min(TOTAL - self.sent);
        let is_final = self.sent + len == TOTAL;
        let total = (self.fragments == 0 && !is_final).then_some(TOTAL as u64);
        let fragment = unit(1, self.fragments, total, is_final, &vec![b'?'; len]);
        self.peer.send(&fragment);
        self.fragments += 1;
        self.sent += len;
    }
}

struct Run {
    world: World,
    ones: Vec<One>,
    absent: Vec<Option<Absent>>,
    pushes: Vec<Spawned<bool>>,
}

impl Run {
    fn new() -> Self {
        let world = World::new(LIMIT);
        let mut absent = vec![];
        let ones = (0..CONNECTIONS)
            .map(|index| {
                let (near, peer) = link(5_000);
                let environment = world.simulation.environment();
                let driver = Driver::server(&world.app, near, None, &environment);
                let push = driver.push_handle();
                if index < CONNECTIONS - ABSENT {
                    drop(world.simulation.spawn(driver));
                } else {
                    absent.push(Some(Box::pin(driver)));
                }
                let (fragments, sent, heard) = (0, 0, vec![]);
                One {
                    peer,
                    push,
                    fragments,
                    sent,
                    heard,
                }
            })
            .collect();
        Self {
            world,
            ones,
            absent,
            pushes: vec![],
        }
    }

    fn come(&mut self, index: usize) {
        let cx = &mut Context::from_waker(Waker::noop());
        if let Some(driver) = &mut self.absent[index]
            && driver.as_mut().poll(cx).is_ready()
        {
            self.absent[index] = None;
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Upload(index, len) => {
                let one = &mut self.ones[index];
                one.upload(len.min(TOTAL - one.sent - 1));
            }
            Op::Echo(index) => self.ones[index].peer.send(&whole(b"?")),
            Op::Push(index, len) => {
                let push = self.ones[index].push.clone();
                let pushed = async move { push.push(Low, blob(len)).await.is_ok() };
                self.pushes.push(self.world.simulation.spawn(pushed));
            }
            Op::Take(index) => self.take(index),
            Op::Abort(index) => self.ones[index].push.connection().abort(),
            Op::Come(index) => self.come(index),
            Op::Wait(seconds) => self.world.simulation.advance(secs(seconds)),
        }
        self.world.simulation.run();
    }

    fn take(&mut self, index: usize) {
        let one = &mut self.ones[index];
        one.heard.extend(one.peer.receive());
    }

    /// Everybody does what there is to do.
    fn settle(&mut self) {
        for _ in 0..100 {
            (0..ABSENT).for_each(|index| self.come(index));
            (0..CONNECTIONS).for_each(|index| self.take(index));
            self.world.simulation.run();
        }
    }
}

proptest! {
    #[test]
    fn memory_that_is_there_again_reaches_who_waits(
        ops in proptest::collection::vec(op(), 1..60)
    ) {
        // rule: LIM-6
        let mut run = Run::new();
        ops.iter().for_each(|op| run.apply(op));
        run.settle();
        // Those that close do not wait for their peers for longer.
        run.world.simulation.advance(secs(5));
        run.settle();
        let budget = &run.world.budget;
        prop_assert!(budget.used() <= LIMIT, "{budget:?}");
        for index in 0..CONNECTIONS {
            run.ones[index].upload(TOTAL);
            run.settle();
        }
        for one in &run.ones {
            let message = vec![b'?'; TOTAL];
            prop_assert!(one.push.is_closed() || payloads(&one.heard).contains(&message));
        }
        prop_assert!(run.pushes.iter().all(Spawned::is_done));
        prop_assert_eq!(run.world.budget.used(), 0);
    }
}
