//! Tasks that a server knows of.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use hashbrown::HashMap;
use pin_project_lite::pin_project;

use crate::{
    contain,
    push::Signal,
    rt::Spawn,
    shutdown::ShutdownToken,
    sync::{Arc, AtomicBool, Mutex, Ordering, lock},
};

/// Starts tasks that the server waits for before it ends, and ends those that are not done
/// at its deadline. A clone is the same tracker.
///
/// Handlers take that of their server as an argument.
#[derive(Clone)]
pub struct TaskTracker {
    shared: Arc<Shared>,
}

struct Shared {
    spawner: Arc<dyn Spawn>,
    shutdown: ShutdownToken,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    count: usize,
    /// Those who wait for the end of all, by their numbers.
    waiting: BTreeMap<u64, Waker>,
    /// Tasks that can be aborted, by their numbers.
    abortable: HashMap<u64, Arc<Abort>>,
    /// Numbers that have been given out.
    numbers: u64,
    /// They were aborted, and so is what is started from then on.
    aborted: bool,
}

/// Ends a task from outside.
#[derive(Default)]
struct Abort {
    asked: AtomicBool,
    signal: Signal,
}

impl Abort {
    fn ask(&self) {
        self.asked.fetch_or(true, Ordering::AcqRel);
        self.signal.unpark();
    }

    /// Whether it was asked for; if not, the waker is told when it is. It looks as [`Signal`]
    /// wants a second look to be.
    fn was_asked(&self, waker: &Waker) -> bool {
        self.signal.park(waker);
        self.asked.fetch_or(false, Ordering::AcqRel)
    }
}

impl Running {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

impl TaskTracker {
    /// An empty set of tasks, started through `spawner`.
    pub fn new(spawner: Arc<dyn Spawn>) -> Self {
        Self {
            shared: Arc::new(Shared {
                spawner,
                shutdown: ShutdownToken::new(),
                running: Mutex::default(),
            }),
        }
    }

    /// Starts a task. It runs to its end, whatever becomes of the connection; but when the
    /// server shuts down it has to end by the deadline of the drain, or is dropped then.
    /// [`shutdown_token`](Self::shutdown_token) tells it in time.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abort = Arc::new(Abort::default());
        let mut running = lock(&self.shared.running);
        abort.asked.store(running.aborted, Ordering::Relaxed);
        let number = running.number();
        running.abortable.insert(number, Arc::clone(&abort));
        drop(running);
        let registered = Registered {
            shared: Arc::clone(&self.shared),
            number,
        };
        self.spawn_unabortable(Abortable {
            task,
            abort,
            _registered: registered,
        });
    }

    /// Starts a task that ends by itself when it is told to: a connection.
    pub(crate) fn spawn_unabortable(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.shared.running).count += 1;
        let tracked = Tracked {
            shared: Arc::clone(&self.shared),
        };
        self.shared.spawner.spawn(Box::pin(Task { task, tracked }));
    }

    /// How many have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.shared.running).count
    }

    /// Whether all have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until all have ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on the tasks.
    pub async fn wait(&self) {
        AllEnded {
            running: &self.shared.running,
            number: None,
        }
        .await;
    }

    /// What tells the tasks that it is time to end.
    #[must_use]
    pub fn shutdown_token(&self) -> &ShutdownToken {
        &self.shared.shutdown
    }

    /// Drops those that were started with [`spawn`](Self::spawn), each as soon as it is not
    /// at work, and those that are started from now on before they begin.
    pub fn abort(&self) {
        let mut running = lock(&self.shared.running);
        running.aborted = true;
        let tasks: Vec<_> = running.abortable.values().cloned().collect();
        drop(running);
        for task in tasks {
            task.ask();
        }
    }
}

pin_project! {
    /// A tracked task. Written by hand because an async block would keep room for the
    /// task twice, and a connection is a large one.
    struct Task<T> {
        #[pin]
        task: T,
        // Dropped last.
        tracked: Tracked,
    }
}

impl<T: Future<Output = ()>> Future for Task<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().task.poll(cx)
    }
}

pin_project! {
    /// A task that can be ended from outside.
    struct Abortable<T> {
        #[pin]
        task: T,
        abort: Arc<Abort>,
        _registered: Registered,
    }
}

impl<T: Future<Output = ()>> Future for Abortable<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.abort.was_asked(cx.waker()) {
            return Poll::Ready(());
        }
        this.task.poll(cx)
    }
}

/// A task's place among those that can be aborted.
struct Registered {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let abort = lock(&self.shared.running).abortable.remove(&self.number);
        drop(abort);
    }
}

/// Counts a task until it is dropped, also by a panic or a runtime that shuts down.
struct Tracked {
    shared: Arc<Shared>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut running = lock(&self.shared.running);
        running.count -= 1;
        if running.count > 0 {
            return;
        }
        let waiting = std::mem::take(&mut running.waiting);
        drop(running);
        waiting.into_values().for_each(contain::wake);
    }
}

struct AllEnded<'a> {
    running: &'a Mutex<Running>,
    /// Its place among those who wait, once it has had one.
    number: Option<u64>,
}

impl Future for AllEnded<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloning and dropping wakers is foreign code, which must not run locked.
        let fresh = cx.waker().clone();
        let mut running = lock(self.running);
        if running.count == 0 {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| running.number());
        let stale = running.waiting.insert(number, fresh);
        drop(running);
        drop(stale);
        Poll::Pending
    }
}

impl Drop for AllEnded<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = lock(self.running).waiting.remove(&number);
            drop(waker);
        }
    }
}

impl fmt::Debug for TaskTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskTracker")
            .field("running", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
