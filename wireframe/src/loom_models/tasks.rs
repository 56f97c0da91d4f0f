//! Trackers of tasks and tokens, in all interleavings.

use std::{pin::pin, task::Context};

use loom::thread;

use super::{Sleeper, block_on, model_in_full};
use crate::{
    rt::{BoxTask, Spawn},
    shutdown::ShutdownToken,
    sync::{Arc, AtomicUsize, Mutex, Ordering, lock},
    tasks::TaskTracker,
};

/// Keeps tasks, and never runs them.
struct Kept(Mutex<Vec<BoxTask>>);

impl Kept {
    /// Starts a task that counts as under way until all it holds is dropped.
    fn start(&self, tasks: &TaskTracker, under_way: &Arc<AtomicUsize>) -> Option<BoxTask> {
        under_way.fetch_add(1, Ordering::Relaxed);
        let one = One(Arc::clone(under_way));
        tasks.spawn_unabortable(async move { drop(one) });
        lock(&self.0).pop()
    }
}

/// One of so many.
struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

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
        let under_way = Arc::new(AtomicUsize::new(0));
        let first = kept.start(&tasks, &under_way);
        let second = kept.start(&tasks, &under_way);
        let ends = thread::spawn(move || drop(first));
        let starts_another = {
            let (tasks, kept, under_way) =
                (tasks.clone(), Arc::clone(&kept), Arc::clone(&under_way));
            thread::spawn(move || {
                let third = kept.start(&tasks, &under_way);
                drop((second, third));
            })
        };
        block_on(tasks.wait());
        assert_eq!(under_way.load(Ordering::Relaxed), 0);
        ends.join().unwrap();
        starts_another.join().unwrap();
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
