//! Functions of every kind, checked and given to an app.

use bytes::Bytes;
use wireframe::{
    Clock, Envelope, EnvelopeProtocol, Inbound, PushHandle, RequestInfo, Response, Session, State,
    Tasks, WireframeApp, WireframeError, check_handler,
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

async fn fallible() -> Result<&'static str, WireframeError<std::convert::Infallible>> {
    Err(std::io::Error::other("disk"))?;
    Ok("unreachable")
}

async fn everything(
    _: Bytes,
    _: State<u8>,
    _: Session<()>,
    _: PushHandle<Envelope>,
    _: wireframe::ConnectionHandle,
    _: Clock,
    _: Tasks,
    _: RequestInfo,
) {
}

check_handler!(EnvelopeProtocol, nothing, 0);
check_handler!(EnvelopeProtocol, later, 1);
check_handler!(EnvelopeProtocol, now, 1);
check_handler!(EnvelopeProtocol, future, 1);
check_handler!(EnvelopeProtocol, boxed, 0);
check_handler!(EnvelopeProtocol, fallible, 0);
check_handler!(EnvelopeProtocol, everything, 8);
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
        .state(1_u8);
    assert!(app.build().is_ok());
}
