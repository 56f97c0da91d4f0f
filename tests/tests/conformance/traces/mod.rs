//! Scripts of one connection: the bare engine and every adapter send the same bytes and
//! run the same hooks in the same order.

mod bare;
mod scripts;

use wireframe::{
    Config, Conversation, FragmentStrategy, Inbound, PushHandle, Response, WireframeApp,
    WireframeError, rt::Runtime,
};
use wireframe_tests::{Line, Lines, Oops, Outsider, Serving, line, wire};

use crate::support::{patient, some};

/// What happens, and what must come of it.
struct Step {
    act: Act,
    heard: Vec<u8>,
}

enum Act {
    /// Nothing: the server speaks first.
    Connect,
    /// The peer sends bytes.
    Send(Vec<u8>),
    /// The peer ends its output.
    EndOutput,
    /// This end drains the connection.
    Drain,
}

/// What a connection did.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    /// At each step.
    sent: Vec<Vec<u8>>,
    hooks: Vec<String>,
}

/// Frames on the wire, framed as is usual.
fn wires(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| wire(text)).collect()
}

fn step(act: Act, heard: &[&str]) -> Step {
    let heard = wires(heard);
    Step { act, heard }
}

/// The peer sends these, all at once.
fn send(texts: &[&str], heard: &[&str]) -> Step {
    step(Act::Send(wires(texts)), heard)
}

fn config() -> Config {
    let mut config = patient();
    config.limits.max_frame_len = some(1000);
    config
}

/// What the handlers of the routes 1 to 8 say; the engine's driver says the same.
fn app<S>(protocol: Lines<S>) -> WireframeApp<Lines<S>>
where
    S: FragmentStrategy<Line> + Clone + Send + Sync + 'static,
{
    type Answer = Result<Line, WireframeError<Oops>>;
    async fn push(push: PushHandle<Line>) -> Answer {
        push.push_low_priority(line("low")).await?;
        push.push_high_priority(line("high")).await?;
        Ok(line("pushed"))
    }
    async fn converse(mut peer: Conversation<Line>) -> Answer {
        let mut parts = 0;
        while let Some(Line(part)) = peer.next().await? {
            peer.send(line(format!("got {part}"))).await?;
            parts += 1;
        }
        Ok(line(format!("{parts} parts")))
    }
    WireframeApp::with_protocol(protocol)
        .config(config())
        .route(1, async |Inbound(Line(text))| line(format!("echo {text}")))
        .route(2, async || ["a", "b", "c"].map(line).to_vec())
        .route(3, async || {})
        .route(4, async || -> Result<Line, Oops> { Err(Oops("no")) })
        .route(5, async || -> Result<Line, Oops> { Err(Oops("close")) })
        .route(6, push)
        .route(7, converse)
        .route(8, async || -> Response<Line, Oops> {
            Response::frames(async_stream::stream! {
                for text in ["x", "y", "z"] {
                    yield line(text);
                }
            })
        })
        .route(9, async || -> Line { panic!("the test wants it so") })
        .route(0, async || line("a question?"))
}

/// Whether the peer ends its output within the script, and not only behind it.
fn ends_output(script: &[Step]) -> bool {
    script.iter().any(|step| matches!(step.act, Act::EndOutput))
}

/// Runs a script on the bare engine and on a runtime.
async fn agrees<R: Runtime, S>(protocol: impl Fn() -> Lines<S>, script: Vec<Step>)
where
    S: FragmentStrategy<Line> + Clone + Send + Sync + 'static,
{
    let bare = bare::trace(protocol(), &script);
    for (n, (sent, step)) in bare.sent.iter().zip(&script).enumerate() {
        let (sent, heard) = [sent, &step.heard].map(|bytes| bytes.escape_ascii()).into();
        assert_eq!(sent.to_string(), heard.to_string(), "step {n}");
    }
    for cut in [usize::MAX, 1] {
        let over_tcp = on_runtime::<R, S>(protocol(), &script, cut).await;
        assert_eq!(over_tcp, bare, "cut into writes of {cut}");
    }
}

/// The script over TCP; the peer writes so many bytes at once.
async fn on_runtime<R: Runtime, S>(protocol: Lines<S>, script: &[Step], cut: usize) -> Trace
where
    S: FragmentStrategy<Line> + Clone + Send + Sync + 'static,
{
    let notes = protocol.notes.clone();
    let server = Serving::start::<R, _>(app(protocol)).await;
    let peer = Outsider::connect(server.address).await;
    let mut sent = Vec::new();
    for step in script {
        match &step.act {
            Act::Connect => {}
            Act::Send(bytes) => {
                for bytes in bytes.chunks(cut) {
                    peer.send(bytes).await;
                }
            }
            Act::EndOutput => peer.end_output(),
            Act::Drain => server.handle.shutdown(),
        }
        sent.push(peer.take(step.heard.len()).await);
    }
    if !ends_output(script) {
        peer.end_output();
    }
    let rest = peer.take_all().await.expect("an end in good order");
    sent.last_mut().expect("a step").extend(rest);
    server.end().await;
    let hooks = notes.all();
    Trace { sent, hooks }
}
