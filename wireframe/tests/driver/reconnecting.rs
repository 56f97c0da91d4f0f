//! A client that connects again.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use wireframe::{
    Backoff, CallError, Client, CloseReason, Driver, Envelope, Jitter, Reconnecting, WireframeApp,
    proto::Instant,
    testing::{Simulation, Spawned, link},
};

use crate::rig::secs;

/// What becomes of an attempt to connect.
#[derive(Clone, Copy)]
enum Outcome {
    Refused,
    /// After so many seconds.
    Connected(u64),
    Panics,
}

use Outcome::{Connected, Panics, Refused};

/// Servers to connect to, and what is known of them.
#[derive(Clone)]
struct Net {
    simulation: Simulation,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Of the next attempts; when there are none left, they all succeed.
    outcomes: VecDeque<Outcome>,
    attempts: Vec<Instant>,
    servers: Vec<Spawned<CloseReason>>,
    /// What the servers were asked.
    asked: Vec<Bytes>,
}

impl Net {
    fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let net = Self {
            simulation: Simulation::new(),
            shared: Arc::default(),
        };
        net.shared.lock().unwrap().outcomes.extend(outcomes);
        net
    }

    /// A client without jitter.
    fn client(&self) -> Reconnecting {
        let net = self.clone();
        let connect = move || {
            let net = net.clone();
            async move { net.connect().await }
        };
        let client = Reconnecting::new(connect, self.simulation.clock().clock());
        client.with_backoff(Backoff::new().with_jitter(Jitter::None))
    }

    async fn connect(&self) -> io::Result<Client> {
        let environment = self.simulation.environment();
        let outcome = {
            let mut shared = self.shared.lock().unwrap();
            shared.attempts.push(environment.clock.now());
            shared.outcomes.pop_front().unwrap_or(Connected(0))
        };
        match outcome {
            Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
            Panics => panic!("told to"),
            Connected(0) => {}
            Connected(seconds) => environment.clock.sleep(secs(seconds)).await,
        }
        let (near, far) = link(10_000);
        let (shared, also) = (self.shared.clone(), self.shared.clone());
        let server = WireframeApp::new()
            .route(1, move |body: Bytes| {
                shared.lock().unwrap().asked.push(body.clone());
                async move { body }
            })
            .route(2, move |body: Bytes| {
                also.lock().unwrap().asked.push(body);
                std::future::pending::<()>()
            });
        let server = Driver::server(&server.build().unwrap(), near, None, &environment);
        let server = self.simulation.spawn(server);
        self.shared.lock().unwrap().servers.push(server);
        let app = WireframeApp::new().build().unwrap();
        let (client, driver) = Client::new(&app, far, None, &environment);
        self.simulation.spawn(driver);
        Ok(client)
    }

    fn attempts(&self) -> Vec<Instant> {
        self.shared.lock().unwrap().attempts.clone()
    }

    /// The server that was connected to last goes away.
    fn kill(&self) {
        self.shared.lock().unwrap().servers.last().unwrap().cancel();
        self.simulation.run();
    }

    fn call(
        &self,
        client: &Reconnecting,
        route: u32,
        body: &'static str,
    ) -> Spawned<Result<Bytes, CallError>> {
        let client = client.clone();
        let call = self.simulation.spawn(async move {
            let reply = client.call(Envelope::new(route, body)).await?;
            Ok(reply.payload)
        });
        self.simulation.run();
        call
    }

    /// The name of the connection that somebody waits for.
    fn connection(&self, client: &Reconnecting) -> Spawned<Result<u64, CallError>> {
        let client = client.clone();
        let connection = self.simulation.spawn(async move {
            let live = client.client().await?;
            Ok(live.connection().id().0)
        });
        self.simulation.run();
        connection
    }
}

fn millis(times: impl IntoIterator<Item = u64>) -> Vec<Instant> {
    times.into_iter().map(Instant::from_millis).collect()
}

fn replied(body: &'static str) -> Option<Result<Bytes, CallError>> {
    Some(Ok(body.into()))
}

fn closed<T>(reason: CloseReason) -> Option<Result<T, CallError>> {
    Some(Err(CallError::Closed(reason)))
}

