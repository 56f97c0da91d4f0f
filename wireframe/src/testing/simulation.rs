//! Running futures by hand.

use std::{
    collections::VecDeque,
    fmt, mem,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use super::clock::ManualClock;
use crate::{
    driver::Environment,
    rt::{BoxTask, Spawn, Timer},
    sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, lock},
    tasks::TaskTracker,
};

/// Polls in one [`Simulation::run`] after which the test has failed.
const POLL_LIMIT: u64 = 10_000;

/// Runs futures by hand, on one thread and on virtual time.
///
/// A clone is the same simulation. It is a [`Spawn`] too, so that what handlers start
/// through [`TaskTracker`] runs in it.
///
/// ```
/// use std::time::Duration;
/// use wireframe::testing::Simulation;
///
/// let simulation = Simulation::new();
/// let clock = simulation.clock().clock();
/// let nap = simulation.spawn(async move {
///     clock.sleep(Duration::from_secs(60)).await;
///     "rested"
/// });
/// simulation.run();
/// assert!(!nap.is_done());
/// simulation.advance(Duration::from_secs(60));
/// assert_eq!(nap.take(), Some("rested"));
/// ```
#[derive(Clone, Default)]
pub struct Simulation {
    shared: Arc<Shared>,
    clock: ManualClock,
}

#[derive(Default)]
struct Shared {
    /// TaskTracker that were woken, oldest first.
    ready: Mutex<VecDeque<Arc<Job>>>,
}

/// A future and what is known of it.
struct Job {
    /// `None` once it has ended, and while it is polled.
    task: Mutex<Option<BoxTask>>,
    listed: AtomicBool,
    cancelled: AtomicBool,
    ended: AtomicBool,
    polls: AtomicU64,
    shared: Arc<Shared>,
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        if !self.ended.load(Ordering::SeqCst) && !self.listed.swap(true, Ordering::SeqCst) {
            let shared = Arc::clone(&self.shared);
            lock(&shared.ready).push_back(self);
        }
    }
}

impl Job {
    fn poll(self: &Arc<Self>) {
        self.listed.swap(false, Ordering::SeqCst);
        let Some(mut task) = lock(&self.task).take() else {
            return;
        };
        self.polls.fetch_add(1, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(self));
        let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() && !self.cancelled.load(Ordering::SeqCst) {
            *lock(&self.task) = Some(task);
        } else {
            self.ended.store(true, Ordering::SeqCst);
        }
    }
}

impl Simulation {
    /// A simulation that runs nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its time.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// What drivers and clients are made from.
    #[must_use]
    pub fn environment(&self) -> Environment {
        Environment {
            clock: self.clock.clock(),
            tasks: TaskTracker::new(Arc::new(self.clone())),
        }
    }

    /// Takes a future on. It is first polled by [`run`](Self::run).
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Spawned<T> {
        let output = Arc::new(Mutex::new(None));
        let place = Arc::clone(&output);
        let job = self.start(Box::pin(async move {
            let value = future.await;
            *lock(&place) = Some(value);
        }));
        Spawned { job, output }
    }

    fn start(&self, task: BoxTask) -> Arc<Job> {
        let job = Arc::new(Job {
            task: Mutex::new(Some(task)),
            listed: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            polls: AtomicU64::new(0),
            shared: Arc::clone(&self.shared),
        });
        Waker::from(Arc::clone(&job)).wake();
        job
    }

    /// Polls whoever was woken until nobody is. Returns the number of polls.
    ///
    /// # Panics
    ///
    /// After 10 000 polls: somebody spins.
    #[track_caller]
    pub fn run(&self) -> u64 {
        let mut polls = 0;
        while self.step() {
            polls += 1;
            assert!(polls < POLL_LIMIT, "{polls} polls and no end: a task spins");
        }
        polls
    }

    /// Polls the one who has been awake for longest; false if all sleep.
    pub fn step(&self) -> bool {
        let Some(job) = lock(&self.shared.ready).pop_front() else {
            return false;
        };
        job.poll();
        true
    }

    /// Lets so much time pass. Whoever has to wake meanwhile runs, at its own time.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        self.run();
        let target = self.clock.now() + by;
        while self.clock.advance_to_next(target) {
            self.run();
        }
    }
}

impl Spawn for Simulation {
    fn spawn(&self, task: BoxTask) {
        self.start(task);
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("clock", &self.clock)
            .field("awake", &lock(&self.shared.ready).len())
            .finish()
    }
}

/// A future that a [`Simulation`] runs. Dropping this does not stop it.
pub struct Spawned<T> {
    job: Arc<Job>,
    output: Arc<Mutex<Option<T>>>,
}

impl<T> Spawned<T> {
    /// Whether it has completed or was cancelled.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.job.ended.load(Ordering::SeqCst)
    }

    /// What it came to, once.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        lock(&self.output).take()
    }

    /// How often it was polled.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.job.polls.load(Ordering::SeqCst)
    }

    /// Drops the future, if it is still there.
    pub fn cancel(&self) {
        self.job.cancelled.store(true, Ordering::SeqCst);
        let task = mem::take(&mut *lock(&self.job.task));
        if let Some(task) = task {
            self.job.ended.store(true, Ordering::SeqCst);
            drop(task);
        }
    }

    /// Polls it now, whether or not it was woken.
    pub fn poll(&self) -> Poll<()> {
        self.job.poll();
        if self.is_done() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<T> fmt::Debug for Spawned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned")
            .field("done", &self.is_done())
            .field("polls", &self.polls())
            .finish_non_exhaustive()
    }
}
