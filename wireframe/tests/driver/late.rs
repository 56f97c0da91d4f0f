//! A driver that comes late, on a runtime that has not looked at its sockets meanwhile.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use wireframe::{
    BodyError, Clock, CloseReason, Conversation, Driver, Environment, Heartbeat, Inbound,
    Malformed,
    Priority::High,
    PushHandle, Response, State, WireframeApp,
    proto::Instant,
    rt::{Sleep, Timer},
    testing::{Link, Simulation, Spawned, link},
};

use crate::{
    flaws::FLAW,
    rig::{Line, Oops, Text, config, line, lines, nonzero, secs, text, wire},
};

/// Time goes on by itself; sleeps end, and what peers do is seen, when the reactor turns.
#[derive(Clone, Default)]
struct Reactor(Arc<Mutex<Turned>>);

#[derive(Default)]
struct Turned {
    now: Instant,
    at: Instant,
    asleep: Vec<(Instant, Waker)>,
}

impl Reactor {
    fn pass(&self, time: Duration) {
        let mut turned = self.0.lock().unwrap();
        turned.now += time;
    }
}

struct Nap {
    until: Instant,
    reactor: Reactor,
}

impl Timer for Reactor {
    fn now(&self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn sleep_until(&self, until: Instant) -> Pin<Box<dyn Sleep>> {
        let reactor = self.clone();
        Box::pin(Nap { until, reactor })
    }
}

impl Future for Nap {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut turned = self.reactor.0.lock().unwrap();
        if self.until <= turned.at {
            return Poll::Ready(());
        }
        turned.asleep.push((self.until, cx.waker().clone()));
        Poll::Pending
    }
}

impl Sleep for Nap {
    fn reset(mut self: Pin<&mut Self>, until: Instant) {
        self.until = until;
    }
}

/// One connection on a busy thread.
struct Busy {
    reactor: Reactor,
    simulation: Simulation,
    driver: Spawned<CloseReason>,
    push: PushHandle<Line>,
    peer: Link,
    /// What the peer has sent and the reactor has not seen.
    sent: Vec<u8>,
}

impl Busy {
    fn new(app: WireframeApp<Text>) -> Self {
        Self::on(Reactor::default(), app)
    }

    fn on(reactor: Reactor, app: WireframeApp<Text>) -> Self {
        let (near, peer) = link(20);
        let simulation = Simulation::new();
        let environment = Environment {
            clock: Clock::new(Arc::new(reactor.clone())),
            ..simulation.environment()
        };
        let driver = Driver::server(&app.build().unwrap(), near, None, &environment);
        Self {
            push: driver.push_handle(),
            driver: simulation.spawn(driver),
            reactor,
            simulation,
            peer,
            sent: Vec::new(),
        }
    }

    fn pass(&self, time: Duration) {
        self.reactor.pass(time);
    }

    fn send(&mut self, text: &str) {
        self.sent.extend(wire(text));
    }

    /// The reactor turns, and wakes those who slept; they do not run yet.
    fn turn(&mut self) -> Vec<String> {
        let mut turned = self.reactor.0.lock().unwrap();
        turned.at = turned.now;
        let at = turned.at;
        let woken: Vec<_> = turned
            .asleep
            .extract_if(.., |(until, _)| *until <= at)
            .collect();
        drop(turned);
        for (_, waker) in woken {
            waker.wake();
        }
        if !self.sent.is_empty() {
            self.peer.send(&std::mem::take(&mut self.sent));
        }
        lines(&self.peer.receive())
    }

    /// All goes on until nothing is to be done; says what the peer has heard.
    fn rest(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            self.simulation.run();
            let more = self.turn();
            if more.is_empty() && self.simulation.run() == 0 {
                return heard;
            }
            heard.extend(more);
        }
    }

    /// Somebody wakes the driver, and it runs before the reactor turns.
    fn disturb(&self) {
        self.push.connection().set_heartbeat(Some(EXPECTING));
        self.push.connection().set_heartbeat(Some(EXPECTING));
        self.simulation.run();
    }
}

const EXPECTING: Heartbeat = Heartbeat::expecting(secs(10));

