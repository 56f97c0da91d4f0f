//! Frames that come and are dropped, and peers that have to wait.

use tokio::sync::watch;
use tracing::Level;
use wireframe::{
    Client, Config, Conversation, Envelope, WireframeApp, WireframeError,
    proto::{Connection, ConnectionId, Event, Instant, Peer, Shutdown},
    testing::{Simulation, link},
};
use wireframe_tests::{Line, Lines, Oops, line, wire};

use crate::{
    recorder::{self, Heard, heard_here, heard_of},
    rig::{Rig, config, some},
};

/// What has been said with that message, by one field.
fn fields(message: &str, name: &str) -> Vec<String> {
    let heard = heard_of(message).into_iter();
    heard.map(|heard| heard.field(name).to_owned()).collect()
}

/// A door that handlers wait at.
fn door() -> (watch::Sender<bool>, watch::Receiver<bool>) {
    watch::channel(false)
}

async fn passes(mut door: watch::Receiver<bool>) -> Line {
    door.wait_for(|open| *open).await.expect("there is a door");
    line("passed")
}

#[test]
fn every_frame_that_comes_is_said_with_its_kind_and_length() {
    // rule: OBS-3
    let app = WireframeApp::with_protocol(Lines::new());
    let mut rig = Rig::new(app.route(1, |_: Conversation<Line>| std::future::pending::<()>()));
    rig.send(["1", "+body", "~co", ""]);
    let heard = heard_of("frame received");
    let said = |heard: &Heard| {
        (
            heard.field("kind").to_owned(),
            heard.field("len").to_owned(),
        )
    };
    let expected = [
        ("request", "1"),
        ("body", "5"),
        ("control", "3"),
        ("push", "0"),
    ];
    let expected = expected.map(|(kind, len)| (kind.to_owned(), len.to_owned()));
    assert_eq!(heard.iter().map(said).collect::<Vec<_>>(), expected);
    for heard in heard {
        assert_eq!(
            (heard.level, heard.spans.clone()),
            (Level::TRACE, vec![rig.span()])
        );
        assert_eq!(heard.field("connection"), rig.id());
    }
}

#[test]
fn a_peer_that_has_to_wait_is_said_with_the_limit_and_so_is_the_end_of_that() {
    // rule: OBS-3, RESP-7, REQ-3
    type Limit = fn(&mut Config);
    let cases: [(&str, Limit, &[&str]); 5] = [
        (
            "max_held_back",
            |c| c.limits.max_held_back = some(2),
            &["1", "1", "1"],
        ),
        (
            "max_frame_len",
            |c| c.limits.max_frame_len = some(7),
            &["1", "1 long", "1 too"],
        ),
        (
            "max_body_frames",
            |c| c.limits.max_body_frames = some(2),
            &["2", "+x", "+x"],
        ),
        (
            "max_body_bytes",
            |c| c.limits.max_body_bytes = Some(some(4)),
            &["2", "+xx", "+xx"],
        ),
        (
            "exclusive",
            |c| c.limits.read_buffer = some(8),
            &["^1", "1 more than is read ahead"],
        ),
    ];
    for (cause, limit, frames) in cases {
        let (opens, door) = door();
        let reads = door.clone();
        let app = WireframeApp::with_protocol(Lines::new())
            .config(config(limit))
            .route(1, move || passes(door.clone()))
            .route(2, move |body: Conversation<Line>| {
                let door = reads.clone();
                async move {
                    let line = passes(door).await;
                    drop(body);
                    line
                }
            });
        let mut rig = Rig::new(app);
        let (last, before) = frames.split_last().expect("there are frames");
        rig.send(before);
        let applied = heard_of("back-pressure applied");
        assert!(applied.is_empty(), "before {cause}: {applied:?}");
        rig.send([last]);
        let heard = heard_here();
        let applied: Vec<_> = heard
            .iter()
            .filter(|h| h.message.starts_with("back"))
            .collect();
        let [applied] = &applied[..] else {
            panic!("{cause}: {applied:?}");
        };
        assert_eq!(
            (&*applied.message, applied.level),
            ("back-pressure applied", Level::DEBUG)
        );
        assert_eq!(applied.field("cause"), cause);
        opens.send_replace(true);
        rig.simulation.run();
        assert_eq!(fields("back-pressure lifted", "cause"), [cause]);
    }
}

#[test]
fn control_output_that_waits_makes_the_peer_wait() {
    // rule: OBS-3, LIM-7
    let limits = config(|config| {
        config.limits.max_control = some(2);
        config.limits.high_water = some(1);
    });
    let app = WireframeApp::with_protocol(Lines::new()).config(limits);
    let mut rig = Rig::over(app, 4);
    heard_here();
    rig.send(["~a", "~b"]);
    assert_eq!(fields("back-pressure applied", "cause"), ["max_control"]);
    while !rig.peer.receive().is_empty() {
        rig.simulation.run();
    }
    let lifted = fields("back-pressure lifted", "cause");
    assert!(
        lifted.iter().any(|cause| cause == "max_control"),
        "{lifted:?}"
    );
}

#[test]
fn output_that_waits_at_the_high_water_mark_is_said_until_it_goes() {
    // rule: OBS-3, RESP-5
    let app = WireframeApp::with_protocol(Lines::new()).route(1, || line("x".repeat(70_000)));
    let mut rig = Rig::over(app, 1000);
    rig.peer.receive();
    rig.send(["1"]);
    assert_eq!(fields("back-pressure applied", "cause"), ["high_water"]);
    for _ in 0..3 {
        rig.peer.receive();
        rig.simulation.run();
        assert!(heard_of("back-pressure applied").is_empty(), "said once");
    }
    while !rig.peer.receive().is_empty() {
        rig.simulation.run();
    }
    assert_eq!(fields("back-pressure lifted", "cause"), ["high_water"]);
}

