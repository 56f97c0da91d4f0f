//! Functions of every kind, checked and given to an app.

use std::convert::Infallible;

use bytes::Bytes;
use wireframe::{
    Clock, ConnectionHandle, Conversation, Envelope, EnvelopeProtocol, Inbound, Malformed, Message,
    Payload, PayloadFormat, PushHandle, RequestBody, RequestInfo, Response, Session, State, TaskTracker,
    Unencodable, WireframeApp, WireframeError, check_handler,
};

fn nothing() {}

async fn later(body: Bytes) -> Bytes {
    body
}

fn now(Inbound(frame): Inbound<Envelope>) -> Envelope {
    frame
}

fn future(body: Bytes) -> impl Future<Output = String> + Send {
    async move { format!("{} bytes", body.len()) }
}

fn boxed() -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>> {
    Box::pin(async { Response::Empty })
}

async fn fallible() -> Result<&'static str, WireframeError<Infallible>> {
    Err(std::io::Error::other("disk"))?;
    Ok("unreachable")
}

async fn everything(
    _: Bytes,
    _: State<u8>,
    _: Session<()>,
    _: PushHandle<Envelope>,
    _: ConnectionHandle,
    _: Clock,
    _: TaskTracker,
    _: RequestInfo,
) {
}

async fn converses(Inbound(frame): Inbound<Envelope>, mut peer: Conversation) -> Envelope {
    let _ = peer.send(frame.clone()).await;
    frame
}

async fn reads(mut body: RequestBody) {
    while let Ok(Some(_)) = body.next().await {}
}

struct Text;

struct Name(String);

impl Payload for Name {
    type Format = Text;
}

impl PayloadFormat<Name> for Text {
    fn decode(payload: Bytes) -> Result<Name, Malformed> {
        let name = String::from_utf8(payload.into());
        name.map(Name).map_err(|_| Malformed::new("not UTF-8"))
    }

    fn encode(Name(name): &Name) -> Result<Bytes, Unencodable> {
        Ok(name.clone().into())
    }
}

fn typed(name: Message<Name>) -> Message<Name> {
    name
}

fn looks_itself(
    name: Result<Message<Name>, WireframeError<Infallible>>,
    _: Result<Conversation, WireframeError<Infallible>>,
) -> String {
    match name {
        Ok(Message(Name(name))) => name,
        Err(error) => error.to_string(),
    }
}

check_handler!(EnvelopeProtocol, nothing, 0);
check_handler!(EnvelopeProtocol, later, 1);
check_handler!(EnvelopeProtocol, now, 1);
check_handler!(EnvelopeProtocol, future, 1);
check_handler!(EnvelopeProtocol, boxed, 0);
check_handler!(EnvelopeProtocol, fallible, 0);
check_handler!(EnvelopeProtocol, everything, 8);
check_handler!(EnvelopeProtocol, converses, 2);
check_handler!(EnvelopeProtocol, reads, 1);
check_handler!(EnvelopeProtocol, typed, 1);
check_handler!(EnvelopeProtocol, looks_itself, 2);
check_handler!(EnvelopeProtocol, |body: Bytes| body, 1);
check_handler!(EnvelopeProtocol, async |body: Bytes| body, 1);

fn main() {
    async fn local(clock: Clock) {
        clock.sleep(std::time::Duration::ZERO).await;
    }
    check_handler!(EnvelopeProtocol, local, 1);

    let app = WireframeApp::new()
        .route(1, nothing)
        .route(2, later)
        .route(3, now)
        .route(4, future)
        .route(5, boxed)
        .route(6, fallible)
        .route(7, everything)
        .route(8, |body: Bytes| body)
        .route(9, async |body: Bytes| body)
        .route(10, local)
        .route(11, converses)
        .route(12, reads)
        .route(13, typed)
        .route(14, looks_itself)
        .state(1_u8);
    assert!(app.build().is_ok());
}
