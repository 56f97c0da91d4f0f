//! Tasks that a server knows of.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;

use crate::{
    contain,
    rt::Spawn,
    sync::{Arc, Mutex, lock},
};

/// Starts tasks that the server waits for before it ends.
#[derive(Clone)]
pub struct Tasks {
    spawner: Arc<dyn Spawn>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    count: usize,
    waiting: Vec<Waker>,
}

impl Tasks {
    /// An empty set of tasks, started through `spawner`.
    pub fn new(spawner: Arc<dyn Spawn>) -> Self {
        Self {
            spawner,
            running: Arc::default(),
        }
    }

    /// Starts a task. It runs to its end, whatever becomes of the connection.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.running).count += 1;
        self.spawner.spawn(Box::pin(Task {
            task,
            tracked: Tracked {
                running: Arc::clone(&self.running),
            },
        }));
    }

    /// How many have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.running).count
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
            running: &self.running,
        }
        .await;
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

/// Counts a task until it is dropped, also by a panic or a runtime that shuts down.
struct Tracked {
    running: Arc<Mutex<Running>>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        running.count -= 1;
        if running.count > 0 {
            return;
        }
        let waiting = std::mem::take(&mut running.waiting);
        drop(running);
        waiting.into_iter().for_each(contain::wake);
    }
}

struct AllEnded<'a> {
    running: &'a Mutex<Running>,
}

impl Future for AllEnded<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloning and dropping wakers is foreign code, which must not run locked.
        let fresh = cx.waker().clone();
        let mut running = lock(self.running);
        if running.count == 0 {
            return Poll::Ready(());
        }
        if running.waiting.iter().any(|kept| kept.will_wake(&fresh)) {
            drop(running);
            return Poll::Pending;
        }
        running.waiting.push(fresh);
        Poll::Pending
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("running", &self.len())
            .finish_non_exhaustive()
    }
}