#[test]
fn it_connects_when_it_is_first_needed_and_all_who_wait_share_the_attempt() {
    // rule: CLI-6
    let net = Net::new([Connected(1)]);
    let client = net.client();
    net.simulation.advance(secs(10));
    assert_eq!(net.attempts(), []);
    let waiting = [(); 3].map(|()| net.connection(&client));
    let call = net.call(&client, 1, "hello");
    net.simulation.advance(secs(1));
    assert_eq!(net.attempts(), millis([10_000]));
    let ids = waiting.map(|connection| connection.take().unwrap().unwrap());
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(call.take(), replied("hello"));
}

#[test]
fn failed_attempts_follow_each_other_after_growing_waits() {
    // rule: CLI-6
    let net = Net::new([Refused; 12]);
    let client = net.client();
    let calls = [(); 2].map(|()| net.call(&client, 1, "x"));
    let mut expected = vec![0];
    for wait in [
        100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000,
    ] {
        net.simulation
            .advance(Duration::from_millis(wait) - Duration::from_nanos(1));
        assert_eq!(net.attempts(), millis(expected.clone()));
        assert!(!calls[0].is_done());
        net.simulation.advance(Duration::from_nanos(1));
        expected.push(expected[expected.len() - 1] + wait);
    }
    assert_eq!(net.attempts(), millis(expected));
    for call in calls {
        assert_eq!(call.take(), replied("x"));
    }
}

#[test]
fn waits_have_jitter_that_a_seed_repeats() {
    // rule: CLI-6
    let run = |seed| {
        let net = Net::new([Refused; 20]);
        let client = net.client().with_backoff(Backoff::new().with_seed(seed));
        let call = net.call(&client, 1, "x");
        net.simulation.advance(secs(1000));
        assert_eq!(call.take(), replied("x"));
        net.attempts()
    };
    let attempts = run(5);
    assert_eq!(attempts, run(5));
    assert_ne!(attempts, run(6));
    let mut bound = Duration::from_millis(100);
    for pair in attempts.windows(2) {
        assert!(pair[1].saturating_duration_since(pair[0]) <= bound);
        bound = (2 * bound).min(secs(30));
    }
}

#[test]
fn the_next_call_goes_over_a_new_connection_when_the_old_one_has_died() {
    // rule: CLI-6
    let net = Net::new([]);
    let client = net.client();
    assert_eq!(net.call(&client, 1, "one").take(), replied("one"));
    assert_eq!(net.call(&client, 1, "two").take(), replied("two"));
    assert_eq!(net.attempts().len(), 1);
    net.simulation.advance(secs(60));
    net.kill();
    assert_eq!(net.attempts().len(), 1, "nobody needs one");
    let call = net.call(&client, 1, "three");
    net.simulation.advance(Duration::from_millis(100));
    assert_eq!(call.take(), replied("three"));
    assert_eq!(net.attempts(), millis([0, 60_100]));
}

#[test]
fn a_call_that_dies_with_its_connection_is_not_made_again() {
    // rule: CLI-6, CLI-3
    let net = Net::new([]);
    let client = net.client();
    let call = net.call(&client, 2, "once");
    net.simulation.advance(secs(60));
    net.kill();
    assert_eq!(call.take(), closed(CloseReason::PeerClosed));
    net.simulation.advance(secs(60));
    assert_eq!(net.attempts().len(), 1);
    assert_eq!(net.call(&client, 1, "next").take(), replied("next"));
    assert_eq!(net.shared.lock().unwrap().asked, ["once", "next"]);
}

#[test]
fn a_call_that_a_draining_connection_refused_lets_the_next_one_reconnect() {
    // rule: CLI-6
    let net = Net::new([]);
    let client = net.client();
    let pending = net.call(&client, 2, "");
    let live = net.simulation.spawn({
        let client = client.clone();
        async move { client.client().await }
    });
    net.simulation.run();
    live.take().unwrap().unwrap().connection().close();
    net.simulation.run();
    let refused = net.call(&client, 1, "refused");
    assert_eq!(refused.take(), closed(CloseReason::Drained));
    assert!(!pending.is_done(), "it drains");
    let next = net.call(&client, 1, "next");
    assert!(!next.is_done(), "it counts as one that died young");
    net.simulation.advance(Duration::from_millis(100));
    assert_eq!(next.take(), replied("next"));
    assert_eq!(net.attempts(), millis([0, 100]));
}

