//! What came before malformed input is answered, also if both came in one read.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
};

use wireframe::{
    CloseReason, Conversation, Malformed, Priority, PushHandle, Response, WireframeApp,
};

use crate::rig::{Line, Oops, Rig, Text, config, line, nonzero, text, wire};

type Answer = Response<Line, Oops>;

/// A frame that is not text.
pub(crate) const FLAW: [u8; 5] = [0, 0, 0, 1, 0xff];

/// Lets others go first, once.
async fn wait_a_turn() {
    let mut waited = false;
    future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn converse(mut peer: Conversation<Line>) -> Line {
    for n in 0..5 {
        peer.send(line(format!("sent {n}"))).await.unwrap();
    }
    line("returned")
}

async fn read(mut peer: Conversation<Line>) -> String {
    let mut read = String::new();
    while let Some(Line(part)) = peer.next().await.unwrap() {
        read += &part;
    }
    read
}

fn protocol() -> Text {
    Text {
        unknown: Some("unknown"),
        stream_end: true,
        has_goodbye: true,
        ..Text::default()
    }
}

fn app() -> WireframeApp<Text> {
    let stream = || {
        Answer::frames(async_stream::stream! {
            yield line("a");
            yield line("b");
        })
    };
    let push = async |push: PushHandle<Line>| {
        push.push(Priority::Low, line("pushed")).await.unwrap();
        "answered"
    };
    text(&protocol())
        .route(1, || "one")
        .route(2, || Answer::Vec(vec![line("a"), line("b"), line("c")]))
        .route(3, || Err::<(), _>(Oops("own")))
        .route(4, async || {
            wait_a_turn().await;
            "late"
        })
        .route(5, stream)
        .route(6, converse)
        .route(7, read)
        .route(8, push)
}

/// The requests and a flaw behind them, cut in two everywhere, are answered like that.
fn check(requests: &[&str], expected: &[&str]) {
    let mut bytes: Vec<u8> = requests.iter().flat_map(|request| wire(request)).collect();
    bytes.extend(FLAW);
    for at in 0..=bytes.len() {
        let mut rig = Rig::new(app());
        let (front, back) = bytes.split_at(at);
        rig.peer.send(front);
        rig.simulation.run();
        rig.peer.send(back);
        assert_eq!(rig.heard(), expected, "{requests:?}, cut at {at}");
        let malformed = CloseReason::Malformed(Malformed::new("not text"));
        assert_eq!(rig.reason(), Some(malformed));
    }
}

#[test]
fn every_kind_of_answer_survives_a_flaw_behind_its_request() {
    // rule: FRAME-5, RESP-5
    check(&["1"], &["1:one", "goodbye"]);
    check(&["2"], &["a", "b", "c", "goodbye"]);
    check(&["3"], &["error: own", "goodbye"]);
    check(&["4"], &["4:late", "goodbye"]);
    check(&["5"], &["a", "b", "end", "goodbye"]);
    let sent = ["sent 0", "sent 1", "sent 2", "sent 3", "sent 4", "returned"];
    check(&["6"], &[&sent[..], &["goodbye"]].concat());
    check(&["7", "+a", "+.b"], &["7:+a+.b", "goodbye"]);
    check(&["8"], &["pushed", "8:answered", "goodbye"]);
    check(&["9"], &["unknown", "goodbye"]);
}

#[test]
fn all_requests_before_a_flaw_are_answered_in_order() {
    // rule: FRAME-5, RESP-7
    check(
        &["4", "2", "3", "4", "1"],
        &[
            "4:late",
            "a",
            "b",
            "c",
            "error: own",
            "4:late",
            "1:one",
            "goodbye",
        ],
    );
}

#[test]
fn a_long_answer_survives_a_flaw_although_the_peer_takes_little_at_a_time() {
    // rule: FRAME-5, SEL-8
    let long: Vec<_> = (0..100).map(|n| n.to_string().repeat(1_000)).collect();
    let answer = long.clone();
    let app = text(&protocol()).route(1, move || -> Vec<Line> {
        answer.iter().map(line).collect()
    });
    let mut rig = Rig::with_capacity(app, 4 * 1024);
    rig.peer.send(&[wire("1"), FLAW.to_vec()].concat());
    let mut heard = rig.heard();
    assert_eq!(heard.pop().as_deref(), Some("goodbye"));
    assert_eq!(heard, long);
}

#[test]
fn a_flaw_does_not_wait_for_a_handler_that_never_answers() {
    // rule: FRAME-5
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Arc::clone(&dropped);
    let app = text(&protocol()).route(1, move || {
        let guard = Dropped(Arc::clone(&guard));
        async move {
            let _guard = guard;
            future::pending::<()>().await;
        }
    });
    let mut rig = Rig::new(app);
    rig.peer
        .send(&[wire("1"), wire("1"), FLAW.to_vec()].concat());
    assert_eq!(rig.heard(), ["goodbye"], "and no time has passed");
    assert!(dropped.load(SeqCst));
}

#[test]
fn an_endless_answer_does_not_keep_a_flaw_waiting() {
    // rule: FRAME-5, RESP-11
    let app = text(&protocol())
        .config(config(|config| config.limits.high_water = nonzero(100)))
        .route(1, || {
            Answer::frames(async_stream::stream! {
                loop {
                    yield line("more");
                }
            })
        });
    let mut rig = Rig::new(app);
    rig.peer.send(&[wire("1"), FLAW.to_vec()].concat());
    let heard = rig.heard();
    assert_eq!(heard.first().map(String::as_str), Some("more"));
    assert_eq!(heard.last().map(String::as_str), Some("goodbye"));
}

/// What is heard of these frames, cut in two there.
fn heard_of(frames: [&str; 2], at: usize) -> Vec<String> {
    let bytes = frames.map(wire).concat();
    let (front, back) = bytes.split_at(at);
    let mut rig = Rig::new(app());
    rig.peer.send(front);
    rig.simulation.run();
    rig.peer.send(back);
    rig.heard()
}

#[test]
fn a_control_frame_that_drains_lets_what_came_before_it_be_answered() {
    // rule: HOOK-4, FRAME-5
    for (request, answer) in [
        ("1", &["1:one"][..]),
        ("4", &["4:late"]),
        ("5", &["a", "b", "end"]),
    ] {
        for at in 0..=wire(request).len() {
            let expected = [answer, &["goodbye"]].concat();
            assert_eq!(heard_of([request, "~drain"], at), expected, "cut at {at}");
        }
    }
}

#[test]
fn a_control_frame_that_closes_waits_for_no_answer() {
    // rule: HOOK-6
    assert_eq!(heard_of(["5", "~bye"], 0), ["~bye"]);
    let behind = wire("5").len();
    assert_eq!(heard_of(["5", "~bye"], behind), ["a", "b", "end", "~bye"]);
}