#[test]
fn output_that_waits_is_said_to_go_when_its_driver_is_dropped() {
    // rule: OBS-3
    let app = WireframeApp::with_protocol(Lines::new()).route(1, || line("x".repeat(70_000)));
    let mut rig = Rig::over(app, 1000);
    rig.send(["1"]);
    assert_eq!(fields("back-pressure applied", "cause"), ["high_water"]);
    rig.driver.cancel();
    let heard = heard_here();
    let place = |message: &str| heard.iter().position(|heard| heard.message == message);
    let lifted = place("back-pressure lifted").expect("the end lifts it");
    assert_eq!(heard.get(lifted).unwrap().field("cause"), "high_water");
    assert!(Some(lifted) < place("connection ended"));
}

/// An engine without a driver.
fn engine(config: Config) -> Connection<Lines> {
    recorder::listen();
    let peer = Peer::client_of(ConnectionId(7));
    let mut engine = Connection::new(config, Lines::new(), peer, Instant::ZERO);
    assert!(engine.poll_event(Instant::ZERO).is_none());
    engine
}

fn receive(engine: &mut Connection<Lines>, text: &str) {
    engine.receive_buffer().extend_from_slice(&wire(text));
    engine.handle_received(Instant::ZERO);
}

#[test]
fn a_driver_that_does_not_read_makes_the_peer_wait() {
    // rule: OBS-3, LIM-6, CLI-5
    let now = Instant::ZERO;
    let mut engine = engine(config(|config| config.limits.read_buffer = some(8)));
    engine.pause_reading(true, now);
    assert_eq!(fields("back-pressure applied", "cause"), ["paused"]);
    engine.pause_reading(false, now);
    assert_eq!(fields("back-pressure lifted", "cause"), ["paused"]);
    engine.hold_input(true, now);
    assert!(
        heard_of("back-pressure applied").is_empty(),
        "it reads ahead"
    );
    receive(&mut engine, "more than that");
    assert!(engine.poll_event(now).is_none());
    assert_eq!(fields("back-pressure applied", "cause"), ["held"]);
    // Who ends keeps nobody waiting.
    engine.shutdown(now, Shutdown::Immediate);
    assert_eq!(fields("back-pressure lifted", "cause"), ["held"]);
}

#[test]
fn frames_that_nobody_can_take_are_said_to_be_dropped() {
    // rule: OBS-3
    let mut rig = Rig::new(WireframeApp::with_protocol(Lines::new()));
    rig.send(["+of nothing", "a push"]);
    let heard = heard_of("frame dropped");
    let kinds: Vec<_> = heard.iter().map(|heard| heard.field("kind")).collect();
    assert_eq!(kinds, ["body", "unhandled_push"]);
    assert!(heard.iter().all(|heard| heard.level == Level::DEBUG));
}

#[test]
fn requests_that_come_during_a_drain_and_those_held_back_are_said_to_be_dropped() {
    // rule: OBS-3, SHUT-2
    let now = Instant::ZERO;
    let mut engine = engine(Config::default());
    for text in ["1", "1", "1"] {
        receive(&mut engine, text);
    }
    let mut held = 0;
    while let Some(event) = engine.poll_event(now) {
        held += usize::from(matches!(event, Event::HeldBack(_)));
    }
    heard_here();
    let deadline = Instant::MAX;
    engine.shutdown(now, Shutdown::Drain { deadline });
    let dropped = heard_of("frame dropped");
    let [dropped] = &dropped[..] else {
        panic!("{dropped:?}");
    };
    assert_eq!(
        (dropped.field("kind"), dropped.field("frames")),
        ("request", "2")
    );
    assert_eq!((held, dropped.field("connection")), (2, "7"));
    receive(&mut engine, "1");
    while engine.poll_event(now).is_some() {}
    assert_eq!(fields("frame dropped", "kind"), ["request"]);
}

#[test]
fn a_reply_to_a_call_that_was_given_up_is_said_to_be_dropped() {
    // rule: OBS-3, CLI-2
    recorder::listen();
    let simulation = Simulation::new();
    let (near, mut server) = link(1000);
    let app = WireframeApp::new().build().expect("fit to serve");
    let (client, driver) = Client::new(&app, near, None, &simulation.environment());
    let _driver = simulation.spawn(driver);
    let caller = client.clone();
    let call = simulation.spawn(async move { caller.call(Envelope::new(1, "x")).await });
    simulation.run();
    call.cancel();
    simulation.run();
    let request = server.receive();
    server.send(&request);
    simulation.run();
    assert_eq!(fields("frame dropped", "kind"), ["reply"]);
}

#[test]
fn what_the_protocol_says_and_cannot_be_encoded_is_warned_of() {
    // rule: OBS-3
    let fatal = || WireframeError::<Oops>::Io(std::io::Error::other("really?"));
    let app = WireframeApp::with_protocol(Lines::new())
        .route(1, || Err::<(), _>(Oops("why?")))
        .route(2, move || Err::<(), _>(fatal()));
    let mut rig = Rig::new(app);
    rig.send(["1", "2"]);
    let heard = heard_of("frame dropped");
    let kinds: Vec<_> = heard.iter().map(|heard| heard.field("kind")).collect();
    assert_eq!(kinds, ["error_answer", "last_word"]);
    for heard in &heard {
        assert_eq!((heard.level, heard.field("suppressed")), (Level::WARN, "0"));
        assert_eq!(heard.field("error"), "frame cannot be encoded: a question");
    }
}
