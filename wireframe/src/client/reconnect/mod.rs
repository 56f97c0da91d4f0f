//! A client that connects again when its connection is dead.

mod backoff;
mod wait;

use std::{collections::BTreeMap, fmt, io, pin::Pin, task::Waker, time::Duration};

use fastrand::Rng;
use wireframe_proto::{EnvelopeProtocol, Instant, Throttle};

pub use self::backoff::{Backoff, Jitter};
use self::wait::{AttemptWaker, Wait};
use super::{CallError, Client};
use crate::{
    clock::Clock,
    contain,
    frame::Protocol,
    sync::{Arc, Mutex, lock},
};

/// A client that connects when it is first needed, and again when its connection is dead.
///
/// Nothing of it runs by itself: an attempt to connect is made while somebody waits for a
/// client, and all who wait share it. One that takes longer than 30 s has failed, see
/// [`with_connect_timeout`](Self::with_connect_timeout). A failed attempt is followed by
/// another one, after a [`Backoff`], for as long as anybody waits; what failed is logged. So
/// a caller is told only by a limit on its time: [`with_timeout`](Self::with_timeout), or
/// [`Clock::timeout`] around [`client`](Self::client).
///
/// A call that was made is never made again. Whether the peer has seen a call that failed
/// with [`CallError::Closed`] cannot be known; it is for the caller to say whether it may
/// be repeated. The next call goes over a new connection.
///
/// A clone is the same client. When the last one is dropped, so is its connection, unless
/// others have a clone of that.
///
/// ```
/// use std::{io, time::Duration};
/// use wireframe::{Backoff, CallError, Client, Clock, Envelope, Reconnecting};
///
/// async fn connect() -> io::Result<Client> {
///     // An adapter's `connect`, TLS, a choice between addresses: whatever it takes.
/// #   Err(io::ErrorKind::Unsupported.into())
/// }
///
/// async fn ask(clock: Clock) -> Result<Envelope, CallError> {
///     let client = Reconnecting::new(connect, clock)
///         .with_backoff(Backoff::new().with_max(Duration::from_secs(10)))
///         .with_timeout(Duration::from_secs(5));
///     client.call(Envelope::new(1, "hello")).await
/// }
/// ```
pub struct Reconnecting<P: Protocol = EnvelopeProtocol> {
    shared: Arc<Shared<P>>,
    /// The time that a call has, connecting included.
    timeout: Option<Duration>,
}

/// How long one attempt may take, if nothing else is said.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

type Connecting<P, E> = Pin<Box<dyn Future<Output = Result<Client<P>, E>> + Send>>;

struct Shared<P: Protocol> {
    connect: Arc<dyn Fn() -> Connecting<P, io::Error> + Send + Sync>,
    clock: Clock,
    state: Mutex<State<P>>,
}

struct State<P: Protocol> {
    closed: bool,
    live: Option<Live<P>>,
    attempt: Stage<P>,
    /// Failures in a row; a connection that has died is one.
    failures: u32,
    /// When the last of them was. The next wait counts from then, not from the need.
    failed_at: Instant,
    backoff: Backoff,
    /// How long one attempt may take.
    connect_timeout: Duration,
    rng: Rng,
    /// Those who wait for a client and have not been woken, oldest first.
    waiters: BTreeMap<u64, Waker>,
    /// How many have ever waited.
    arrivals: u64,
    /// Of warnings that an attempt has failed.
    warned: Throttle,
}

struct Live<P: Protocol> {
    client: Client<P>,
    since: Instant,
}

/// How far the attempt to connect has come.
enum Stage<P: Protocol> {
    None,
    /// It is under way, for whoever waits and is polled next.
    UnderWay(Attempt<P>),
    /// One who waits has taken it out and polls it.
    Polled {
        /// It was woken meanwhile, so that it has to be polled again.
        woken: bool,
    },
}

/// An attempt to connect, the wait before it included.
struct Attempt<P: Protocol> {
    connecting: Connecting<P, Failure>,
    waker: Waker,
}

/// An attempt that has failed.
struct Failure {
    error: io::Error,
    at: Instant,
}

impl<P: Protocol> Reconnecting<P> {
    /// A client that connects with `connect`, which is not called before a client is
    /// needed. It waits between attempts as [`Backoff::new`] says.
    pub fn new<C, F>(connect: C, clock: Clock) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Client<P>>> + Send + 'static,
    {
        let backoff = Backoff::new();
        let state = State {
            closed: false,
            live: None,
            attempt: Stage::None,
            failures: 0,
            failed_at: Instant::ZERO,
            rng: backoff.rng(),
            backoff,
            connect_timeout: CONNECT_TIMEOUT,
            waiters: BTreeMap::new(),
            arrivals: 0,
            warned: Throttle::default(),
        };
        Self {
            shared: Arc::new(Shared {
                connect: Arc::new(move || Box::pin(connect())),
                clock,
                state: Mutex::new(state),
            }),
            timeout: None,
        }
    }

