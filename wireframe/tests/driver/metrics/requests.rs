//! How long requests take, and handlers that panic.

use std::time::Duration;

use wireframe::{
    Clock, Conversation, Inbound, Response, State, WireframeApp,
    testing::{ManualClock, Simulation},
};

use super::{Recorder, measured, rig};
use crate::rig::{Line, Oops, Rig, Text, config, line, nonzero, secs, text};

const LARGE: usize = 1 << 16;

/// Its answer comes after so many seconds.
async fn slow(Inbound(frame): Inbound<Line>, clock: Clock) -> Line {
    clock.sleep(secs(frame.0.len() as u64)).await;
    frame
}

/// Three frames, one per second, after a second.
async fn stream(clock: Clock) -> Response<Line, Oops> {
    clock.sleep(secs(1)).await;
    Response::frames(async_stream::stream! {
        for _ in 0..3 {
            clock.sleep(secs(1)).await;
            yield line("part");
        }
    })
}

fn latencies(recorder: &Recorder) -> Vec<String> {
    let moved = recorder.moved().into_iter();
    moved.filter(|name| name.contains("latency")).collect()
}

#[test]
fn a_request_takes_until_the_last_frame_of_its_answer() {
    // rule: OBS-2
    let app = text(&Text::default())
        .config(config(|c| c.limits.max_in_flight = Some(nonzero(10))))
        .route(1, || "at once")
        .route(2, slow)
        .route(3, stream)
        .route(4, || Err::<&str, _>(Oops("failed")));
    let (mut rig, recorder) = rig(app, LARGE);
    for (asked, after, took) in [
        ("1", 0, "[0.0]"),
        ("22", 2, "[2.0]"),
        ("3", 4, "[4.0]"),
        ("4", 0, "[0.0]"),
    ] {
        rig.ask(asked);
        rig.advance(secs(after));
        let took = format!("request_latency_seconds {took}");
        assert_eq!(latencies(&recorder), [took], "{asked}");
    }
    // Several at once, each with its own time.
    for asked in ["22", "1", "222", "22"] {
        rig.ask(asked);
    }
    rig.advance(secs(2));
    let took = ["request_latency_seconds [0.0, 2.0, 2.0]"];
    assert_eq!(latencies(&recorder), took);
    rig.advance(secs(1));
    assert_eq!(latencies(&recorder), ["request_latency_seconds [3.0]"]);
}

#[test]
fn a_handler_that_blocks_its_thread_takes_its_time() {
    // rule: OBS-2
    let block = |State(clock): State<ManualClock>| {
        clock.advance(Duration::from_millis(250));
        line("done")
    };
    let simulation = Simulation::new();
    let app = text(&Text::default())
        .config(config(|c| c.limits.max_in_flight = Some(nonzero(10))))
        .route(1, block)
        .route(2, slow)
        .state(simulation.clock().clone());
    let (app, recorder) = measured(app);
    let mut rig = Rig::idle(&app, &simulation, LARGE);
    assert_eq!(rig.exchange("1"), ["done"]);
    let took = ["request_latency_seconds [0.25]"];
    assert_eq!(latencies(&recorder), took);
    // Also beside one that goes on.
    rig.ask("2");
    rig.ask("1");
    assert_eq!(latencies(&recorder), took);
}

#[test]
fn a_request_without_an_answer_has_taken_no_time() {
    // rule: OBS-2
    let protocol = Text {
        unknown: Some("unknown"),
        ..Text::default()
    };
    let (mut rig, recorder) = rig(text(&protocol).route(2, slow), LARGE);
    assert_eq!(rig.exchange("1"), ["unknown"]);
    rig.ask("2");
    rig.push.connection().abort();
    rig.simulation.run();
    assert!(rig.driver.is_done());
    assert!(latencies(&recorder).is_empty());
}

#[test]
fn an_answer_that_does_not_encode_ends_its_request_once() {
    // rule: OBS-2
    async fn converse(mut client: Conversation<Line>, clock: Clock) {
        clock.sleep(secs(4)).await;
        client.send(line("?")).await.unwrap();
        std::future::pending::<()>().await;
    }
    let app = text(&Text::default())
        .route(1, || line("?"))
        .route(2, converse);
    let (mut rig, recorder) = rig(app, LARGE);
    assert_eq!(rig.exchange("1"), ["error: unencodable"]);
    let moved = [
        "errors_total{kind=unencodable} +1",
        "frames_processed_total{direction=inbound} +1",
        "frames_processed_total{direction=outbound} +1",
        "request_latency_seconds [0.0]",
    ];
    assert_eq!(recorder.moved(), moved);
    rig.ask("2");
    rig.advance(secs(4));
    let moved = [
        "errors_total{kind=unencodable} +1",
        "frames_processed_total{direction=inbound} +1",
        "frames_processed_total{direction=outbound} +1",
        "request_latency_seconds [4.0]",
    ];
    assert_eq!(recorder.moved(), moved);
}

#[test]
fn handlers_of_all_kinds_that_panic_are_counted() {
    // rule: OBS-2
    fn panics() {
        panic!("told to");
    }
    async fn in_a_stream() -> Response<Line, Oops> {
        Response::frames(async_stream::stream! {
            yield line("first");
            panic!("told to");
        })
    }
    let app = || text(&Text::default());
    let cases: [(WireframeApp<Text>, &str); 4] = [
        (app().route(1, panics), "1"),
        (app().route(1, in_a_stream), "1"),
        (app().on_push(panics), "push"),
        (app().on_connect(panics), ""),
    ];
    for (app, asked) in cases {
        let (app, recorder) = measured(app);
        let simulation = Simulation::new();
        let mut rig = Rig::idle(&app, &simulation, LARGE);
        if !asked.is_empty() {
            rig.ask(asked);
        }
        rig.reason().unwrap();
        let moved = recorder.moved();
        for counted in [
            "errors_total{kind=handler_panicked} +1",
            "handler_panics_total +1",
        ] {
            assert!(moved.iter().any(|name| name == counted), "{moved:?}");
        }
        assert!(recorder.standing().is_empty());
    }
}
