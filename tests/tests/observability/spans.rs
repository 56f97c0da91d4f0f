//! What is inside what.

use tower::ServiceBuilder;
use tracing::{info, info_span};
use wireframe::{
    Client, Clock, Driver, Envelope, EnvelopeProtocol, Request, Response, TaskTracker,
    WireframeApp,
    testing::{Simulation, link},
};
use wireframe_tests::{Line, Lines, Oops, line};

use crate::{
    recorder::{self, heard_here, heard_of},
    rig::{Rig, address, config, connection, secs, some},
};

fn lines() -> WireframeApp<Lines> {
    WireframeApp::with_protocol(Lines::new())
}

/// Where an event was.
#[track_caller]
fn place_of(message: &str) -> Vec<String> {
    let heard = heard_of(message);
    let [heard] = &heard[..] else {
        panic!("{message}: {heard:?}");
    };
    heard.spans.clone()
}

/// Says something when it is dropped.
struct Drops(&'static str);

impl Drop for Drops {
    fn drop(&mut self) {
        info!("dropped {}", self.0);
    }
}

#[test]
fn what_a_handler_says_is_in_its_request_and_its_connection() {
    // rule: OBS-1
    fn at_once() -> Line {
        info!("at once");
        line("1")
    }
    async fn later(clock: Clock) -> Line {
        info!("before");
        clock.sleep(secs(1)).await;
        info_span!("work").in_scope(|| info!("after"));
        line("2")
    }
    let mut rig = Rig::new(lines().route(1, at_once).route(2, later));
    rig.send(["1"]);
    let first = [rig.span(), "request{id=0.1 route=1}".to_owned()];
    assert_eq!(place_of("at once"), first);
    rig.send(["2"]);
    let second = vec![rig.span(), "request{id=0.2 route=2}".to_owned()];
    assert_eq!(place_of("before"), second);
    rig.simulation.advance(secs(1));
    assert_eq!(
        place_of("after"),
        [&second[..], &["work".to_owned()]].concat()
    );
}

#[test]
fn a_request_that_waits_is_left_and_entered_again() {
    // rule: OBS-1
    async fn later(clock: Clock) {
        for _ in 0..3 {
            clock.sleep(secs(1)).await;
            info!("awake");
        }
    }
    let app = WireframeApp::new().route(1, later);
    let mut rig = Rig::new(app);
    for id in 0..4u8 {
        rig.peer.send(&[0, 0, 0, 4, 1, 1, id, 0]);
    }
    rig.simulation.run();
    for _ in 0..3 {
        rig.advance(secs(1));
        let places = heard_of("awake").into_iter().map(|heard| heard.spans);
        let mut requests: Vec<_> = places
            .map(|spans| match &spans[..] {
                [connection, request] if *connection == rig.span() => request.clone(),
                spans => panic!("{spans:?}"),
            })
            .collect();
        requests.sort();
        let expected = [0, 1, 2, 3].map(|n| format!("request{{id={n}.{} route=1}}", n + 1));
        assert_eq!(requests, expected);
    }
}

#[test]
fn a_stream_is_in_its_request_until_it_ends() {
    // rule: OBS-1
    async fn streamed(clock: Clock) -> Response<Line, Oops> {
        clock.sleep(secs(1)).await;
        let drops = Drops("stream");
        Response::frames(async_stream::stream! {
            let _drops = drops;
            info!("first");
            yield line("a");
            clock.sleep(secs(1)).await;
            info!("second");
            yield line("b");
        })
    }
    let mut rig = Rig::new(lines().route(1, streamed));
    rig.send(["1"]);
    let request = vec![rig.span(), "request{id=0.1 route=1}".to_owned()];
    let stream = [&request[..], &["response_stream".to_owned()]].concat();
    rig.advance(secs(1));
    assert_eq!(place_of("first"), stream);
    rig.advance(secs(1));
    let heard = heard_here();
    for message in ["second", "dropped stream"] {
        let heard = heard.iter().find(|heard| heard.message == message);
        assert_eq!(heard.expect("it was said").spans, stream);
    }
    let closed = heard.iter().filter(|heard| heard.message == "closed");
    let closed: Vec<_> = closed.map(|heard| heard.spans.clone()).collect();
    assert_eq!(closed, [stream, request]);
}

#[test]
fn a_stream_or_channel_of_a_handler_that_answers_at_once_has_its_span_too() {
    // rule: OBS-1, RESP-3
    fn streamed() -> Response<Line, Oops> {
        Response::frames(async_stream::stream! {
            info!("streams");
            yield line("a");
        })
    }
    async fn channel(tasks: TaskTracker) -> Response<Line, Oops> {
        let (sender, answer) = Response::channel(1);
        tasks.spawn(async move {
            sender.send(line("a")).await.expect("somebody listens");
        });
        answer
    }
    let app = lines().route(1, streamed).route(2, channel);
    let mut rig = Rig::new(app);
    rig.send(["1"]);
    let place = place_of("streams");
    assert_eq!(place[1..], ["request{id=0.1 route=1}", "response_stream"]);
    rig.send(["2"]);
    let closed = place_of_closed("response_stream");
    assert_eq!(closed[1..], ["request{id=0.2 route=2}", "response_stream"]);
    assert_eq!(
        wireframe_tests::lines(&rig.peer.receive()),
        ["hello", "a", "end", "a", "end"]
    );
}

#[track_caller]
fn place_of_closed(span: &str) -> Vec<String> {
    let mut closed = heard_of("closed");
    closed.retain(|heard| heard.spans.last().is_some_and(|last| last == span));
    let [closed] = &closed[..] else {
        panic!("{span}: {closed:?}");
    };
    closed.spans.clone()
}

#[test]
fn layers_are_in_the_request() {
    // rule: OBS-1, APP-3
    let says = ServiceBuilder::new().map_request(|request: Request<EnvelopeProtocol>| {
        info!("layer");
        request
    });
    let handler = async || info!("handler");
    let mut rig = Rig::new(WireframeApp::new().layer(says).route(1, handler));
    rig.peer.send(b"\0\0\0\x03\x01\0\0");
    rig.simulation.run();
    let heard = heard_here();
    for message in ["layer", "handler"] {
        let heard = heard.iter().find(|heard| heard.message == message);
        let request = "request{id=0.1 route=1}".to_owned();
        assert_eq!(heard.expect("it was said").spans, [rig.span(), request]);
    }
}

#[test]
fn what_serves_no_request_is_in_the_connection() {
    // rule: OBS-1
    let app = lines()
        .on_connect(async || info!("connected"))
        .on_push(async || info!("pushed"));
    let mut rig = Rig::new(app);
    assert_eq!(place_of("connected"), [rig.span()]);
    rig.send(["push"]);
    assert_eq!(place_of("pushed"), [rig.span()]);
}

#[test]
fn what_is_dropped_with_its_connection_is_dropped_inside() {
    // rule: OBS-1, RESP-10
    async fn waits(clock: Clock) {
        let _drops = Drops("handler");
        clock.sleep(secs(3600)).await;
    }
    fn streams() -> Response<Line, Oops> {
        let drops = Drops("stream");
        Response::frames(async_stream::stream! {
            let _drops = drops;
            std::future::pending::<()>().await;
            yield line("never");
        })
    }
    for cancelled in [false, true] {
        let config = config(|config| config.limits.max_in_flight = Some(some(2)));
        let app = lines().config(config).route(1, waits).route(2, streams);
        let mut rig = Rig::new(app);
        rig.send(["1", "2"]);
        heard_here();
        match cancelled {
            true => rig.driver.cancel(),
            false => rig.push.connection().abort(),
        }
        rig.simulation.run();
        let heard = heard_here();
        let place = |message: &str| {
            let heard = heard.iter().find(|heard| heard.message == message);
            heard.expect("it was said").spans.clone()
        };
        let handler = place("dropped handler");
        assert_eq!(handler, [rig.span(), "request{id=0.1 route=1}".to_owned()]);
        assert_eq!(
            place("dropped stream")[1..],
            ["request{id=1.2 route=2}", "response_stream"]
        );
        assert_eq!(place("connection ended"), [rig.span()]);
        let last = heard.last().expect("there was more");
        assert_eq!((&*last.message, &last.spans), ("closed", &vec![rig.span()]));
    }
}

#[test]
fn a_driver_that_was_never_polled_ends_inside_its_span() {
    // rule: OBS-1
    recorder::listen();
    let rig = Rig::idle(lines(), 100);
    rig.driver.cancel();
    assert_eq!(place_of("connection ended"), [rig.span()]);
}

#[test]
fn a_span_ends_with_its_connection_though_the_driver_is_kept() {
    // rule: OBS-1
    use std::{
        pin::Pin,
        task::{Context, Waker},
    };
    recorder::listen();
    let app = WireframeApp::new().build().expect("fit to serve");
    let (near, mut peer) = link(100);
    let mut driver = Driver::server(
        &app,
        near,
        Some(address()),
        &Simulation::new().environment(),
    );
    peer.finish();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut driver).poll(&mut cx).is_ready());
    let id = driver.push_handle().connection().id().to_string();
    let closed = heard_of("closed");
    assert_eq!(closed[0].spans, [connection(&id, "server")]);
    drop(driver);
    assert!(heard_here().is_empty(), "it ends once");
}

