//! Warnings that a peer can provoke: how many of them there are.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::{self, IoSlice},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tracing::Level;
use wireframe::{
    CallError, Client, Envelope, FragmentLimits, MemoryBudget, Priority, PushCapacity, PushLimits,
    PushPolicy, Reconnecting, Transport, WireframeApp, WireframeError,
    proto::Multiplexed,
    rt::Timer,
    server::{self, Accepted, ConnectionLimits, Listener, ServerHandle},
    testing::Simulation,
};
use wireframe_tests::{Lines, Oops, line};

use crate::{
    recorder::{self, Heard, heard_here},
    rig::{Rig, address, secs, some},
};

const REQUEST: &[u8] = b"\0\0\0\x03\x01\0\0";

fn refuse() -> Result<(), WireframeError<Infallible>> {
    Err(WireframeError::Other("no".into()))
}

/// The warnings of this thread since the last call: what was said, and how often it was not
/// said before.
fn warnings() -> Vec<(String, u64)> {
    let mut heard = heard_here();
    heard.retain(|heard| heard.level <= Level::WARN);
    let suppressed = |heard: &Heard| heard.field("suppressed").parse().expect("a number");
    heard
        .into_iter()
        .map(|heard| (heard.message.clone(), suppressed(&heard)))
        .collect()
}

fn one(message: &str, suppressed: u64) -> Vec<(String, u64)> {
    vec![(message.to_owned(), suppressed)]
}

#[test]
fn failing_requests_are_warned_of_once_in_an_interval_with_their_number() {
    // rule: OBS-3
    let mut rig = Rig::new(WireframeApp::new().route(1, refuse));
    rig.peer.send(&REQUEST.repeat(5));
    rig.simulation.run();
    assert_eq!(warnings(), one("an answer failed", 0));
    rig.advance(secs(10) - Duration::from_nanos(1));
    rig.peer.send(REQUEST);
    rig.simulation.run();
    assert_eq!(warnings(), []);
    rig.advance(Duration::from_nanos(1));
    rig.peer.send(&REQUEST.repeat(3));
    rig.simulation.run();
    assert_eq!(warnings(), one("an answer failed", 5));
    rig.advance(secs(3600));
    assert_eq!(warnings(), [], "nothing is said before the next");
    rig.peer.send(REQUEST);
    rig.simulation.run();
    assert_eq!(warnings(), one("an answer failed", 2));
}

#[test]
fn each_connection_and_each_kind_is_warned_of_by_itself() {
    // rule: OBS-3
    let app = || WireframeApp::new().route(1, refuse);
    let (mut first, mut second) = (Rig::new(app()), Rig::new(app()));
    for rig in [&mut first, &mut second] {
        rig.peer.send(REQUEST);
        rig.simulation.run();
        assert_eq!(warnings(), one("an answer failed", 0));
    }
    // A route that nobody has closes the connection as well.
    first.peer.send(b"\0\0\0\x03\x07\0\0");
    first.simulation.run();
    assert_eq!(warnings(), one("no handler for this route", 0));
}

#[test]
fn peers_that_come_again_for_a_route_that_nobody_has_are_warned_of_once_in_an_interval() {
    // rule: OBS-3, RESP-9
    recorder::listen();
    let app = WireframeApp::new().build().expect("fit to serve");
    let comes = |at| {
        let mut rig = Rig::of(&app, 100);
        rig.advance(at);
        rig.peer.send(REQUEST);
        rig.simulation.run();
        warnings()
    };
    let message = "no handler for this route";
    assert_eq!(comes(Duration::ZERO), one(message, 0));
    assert_eq!(comes(secs(1)), []);
    assert_eq!(comes(secs(9)), []);
    assert_eq!(comes(secs(10)), one(message, 2));
}

#[test]
fn pushes_that_find_no_room_are_warned_of_once_in_an_interval() {
    // rule: OBS-3, PUSH-4
    let full = PushLimits::both(PushCapacity::new().with_frames(some(1)));
    let rig = Rig::over(WireframeApp::new().push_limits(full), 0);
    let drops = |policy, times: usize| {
        for _ in 0..times {
            let frame = Envelope::new(1, "x");
            let pushed = rig.push.push_with_policy(Priority::Low, frame, policy);
            assert!(pushed.is_ok(), "the connection is there");
        }
    };
    let warn = PushPolicy::WarnAndDropIfFull;
    drops(warn, 4);
    assert_eq!(warnings(), one("frame dropped", 0));
    rig.advance(secs(9));
    drops(warn, 1);
    // What is dropped silently is none of those.
    drops(PushPolicy::DropIfFull, 7);
    assert_eq!(warnings(), []);
    rig.advance(secs(1));
    drops(warn, 1);
    assert_eq!(warnings(), one("frame dropped", 3));
}