    /// Sets how long it waits between attempts, for all of its clones.
    #[must_use]
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        let mut state = lock(&self.shared.state);
        state.rng = backoff.rng();
        state.backoff = backoff;
        drop(state);
        self
    }

    /// Sets how long one attempt to connect may take, the wait before it excluded, for all
    /// of its clones. One that takes longer is dropped, and has failed. Default 30 s.
    #[must_use]
    pub fn with_connect_timeout(self, limit: Duration) -> Self {
        lock(&self.shared.state).connect_timeout = limit;
        self
    }

    /// The same client, whose [`call`](Self::call)s each have so long, connecting
    /// included. The default is no limit.
    #[must_use]
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// The live client; waits while there is none.
    ///
    /// It may die at any time. Then ask again.
    ///
    /// # Errors
    ///
    /// [`CallError::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends this wait. An attempt to connect that is under way goes on
    /// with the next who waits, now or later.
    pub async fn client(&self) -> Result<Client<P>, CallError> {
        Wait::new(&self.shared).await
    }

    /// Calls over the live connection, see [`Client::call`]; waits while there is none.
    ///
    /// It is not tried again if the connection dies under it.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; [`CallError::TimedOut`] also if there was no connection in
    /// time.
    ///
    /// # Cancel safety
    ///
    /// As [`Client::call`], and [`client`](Self::client) before that.
    pub async fn call(&self, frame: P::Frame) -> Result<P::Frame, CallError> {
        let Some(limit) = self.timeout else {
            return self.call_in_time(frame).await;
        };
        let call = self.call_in_time(frame);
        let in_time = self.shared.clock.timeout(limit, call).await;
        in_time.unwrap_or(Err(CallError::TimedOut { limit }))
    }

    async fn call_in_time(&self, frame: P::Frame) -> Result<P::Frame, CallError> {
        let client = self.client().await?;
        let reply = client.call(frame).await;
        if matches!(reply, Err(CallError::Closed(_))) {
            self.shared.lost(&client);
        }
        reply
    }

    /// Ends it for all of its clones: the live connection is drained and closed, an
    /// attempt to connect is dropped, and whoever waits or asks for a client is refused.
    pub fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        let (live, attempt) = (state.live.take(), state.attempt.take());
        let waiters = state.take_waiters();
        drop(state);
        if let Some(live) = live {
            live.client.connection().close();
        }
        drop(attempt);
        waiters.for_each(contain::wake);
    }
}

impl<P: Protocol> Shared<P> {
    /// A call has found that connection dead, or draining.
    fn lost(&self, client: &Client<P>) {
        let id = client.connection().id();
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let is_it = |live: &mut Live<P>| live.client.connection().id() == id;
        let live = state.live.take_if(is_it);
        state.note_end(live.as_ref(), now);
        drop(state);
        drop(live);
    }

    /// A new attempt, and the wait before it.
    fn begin(self: &Arc<Self>, state: &mut State<P>, now: Instant) -> Attempt<P> {
        let wait = state.backoff.wait(state.failures, &mut state.rng);
        let begins_at = state.failed_at + wait;
        let limit = state.connect_timeout;
        let (clock, connect) = (self.clock.clone(), Arc::clone(&self.connect));
        Attempt {
            connecting: Box::pin(async move {
                if begins_at > now {
                    clock.sleep_until(begins_at).await;
                }
                let late_at = clock.now() + limit;
                match clock.timeout(limit, connect()).await {
                    Ok(connected) => connected.map_err(|error| Failure {
                        error,
                        at: clock.now(),
                    }),
                    // Perhaps nobody has looked since.
                    Err(elapsed) => Err(Failure {
                        error: io::Error::new(io::ErrorKind::TimedOut, elapsed),
                        at: late_at,
                    }),
                }
            }),
            waker: Waker::from(Arc::new(AttemptWaker::new(self))),
        }
    }
}

impl<P: Protocol> State<P> {
    /// Takes note of a failure.
    fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
    }

    /// The end of a connection counts as a failure: else the clients of a server that has
    /// gone would all come back at once. One that was up for as long as the longest wait
    /// begins a new row.
    fn note_end(&mut self, ended: Option<&Live<P>>, now: Instant) {
        let Some(live) = ended else {
            return;
        };
        if now.saturating_duration_since(live.since) >= self.backoff.max {
            self.failures = 0;
        }
        self.fail(now);
    }

    /// Those who wait, to be woken.
    fn take_waiters(&mut self) -> impl Iterator<Item = Waker> + use<P> {
        std::mem::take(&mut self.waiters).into_values()
    }
}

impl<P: Protocol> Stage<P> {
    /// Takes the attempt out, unless somebody polls it.
    fn take(&mut self) -> Option<Attempt<P>> {
        match std::mem::replace(self, Self::None) {
            Self::UnderWay(attempt) => Some(attempt),
            Self::None => None,
            polled @ Self::Polled { .. } => {
                *self = polled;
                None
            }
        }
    }
}

impl<P: Protocol> Clone for Reconnecting<P> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            timeout: self.timeout,
        }
    }
}

impl<P: Protocol> fmt::Debug for Reconnecting<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.shared.state);
        let (connected, failures) = (state.live.is_some(), state.failures);
        let closed = state.closed;
        drop(state);
        f.debug_struct("Reconnecting")
            .field("connected", &connected)
            .field("failures", &failures)
            .field("closed", &closed)
            .finish_non_exhaustive()
    }
}