#[test]
fn a_panic_leaves_every_span_that_it_was_in() {
    // rule: OBS-1, RESP-8
    async fn panics() {
        panic!("told to");
    }
    let mut rig = Rig::new(lines().route(1, panics));
    rig.send(["1"]);
    rig.end();
    assert_eq!(place_of("connection ended"), [rig.span()]);
    info!("outside");
    assert_eq!(place_of("outside"), [""; 0]);
}

#[test]
fn a_client_has_a_span_that_is_nobodys_child() {
    // rule: OBS-1
    recorder::listen();
    let (simulation, app) = (Simulation::new(), WireframeApp::new().build());
    let (near, mut server) = link(1000);
    let app = app.expect("fit to serve");
    let (client, driver) = info_span!("somebody")
        .in_scope(|| Client::new(&app, near, Some(address()), &simulation.environment()));
    let driver = simulation.spawn(driver);
    let id = client.connection().id().to_string();
    let call = simulation.spawn(async move { client.call(Envelope::new(1, "x")).await });
    simulation.run();
    let mut request = server.receive();
    server.send(&std::mem::take(&mut request));
    simulation.run();
    assert!(call.take().expect("an answer").is_ok());
    server.finish();
    simulation.run();
    assert!(driver.is_done());
    let heard = heard_here();
    for message in ["frame received", "connection ended"] {
        let heard = heard.iter().find(|heard| heard.message == message);
        assert_eq!(
            heard.expect("it was said").spans,
            [connection(&id, "client")]
        );
    }
}
