//! Failures, by their kinds.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use wireframe::{
    Clock, CloseReason, Config, Heartbeat, Malformed, Priority, Response, Transport, Unencodable,
    WireframeApp, WireframeError,
    server::{self, Accepted, ConnectionLimits, Listener, ServerHandle, WhenFull},
    testing::{Fault, Link, Simulation, link},
};

use super::{Recorder, rig};
use crate::{
    accept_panics::{PLACES, serving_after_a_panic_in},
    rig::{Line, Oops, Rig, Text, config, line, nonzero, secs, text},
    serving::Serving,
};

const LARGE: usize = 1 << 16;

fn errors(recorder: &Recorder) -> Vec<String> {
    let moved = recorder.moved().into_iter();
    moved
        .filter_map(|name| Some(name.strip_prefix("errors_total")?.to_owned()))
        .collect()
}

/// An app that fails in so many ways; each configuration is that of one.
fn app(change: fn(&mut Config)) -> WireframeApp<Text> {
    type Fails = Result<&'static str, WireframeError<Oops>>;
    text(&Text::default())
        .config(config(change))
        .route(1, || -> Fails { Err(Oops("own"))? })
        .route(2, || -> Fails { Err(Malformed::new("odd"))? })
        .route(3, || -> Fails { Err(Unencodable::new("large"))? })
        .route(4, || -> Fails {
            Err(WireframeError::Other("other".into()))
        })
        .route(5, || -> Fails { Err(io::Error::other("disk"))? })
        .route(6, async |clock: Clock| {
            clock.sleep(secs(3600)).await;
            "late"
        })
        .route(7, async || -> Response<Line, Oops> {
            Response::stream(async_stream::stream! {
                yield Err(WireframeError::Protocol(Oops("in a stream")));
            })
        })
}

#[test]
fn what_fails_a_request_is_counted_by_its_kind() {
    // rule: OBS-2
    let (mut rig, recorder) = rig(app(|_| {}), LARGE);
    for (asked, kind) in [
        ("1", "{kind=protocol} +1"),
        ("2", "{kind=payload} +1"),
        ("3", "{kind=unencodable} +1"),
        ("4", "{kind=other} +1"),
        ("7", "{kind=protocol} +1"),
    ] {
        rig.ask(asked);
        assert_eq!(errors(&recorder), [kind]);
    }
    // Counted once, as what ends the connection.
    rig.ask("5");
    rig.reason().unwrap();
    assert_eq!(errors(&recorder), ["{kind=handler_failed} +1"]);
}

#[test]
fn what_fails_a_handler_of_a_push_is_counted_by_its_kind() {
    // rule: OBS-2
    type Fails = Result<(), WireframeError<Oops>>;
    let app = || text(&Text::default());
    for (app, kind) in [
        (app().on_push(|| -> Fails { Err(Oops("own"))? }), "protocol"),
        (
            app().on_push(|| -> Fails { Err(Malformed::new("odd"))? }),
            "payload",
        ),
        (
            app().on_push(|| -> Fails { Err(Unencodable::new("large"))? }),
            "unencodable",
        ),
        (
            app().on_push(|| -> Fails { Err(WireframeError::Other("other".into())) }),
            "other",
        ),
        (
            app().on_push(|| -> Fails { Err(io::Error::other("disk"))? }),
            "handler_failed",
        ),
    ] {
        let (mut rig, recorder) = rig(app, LARGE);
        rig.ask("push");
        assert_eq!(errors(&recorder), [format!("{{kind={kind}}} +1")]);
    }
}

