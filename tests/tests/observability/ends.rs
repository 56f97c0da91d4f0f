//! How a connection ended, and at which level that is said.

use std::io;

use tracing::Level;
use wireframe::{Clock, CloseReason, RequestBody, WireframeApp, WireframeError};
use wireframe_tests::{Line, Lines, Oops, line};

use crate::{
    recorder::{Heard, heard_here},
    rig::{Rig, config, secs},
};

fn app() -> WireframeApp<Lines> {
    let config = config(|config| config.timeouts.idle = Some(secs(60)));
    WireframeApp::with_protocol(Lines::new())
        .config(config)
        .route(1, async || line("answer"))
        .route(2, async || {
            Err::<(), WireframeError<Oops>>(io::Error::other("the disk is full").into())
        })
        .route(3, async || -> Line { panic!("told to") })
        .route(4, async |clock: Clock| clock.sleep(secs(3600)).await)
        .route(5, async |mut body: RequestBody<Line>| {
            let _ = body.next().await;
        })
}

/// What is said when a connection has ended that this was done to.
fn ended(what: impl FnOnce(&mut Rig<Lines>)) -> (Heard, Option<CloseReason>) {
    let mut rig = Rig::new(app());
    what(&mut rig);
    let reason = rig.end();
    let mut heard = heard_here();
    heard.retain(|heard| heard.message == "connection ended");
    let [heard] = <[Heard; 1]>::try_from(heard).expect("it ends once");
    assert_eq!(heard.field("connection"), rig.id());
    (heard, reason)
}

#[test]
fn the_end_is_said_with_its_reason_at_the_level_of_whose_fault_it_was() {
    // rule: OBS-3
    let drain = |rig: &mut Rig<Lines>| rig.push.connection().close();
    let abort = |rig: &mut Rig<Lines>| rig.push.connection().abort();
    type Does = Box<dyn Fn(&mut Rig<Lines>)>;
    let sends = |text: &'static str| -> Does { Box::new(move |rig| rig.send([text])) };
    let sends_and_drains = |text: &'static str| -> Does {
        Box::new(move |rig| {
            rig.send([text]);
            drain(rig);
            rig.advance(secs(5));
        })
    };
    let sends_bytes = |bytes: &'static [u8]| -> Does {
        Box::new(move |rig| {
            rig.peer.send(bytes);
            rig.simulation.run();
        })
    };
    let cases: [(Does, Level, &str); 11] = [
        (Box::new(|_| ()), Level::DEBUG, "closed by the peer"),
        (Box::new(drain), Level::DEBUG, "drained"),
        (Box::new(abort), Level::DEBUG, "aborted"),
        (Box::new(|rig| rig.advance(secs(60))), Level::DEBUG, "idle"),
        (
            sends_bytes(b"\0\0"),
            Level::INFO,
            "peer closed inside a header, after 2 bytes",
        ),
        (
            sends_bytes(b"\0\0\0\x01\xff"),
            Level::INFO,
            "malformed input: not text",
        ),
        (
            sends_bytes(b"\xff\0\0\0"),
            Level::INFO,
            "max_frame_len is 1048576, got 4278190080",
        ),
        (
            sends("2"),
            Level::WARN,
            "a handler failed: the disk is full",
        ),
        (sends("3"), Level::WARN, "a handler panicked"),
        (sends_and_drains("4"), Level::WARN, "drain deadline passed"),
        (
            sends_and_drains("5"),
            Level::INFO,
            "drain deadline passed, the peer was waited for",
        ),
    ];
    for (what, level, reason) in cases {
        let (heard, ended) = ended(what);
        assert_eq!((heard.field("reason"), heard.level), (reason, level));
        assert_eq!(
            ended.map(|reason| reason.to_string()).as_deref(),
            Some(reason)
        );
    }
}

#[test]
fn the_end_is_said_with_what_came_and_went() {
    // rule: OBS-3
    let (heard, _) = ended(|rig| rig.send(["1", "1", "a push"]));
    let numbers = [
        "frames_received",
        "frames_sent",
        "bytes_received",
        "bytes_sent",
    ];
    // A greeting and two answers; a header is 4 bytes.
    let expected = [3, 3, 5 + 5 + 10, 9 + 10 + 10];
    assert_eq!(
        numbers.map(|name| heard.field(name).to_owned()),
        expected.map(|n| n.to_string())
    );
    assert_eq!(heard.field("pushes_unsent"), "0");
}

#[test]
fn an_end_at_once_is_said_with_the_pushes_that_were_not_sent() {
    // rule: OBS-3, PUSH-9
    let mut rig = Rig::over(app(), 10);
    rig.send(["4"]);
    for _ in 0..3 {
        let pushed = rig
            .push
            .try_push(wireframe::Priority::Low, line("not sent"));
        pushed.expect("there is room");
    }
    rig.driver.cancel();
    let heard = heard_here();
    let ended = heard
        .iter()
        .find(|heard| heard.message == "connection ended");
    assert_eq!(ended.expect("it has").field("pushes_unsent"), "3");
}
