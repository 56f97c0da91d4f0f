//! The scripts.

use wireframe::{LengthDelimited, Multiplexed, rt::Runtime};
use wireframe_tests::Lines;

use super::{Act, Step, agrees, send, step};
use crate::support::some;

scenarios! {
    requests_of_every_kind
    pipelined_requests
    pushes_around_an_answer
    a_conversation
    a_conversation_that_the_peer_breaks_off
    an_exclusive_request_and_what_is_behind_it
    control_frames_pass_by
    a_half_close_with_requests_in_flight
    malformed_input
    a_frame_that_is_too_long
    an_error_that_closes
    a_panic
    a_preamble
    a_preamble_that_is_none
    a_drain
    fragments
}

const HELLO: &[&str] = &["hello"];

async fn runs<R: Runtime>(script: impl IntoIterator<Item = Step>) {
    let hello = step(Act::Connect, HELLO);
    let script = [hello].into_iter().chain(script).collect();
    agrees::<R, LengthDelimited>(Lines::new, script).await;
}

async fn requests_of_every_kind<R: Runtime>() {
    // rule: HOOK-2, FRAME-5
    runs::<R>([
        send(&["1 one"], &["echo 1 one"]),
        send(&["2"], &["a", "b", "c"]),
        send(&["3", "1 two"], &["echo 1 two"]),
        send(&["4"], &["error: no"]),
        send(&["8"], &["x", "y", "z", "end"]),
        send(&["0"], &["error: frame cannot be encoded: a question"]),
        send(&["1 three"], &["echo 1 three"]),
    ])
    .await;
}

async fn pipelined_requests<R: Runtime>() {
    // rule: SEL-6, HOOK-2
    let all = ["1 one", "2", "8", "4", "3", "1 two", "a push", "1 three"];
    runs::<R>([send(
        &all,
        &[
            "echo 1 one",
            "a",
            "b",
            "c",
            "x",
            "y",
            "z",
            "end",
            "error: no",
            "echo 1 two",
            "echo 1 three",
        ],
    )])
    .await;
}

async fn pushes_around_an_answer<R: Runtime>() {
    // rule: SEL-1
    runs::<R>([
        send(&["6"], &["high", "low", "pushed"]),
        send(&["1 one"], &["echo 1 one"]),
    ])
    .await;
}

async fn a_conversation<R: Runtime>() {
    // rule: REQ-2
    runs::<R>([
        send(&["7", "+1"], &["got +1"]),
        send(&["+2", "+3"], &["got +2", "got +3"]),
        // Held back until the conversation is over.
        send(&["1 one"], &[]),
        send(&["+.4"], &["got +.4", "4 parts", "echo 1 one"]),
        send(&["7", "+.1"], &["got +.1", "1 parts"]),
        // Of no command that is live.
        send(&["+2", "1 two"], &["echo 1 two"]),
    ])
    .await;
}

async fn a_conversation_that_the_peer_breaks_off<R: Runtime>() {
    // rule: RESP-10
    let goodbye = "goodbye: a handler failed: the peer ended its output inside the body";
    runs::<R>([
        send(&["7", "+1"], &["got +1"]),
        step(Act::EndOutput, &[goodbye]),
    ])
    .await;
}

async fn an_exclusive_request_and_what_is_behind_it<R: Runtime>() {
    // rule: FRAME-4
    runs::<R>([send(
        &["1 one", "^2", "1 two", "^8", "1 three"],
        &[
            "echo 1 one",
            "a",
            "b",
            "c",
            "echo 1 two",
            "x",
            "y",
            "z",
            "end",
            "echo 1 three",
        ],
    )])
    .await;
}

async fn control_frames_pass_by<R: Runtime>() {
    // rule: SEL-1, RESP-7
    runs::<R>([
        send(&["7"], &[]),
        send(&["1 held", "~one", "~two"], &["~one", "~two"]),
        send(&["+.1"], &["got +.1", "1 parts", "echo 1 held"]),
    ])
    .await;
}

async fn a_half_close_with_requests_in_flight<R: Runtime>() {
    // rule: SHUT-6
    let answers = ["got +1", "got +.2", "2 parts", "echo 1 one", "a", "b", "c"];
    runs::<R>([
        send(&["7"], &[]),
        send(&["+1", "+.2", "1 one", "2"], &answers),
        step(Act::EndOutput, &[]),
    ])
    .await;
}

async fn malformed_input<R: Runtime>() {
    // rule: FRAME-5
    let mut bytes = b"\0\0\0\x02\xFF\xFE".to_vec();
    bytes.extend(super::wires(&["1 after"]));
    runs::<R>([
        send(&["1 one"], &["echo 1 one"]),
        step(Act::Send(bytes), &["goodbye: malformed input: not text"]),
    ])
    .await;
}

async fn a_frame_that_is_too_long<R: Runtime>() {
    // rule: LIM-1
    let goodbye = ["goodbye: max_frame_len is 1000, got 1001"];
    runs::<R>([
        send(&["1 one"], &["echo 1 one"]),
        step(Act::Send(b"\0\0\x03\xE9".to_vec()), &goodbye),
    ])
    .await;
}

