//! What handlers take, and what an app is refused for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use wireframe::{
    BuildError, Clock, ConnectionHandle, Driver, Environment, Extract, Heartbeat, Inbound, Needs,
    Parts, Place, Protocol, PushHandle, RequestInfo, Session, State, TaskTracker, WireframeApp,
    WireframeError,
    proto::Instant,
    rt::{Sleep, Timer},
    testing::{Simulation, link},
};

use crate::rig::{Line, Notes, Oops, Rig, Text, config, line, secs, text};

/// Takes every extractor, and none of them says which runtime this is.
#[expect(clippy::too_many_arguments, reason = "as many as a handler may take")]
async fn everything(
    Inbound(frame): Inbound<Line>,
    State(suffix): State<&'static str>,
    session: Session<Notes>,
    push: PushHandle<Line>,
    connection: ConnectionHandle,
    clock: Clock,
    tasks: TaskTracker,
    info: RequestInfo,
) -> Result<Line, WireframeError<Oops>> {
    let began = clock.now();
    clock.sleep(secs(3)).await;
    let slept = clock.now().saturating_duration_since(began).as_secs();
    let late = clock.timeout(secs(2), std::future::pending::<()>()).await;
    push.push_high_priority(line("pushed")).await?;
    let background = push.clone();
    tasks.spawn(async move {
        clock.sleep(secs(1)).await;
        background.push_low_priority(line("background")).await.ok();
    });
    let notes = session.with(|notes| notes.0.len());
    assert_eq!(push.connection().id(), connection.id());
    assert_eq!(connection.peer(), None);
    let late = late.unwrap_err();
    let text = frame.0;
    let route = info.route;
    Ok(line(format!(
        "{text} {route} {suffix} {slept} {notes} {late}"
    )))
}

#[test]
fn a_handler_takes_every_extractor_and_runs_on_virtual_time() {
    // rule: APP-1
    let mut rig = Rig::new(text(&Text::default()).state("dear").route(7, everything));
    assert_eq!(rig.exchange("7hello"), [""; 0]);
    rig.advance(secs(4));
    assert_eq!(rig.heard(), [""; 0]);
    rig.advance(secs(1));
    let answer = "7hello 7 dear 3 1 not done within 2s";
    assert_eq!(rig.heard(), ["pushed", answer]);
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["background"]);
}

#[test]
fn a_handler_takes_the_payload_of_its_frame() {
    // rule: APP-1
    async fn length(body: Bytes) -> String {
        body.len().to_string()
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, length));
    assert_eq!(rig.exchange("1four"), ["1:5"]);
}

#[test]
fn tasks_know_what_handlers_have_started() {
    // rule: APP-1
    async fn start(tasks: TaskTracker, clock: Clock) {
        tasks.spawn(async move { clock.sleep(secs(9)).await });
    }
    let simulation = Simulation::new();
    let environment = simulation.environment();
    let (near, mut peer) = link(1000);
    let app = text(&Text::default()).route(1, start).build().unwrap();
    simulation.spawn(Driver::server(&app, near, None, &environment));
    peer.send(&crate::rig::wire("1"));
    simulation.run();
    assert_eq!(environment.tasks.len(), 1);
    let tasks = environment.tasks.clone();
    let waited = simulation.spawn(async move { tasks.wait().await });
    simulation.advance(secs(8));
    assert!(!waited.is_done());
    simulation.advance(secs(1));
    assert!(waited.is_done() && environment.tasks.is_empty());
}

#[test]
fn a_timeout_ends_with_the_future_if_that_is_first() {
    // rule: APP-1
    async fn quick(clock: Clock) -> String {
        let nap = clock.sleep(secs(1));
        let ended = clock.timeout(secs(2), nap).await;
        format!("{ended:?}")
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, quick));
    rig.ask("1");
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["1:Ok(())"]);
    assert_eq!(rig.simulation.clock().armed(), 0);
}

