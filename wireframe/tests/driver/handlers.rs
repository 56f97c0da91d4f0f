//! What functions are handlers, and what comes of what they return.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use wireframe::{Frame, Handler, Inbound, Protocol, Response, State, WireframeApp, WireframeError};

use crate::rig::{Line, Oops, Rig, Text, line, text};

fn plain(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

fn nothing() {}

fn failing(Inbound(Line(text)): Inbound<Line>) -> Result<String, WireframeError<Oops>> {
    if text == "3bad" {
        Err(Oops("bad"))?;
    }
    Ok(text)
}

fn generic<F: Frame>(Inbound(frame): Inbound<F>) -> F {
    frame
}

async fn generic_later<F: Frame>(Inbound(frame): Inbound<F>) -> F {
    frame
}

fn returns_a_future(body: Bytes) -> impl Future<Output = Bytes> + Send {
    std::future::ready(body)
}

fn returns_a_box(body: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
    Box::pin(async move { body })
}

/// An app of any protocol that its handlers fit.
fn app_of<P: Protocol>(protocol: P) -> WireframeApp<P> {
    WireframeApp::with_protocol(protocol)
        .route(1, generic::<P::Frame>)
        .route(2, generic_later::<P::Frame>)
        .route(3, || Response::<P::Frame, P::Error>::Empty)
}

fn routed<Args: 'static>(handler: impl Handler<Text, Args>) -> Rig {
    Rig::new(text(&Text::default()).state("!").route(3, handler))
}

#[test]
fn functions_of_every_kind_are_handlers() {
    // rule: APP-1
    let greeting = "hi".to_owned();
    let mut count = 0;
    let mut answers = |mut rig: Rig| {
        count += 1;
        rig.exchange("3x")
    };
    assert_eq!(answers(routed(plain)), ["3x"]);
    assert_eq!(answers(routed(nothing)), [""; 0]);
    assert_eq!(answers(routed(failing)), ["3:3x"]);
    assert_eq!(answers(routed(generic::<Line>)), ["3x"]);
    assert_eq!(answers(routed(generic_later::<Line>)), ["3x"]);
    assert_eq!(answers(routed(returns_a_future)), ["3:3x"]);
    assert_eq!(answers(routed(returns_a_box)), ["3:3x"]);
    assert_eq!(answers(routed(|| "now")), ["3:now"]);
    assert_eq!(answers(routed(async || "later")), ["3:later"]);
    assert_eq!(answers(routed(|| async { "later" })), ["3:later"]);
    assert_eq!(
        answers(routed(move |_: Bytes| greeting.clone())),
        ["3:hi"],
        "a closure with a state"
    );
    assert_eq!(
        answers(routed(|body: Bytes, State(mark): State<&'static str>| {
            [&body, mark.as_bytes()].concat()
        })),
        ["3:3x!"]
    );
    assert_eq!(
        answers(routed(|| Response::<_, Oops>::frames(
            async_stream::stream! {
                yield line("a");
                yield line("b");
            }
        ))),
        ["a", "b"]
    );
    let eight = |_: Inbound<Line>,
                 _: State<&'static str>,
                 _: State<&'static str>,
                 _: State<&'static str>,
                 _: State<&'static str>,
                 _: State<&'static str>,
                 _: State<&'static str>,
                 _: State<&'static str>| { "eight" };
    assert_eq!(answers(routed(eight)), ["3:eight"]);
    assert_eq!(count, 14);
}

#[test]
fn a_plain_function_fails_and_panics_as_an_async_one_does() {
    // rule: RESP-6, RESP-8
    let protocol = Text::default();
    let app = text(&protocol).route(3, failing).route(4, || -> &str {
        panic!("told to");
    });
    let mut rig = Rig::new(app);
    assert_eq!(rig.exchange("3bad"), ["error: bad"]);
    assert_eq!(rig.exchange("3x"), ["3:3x"], "the connection goes on");
    assert_eq!(rig.exchange("4"), [""; 0]);
    assert_eq!(protocol.record.count("command_end Panicked"), 1);
    assert_eq!(rig.reason(), Some(wireframe::CloseReason::HandlerPanicked));
}

#[test]
fn plain_functions_serve_connections_and_pushes_too() {
    // rule: APP-1, HOOK-2
    let protocol = Text::default();
    let noted = protocol.clone();
    let pushed = protocol.clone();
    let app = text(&protocol)
        .on_connect(move || noted.record.note("connected"))
        .on_push(move |Inbound(Line(text)): Inbound<Line>| pushed.record.note(text));
    let mut rig = Rig::new(app);
    rig.ask("!push");
    assert_eq!(protocol.record.take(), ["setup", "connected", "!push"]);
    assert_eq!(rig.heard(), [""; 0]);
}

#[test]
fn an_app_may_be_generic_over_its_protocol() {
    // rule: APP-2
    let mut rig = Rig::new(app_of(Text::default()));
    for (ask, answer) in [("1a", &["1a"][..]), ("2b", &["2b"]), ("3c", &[])] {
        assert_eq!(rig.exchange(ask), answer);
    }
}