async fn an_error_that_closes<R: Runtime>() {
    // rule: RESP-6, HOOK-6
    runs::<R>([
        send(&["1 one"], &["echo 1 one"]),
        send(&["5", "1 two"], &["error: close"]),
        send(&["1 three"], &[]),
    ])
    .await;
}

async fn a_panic<R: Runtime>() {
    // rule: RESP-8
    runs::<R>([
        send(&["1 one"], &["echo 1 one"]),
        send(&["9"], &["goodbye: a handler panicked"]),
    ])
    .await;
}

const MAGIC: &str = "LINES 1\n";

fn with_preamble() -> Lines {
    Lines {
        preamble: Some(MAGIC),
        ..Lines::new()
    }
}

async fn a_preamble<R: Runtime>() {
    // rule: REQ-5
    let (start, rest) = MAGIC.split_at(3);
    let script = vec![
        step(Act::Connect, HELLO),
        step(Act::Send(start.into()), &[]),
        step(
            Act::Send([rest.as_bytes(), &super::wires(&["1 one"])].concat()),
            &["~welcome", "echo 1 one"],
        ),
    ];
    agrees::<R, _>(with_preamble, script).await;
}

async fn a_preamble_that_is_none<R: Runtime>() {
    // rule: REQ-5
    let goodbye = ["goodbye: malformed input: not the magic"];
    let script = vec![
        step(Act::Connect, HELLO),
        step(Act::Send(b"GET / HTTP/1.1".to_vec()), &goodbye),
    ];
    agrees::<R, _>(with_preamble, script).await;
}

async fn a_drain<R: Runtime>() {
    // rule: SHUT-2
    runs::<R>([
        send(&["7", "1 held back", "+1"], &["got +1"]),
        step(Act::Drain, &["draining"]),
        send(&["1 too late"], &[]),
        send(&["+2"], &["got +2"]),
        send(&["+.3"], &["got +.3", "3 parts", "goodbye: drained"]),
    ])
    .await;
}

/// A unit of `Multiplexed`, and its optional fields.
fn unit(flags: u8, fields: &[u8], payload: &str) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length of 32 bits");
    [
        &length.to_be_bytes()[..],
        &[flags],
        fields,
        payload.as_bytes(),
    ]
    .concat()
}

async fn fragments<R: Runtime>() {
    // rule: FRAG-3, REASM-1
    let protocol = || Lines {
        framing: Multiplexed::new().with_fragment_payload(some(8)),
        ..Lines::default()
    };
    let whole = |text| unit(2, &[], text);
    let first = |id, total, text| {
        let fields = [0, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, total];
        unit(5, &fields, text)
    };
    let next = |id, seq, last, text| {
        let fields = [0, 0, 0, id, 0, 0, 0, seq];
        unit(if last { 3 } else { 1 }, &fields, text)
    };
    let on_wire = |act: &[Vec<u8>], heard: &[Vec<u8>]| Step {
        act: Act::Send(act.concat()),
        heard: heard.concat(),
    };
    let script = vec![
        Step {
            act: Act::Connect,
            heard: whole("hello"),
        },
        on_wire(&[whole("1 a")], &[whole("echo 1 a")]),
        on_wire(
            &[whole("1 a longer one")],
            &[
                first(0, 19, "echo 1 a"),
                next(0, 1, false, " longer "),
                next(0, 2, true, "one"),
            ],
        ),
        // Two messages interleaved, and one that is not split between them.
        on_wire(
            &[
                first(7, 9, "1 fi"),
                first(8, 10, "1 sec"),
                whole("~now"),
                next(7, 1, false, "rst"),
            ],
            &[whole("~now")],
        ),
        on_wire(
            &[next(8, 1, true, "ond 2"), next(7, 2, true, " 1")],
            &[
                first(1, 15, "echo 1 s"),
                next(1, 1, true, "econd 2"),
                first(2, 14, "echo 1 f"),
                next(2, 1, true, "irst 1"),
            ],
        ),
        // What comes twice is ignored.
        on_wire(
            &[first(9, 3, "1 "), first(9, 3, "1 "), next(9, 1, true, "b")],
            &[whole("echo 1 b")],
        ),
        // A message that is not whole in the end.
        Step {
            act: Act::Send(first(10, 9, "1 x")),
            heard: Vec::new(),
        },
        Step {
            act: Act::EndOutput,
            heard: [
                first(3, 67, "goodbye:"),
                next(3, 1, false, " peer cl"),
                next(3, 2, false, "osed ins"),
                next(3, 3, false, "ide a me"),
                next(3, 4, false, "ssage, a"),
                next(3, 5, false, "fter 3 b"),
                next(3, 6, false, "ytes, 6 "),
                next(3, 7, false, "are miss"),
                next(3, 8, true, "ing"),
            ]
            .concat(),
        },
    ];
    agrees::<R, _>(protocol, script).await;
}