#[test]
fn what_ends_a_connection_is_counted_by_its_kind() {
    // rule: OBS-2
    type Change = fn(&mut Config);
    type Cause = fn(&mut Rig);
    let unchanged: Change = |_| {};
    let cases: [(Change, Cause, &str); 8] = [
        (
            unchanged,
            |rig| {
                rig.peer.send(b"\0");
                rig.peer.finish();
            },
            "unexpected_eof",
        ),
        (
            unchanged,
            |rig| rig.peer.send(b"\0\0\0\x01\xff"),
            "malformed",
        ),
        (unchanged, |rig| rig.peer.send(b"\xff\0\0\0"), "limit"),
        (
            unchanged,
            |rig| rig.script.read_fault(0, Fault::Error(io::ErrorKind::Other)),
            "transport",
        ),
        (
            |c| c.heartbeat = Some(Heartbeat::expecting(secs(5))),
            |_| {},
            "heartbeat_timed_out",
        ),
        (
            unchanged,
            |rig| {
                rig.script.write_fault(0, Fault::Stall);
                rig.push.try_push(Priority::Low, line("a")).unwrap();
            },
            "write_stalled",
        ),
        (
            unchanged,
            |rig| rig.peer.send(b"\0\0\0\x05"),
            "frame_timed_out",
        ),
        (
            unchanged,
            |rig| {
                rig.ask("6");
                rig.push.connection().close();
            },
            "drain_timed_out",
        ),
    ];
    for (change, cause, kind) in cases {
        let (mut rig, recorder) = rig(app(change), LARGE);
        cause(&mut rig);
        rig.advance(secs(100));
        rig.reason().unwrap();
        assert_eq!(errors(&recorder), [format!("{{kind={kind}}} +1")]);
        assert!(recorder.standing().is_empty());
    }
}

#[test]
fn a_connection_that_is_refused_is_an_error_and_no_connection() {
    // rule: OBS-2
    let recorder = Recorder::default();
    let mut limits = ConnectionLimits::default();
    limits.max_connections = nonzero(1);
    limits.when_full = WhenFull::Refuse;
    let serving = recorder.during(|| Serving::limited(app(|_| {}), limits));
    let first = serving.connect(LARGE);
    assert_eq!(recorder.moved(), ["connections_active +1"]);
    let second = serving.connect(LARGE);
    assert_eq!(recorder.moved(), ["errors_total{kind=refused} +1"]);
    drop(second);
    serving.simulation.run();
    assert!(recorder.moved().is_empty(), "it was no connection");
    drop(first);
    serving.simulation.run();
    assert_eq!(recorder.moved(), ["connections_active -1"]);
}

#[test]
fn a_transport_that_panics_over_a_new_connection_is_counted() {
    // rule: OBS-2
    for place in PLACES {
        let recorder = Recorder::default();
        let serving = recorder.during(|| serving_after_a_panic_in(place));
        let moved = recorder.moved();
        assert_eq!(
            moved,
            ["errors_total{kind=protocol_panicked} +1"],
            "{place}"
        );
        drop(serving);
    }
}

#[test]
fn a_recorder_that_panics_harms_no_connection() {
    // rule: OBS-2
    let (mut rig, recorder) = rig(app(|_| {}).route(8, || "fine"), LARGE);
    recorder.break_down();
    rig.push.try_push(Priority::Low, line("pushed")).unwrap();
    assert_eq!(rig.exchange("8"), ["pushed", "8:fine"]);
    assert_eq!(rig.exchange("1"), ["error: own"]);
    assert_eq!(rig.reason(), Some(CloseReason::PeerClosed));
}

/// A transport whose handshake never ends.
struct Unready(Link);

impl Transport for Unready {
    fn preparation(&self) -> Option<Duration> {
        Some(secs(1))
    }

    fn poll_prepare(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, dst: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, dst)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, src: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, src)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// Hands out one connection.
struct One(Option<Unready>);

impl Listener for One {
    type Transport = Unready;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted<Unready>>> {
        match self.0.take() {
            Some(transport) => Poll::Ready(Ok((transport, None))),
            None => Poll::Pending,
        }
    }
}

#[test]
fn a_handshake_that_fails_is_an_error_and_no_connection() {
    // rule: OBS-2
    let (recorder, simulation) = (Recorder::default(), Simulation::new());
    let (near, _far) = link(LARGE);
    let serve = server::serve(
        One(Some(Unready(near))),
        app(|_| {}),
        simulation.environment(),
        ServerHandle::default(),
        ConnectionLimits::default(),
    );
    simulation.spawn(async move { serve.await.is_ok() });
    recorder.during(|| simulation.run());
    assert!(recorder.moved().is_empty());
    simulation.advance(secs(1));
    assert_eq!(recorder.moved(), ["errors_total{kind=handshake_failed} +1"]);
}
