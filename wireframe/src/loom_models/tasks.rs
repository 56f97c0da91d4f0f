//! Trackers of tasks and tokens, in all interleavings.

use std::{pin::pin, task::Context};

use loom::thread;

use super::{Sleeper, block_on, model_in_full};
use crate::{
    rt::{BoxTask, Spawn},
    shutdown::ShutdownToken,
    sync::{Arc, Mutex, lock},
    tasks::TaskTracker,
};

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
