//! What a server says of its connections while they go on.

use std::{
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::{
        Arc, Weak,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use wireframe::{
    Clock, Priority, WireframeApp,
    proto::Instant,
    rt::{Sleep, Timer},
    server::{ConnectionSnapshot, ServerHandle},
    testing::Simulation,
};

use crate::{
    rig::{Text, config, line, nonzero, secs, text, wire},
    serving::{Serving, heard},
};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Route 1 takes ten minutes.
fn slow() -> WireframeApp<Text> {
    text(&Text::default())
        .config(config(|c| {
            c.timeouts.write_stall = secs(3600);
            c.limits.high_water = nonzero(1);
        }))
        .route(1, async |clock: Clock| {
            clock.sleep(secs(600)).await;
            line("late")
        })
}

#[track_caller]
fn only(handle: &ServerHandle) -> ConnectionSnapshot {
    let mut connections = handle.snapshot().connections;
    assert_eq!(connections.len(), 1);
    connections.remove(0)
}

/// Queues high and low, and requests.
fn under_way(snapshot: &ConnectionSnapshot) -> (usize, usize, usize) {
    let ConnectionSnapshot {
        queued_high,
        queued_low,
        requests,
        ..
    } = *snapshot;
    (queued_high, queued_low, requests)
}

#[test]
fn a_snapshot_names_each_connection_its_peer_and_its_age() {
    // rule: OBS-4
    let serving = Serving::new(slow());
    assert!(serving.handle.snapshot().connections.is_empty());
    serving.simulation.advance(secs(7));
    let first = serving.connect_from(Some(PEER), 1000);
    serving.simulation.advance(secs(60));
    let _second = serving.connect(1000);
    serving.simulation.advance(secs(1));
    let mut connections = serving.handle.snapshot().connections;
    connections.sort_by_key(|connection| connection.id);
    let known: Vec<_> = connections
        .iter()
        .map(|connection| (connection.id, connection.peer, connection.age))
        .collect();
    let id = |n: usize| serving.push(n).connection().id();
    let peer = Some((PEER, 1).into());
    assert_eq!(known, [(id(0), peer, secs(61)), (id(1), None, secs(1))]);
    drop(first);
    serving.simulation.run();
    assert_eq!(only(&serving.handle).id, id(1));
}

#[test]
fn a_snapshot_counts_bytes_and_requests() {
    // rule: OBS-4
    let serving = Serving::new(slow());
    let mut peer = serving.connect(1000);
    let request = wire("1");
    peer.send(&request);
    peer.send(&request[..2]);
    serving.simulation.run();
    let snapshot = only(&serving.handle);
    let received = (request.len() + 2) as u64;
    let bytes = (snapshot.bytes_received, snapshot.bytes_sent);
    assert_eq!(bytes, (received, 0));
    assert_eq!(under_way(&snapshot), (0, 0, 1));
    peer.send(&request[2..]);
    serving.simulation.run();
    // The second waits for the first.
    assert_eq!(under_way(&only(&serving.handle)), (0, 0, 2));
    serving.simulation.advance(secs(600));
    let snapshot = only(&serving.handle);
    assert_eq!(under_way(&snapshot), (0, 0, 1));
    assert_eq!(snapshot.bytes_sent, wire("late").len() as u64);
    assert_eq!(heard(&mut peer, &serving.simulation), ["late"]);
}

#[test]
fn a_snapshot_tells_whose_peer_takes_nothing_and_for_how_long() {
    // rule: OBS-4
    let serving = Serving::new(slow());
    let mut peer = serving.connect(3);
    let push = serving.push(0);
    assert_eq!(only(&serving.handle).stalled, None);
    serving.simulation.advance(secs(5));
    for _ in 0..2 {
        push.try_push(Priority::High, line("high")).unwrap();
    }
    for _ in 0..3 {
        push.try_push(Priority::Low, line("low")).unwrap();
    }
    // Queues are those of the moment, whether or not the connection has come to them.
    assert_eq!(under_way(&only(&serving.handle)), (2, 3, 0));
    assert_eq!(only(&serving.handle).stalled, None);
    serving.simulation.run();
    let snapshot = only(&serving.handle);
    assert_eq!((snapshot.bytes_sent, snapshot.stalled), (3, Some(secs(0))));
    serving.simulation.advance(secs(40));
    assert_eq!(only(&serving.handle).stalled, Some(secs(40)));
    assert_eq!(peer.receive().len(), 3);
    serving.simulation.run();
    let snapshot = only(&serving.handle);
    assert_eq!((snapshot.bytes_sent, snapshot.stalled), (6, Some(secs(0))));
    while !peer.receive().is_empty() {
        serving.simulation.run();
    }
    let snapshot = only(&serving.handle);
    assert_eq!(under_way(&snapshot), (0, 0, 0));
    let sent = 2 * wire("high").len() + 3 * wire("low").len();
    assert_eq!((snapshot.bytes_sent, snapshot.stalled), (sent as u64, None));
}

#[test]
fn an_aborted_connection_is_in_no_snapshot() {
    // rule: OBS-4
    let serving = Serving::new(slow());
    let _peer = serving.connect(1000);
    serving.handle.abort();
    serving.simulation.run();
    assert!(serving.handle.snapshot().connections.is_empty());
}

/// A timer that asks its server something before it tells the time.
struct Asking(Simulation, ServerHandle);

impl Timer for Asking {
    fn now(&self) -> Instant {
        let _ = self.1.connections();
        self.0.clock().now()
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.clock().sleep_until(at)
    }
}

#[test]
fn a_timer_may_ask_its_server() {
    // rule: OBS-4
    let (done, is_done) = mpsc::channel();
    let asks = thread::spawn(move || {
        // Gone by a panic, too.
        let _done: mpsc::Sender<()> = done;
        let serving = Serving::timed(slow(), |simulation, handle| {
            Clock::new(Arc::new(Asking(simulation, handle)))
        });
        let _peer = serving.connect(1000);
        serving.simulation.run();
        assert_eq!(only(&serving.handle).age, Duration::ZERO);
    });
    // Whom it asked under a lock would wait for itself.
    let ended = is_done.recv_timeout(secs(20));
    assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "a deadlock");
    asks.join().expect("it says itself what is wrong");
}

#[test]
fn a_server_that_has_ended_keeps_no_timer() {
    // rule: SHUT-5
    let mut kept = Weak::new();
    let serving = Serving::timed(slow(), |simulation, _| {
        let timer = Arc::new(Asking(simulation, ServerHandle::default()));
        kept = Arc::downgrade(&timer);
        Clock::new(timer)
    });
    assert!(kept.strong_count() > 0);
    serving.handle.shutdown();
    serving.simulation.run();
    assert!(serving.served.take().is_some(), "it has ended");
    assert_eq!(kept.strong_count(), 0);
}