#[test]
fn connections_that_die_count_as_failures_and_older_ones_begin_a_new_row() {
    // rule: CLI-6
    let net = Net::new([]);
    let client = net.client();
    let mut expected = vec![0];
    let mut now = 0;
    for wait in [100, 200, 400] {
        assert!(net.connection(&client).is_done());
        net.kill();
        let next = net.connection(&client);
        net.simulation.advance(Duration::from_millis(wait - 1));
        assert!(!next.is_done());
        net.simulation.advance(Duration::from_millis(1));
        assert!(next.is_done());
        now += wait;
        expected.push(now);
    }
    assert_eq!(net.attempts(), millis(expected));
    let nano = Duration::from_nanos(1);
    for (lived, wait) in [
        (secs(30), 100),
        (secs(30), 100),
        (secs(30) - nano, 200),
        (secs(30), 100),
    ] {
        net.simulation.advance(lived);
        net.kill();
        let next = net.connection(&client);
        net.simulation.advance(Duration::from_millis(wait) - nano);
        assert!(!next.is_done());
        net.simulation.advance(nano);
        assert!(next.is_done());
    }
}

#[test]
fn the_wait_counts_from_the_failure_and_not_from_the_need() {
    // rule: CLI-6
    let net = Net::new([Refused; 2]);
    let patient = Backoff::new()
        .with_jitter(Jitter::None)
        .with_first(secs(20));
    let client = net.client().with_backoff(patient);
    let call = net.call(&client, 1, "given up");
    call.cancel();
    net.simulation.advance(secs(15));
    let call = net.call(&client, 1, "given up");
    net.simulation.advance(secs(5));
    assert_eq!(net.attempts(), millis([0, 20_000]));
    call.cancel();
    net.simulation.advance(secs(3600));
    assert_eq!(net.call(&client, 1, "x").take(), replied("x"));
    assert_eq!(net.attempts(), millis([0, 20_000, 3_620_000]));
    // The end of a connection that a call runs into is known at once.
    let call = net.call(&client, 2, "");
    net.kill();
    assert_eq!(call.take(), closed(CloseReason::PeerClosed));
    net.simulation.advance(secs(80));
    assert_eq!(net.call(&client, 1, "y").take(), replied("y"));
}

#[test]
fn an_attempt_goes_on_with_the_next_who_waits_when_the_first_is_dropped() {
    // rule: CLI-6
    let net = Net::new([Refused, Connected(5)]);
    let client = net.client();
    let waiting = [(); 4].map(|()| net.connection(&client));
    // During the wait before it, and while it connects.
    waiting[0].cancel();
    net.simulation.advance(secs(2));
    waiting[2].cancel();
    waiting[1].cancel();
    net.simulation.advance(secs(4));
    assert!(waiting[3].take().unwrap().is_ok());
    assert_eq!(net.attempts(), millis([0, 100]));
    assert_eq!(net.shared.lock().unwrap().servers.len(), 1);
}

#[test]
fn an_attempt_that_nobody_waits_for_goes_on_with_the_next_who_comes() {
    // rule: CLI-6
    let net = Net::new([Connected(5)]);
    let client = net.client();
    let first = net.connection(&client);
    net.simulation.advance(secs(1));
    first.cancel();
    net.simulation.advance(secs(10));
    assert_eq!(net.shared.lock().unwrap().servers.len(), 0);
    assert!(net.connection(&client).is_done());
    assert_eq!(net.attempts(), millis([0]));
}