#[test]
fn handlers_of_pushes_that_fail_are_warned_of_once_in_an_interval() {
    // rule: OBS-3
    let app = WireframeApp::with_protocol(Lines::new());
    let mut rig = Rig::new(app.on_push(async || Err::<(), _>(Oops("no"))));
    rig.send(["x", "x", "x"]);
    assert_eq!(warnings(), one("a handler failed", 0));
    rig.advance(secs(10));
    rig.send(["x"]);
    assert_eq!(warnings(), one("a handler failed", 2));
}

#[test]
fn pushes_that_come_faster_than_they_are_handled_are_warned_of_once_in_an_interval() {
    // rule: OBS-3
    // 64 are handled at once, and 256 wait.
    const TAKEN: usize = 64 + 256;
    let app = WireframeApp::with_protocol(Lines::new());
    let mut rig = Rig::new(app.on_push(std::future::pending::<()>));
    rig.send(["x"; TAKEN]);
    assert_eq!(warnings(), []);
    rig.send(["x"; 5]);
    assert_eq!(warnings(), one("frame dropped", 0));
    rig.advance(secs(10));
    rig.send(["x"]);
    assert_eq!(warnings(), one("frame dropped", 4));
    assert_eq!(rig.push.connection().unhandled_pushes(), 6);
}

#[test]
fn control_frames_that_cannot_be_encoded_are_warned_of_once_in_an_interval() {
    // rule: OBS-3
    let mut rig = Rig::new(WireframeApp::with_protocol(Lines::new()));
    rig.send(["~?", "~?", "~?"]);
    assert_eq!(warnings(), one("frame dropped", 0));
    rig.advance(secs(10));
    rig.send(["~?"]);
    assert_eq!(warnings(), one("frame dropped", 2));
}

#[test]
fn pushes_that_cannot_be_encoded_are_warned_of_once_in_an_interval() {
    // rule: OBS-3
    let rig = Rig::new(WireframeApp::with_protocol(Lines::new()));
    let push = |times| {
        for _ in 0..times {
            let frame = line("what?");
            rig.push
                .try_push(Priority::Low, frame)
                .expect("there is room");
        }
        rig.simulation.run();
    };
    push(3);
    assert_eq!(warnings(), one("frame dropped", 0));
    rig.advance(secs(10));
    push(1);
    assert_eq!(warnings(), one("frame dropped", 2));
}

/// A connection that does not get through its handshake.
struct Unprepared;

impl Transport for Unprepared {
    fn preparation(&self) -> Option<Duration> {
        Some(secs(1))
    }

    fn poll_prepare(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("bad\x1b[2Jname")))
    }

    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// Gives one of these at each of these times.
struct Scheduled<F> {
    simulation: Simulation,
    at: VecDeque<Duration>,
    make: F,
}

impl<F> Listener for Scheduled<F>
where
    F: FnMut() -> io::Result<Accepted<Unprepared>> + Send + Unpin,
{
    type Transport = Unprepared;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<Unprepared>>> {
        let now = self.simulation.clock().now();
        let started = wireframe::proto::Instant::ZERO;
        let Some(next) = self.at.front() else {
            return Poll::Pending;
        };
        if started + *next > now {
            let (clock, at) = (self.simulation.clock().clock(), started + *next);
            let waker = cx.waker().clone();
            self.simulation.spawn(async move {
                clock.sleep_until(at).await;
                waker.wake();
            });
            return Poll::Pending;
        }
        self.at.pop_front();
        Poll::Ready((self.make)())
    }
}

/// Serves what comes at these seconds, and says what is warned of then.
fn served<F>(at: &[u64], make: F) -> (Vec<(String, u64)>, ServerHandle)
where
    F: FnMut() -> io::Result<Accepted<Unprepared>> + Send + Unpin + 'static,
{
    recorder::listen();
    let (simulation, handle) = (Simulation::new(), ServerHandle::default());
    let listener = Scheduled {
        simulation: simulation.clone(),
        at: at.iter().copied().map(secs).collect(),
        make,
    };
    let (app, limits) = (WireframeApp::new(), ConnectionLimits::default());
    let served = server::serve(
        listener,
        app,
        simulation.environment(),
        handle.clone(),
        limits,
    );
    simulation.spawn(async move { served.await.is_ok() });
    simulation.advance(secs(100));
    (warnings(), handle)
}

#[test]
fn a_server_warns_of_failed_handshakes_once_in_an_interval() {
    // rule: OBS-3, TLS-2
    let make = || Ok((Unprepared, Some(address())));
    let (said, handle) = served(&[0, 0, 0, 9, 10, 30], make);
    let once = |suppressed| ("a connection failed before it began".to_owned(), suppressed);
    assert_eq!(said, [once(0), once(3), once(0)]);
    assert_eq!(handle.failed_handshakes(), 6);
}

