//! What it takes to call a handler: nothing for a plain function, one box for an async
//! one, and what layers add.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Waker},
};

use allocation_counter::measure;
use bytes::Bytes;
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};
use wireframe::{
    Conversation, Driver, Envelope, EnvelopeProtocol, Inbound, Request, RequestBody, Response,
    WireframeApp,
    testing::{Link, Simulation, link},
};

const BATCH: usize = 64;

/// Envelopes with ids, on the wire.
fn requests() -> Vec<u8> {
    let one = |id: u8| [0, 0, 0, 36, 1, 1, id, 32].into_iter().chain([7; 32]);
    (0..BATCH)
        .flat_map(|n| one(n.try_into().unwrap()))
        .collect()
}

struct Served {
    driver: Driver<EnvelopeProtocol, Link>,
    peer: Link,
}

impl Served {
    fn new(app: WireframeApp) -> Self {
        let (near, peer) = link(1 << 20);
        let environment = Simulation::new().environment();
        let app = app.build().unwrap();
        let driver = Driver::server(&app, near, None, &environment);
        Self { driver, peer }
    }

    /// One batch of requests in, and their echoes out; tells how many allocations the
    /// server made.
    fn echo(&mut self, batch: &[u8]) -> u64 {
        self.peer.send(batch);
        let mut cx = Context::from_waker(Waker::noop());
        let info = measure(|| {
            assert!(Pin::new(&mut self.driver).poll(&mut cx).is_pending());
        });
        assert_eq!(self.peer.receive(), batch);
        info.count_total
    }
}

/// The allocations for one request of an app.
fn per_request(app: WireframeApp) -> u64 {
    warm(&mut Served::new(app))
}

/// The allocations for one request, once the connection is warm. What a batch takes as a
/// whole, however many requests it has, is left out.
fn warm(served: &mut Served) -> u64 {
    let batch = requests();
    for _ in 0..20 {
        served.echo(&batch);
    }
    let rounds = 100;
    let total: u64 = (0..rounds).map(|_| served.echo(&batch)).sum();
    let per_batch = total / rounds;
    let rest = per_batch % BATCH as u64;
    assert!(rest < 8, "{per_batch} allocations in a batch");
    per_batch / BATCH as u64
}

fn echo(Inbound(frame): Inbound<Envelope>) -> Envelope {
    frame
}

async fn echo_later(Inbound(frame): Inbound<Envelope>) -> Envelope {
    frame
}

async fn converse(mut peer: Conversation) {
    while let Ok(Some(_)) = peer.next().await {}
}

fn app() -> WireframeApp {
    WireframeApp::new()
}

#[test]
fn a_plain_function_is_called_without_an_allocation() {
    // rule: APP-1, OBS-1
    assert_eq!(per_request(app().route(1, echo)), 0);
    assert_eq!(per_request(app().fallback(|body: Bytes| body)), 0);
}

#[test]
fn an_async_function_takes_one_box() {
    // rule: APP-1
    assert_eq!(per_request(app().route(1, echo_later)), 1);
}

#[test]
fn handlers_that_converse_cost_those_of_other_routes_nothing() {
    // rule: APP-1
    let app = || {
        app()
            .route(1, echo)
            .route(2, converse)
            .route(3, |_: RequestBody| ())
            .route(4, std::future::pending::<()>)
    };
    assert_eq!(per_request(app()), 0);
    // Beside one that is at work it is as beside any other that is.
    let beside = |route| {
        let mut served = Served::new(app());
        served.peer.send(&[0, 0, 0, 4, route, 1, 99, 0]);
        warm(&mut served)
    };
    assert_eq!(beside(2), beside(4));
}

#[test]
fn a_stream_of_frames_takes_one_box() {
    // rule: RESP-1
    let info = measure(|| {
        let stream = async_stream::stream! { yield Envelope::new(1, "frame"); };
        drop(Response::<_, Infallible>::frames(stream));
    });
    assert_eq!(info.count_total, 1);
}

#[test]
fn layers_that_are_given_together_take_one_box_more() {
    // rule: APP-3
    let layers = || {
        ServiceBuilder::new()
            .map_request(|request: Request<EnvelopeProtocol>| request)
            .layer(ConcurrencyLimitLayer::new(BATCH))
            .map_response(|answer: Response| answer)
    };
    assert_eq!(per_request(app().route(1, echo).layer(layers())), 1);
    assert_eq!(per_request(app().route(1, echo_later).layer(layers())), 2);
    let apart = app().route(1, echo).layer(layers()).layer(layers());
    assert_eq!(per_request(apart), 2);
}