/// As `select!` with a reference does: one is kept and not polled, while another is awaited.
#[test]
fn one_that_waits_and_is_not_polled_keeps_nobody_from_connecting() {
    // rule: CLI-6
    let net = Net::new([Refused, Connected(2)]);
    let client = net.client();
    let clock = net.simulation.clock().clock();
    let task = net.simulation.spawn(async move {
        let mut kept = pin!(client.client());
        assert!(clock.timeout(secs(1), kept.as_mut()).await.is_err());
        let live = client.client().await.unwrap();
        let same = kept.await.unwrap();
        live.connection().id() == same.connection().id()
    });
    net.simulation.advance(secs(2));
    assert!(!task.is_done());
    net.simulation.advance(secs(1));
    assert_eq!(task.take(), Some(true));
    assert_eq!(net.attempts(), millis([0, 100]));
}

/// Whoever is woken because of the attempt may be dropped before it is polled.
#[test]
fn a_wake_up_of_the_attempt_is_not_lost_with_the_one_who_got_it() {
    // rule: CLI-6
    let net = Net::new([Connected(5)]);
    let client = net.client();
    let waiting = [(); 3].map(|()| net.connection(&client));
    net.simulation.clock().advance(secs(5));
    waiting[0].cancel();
    net.simulation.run();
    for connection in &waiting[1..] {
        assert!(connection.take().unwrap().is_ok());
    }
}

#[test]
fn the_time_of_a_call_covers_connecting() {
    // rule: CLI-6, CLI-3
    let net = Net::new([Refused, Refused, Connected(5)]);
    let client = net.client().with_timeout(secs(2));
    let call = net.call(&client, 1, "x");
    net.simulation.advance(secs(2) - Duration::from_nanos(1));
    assert!(!call.is_done());
    net.simulation.advance(Duration::from_nanos(1));
    let limit = secs(2);
    assert_eq!(call.take(), Some(Err(CallError::TimedOut { limit })));
    let calls = [(); 2].map(|()| net.call(&client, 2, "x"));
    net.simulation.advance(secs(2));
    let next = net.call(&client, 1, "x");
    net.simulation.advance(secs(2));
    assert_eq!(next.take(), replied("x"));
    for call in calls {
        assert!(matches!(call.take(), Some(Err(CallError::TimedOut { .. }))));
    }
}

#[test]
fn an_attempt_that_hangs_is_given_up_and_has_failed() {
    // rule: CLI-6
    let net = Net::new([Connected(3600), Connected(3600), Connected(7), Connected(4)]);
    let client = net.client();
    let call = net.call(&client, 1, "x");
    net.simulation.advance(secs(30));
    assert_eq!(net.attempts(), millis([0]));
    net.simulation.advance(Duration::from_millis(100));
    assert_eq!(net.attempts(), millis([0, 30_100]));
    // It counts from its own time, whoever sees it when.
    call.cancel();
    net.simulation.advance(secs(60));
    let _client = client.clone().with_connect_timeout(secs(5));
    let call = net.call(&client, 1, "x");
    assert_eq!(net.attempts(), millis([0, 30_100, 90_100]));
    net.simulation
        .advance(Duration::from_millis(5400) - Duration::from_nanos(1));
    assert_eq!(net.attempts().len(), 3);
    net.simulation.advance(Duration::from_nanos(1));
    assert_eq!(net.attempts().len(), 4);
    net.simulation.advance(secs(4));
    assert_eq!(call.take(), replied("x"));
}

#[test]
fn closing_refuses_who_waits_and_who_comes_and_drops_the_attempt() {
    // rule: CLI-6
    let net = Net::new([Refused, Connected(5)]);
    let client = net.client();
    let waiting = [net.connection(&client), net.connection(&client)];
    net.simulation.advance(secs(1));
    client.clone().close();
    net.simulation.run();
    for connection in waiting {
        assert_eq!(connection.take(), closed(CloseReason::Drained));
    }
    assert_eq!(net.simulation.clock().armed(), 0);
    assert_eq!(
        net.call(&client, 1, "x").take(),
        closed(CloseReason::Drained)
    );
    net.simulation.advance(secs(10));
    assert!(net.shared.lock().unwrap().servers.is_empty());
    client.close();
}

#[test]
fn closing_drains_the_live_connection() {
    // rule: CLI-6
    let net = Net::new([]);
    let client = net.client();
    let live = net.simulation.spawn({
        let client = client.clone();
        async move { client.client().await.unwrap() }
    });
    net.simulation.run();
    let live = live.take().unwrap();
    client.close();
    net.simulation.run();
    assert!(live.push_handle().is_closed());
    assert!(net.shared.lock().unwrap().servers[0].is_done());
}

