//! Text of a peer that is not fit for a log.

use std::{convert::Infallible, io};

use bytes::Bytes;
use wireframe::{Envelope, Malformed, WireframeApp, WireframeError};

use crate::{
    recorder::{Heard, heard_here},
    rig::{Rig, config, some},
};

type Answer = Result<(), WireframeError<Infallible>>;

/// Fails with what it was sent.
async fn repeats(body: Bytes) -> Answer {
    let text = String::from_utf8_lossy(&body);
    Err(WireframeError::Other(text.into()))
}

/// Finds fault with what it was sent.
async fn malformed(body: Bytes) -> Answer {
    let text = String::from_utf8_lossy(&body);
    Err(Malformed::new(format!("no such user: {text}")).into())
}

/// Fails for good, with what it was sent.
async fn fatal(body: Bytes) -> Answer {
    let text = String::from_utf8_lossy(&body);
    Err(io::Error::other(text).into())
}

/// What a server says that is told this on that route.
fn told(route: u32, text: &str) -> Vec<Heard> {
    let limits = config(|config| config.limits.max_frame_len = some(4 << 20));
    let app = WireframeApp::new()
        .config(limits)
        .route(1, repeats)
        .route(2, malformed)
        .route(3, fatal);
    let mut rig = Rig::new(app);
    let frame = wireframe_tests::envelope(&Envelope::new(route, text.to_owned()));
    let length = u32::try_from(frame.len()).expect("a length of 32 bits");
    rig.peer.send(&[&length.to_be_bytes()[..], &frame].concat());
    rig.simulation.run();
    rig.end();
    heard_here()
}

/// The one field of what was said.
#[track_caller]
fn field<'a>(heard: &'a [Heard], message: &str, name: &str) -> &'a str {
    let heard = heard.iter().find(|heard| heard.message == message);
    heard.expect("it was said").field(name)
}

const ATTACK: &str = "x\r\nINFO all is well \x1b[1A\x1b[2K\x1b]0;owned\x07 \u{202e}nekorb\0";
const SHOWN: &str = r"x\r\nINFO all is well \u{1b}[1A\u{1b}[2K\u{1b}]0;owned\u{7} \u{202e}nekorb\0";

#[test]
fn what_an_answer_failed_with_is_escaped() {
    // rule: OBS-3
    assert_eq!(field(&told(1, ATTACK), "an answer failed", "error"), SHOWN);
    let shown = format!("malformed input: no such user: {SHOWN}");
    assert_eq!(field(&told(2, ATTACK), "an answer failed", "error"), shown);
}

#[test]
fn what_a_connection_ended_with_is_escaped() {
    // rule: OBS-3
    let heard = told(3, ATTACK);
    let shown = format!("a handler failed: {SHOWN}");
    for message in ["connection closing", "connection ended"] {
        assert_eq!(field(&heard, message, "reason"), shown);
    }
}

#[test]
fn a_text_of_a_megabyte_is_cut() {
    // rule: OBS-3
    let long = "\x1b".repeat(1 << 20);
    for route in [1, 2, 3] {
        for heard in told(route, &long) {
            assert!(
                heard.len() < 600,
                "{} bytes of {}",
                heard.len(),
                heard.message
            );
        }
    }
}
