//! What a peer says before its first frame, and what waits for it.

use wireframe::{CloseReason, Inbound, Malformed, PushHandle, WireframeApp};

use crate::rig::{Line, Rig, Text, line, secs, text, wire};

fn protocol() -> Text {
    Text {
        greeting: Some("!hello"),
        preamble: Some("magic"),
        has_goodbye: true,
        ..Text::default()
    }
}

/// A server that notes when its handlers start.
fn noting(protocol: &Text) -> WireframeApp<Text> {
    let (connects, asks) = (protocol.record.clone(), protocol.record.clone());
    text(protocol)
        .on_connect(move |push: PushHandle<Line>| {
            connects.note("on_connect");
            async move { push.push_low_priority(line("!news")).await.unwrap() }
        })
        .route(1, move |Inbound(frame): Inbound<Line>| {
            asks.note("request");
            async move { frame }
        })
}

#[test]
fn a_connection_begins_after_its_preamble() {
    // rule: HOOK-2, REQ-5
    let protocol = protocol();
    let mut rig = Rig::new(noting(&protocol));
    assert_eq!(rig.heard(), ["!hello"], "a server may speak first");
    rig.peer.send(b"mag");
    assert_eq!(rig.heard(), [""; 0]);
    // The end of it and a request come together.
    rig.peer.send(&[b"ic+", &wire("1x")[..]].concat());
    assert_eq!(rig.heard(), ["!news", "1x"]);
    assert!(rig.reason().is_some());
    let record = protocol.record.take();
    assert_eq!(
        record,
        [
            "setup",
            "preamble 0",
            "send !hello",
            "preamble 3",
            "preamble 12",
            "on_connect",
            "request",
            "send !news",
            "send 1x",
            "command_end Done",
            "disconnect closed by the peer",
        ]
    );
}

#[test]
fn a_preamble_may_be_answered() {
    // rule: REQ-5
    let mut rig = Rig::new(noting(&protocol()));
    assert_eq!(rig.heard(), ["!hello"]);
    rig.peer.send(b"magic!");
    assert_eq!(rig.heard(), ["~welcome", "!news"]);
}

#[test]
fn the_answer_to_a_preamble_goes_before_a_flaw_that_came_with_it() {
    // rule: REQ-5, FRAME-5
    for at_once in [false, true] {
        let mut rig = Rig::new(noting(&protocol()));
        assert_eq!(rig.heard(), ["!hello"]);
        rig.peer.send(b"magic!");
        if !at_once {
            rig.simulation.run();
        }
        rig.peer.send(&[0, 0, 0, 1, 0xff]);
        let heard = rig.heard();
        assert_eq!(heard.first().map(String::as_str), Some("~welcome"));
        assert_eq!(heard.last().map(String::as_str), Some("goodbye"));
    }
}

#[test]
fn a_connection_that_is_refused_over_its_preamble_never_begins() {
    // rule: REQ-5, HOOK-2, HOOK-6
    let malformed = CloseReason::Malformed(Malformed::new("not the magic"));
    let cases: [(&[u8], CloseReason, &[&str]); 3] = [
        (b"magic-", CloseReason::Protocol, &["!hello", "no"]),
        (b"music", malformed, &["!hello", "goodbye"]),
        (
            b"mag",
            CloseReason::PreambleTimedOut,
            &["!hello", "goodbye"],
        ),
    ];
    for (bytes, reason, said) in cases {
        let protocol = protocol();
        let mut rig = Rig::new(noting(&protocol));
        rig.peer.send(bytes);
        rig.advance(secs(10));
        assert_eq!(rig.heard(), said);
        assert_eq!(rig.reason(), Some(reason));
        assert_eq!(protocol.record.count("on_connect"), 0);
    }
}

#[test]
fn a_peer_that_ends_inside_its_preamble_is_told_so() {
    // rule: REQ-5, SHUT-6
    let mut rig = Rig::new(noting(&protocol()));
    rig.peer.send(b"mag");
    let reason = CloseReason::PreambleEof { received: 3 };
    assert_eq!(rig.reason(), Some(reason));
    assert_eq!(rig.heard(), ["!hello", "goodbye"]);
}

#[test]
fn a_connection_is_closed_in_good_order_before_its_preamble() {
    // rule: SHUT-2, REQ-5
    let mut rig = Rig::new(noting(&protocol()));
    rig.push.connection().close();
    assert_eq!(rig.heard(), ["!hello", "goodbye"]);
    assert_eq!(rig.reason(), Some(CloseReason::Drained));
}
