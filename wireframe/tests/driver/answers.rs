//! Answers: what handlers may return, and how an answer ends.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use wireframe::{
    Clock, CloseReason, Inbound, Response, TaskTracker, WireframeApp, WireframeError,
    testing::Simulation,
};

use crate::rig::{Line, Oops, Rig, Text, config, line, secs, text};

type Answer = Response<Line, Oops>;

fn two() -> Vec<Line> {
    vec![line("a"), line("b")]
}

fn a_stream() -> Answer {
    Response::frames(async_stream::stream! {
        yield line("a");
        yield line("b");
    })
}

fn a_channel() -> Answer {
    let (sender, response) = Response::channel(2);
    sender.try_send(line("a")).unwrap();
    sender.try_send(line("b")).unwrap();
    response
}

#[test]
fn an_answer_is_one_frame_several_a_stream_a_channel_or_nothing() {
    // rule: RESP-1
    let app = text(&Text::default())
        .route(1, async || Answer::Single(line("one")))
        .route(2, async || Answer::Vec(two()))
        .route(3, async || a_stream())
        .route(4, async || a_channel())
        .route(5, async || Answer::Empty)
        .route(6, async || Answer::Vec(Vec::new()));
    let mut rig = Rig::new(app);
    assert_eq!(rig.exchange("1"), ["one"]);
    for route in ["2", "3", "4"] {
        assert_eq!(rig.exchange(route), ["a", "b"]);
    }
    for route in ["5", "6"] {
        assert_eq!(rig.exchange(route), [""; 0]);
    }
    assert_eq!(rig.exchange("1"), ["one"], "and the connection goes on");
}

#[test]
fn a_handler_returns_whatever_becomes_an_answer() {
    // rule: RESP-1
    let app = text(&Text::default())
        .route(1, async || line("frame"))
        .route(2, async || two())
        .route(3, async || ())
        .route(4, async || Bytes::from_static(b"bytes"))
        .route(5, async || vec![b'v', b'e', b'c'])
        .route(6, async || String::from("text"))
        .route(7, async || "str")
        .route(8, async || &b"slice"[..])
        .route(9, async || Ok::<_, WireframeError<Oops>>(two()))
        .route(0, async || Ok::<_, Oops>("fine"));
    let mut rig = Rig::new(app);
    for (route, answer) in [
        ("1", &["frame"][..]),
        ("2", &["a", "b"]),
        ("3", &[]),
        ("4", &["4:bytes"]),
        ("5", &["5:vec"]),
        ("6", &["6:text"]),
        ("7", &["7:str"]),
        ("8", &["8:slice"]),
        ("9", &["a", "b"]),
        ("0", &["0:fine"]),
    ] {
        assert_eq!(rig.exchange(route), answer, "route {route}");
    }
}

#[test]
fn a_channel_is_answered_from_a_task_as_its_frames_come() {
    // rule: RESP-1
    async fn ticks(tasks: TaskTracker, clock: Clock) -> Answer {
        let (sender, response) = Response::channel(1);
        tasks.spawn(async move {
            for n in 0..3 {
                clock.sleep(secs(1)).await;
                sender.send(line(format!("tick {n}"))).await.unwrap();
            }
        });
        response
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, ticks));
    rig.ask("1");
    for n in 0..3 {
        assert_eq!(rig.heard(), [""; 0]);
        rig.advance(secs(1));
        assert_eq!(rig.heard(), [format!("tick {n}")]);
    }
}

fn parse(text: &str) -> Result<u32, Oops> {
    text.trim_start_matches('1')
        .parse()
        .map_err(|_| Oops("no number"))
}

fn read(fails: bool) -> io::Result<()> {
    if fails {
        return Err(io::Error::other("disk on fire"));
    }
    Ok(())
}

#[test]
fn the_question_mark_works_on_the_protocols_error_and_on_io_errors() {
    // rule: RESP-1, RESP-6
    async fn both(Inbound(Line(text)): Inbound<Line>) -> Result<String, WireframeError<Oops>> {
        let number = parse(&text)?;
        read(number == 29)?;
        Ok(number.to_string())
    }
    let protocol = Text::default();
    let mut rig = Rig::new(text(&protocol).route(1, both));
    assert_eq!(rig.exchange("17"), ["1:7"]);
    assert_eq!(rig.exchange("1x"), ["error: no number"]);
    assert_eq!(rig.exchange("17"), ["1:7"], "the connection goes on");
    assert_eq!(rig.exchange("129"), [""; 0]);
    let reason = rig.reason().unwrap();
    assert_eq!(reason, CloseReason::HandlerFailed("disk on fire".into()));
    assert_eq!(protocol.record.count("goodbye"), 1);
}