#[test]
fn the_connection_ends_with_the_last_clone() {
    // rule: CLI-6
    let net = Net::new([]);
    let client = net.client();
    assert_eq!(net.call(&client, 1, "x").take(), replied("x"));
    let other = client.clone();
    drop(client);
    net.simulation.run();
    assert!(!net.shared.lock().unwrap().servers[0].is_done());
    drop(other);
    net.simulation.run();
    assert!(net.shared.lock().unwrap().servers[0].is_done());
}

#[test]
fn an_attempt_that_panics_is_replaced_for_the_others_who_wait() {
    // rule: CLI-6
    let net = Net::new([Refused, Panics]);
    let client = net.client();
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = Box::pin(client.client());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let second = net.connection(&client);
    // Both are woken, and the first is there sooner.
    net.simulation.clock().advance(secs(1));
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| first.as_mut().poll(&mut cx)));
    assert!(panicked.is_err());
    net.simulation.advance(secs(1));
    assert!(second.take().unwrap().is_ok());
    assert_eq!(net.attempts().len(), 3);
}

#[test]
fn nobody_spins_however_the_servers_behave() {
    // rule: CLI-6
    let net = Net::new([Refused; 3].into_iter().chain([Connected(1); 100]));
    let none = Backoff::new()
        .with_jitter(Jitter::None)
        .with_first(Duration::ZERO)
        .with_max(Duration::ZERO)
        .with_factor(std::num::NonZeroU32::MAX);
    let client = net.client().with_backoff(none);
    for _ in 0..5 {
        let connection = net.connection(&client);
        net.simulation.advance(secs(2));
        assert!(connection.is_done());
        net.kill();
    }
    assert_eq!(net.attempts().len(), 8);
    assert_eq!(net.attempts()[..4], millis([0, 1, 2, 3]));
}

/// A waiter that is woken and is slow to be polled keeps nobody.
#[test]
fn all_who_wait_are_woken_when_a_client_is_there() {
    // rule: CLI-6
    let net = Net::new([Connected(1)]);
    let client = net.client();
    let first = net.connection(&client);
    let mut slow = Box::pin(client.client());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(slow.as_mut().poll(&mut cx).is_pending());
    let third = net.connection(&client);
    net.simulation.advance(secs(1));
    assert!(first.is_done() && third.is_done());
}

/// Notes that it was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As another thread could, while the first waiter polls the attempt.
#[test]
fn who_comes_while_the_attempt_is_polled_begins_no_other_and_misses_no_wake_up() {
    // rule: CLI-6
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    type Other = Pin<Box<dyn Future<Output = Result<Client, CallError>> + Send>>;
    let other: Arc<Mutex<Option<Other>>> = Arc::default();
    let attempts = Arc::new(Mutex::new(0));
    let (slot, count) = (other.clone(), attempts.clone());
    let connect = move || {
        let (slot, waker) = (slot.clone(), waker.clone());
        *count.lock().unwrap() += 1;
        poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            if let Some(other) = &mut *slot.lock().unwrap() {
                let mut cx = Context::from_waker(&waker);
                assert!(other.as_mut().poll(&mut cx).is_pending());
            }
            Poll::Pending
        })
    };
    let client = Reconnecting::new(connect, Simulation::new().clock().clock());
    let clone = client.clone();
    *other.lock().unwrap() = Some(Box::pin(async move { clone.client().await }));
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = Box::pin(client.client());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert_eq!(*attempts.lock().unwrap(), 1);
    assert!(flag.0.load(Ordering::Relaxed));
    drop(other.lock().unwrap().take());
}

/// The future may be sent to another thread.
#[test]
fn its_futures_are_send() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let client = Net::new([]).client();
    let mut call: Pin<Box<dyn Future<Output = _> + Send>> =
        Box::pin(send(client.call(Envelope::new(1, ""))));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(call.as_mut().poll(&mut cx), Poll::Pending));
    drop(send(client.client()));
    let _: &(dyn Send + Sync) = &client;
}