async fn echo(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

async fn suffixed(Inbound(Line(text)): Inbound<Line>, State(suffix): State<&'static str>) -> Line {
    line(text + suffix)
}

#[test]
fn builder_calls_commute() {
    // rule: APP-2
    type Step = fn(WireframeApp<Text>) -> WireframeApp<Text>;
    let steps: [Step; 4] = [
        |app| app.state("!"),
        |app| app.route(1, suffixed),
        |app| app.fallback(echo),
        |app| app.config(config(|c| c.timeouts.idle = Some(secs(5)))),
    ];
    for first in 0..4 {
        for turn in [1, 3] {
            let order = (0..4).map(|n| steps[(first + n * turn) % 4]);
            let app = order.fold(text(&Text::default()), |app, step| step(app));
            let mut rig = Rig::new(app);
            assert_eq!(rig.exchange("1one"), ["1one!"]);
            assert_eq!(rig.exchange("2two"), ["2two"]);
            rig.advance(secs(6));
            assert_eq!(rig.reason().unwrap().to_string(), "idle");
        }
    }
}

#[track_caller]
fn refused(app: WireframeApp<Text>) -> BuildError {
    app.build().expect_err("an app that cannot serve was built")
}

#[test]
fn an_app_that_cannot_serve_is_refused_with_the_reason() {
    // rule: APP-2
    let app = || text(&Text::default());
    assert_eq!(
        refused(app().route(1, echo).route(2, echo).route(1, echo)),
        BuildError::DuplicateRoute(1)
    );
    // Far from the others, and kept elsewhere.
    assert_eq!(
        refused(app().route(1_000_000, echo).route(1_000_000, echo)),
        BuildError::DuplicateRoute(1_000_000)
    );
    let missing = refused(app().route(3, suffixed));
    assert!(matches!(
        missing,
        BuildError::MissingState {
            place: Place::Route(3),
            ..
        }
    ));
    assert_eq!(
        missing.to_string(),
        "the handler of route 3 takes State<&str>, which was not set"
    );
    let missing = refused(app().fallback(suffixed));
    assert!(matches!(
        missing,
        BuildError::MissingState {
            place: Place::Fallback,
            ..
        }
    ));
    let frame = |place, taken, there| BuildError::Frame {
        place,
        taken,
        there,
    };
    assert_eq!(
        refused(app().on_connect(echo)),
        frame(Place::OnConnect, 1, 0)
    );
    assert_eq!(
        refused(app().route(1, async |_: Inbound<Line>, _: Bytes| ())),
        frame(Place::Route(1), 2, 1)
    );
    for (app, place) in [
        (
            app().on_connect(async |_: RequestInfo| ()),
            Place::OnConnect,
        ),
        (app().on_push(async |_: RequestInfo| ()), Place::OnPush),
    ] {
        assert_eq!(refused(app), BuildError::NoRequest(place));
    }
}

#[test]
fn a_zero_that_must_not_be_is_refused() {
    // rule: APP-2
    let zero = Duration::ZERO;
    let app = |config| refused(text(&Text::default()).config(config));
    for (config, name) in [
        (config(|c| c.timeouts.preamble = zero), "timeouts.preamble"),
        (config(|c| c.timeouts.idle = Some(zero)), "timeouts.idle"),
        (
            config(|c| c.timeouts.write_stall = zero),
            "timeouts.write_stall",
        ),
        (config(|c| c.timeouts.body = zero), "timeouts.body"),
        (
            config(|c| c.timeouts.frame_completion = zero),
            "timeouts.frame_completion",
        ),
        (config(|c| c.timeouts.close = zero), "timeouts.close"),
        (
            config(|c| c.fragments.reassembly_timeout = zero),
            "fragments.reassembly_timeout",
        ),
        (
            config(|c| c.heartbeat = Some(Heartbeat::pinging(zero, secs(1)))),
            "heartbeat.every",
        ),
        (
            config(|c| c.heartbeat = Some(Heartbeat::expecting(zero))),
            "heartbeat.timeout",
        ),
        (
            config(|c| c.fairness.time_slice = Some(zero)),
            "fairness.time_slice",
        ),
    ] {
        assert_eq!(app(config), BuildError::Zero(name));
    }
}

#[test]
fn one_app_serves_every_connection() {
    // rule: APP-2
    let simulation = Simulation::new();
    let app = text(&Text::default())
        .route(1, suffixed)
        .state("!")
        .build()
        .unwrap();
    let mut rigs: Vec<_> = (0..3).map(|_| Rig::idle(&app, &simulation, 1000)).collect();
    let ids: Vec<_> = rigs.iter().map(|rig| rig.push.connection().id()).collect();
    assert!(ids[0] < ids[1] && ids[1] < ids[2]);
    for rig in &mut rigs {
        assert_eq!(rig.exchange("1hi"), ["1hi!"]);
    }
}

/// A timer whose sleeps complete as soon as they are polled.
struct Restless(Simulation);

impl Timer for Restless {
    fn now(&self) -> Instant {
        self.0.clock().now()
    }

    fn sleep_until(&self, _: Instant) -> std::pin::Pin<Box<dyn Sleep>> {
        self.0.clock().sleep_until(Instant::ZERO)
    }
}

#[test]
fn a_sleep_is_over_when_the_clock_says_so_not_before() {
    // rule: APP-1
    let simulation = Simulation::new();
    let environment = Environment {
        clock: Clock::new(Arc::new(Restless(simulation.clone()))),
        ..simulation.environment()
    };
    let (near, mut peer) = link(1000);
    let protocol = Text::default();
    let app = text(&protocol).build().unwrap();
    let driver = simulation.spawn(Driver::server(&app, near, None, &environment));
    peer.send(&[0, 0]);
    simulation.run();
    assert!(!driver.is_done(), "half a header has thirty seconds");
}

/// Made from others, whose needs it forwards.
struct Composed;

impl<P: Protocol> Extract<P> for Composed {
    const TAKES_FRAME: bool = <Inbound<P::Frame> as Extract<P>>::TAKES_FRAME;

    fn check(needs: &Needs<'_>) -> Result<(), BuildError> {
        <RequestInfo as Extract<P>>::check(needs)?;
        <State<u8> as Extract<P>>::check(needs)
    }

    fn extract(parts: &mut Parts<'_, P>) -> Result<Self, WireframeError<P::Error>> {
        RequestInfo::extract(parts)?;
        State::<u8>::extract(parts)?;
        Inbound::extract(parts).map(|_| Self)
    }
}

#[test]
fn an_extractor_that_forwards_its_needs_is_refused_for_want_of_them() {
    // rule: APP-2
    let app = || text(&Text::default());
    let push = refused(app().state(1_u8).on_push(|_: Composed| ()));
    assert_eq!(push, BuildError::NoRequest(Place::OnPush));
    let missing = refused(app().route(1, |_: Composed| ()));
    assert!(matches!(missing, BuildError::MissingState { .. }));
    let twice = refused(app().state(1_u8).route(1, |_: Composed, _: Bytes| ()));
    assert!(matches!(twice, BuildError::Frame { taken: 2, .. }));
    let mut rig = Rig::new(app().state(1_u8).route(1, |_: Composed| "made"));
    assert_eq!(rig.exchange("1"), ["1:made"]);
}

/// Takes the frame, and does not say so.
struct Sneaky;

impl<P: Protocol> Extract<P> for Sneaky {
    fn extract(parts: &mut Parts<'_, P>) -> Result<Self, WireframeError<P::Error>> {
        Inbound::extract(parts).map(|_| Self)
    }
}

#[test]
fn an_argument_that_cannot_be_made_fails_its_handler_and_says_so() {
    let app = text(&Text::default()).route(1, async |_: Sneaky, _: Bytes| "never");
    let mut rig = Rig::new(app);
    assert_eq!(rig.exchange("1"), [""; 0]);
    let reason = wireframe::CloseReason::HandlerFailed(
        "nothing to make the argument bytes::bytes::Bytes from".to_owned(),
    );
    assert_eq!(rig.reason(), Some(reason));
}