#[test]
fn the_question_mark_works_with_either_error_alone() {
    // rule: RESP-1
    async fn own(Inbound(Line(text)): Inbound<Line>) -> Result<String, Oops> {
        Ok(parse(&text)?.to_string())
    }
    async fn never() -> Result<Line, WireframeError<Oops>> {
        read(true)?;
        Ok(line("unreachable"))
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, own).route(2, never));
    assert_eq!(rig.exchange("1"), ["error: no number"]);
    assert_eq!(rig.exchange("2"), [""; 0]);
    assert!(matches!(rig.reason(), Some(CloseReason::HandlerFailed(_))));
}

#[test]
fn a_protocol_without_errors_of_its_own_can_fail_with_io_errors() {
    // rule: RESP-1
    async fn fails() -> Result<&'static str, WireframeError<Infallible>> {
        read(true)?;
        Ok("unreachable")
    }
    assert!(WireframeApp::new().route(1, fails).build().is_ok());
}

#[test]
fn only_the_normal_end_of_a_stream_or_channel_has_an_end_frame() {
    // rule: RESP-3
    let protocol = Text {
        stream_end: true,
        ..Text::default()
    };
    let fails = async || {
        Answer::stream(async_stream::stream! {
            yield Ok(line("a"));
            Err(Oops("broken"))?;
        })
    };
    let app = text(&protocol)
        .route(1, async || line("one"))
        .route(2, async || two())
        .route(3, async || a_stream())
        .route(4, async || a_channel())
        .route(5, async || Answer::Empty)
        .route(6, fails);
    let mut rig = Rig::new(app);
    for (route, answer, asked) in [
        ("1", &["one"][..], 0),
        ("2", &["a", "b"], 0),
        ("3", &["a", "b", "end"], 1),
        ("4", &["a", "b", "end"], 1),
        ("5", &[], 0),
        ("6", &["a", "error: broken"], 0),
    ] {
        assert_eq!(rig.exchange(route), answer, "route {route}");
        let record = protocol.record.take();
        let count = record.iter().filter(|hook| *hook == "stream_end").count();
        assert_eq!(count, asked, "route {route}");
        assert_eq!(record.contains(&"send end".into()), asked == 1);
    }
}

#[test]
fn a_command_ends_once_after_its_last_frame_however_it_ends() {
    // rule: RESP-4
    let protocol = Text {
        stream_end: true,
        ..Text::default()
    };
    let app = text(&protocol)
        .route(1, async || line("one"))
        .route(2, async || two())
        .route(3, async || a_stream())
        .route(4, async || a_channel())
        .route(5, async || Answer::Empty)
        .route(6, async || Err::<Line, _>(Oops("sorry")))
        .route(7, async || line("what?"));
    let mut rig = Rig::new(app);
    protocol.record.take();
    for (route, record) in [
        ("1", &["send one", "command_end Done"][..]),
        ("2", &["send a", "send b", "command_end Done"]),
        ("5", &["command_end Done"]),
        ("6", &["error", "send error: sorry", "command_end Failed"]),
        (
            "7",
            &[
                "send what?",
                "error",
                "send error: unencodable",
                "command_end Failed",
            ],
        ),
    ] {
        rig.exchange(route);
        assert_eq!(protocol.record.take(), record, "route {route}");
    }
    for route in ["3", "4"] {
        rig.exchange(route);
        let mut record = protocol.record.take();
        assert_eq!(record.pop().unwrap(), "command_end Done");
        assert_eq!(record.pop().unwrap(), "send end");
        assert!(!record.contains(&"command_end Done".into()));
    }
}

#[test]
fn a_command_that_does_not_end_by_itself_ends_with_the_connection() {
    // rule: RESP-4
    type End = fn(&mut Rig);
    let ends: [(End, &str); 2] = [
        (|rig| rig.push.connection().abort(), "Disconnected"),
        (|rig| rig.driver.cancel(), "Disconnected"),
    ];
    for (end, outcome) in ends {
        let protocol = Text::default();
        let pending = async || std::future::pending::<Line>().await;
        let mut rig = Rig::new(text(&protocol).route(1, pending));
        rig.ask("1");
        end(&mut rig);
        rig.simulation.run();
        assert_eq!(protocol.record.count(&format!("command_end {outcome}")), 1);
        assert_eq!(
            protocol
                .record
                .take()
                .iter()
                .filter(|h| h.starts_with("command_end"))
                .count(),
            1
        );
    }
}