async fn echo(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

fn app() -> WireframeApp<Text> {
    let protocol = Text {
        has_goodbye: true,
        ..Text::default()
    };
    text(&protocol)
        .config(config(|c| c.heartbeat = Some(EXPECTING)))
        .route(1, echo)
}

#[test]
fn what_came_in_time_counts_though_the_runtime_has_not_seen_it() {
    // rule: LIM-3
    let mut busy = Busy::new(app());
    assert_eq!(busy.rest(), [""; 0]);
    for _ in 0..3 {
        busy.pass(secs(5));
        busy.send("1x");
        busy.pass(secs(6));
        busy.push.try_push(High, line("news")).unwrap();
        busy.disturb();
        assert_eq!(busy.rest(), ["news", "1x"]);
    }
    busy.pass(secs(10));
    busy.disturb();
    assert!(!busy.peer.is_at_end());
    assert_eq!(busy.rest(), ["goodbye"]);
    assert!(busy.peer.is_at_end());
    busy.peer.finish();
    busy.simulation.run();
    assert_eq!(busy.driver.take(), Some(CloseReason::HeartbeatTimedOut));
}

#[test]
fn a_driver_that_has_never_rested_sets_an_alarm_first() {
    // rule: LIM-3
    let app = app()
        .config(config(|c| {
            c.heartbeat = Some(EXPECTING);
            c.limits.high_water = nonzero(1);
        }))
        .route(2, |State(reactor): State<Reactor>| {
            reactor.pass(secs(11));
            "busy"
        });
    let reactor = Reactor::default();
    let mut busy = Busy::on(reactor.clone(), app.state(reactor));
    // The second is served in another turn of the driver, which does not rest before it.
    busy.peer.send(&[wire("2"), wire("1x")].concat());
    busy.send("1y");
    busy.simulation.run();
    assert_eq!(busy.rest(), ["2:busy", "1x", "1y"]);
    assert!(!busy.driver.is_done());
}

#[test]
fn an_alarm_that_rang_for_an_earlier_time_says_nothing_about_a_later_one() {
    // rule: LIM-3
    let mut busy = Busy::new(app());
    busy.rest();
    busy.pass(secs(5));
    busy.send("1x");
    assert_eq!(busy.rest(), ["1x"]);
    // The alarm stays where it is, and rings. The driver gets to it late.
    busy.pass(secs(6));
    assert_eq!(busy.turn(), [""; 0]);
    busy.send("1y");
    busy.pass(secs(6));
    busy.simulation.run();
    assert_eq!(busy.rest(), ["1y"]);
    assert!(!busy.driver.is_done());
}

#[test]
fn one_deadline_that_may_be_judged_takes_no_other_with_it() {
    // rule: LIM-3
    let app = app()
        .config(config(|c| {
            c.heartbeat = Some(EXPECTING);
            c.timeouts.body = secs(8);
        }))
        .route(
            2,
            async |mut conversation: Conversation<Line>| match conversation.next().await {
                Err(BodyError::TimedOut) => "late",
                _ => "in time",
            },
        );
    let mut busy = Busy::new(app);
    busy.send("2");
    assert_eq!(busy.rest(), [""; 0]);
    busy.pass(secs(8));
    assert_eq!(busy.turn(), [""; 0]);
    busy.send("+.");
    busy.pass(secs(3));
    busy.simulation.run();
    assert_eq!(busy.rest(), ["2:late"]);
    assert!(!busy.driver.is_done());
}

#[test]
fn what_the_peer_took_in_time_counts_though_the_runtime_has_not_seen_it() {
    // rule: LIM-3
    let app = app().config(config(|c| c.timeouts.write_stall = secs(10)));
    let mut busy = Busy::new(app);
    // Each fills the link.
    let long = "sixteen, no more";
    for _ in 0..3 {
        busy.push.try_push(High, line(long)).unwrap();
    }
    busy.simulation.run();
    busy.pass(secs(11));
    busy.push.connection().set_heartbeat(None);
    busy.simulation.run();
    assert_eq!(busy.rest(), [long; 3]);
    assert!(!busy.driver.is_done());
}

#[test]
fn the_end_of_a_drain_waits_for_no_alarm() {
    // rule: LIM-3, SHUT-3
    let app = app().route(3, std::future::pending::<()>);
    let mut busy = Busy::new(app);
    busy.send("3");
    busy.rest();
    busy.push.connection().close();
    busy.simulation.run();
    busy.pass(secs(5));
    busy.disturb();
    assert_eq!(
        busy.driver.take(),
        Some(CloseReason::DrainTimedOut {
            fault: wireframe::Fault::Own
        })
    );
}

#[test]
fn what_came_late_before_a_flaw_has_its_turn() {
    // rule: FRAME-5, LIM-3
    let stream = || Response::<Line, Oops>::frames(async_stream::stream! { yield line("a") });
    let mut busy = Busy::new(app().route(2, stream));
    assert_eq!(busy.rest(), [""; 0]);
    busy.pass(secs(5));
    busy.send("2");
    busy.sent.extend(FLAW);
    busy.pass(secs(6));
    assert_eq!(busy.rest(), ["a", "goodbye"]);
    busy.peer.finish();
    busy.simulation.run();
    let malformed = CloseReason::Malformed(Malformed::new("not text"));
    assert_eq!(busy.driver.take(), Some(malformed));
}
