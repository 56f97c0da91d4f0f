//! Futures that are polled inside the driver, each with a waker of its own.

use std::task::{Context, Wake, Waker};

use crate::{
    push::Control,
    sync::{Arc, AtomicBool, Mutex, Ordering, lock},
};

/// The tasks that have been woken since they were last looked for.
struct Woken {
    indices: Mutex<Vec<u32>>,
    control: Arc<Control>,
}

/// Wakes one place of a [`TaskSet`], whoever has it.
struct PlaceWaker {
    index: u32,
    /// Whether the place stands among the woken.
    listed: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::SeqCst) {
            lock(&self.woken.indices).push(self.index);
            self.woken.control.signal().unpark();
        }
    }
}

struct Place<T> {
    task: Option<T>,
    shared: Arc<PlaceWaker>,
    waker: Waker,
}

/// Tasks that share the driver's thread of control.
///
/// A place is used again for another task. A waker that outlives its task then polls the
/// next one once in vain, which is harmless, and cheaper than a waker for each task.
pub(super) struct TaskSet<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    live: usize,
    woken: Arc<Woken>,
}

impl<T> TaskSet<T> {
    pub(super) fn new(control: &Arc<Control>) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            live: 0,
            woken: Arc::new(Woken {
                indices: Mutex::new(Vec::new()),
                control: Arc::clone(control),
            }),
        }
    }

    /// Whether there is no task.
    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Adds a task. It is not polled before it is asked to be.
    #[inline]
    pub(super) fn insert(&mut self, task: T) -> u32 {
        self.insert_with(|_| (task, ())).0
    }

    /// Adds a task that is made from the waker of its place, and something beside.
    #[inline]
    pub(super) fn insert_with<R>(&mut self, make: impl FnOnce(&Waker) -> (T, R)) -> (u32, R) {
        self.live += 1;
        if let Some(index) = self.free.pop()
            && let Some(place) = self.places.get_mut(index as usize)
        {
            let (task, beside) = make(&place.waker);
            place.task = Some(task);
            return (index, beside);
        }
        // Bounded by the commands in flight and the pushes being handled.
        let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let shared = Arc::new(PlaceWaker {
            index,
            listed: AtomicBool::new(false),
            woken: Arc::clone(&self.woken),
        });
        let waker = Waker::from(Arc::clone(&shared));
        let (task, beside) = make(&waker);
        self.places.push(Place {
            task: Some(task),
            waker,
            shared,
        });
        (index, beside)
    }

    /// Lets `poll` poll the task there, if there is one.
    #[inline]
    pub(super) fn poll<R>(
        &mut self,
        index: u32,
        poll: impl FnOnce(&mut T, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let place = self.places.get_mut(index as usize)?;
        let task = place.task.as_mut()?;
        Some(poll(task, &mut Context::from_waker(&place.waker)))
    }

    /// Takes a task out.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let task = self.places.get_mut(index as usize)?.task.take()?;
        self.live -= 1;
        self.free.push(index);
        Some(task)
    }

    /// Takes the list of places that were woken.
    pub(super) fn take_woken(&mut self) -> Vec<u32> {
        let list = std::mem::take(&mut *lock(&self.woken.indices));
        for &index in &list {
            if let Some(place) = self.places.get(index as usize) {
                // A swap, to see what was done before a wake that this one covers.
                place.shared.listed.swap(false, Ordering::SeqCst);
            }
        }
        list
    }

    /// Gives an emptied list back, to be used again.
    pub(super) fn reuse_list(&self, list: Vec<u32>) {
        if list.capacity() > 0 {
            let mut indices = lock(&self.woken.indices);
            if indices.capacity() == 0 {
                *indices = list;
            }
        }
    }

    /// Whether any place has been woken.
    pub(super) fn has_woken(&self) -> bool {
        !lock(&self.woken.indices).is_empty()
    }

    /// The task there.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.task.as_ref()
    }

    /// Takes all tasks out, each through `dispose`.
    pub(super) fn end(self, dispose: impl FnMut(T)) {
        let tasks = self.places.into_iter().filter_map(|place| place.task);
        tasks.for_each(dispose);
    }
}