#[test]
fn a_slow_peer_stops_a_stream() {
    // rule: RESP-5
    static PULLED: AtomicUsize = AtomicUsize::new(0);
    const FRAME: usize = 100;
    async fn endless() -> Answer {
        Response::frames(async_stream::stream! {
            loop {
                PULLED.fetch_add(1, SeqCst);
                yield line("x".repeat(FRAME - 4));
            }
        })
    }
    let app = text(&Text::default())
        .route(1, endless)
        .config(config(|c| c.limits.high_water = crate::rig::nonzero(1000)));
    let mut rig = Rig::with_capacity(app, 500);
    rig.ask("1");
    // What the link holds, what is encoded up to the mark, and what waits in the slot.
    let most = |taken: usize| (taken + 500 + 1000) / FRAME + 1 + 2;
    for taken in [0, 1, 2, 3].map(|n| n * 500) {
        let pulled = PULLED.load(SeqCst);
        assert!(pulled <= most(taken), "{pulled} after {taken} bytes");
        assert!(pulled * FRAME >= taken, "it goes on as the peer reads");
        rig.peer.receive_at_most(500);
        rig.simulation.run();
    }
}

#[test]
fn a_stream_that_fails_is_answered_and_the_connection_goes_on() {
    // rule: RESP-6
    async fn fails() -> Answer {
        Response::stream(async_stream::stream! {
            yield Ok(line("first"));
            Err(Oops("half way"))?;
            yield Ok(line("never"));
        })
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, fails));
    for _ in 0..2 {
        assert_eq!(rig.exchange("1"), ["first", "error: half way"]);
    }
}

#[test]
fn an_io_error_in_a_stream_is_fatal() {
    // rule: RESP-6
    let protocol = Text {
        has_goodbye: true,
        ..Text::default()
    };
    async fn fails() -> Answer {
        Response::stream(async_stream::stream! {
            yield Ok(line("first"));
            Err(io::Error::other("gone"))?;
        })
    }
    let mut rig = Rig::new(text(&protocol).route(1, fails));
    assert_eq!(rig.exchange("1"), ["first", "goodbye"]);
    assert!(rig.peer.is_at_end());
    assert_eq!(
        rig.reason(),
        Some(CloseReason::HandlerFailed("gone".into()))
    );
}

#[test]
fn a_protocol_may_close_over_an_error() {
    // rule: RESP-6, HOOK-6
    let mut rig = Rig::new(text(&Text::default()).route(1, async || Err::<(), _>(Oops("close"))));
    assert_eq!(rig.exchange("1"), ["error: close"]);
    assert!(rig.peer.is_at_end());
    assert_eq!(rig.reason(), Some(CloseReason::Protocol));
}

#[test]
fn a_request_without_a_route_goes_to_the_fallback() {
    // rule: RESP-9
    let protocol = Text::default();
    let app = text(&protocol).fallback(async |Inbound(frame): Inbound<Line>| frame);
    assert_eq!(Rig::new(app).exchange("3lost"), ["3lost"]);
    assert_eq!(protocol.record.count("unknown"), 0);
}

#[test]
fn without_a_fallback_the_protocol_decides_about_unknown_routes() {
    // rule: RESP-9
    let protocol = Text {
        unknown: Some("no such thing"),
        ..Text::default()
    };
    let mut rig = Rig::new(text(&protocol));
    for _ in 0..2 {
        assert_eq!(rig.exchange("3"), ["no such thing"]);
    }
    assert_eq!(protocol.record.count("unknown"), 2);
}

#[test]
fn what_is_warned_of_an_unknown_route_is_counted_for_the_app_and_each_kind_by_itself() {
    // rule: OBS-3
    let protocol = Text::default();
    let (app, simulation) = (text(&protocol).build().unwrap(), Simulation::new());
    let comes = |request| {
        Rig::idle(&app, &simulation, 1000).exchange(request);
        let mut noted = protocol.record.take();
        noted.retain(|what| what.starts_with("warned"));
        noted
    };
    assert_eq!(comes("3noise"), ["warned of noise, 0 before"]);
    assert_eq!(comes("3noise"), [""; 0]);
    assert_eq!(comes("3trouble"), ["warned of trouble, 0 before"]);
    simulation.advance(secs(10));
    assert_eq!(comes("3trouble"), ["warned of trouble, 0 before"]);
    assert_eq!(comes("3noise"), ["warned of noise, 1 before"]);
}

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, SeqCst);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn an_unknown_route_closes_the_connection_and_is_logged_if_nobody_decides() {
    // rule: RESP-9
    use wireframe::{Driver, testing::link};
    let warnings = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Warnings(Arc::clone(&warnings)), || {
        let simulation = Simulation::new();
        let app = WireframeApp::new().build().unwrap();
        let (near, mut peer) = link(1000);
        let environment = simulation.environment();
        let driver = simulation.spawn(Driver::server(&app, near, None, &environment));
        peer.send(b"\0\0\0\x04\x07\0\x01x");
        simulation.run();
        assert!(peer.is_at_end());
        peer.finish();
        simulation.run();
        assert_eq!(driver.take(), Some(CloseReason::Protocol));
    });
    assert_eq!(warnings.load(SeqCst), 1);
}