#[test]
fn what_a_handshake_failed_with_is_escaped() {
    // rule: OBS-3
    recorder::listen();
    let simulation = Simulation::new();
    let listener = Scheduled {
        simulation: simulation.clone(),
        at: [Duration::ZERO].into(),
        make: || Ok((Unprepared, Some(address()))),
    };
    let (handle, limits) = (ServerHandle::default(), ConnectionLimits::default());
    let environment = simulation.environment();
    let served = server::serve(listener, WireframeApp::new(), environment, handle, limits);
    simulation.spawn(async move { served.await.is_ok() });
    simulation.run();
    let heard = heard_here();
    let failed = heard
        .iter()
        .find(|heard| heard.message == "a connection failed before it began");
    let failed = failed.expect("it was said");
    assert_eq!(failed.field("error"), r"bad\u{1b}[2Jname");
    assert_eq!(failed.field("peer"), address().to_string());
}

#[test]
fn a_server_warns_once_in_an_interval_that_it_cannot_accept() {
    // rule: OBS-3, LIM-4
    let make = || Err(io::ErrorKind::OutOfMemory.into());
    let (said, _) = served(&[0, 1, 2, 3, 12], make);
    let once = |suppressed| ("cannot accept connections for now".to_owned(), suppressed);
    assert_eq!(said, [once(0), once(3)]);
}

#[test]
fn a_client_warns_once_in_an_interval_that_it_cannot_connect() {
    // rule: OBS-3, CLI-6
    recorder::listen();
    let simulation = Simulation::new();
    let connect = async || -> io::Result<Client> { Err(io::ErrorKind::ConnectionRefused.into()) };
    let client = Reconnecting::new(connect, simulation.clock().clock());
    let call = simulation.spawn(async move {
        let client = client.with_timeout(secs(100));
        client.call(Envelope::new(1, "x")).await
    });
    simulation.advance(secs(100));
    let said = warnings();
    assert!(matches!(call.take(), Some(Err(CallError::TimedOut { .. }))));
    // Attempts come fast at first, and later more seldom than in an interval.
    assert!(said.len() <= 11 && said[1].1 > 3, "{said:?}");
    assert!(said.iter().all(|(message, _)| message == "cannot connect"));
}

#[test]
fn a_budget_warns_once_in_an_interval_of_those_that_it_closes() {
    // rule: OBS-3, LIM-6
    let budget = MemoryBudget::new(some(10_000));
    // Two that take no output hold more than there is, at this time of their clocks.
    let exceed = |at: Duration| {
        let mut said = Vec::new();
        let rigs = [(); 2].map(|()| Rig::over(WireframeApp::new().memory_budget(&budget), 0));
        for rig in &rigs {
            rig.advance(at);
            let frame = Envelope::new(1, vec![0; 6_000]);
            rig.push
                .try_push(Priority::Low, frame)
                .expect("there is memory");
            rig.simulation.run();
            said.extend(warnings());
        }
        for rig in &rigs {
            rig.simulation.run();
            rig.driver.cancel();
        }
        said.extend(warnings());
        said
    };
    let message = "too much memory is used, one is closed";
    assert_eq!(exceed(Duration::ZERO), one(message, 0));
    assert_eq!(exceed(secs(9)), []);
    assert_eq!(exceed(secs(10)), one(message, 1));
    assert_eq!(budget.closed(), 3);
}

#[test]
fn a_budget_warns_once_in_an_interval_of_messages_that_it_refuses_however_often_peers_come() {
    // rule: OBS-3, LIM-6
    const FRAGMENT: &[u8] = b"\0\0\0\x01\x05\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x02x";
    let app = |budget: &MemoryBudget| {
        let app = WireframeApp::new().memory_budget(budget);
        app.fragmentation(Multiplexed::new(), FragmentLimits::default())
    };
    // One that takes no output holds all there is, and no more.
    let hold = |budget: &MemoryBudget| {
        let rig = Rig::over(app(budget), 0);
        let frame = Envelope::new(1, vec![0; 6_000]);
        rig.push
            .try_push(Priority::Low, frame)
            .expect("there is memory");
        rig.simulation.run();
        rig
    };
    let measured = MemoryBudget::default();
    drop(hold(&measured));
    let budget = MemoryBudget::new(some(measured.used()));
    let _holder = hold(&budget);
    assert_eq!(budget.used(), budget.limit());
    let comes = |at| {
        let mut rig = Rig::new(app(&budget));
        rig.advance(at);
        rig.peer.send(FRAGMENT);
        rig.simulation.run();
        let reason = rig.end().expect("it has ended").to_string();
        let mut heard = heard_here();
        heard.retain(|heard| heard.level <= Level::INFO);
        let ended = heard
            .iter()
            .position(|heard| heard.message == "connection ended");
        let ended = heard.remove(ended.expect("it is said"));
        assert_eq!(
            (ended.level, ended.field("reason")),
            (Level::INFO, &*reason)
        );
        assert!(reason.starts_with("memory_budget is "), "{reason}");
        heard.retain(|heard| heard.level <= Level::WARN);
        heard
            .iter()
            .map(|heard| heard.field("suppressed").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(comes(Duration::ZERO), ["0"]);
    assert_eq!(comes(secs(1)), [""; 0]);
    assert_eq!(comes(secs(9)), [""; 0]);
    assert_eq!(comes(secs(10)), ["2"]);
    assert_eq!(budget.closed(), 4);
}
