//! Pushes in every way there is, and the account of them that their producers keep.

use std::{
    future::poll_fn,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

use bytes::{BufMut, BytesMut};
use fastrand::Rng;
use wireframe::{
    DeadLetters, Envelope, Priority, PushCapacity, PushHandle, PushLimits, PushPolicy, TaskTracker,
    WireframeApp, dead_letter_queue, server::ServerHandle,
};

use crate::{Watched, options::LoadOptions};

/// The longest frame that can be encoded.
pub(crate) const MAX_FRAME: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// The id of what is pushed.
const PUSHED: u32 = 9;
/// Producers on each connection: some wait for room, and others never do.
const PRODUCERS: u64 = 3;

/// What is pushed on all connections.
pub(crate) struct Load {
    seed: u64,
    /// Pushes that may still be tried before the server ends.
    left: AtomicU64,
    aborts: bool,
    handle: ServerHandle,
    connections: Mutex<Vec<Arc<Loaded>>>,
    letters: Option<DeadLetters<Envelope>>,
    /// Times when an account was found that does not add up.
    unbalanced: AtomicU64,
}

/// What is pushed on one connection.
struct Loaded {
    index: u32,
    push: PushHandle,
    /// Pushes that were tried; each has a number.
    tried: AtomicU64,
    /// Those that a call took, or that a policy disposed of.
    accepted: AtomicU64,
}

impl Load {
    pub(crate) fn put_on(
        app: WireframeApp<Watched>,
        options: &LoadOptions,
        handle: &ServerHandle,
    ) -> (WireframeApp<Watched>, Arc<Self>) {
        let capacity = PushCapacity::new().with_frames(options.slots);
        let mut app = app.push_limits(PushLimits::both(capacity));
        let mut letters = None;
        if let Some(most) = options.letters {
            let (sender, receiver) = dead_letter_queue(most);
            app = app.dead_letters(sender);
            letters = Some(receiver);
        }
        let load = Arc::new(Self {
            seed: options.seed,
            left: AtomicU64::new(options.pushes.get()),
            aborts: options.pushes.get() % 2 == 1,
            handle: handle.clone(),
            connections: Mutex::default(),
            letters,
            unbalanced: AtomicU64::new(0),
        });
        let all = Arc::clone(&load);
        let app = app.on_connect(move |push: PushHandle, tasks: TaskTracker| {
            let loaded = all.enter(push);
            for n in 0..PRODUCERS {
                let seed = all.seed ^ u64::from(loaded.index) << 8 ^ n;
                let (all, loaded) = (Arc::clone(&all), Arc::clone(&loaded));
                tasks.spawn(async move { all.produce(&loaded, seed, n > 0).await });
            }
        });
        (app, load)
    }

    fn enter(&self, push: PushHandle) -> Arc<Loaded> {
        let connections = self.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        let loaded = Arc::new(Loaded {
            index: u32::try_from(connections.len()).expect("few connections"),
            push,
            tried: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        });
        connections.push(Arc::clone(&loaded));
        loaded
    }

    /// Pushes until the connection takes no more.
    async fn produce(&self, loaded: &Loaded, seed: u64, waits: bool) {
        let mut rng = Rng::with_seed(seed);
        loop {
            if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                match self.aborts {
                    true => self.handle.abort(),
                    false => self.handle.shutdown(),
                }
            }
            if loaded.push_one(&mut rng, waits).await {
                loaded.accepted.fetch_add(1, Ordering::SeqCst);
            } else if loaded.push.is_closed() {
                return;
            }
            if rng.u8(..8) == 0 {
                self.check(loaded);
            }
            if rng.bool() {
                others_run().await;
            }
        }
    }

    fn check(&self, loaded: &Loaded) {
        let s = loaded.push.stats();
        let lost = s.lost_policy + s.lost_unencodable + s.lost_closed;
        if s.accepted != s.sent + s.dead_lettered + lost + s.queued {
            self.unbalanced.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Says what has become of the pushes. All producers have ended.
    pub(crate) fn report(&self) {
        let connections = self.connections.lock();
        for loaded in connections.unwrap_or_else(PoisonError::into_inner).iter() {
            self.check(loaded);
            let s = loaded.push.stats();
            println!(
                "connection {} {} {} {} {} {} {} {} {} {} {}",
                loaded.index,
                loaded.tried.load(Ordering::SeqCst),
                loaded.accepted.load(Ordering::SeqCst),
                s.accepted,
                s.sent,
                s.dead_lettered,
                s.lost_policy,
                s.lost_unencodable,
                s.lost_closed,
                s.unsent_at_end,
                s.queued,
            );
        }
        if let Some(letters) = &self.letters {
            while let Some(letter) = letters.try_recv() {
                let (index, number) = letter.frame.payload.split_at(4);
                let index = index.iter().fold(0, |n, &b| n << 8 | u64::from(b));
                let number = number.iter().take(8).fold(0, |n, &b| n << 8 | u64::from(b));
                println!("letter {index} {number}");
            }
        }
        println!("unbalanced {}", self.unbalanced.load(Ordering::SeqCst));
    }
}

impl Loaded {
    /// Pushes a frame in some way; says whether it was accepted.
    async fn push_one(&self, rng: &mut Rng, waits: bool) -> bool {
        let number = self.tried.fetch_add(1, Ordering::SeqCst);
        let frame = self.frame(number, rng);
        let priority = match rng.bool() {
            true => Priority::High,
            false => Priority::Low,
        };
        match rng.u8(..6) {
            0..=2 if waits => self.push.push(priority, frame).await.is_ok(),
            3 if waits => match self.push.reserve(priority).await {
                Ok(permit) => permit.send(frame).is_ok(),
                Err(_) => false,
            },
            4 => self.push.try_push(priority, frame).is_ok(),
            _ => {
                let policy = PushPolicy::DropIfFull;
                self.push.push_with_policy(priority, frame, policy).is_ok()
            }
        }
    }

    /// A frame that says which it is. A few are too long to be encoded.
    fn frame(&self, number: u64, rng: &mut Rng) -> Envelope {
        let len = match rng.u8(..64) {
            0 => MAX_FRAME.get(),
            1..8 => rng.usize(1024..2048),
            _ => rng.usize(12..256),
        };
        let mut payload = BytesMut::with_capacity(len);
        payload.put_u32(self.index);
        payload.put_u64(number);
        payload.resize(len, 0);
        Envelope::new(PUSHED, payload.freeze())
    }
}

/// Lets whoever is ready run first.
async fn others_run() {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
