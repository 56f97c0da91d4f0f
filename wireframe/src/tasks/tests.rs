//! Waiting for the end of tasks, polled by hand.

use std::{
    pin::pin,
    sync::atomic::AtomicUsize,
    task::{Context, Poll, Wake, Waker},
};

use super::*;
use crate::rt::BoxTask;

/// Keeps tasks, and never runs them.
#[derive(Default)]
struct Kept(Mutex<Vec<BoxTask>>);

impl Spawn for Kept {
    fn spawn(&self, task: BoxTask) {
        lock(&self.0).push(task);
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A tracker of one task that has not ended.
fn tracker() -> (TaskTracker, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let spawner: Arc<dyn Spawn> = kept.clone();
    let tasks = TaskTracker::new(spawner);
    tasks.spawn(async {});
    (tasks, kept)
}

fn waker() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    (wakes, waker)
}

fn poll(waiting: Pin<&mut impl Future<Output = ()>>, waker: &Waker) -> Poll<()> {
    waiting.poll(&mut Context::from_waker(waker))
}

#[test]
fn who_no_longer_waits_for_the_end_leaves_no_waker_behind() {
    // rule: SHUT-5
    let (tasks, kept) = tracker();
    let (wakes, waker) = waker();
    for _ in 0..3 {
        let mut waiting = Box::pin(tasks.wait());
        assert_eq!(poll(waiting.as_mut(), &waker), Poll::Pending);
        assert_eq!(Arc::strong_count(&wakes), 3);
        drop(waiting);
        assert_eq!(Arc::strong_count(&wakes), 2);
    }
    lock(&kept.0).clear();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
}

#[test]
fn who_waits_for_the_end_is_woken_through_the_waker_of_the_last_poll() {
    // rule: SHUT-5
    let (tasks, kept) = tracker();
    let ((stale, before), (fresh, after)) = (waker(), waker());
    let (beside, other) = waker();
    let (mut waiting, mut second) = (pin!(tasks.wait()), pin!(tasks.wait()));
    assert_eq!(poll(waiting.as_mut(), &before), Poll::Pending);
    assert_eq!(poll(second.as_mut(), &other), Poll::Pending);
    assert_eq!(poll(waiting.as_mut(), &after), Poll::Pending);
    assert_eq!(Arc::strong_count(&stale), 2);
    let ended = std::mem::take(&mut *lock(&kept.0));
    drop(ended);
    let counts = [&stale, &fresh, &beside].map(|wakes| wakes.0.load(Ordering::SeqCst));
    assert_eq!(counts, [0, 1, 1]);
    assert_eq!(poll(waiting, &after), Poll::Ready(()));
    assert_eq!(poll(second, &other), Poll::Ready(()));
}
