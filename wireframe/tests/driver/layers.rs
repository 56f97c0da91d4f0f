//! Layers around the handlers of an app.

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tower::{
    BoxError, Layer, Service, ServiceBuilder, layer::layer_fn, limit::ConcurrencyLimitLayer,
    load_shed::LoadShedLayer, util::MapRequestLayer,
};
use wireframe::{
    AnswerOrder, BodyError, Clock, CloseReason, CorrelationId, Driver, Envelope, HandlerService,
    Heartbeat, Inbound, LengthDelimited, Request, RequestBody, RequestInfo, RequestService,
    Response, Role, State, View, WireframeApp, WireframeError, WireframeProtocol,
    proto::EnvelopeCodec,
    testing::{Simulation, link},
};

use crate::rig::{Line, Notes, Oops, Record, Rig, Text, config, line, secs, text};

type Answer = Response<Line, Oops>;

fn echo(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

async fn slow_echo(Inbound(frame): Inbound<Line>, clock: Clock) -> Line {
    clock.sleep(secs(1)).await;
    frame
}

fn write(mut request: Request<Text>, mark: &str) -> Request<Text> {
    request.frame_mut().0.push_str(mark);
    request
}

/// Appends a mark to what passes in, and another to what is answered.
fn mark(
    inward: &'static str,
    outward: &'static str,
) -> impl Layer<HandlerService<Text>, Service: RequestService<Text>> + Send + 'static {
    ServiceBuilder::new()
        .map_request(move |request| write(request, inward))
        .map_response(move |answer: Answer| match answer {
            Response::Single(Line(text)) => Response::Single(line(text + outward)),
            other => other,
        })
}

#[test]
fn the_first_layer_is_the_outermost() {
    // rule: APP-3
    let app = || text(&Text::default()).route(1, echo);
    let alone = app()
        .layer(mark("a", "A"))
        .layer(mark("b", "B"))
        .layer(mark("c", "C"));
    assert_eq!(Rig::new(alone).exchange("1"), ["1abcCBA"]);
    let composed = ServiceBuilder::new()
        .map_request(|request| write(request, "a"))
        .map_request(|request| write(request, "b"));
    let app = app().layer(composed).layer(mark("c", "C"));
    assert_eq!(Rig::new(app).exchange("1"), ["1abcC"]);
}

#[test]
fn layers_are_around_handlers_of_either_kind_and_commute_with_other_calls() {
    // rule: APP-2, APP-3
    let app = text(&Text::default())
        .layer(mark("<", ">"))
        .route(1, echo)
        .route(2, slow_echo)
        .fallback(|body: Bytes, State(end): State<&'static str>| [&body, end.as_bytes()].concat())
        .state("!");
    let mut rig = Rig::new(app);
    assert_eq!(rig.exchange("1"), ["1<>"]);
    rig.ask("2");
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["2<>"]);
    assert_eq!(rig.exchange("3"), ["3:3<!>"], "the fallback is inside, too");
}

#[test]
fn only_requests_that_a_handler_serves_pass_layers() {
    // rule: APP-3, RESP-9
    let record = Record::default();
    let protocol = Text {
        unknown: Some("unknown"),
        ..Text::default()
    };
    let seen = record.clone();
    let note = MapRequestLayer::new(move |request: Request<Text>| {
        seen.note(format!("route {}", request.info().route));
        request
    });
    let app = text(&protocol)
        .route(1, echo)
        .on_connect(|| ())
        .on_push(|_: Inbound<Line>| ())
        .layer(note);
    let mut rig = Rig::new(app);
    rig.ask("!push");
    assert_eq!(rig.exchange("2"), ["unknown"]);
    assert_eq!(rig.exchange("1"), ["1"]);
    assert_eq!(record.take(), ["route 1"]);
}

#[test]
fn a_layer_sees_the_request_its_session_connection_and_time() {
    // rule: APP-3
    let record = Record::default();
    let seen = record.clone();
    let note = MapRequestLayer::new(move |request: Request<Text>| {
        let RequestInfo {
            route, correlation, ..
        } = request.info();
        let notes = request.session().with(|notes: &mut Notes| notes.0.len());
        let now = request.clock().now().as_nanos() / 1_000_000_000;
        let text = &request.frame().0;
        let peer = request.push_handle().connection().peer();
        seen.note(format!(
            "{route} {correlation:?} {notes} {now} {text} {peer:?}"
        ));
        request
    });
    let mut rig = Rig::new(text(&Text::default()).route(1, echo).layer(note));
    rig.advance(secs(2));
    rig.ask("1x");
    assert_eq!(record.take(), ["1 None 1 2 1x None"]);
}

#[test]
fn a_limit_of_concurrency_is_that_of_the_app() {
    // rule: APP-3
    let at_work = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&at_work);
    let handler = move |clock: Clock| {
        let at_work = Arc::clone(&counter);
        async move {
            at_work.fetch_add(1, Ordering::Relaxed);
            clock.sleep(secs(1)).await;
            at_work.fetch_sub(1, Ordering::Relaxed);
            "done"
        }
    };
    let app = text(&Text::default())
        .route(1, handler)
        .layer(ConcurrencyLimitLayer::new(2))
        .build()
        .unwrap();
    let simulation = Simulation::new();
    let mut rigs: Vec<_> = (0..5).map(|_| Rig::idle(&app, &simulation, 1000)).collect();
    for rig in &mut rigs {
        rig.ask("1");
    }
    let mut answered = Vec::new();
    for _ in 0..3 {
        assert!(at_work.load(Ordering::Relaxed) <= 2);
        simulation.advance(secs(1));
        let heard: usize = rigs.iter_mut().map(|rig| rig.heard().len()).sum();
        answered.push(heard);
    }
    assert_eq!(answered, [2, 2, 1]);
}

#[test]
fn a_request_waits_until_the_service_is_ready() {
    // rule: APP-3
    let app = text(&Text::default())
        .route(1, slow_echo)
        .layer(ConcurrencyLimitLayer::new(1))
        .build()
        .unwrap();
    let simulation = Simulation::new();
    let mut first = Rig::idle(&app, &simulation, 1000);
    let mut gone = Rig::idle(&app, &simulation, 1000);
    let mut last = Rig::idle(&app, &simulation, 1000);
    first.ask("1a");
    gone.ask("1b");
    last.ask("1c");
    gone.push.connection().abort();
    simulation.advance(secs(1));
    assert_eq!(first.heard(), ["1a"]);
    assert_eq!(last.heard(), [""; 0]);
    // The one that has gone while it waited took no turn.
    simulation.advance(secs(1));
    assert_eq!(last.heard(), ["1c"]);
    assert_eq!(gone.heard(), [""; 0]);
}

/// Answers by itself, and calls nothing.
#[derive(Clone)]
struct Refuses(Result<&'static str, &'static str>);

impl Service<Request<Text>> for Refuses {
    type Response = Answer;
    type Error = BoxError;
    type Future = Ready<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Text>) -> Self::Future {
        ready(match self.0 {
            Ok(answer) => Ok(Response::Single(line(answer))),
            Err(error) => Err(error.into()),
        })
    }
}

fn never(_: Inbound<Line>) -> Line {
    unreachable!("the layer calls nothing")
}

#[test]
fn a_layer_may_answer_in_the_handlers_stead() {
    // rule: APP-3, RESP-4
    let protocol = Text::default();
    let app = text(&protocol)
        .route(1, never)
        .layer(layer_fn(|_| Refuses(Ok("cached"))));
    assert_eq!(Rig::new(app).exchange("1"), ["cached"]);
    assert_eq!(protocol.record.count("command_end Done"), 1);
}

#[test]
fn what_a_layer_fails_with_goes_to_handle_error_and_the_connection_goes_on() {
    // rule: APP-3, RESP-4, RESP-6
    let protocol = Text::default();
    let app = text(&protocol)
        .route(1, never)
        .layer(layer_fn(|_| Refuses(Err("not today"))));
    let mut rig = Rig::new(app);
    for _ in 0..2 {
        assert_eq!(rig.exchange("1"), ["error: not today"]);
    }
    assert_eq!(protocol.record.count("command_end Failed"), 2);
}

#[test]
fn load_is_shed_while_the_handlers_are_busy() {
    // rule: APP-3, RESP-6
    let layers = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1));
    let app = text(&Text::default()).route(1, slow_echo).layer(layers);
    let app = app.build().unwrap();
    let simulation = Simulation::new();
    let mut busy = Rig::idle(&app, &simulation, 1000);
    let mut refused = Rig::idle(&app, &simulation, 1000);
    busy.ask("1a");
    assert_eq!(refused.exchange("1b"), ["error: service overloaded"]);
    simulation.advance(secs(1));
    assert_eq!(busy.heard(), ["1a"]);
    refused.ask("1c");
    simulation.advance(secs(1));
    assert_eq!(refused.heard(), ["1c"]);
}

#[test]
fn the_errors_of_handlers_are_the_same_through_layers_that_box_them() {
    // rule: APP-3, RESP-6
    type Fails = Result<&'static str, WireframeError<Oops>>;
    let protocol = Text::default();
    let app = text(&protocol)
        .route(1, || -> Fails { Err(Oops("own").into()) })
        .route(2, || -> Result<&'static str, Oops> { Err(Oops("close")) })
        .route(3, || -> Fails { Err(std::io::Error::other("disk").into()) })
        .layer(LoadShedLayer::new());
    let mut rig = Rig::new(app);
    assert_eq!(rig.exchange("1"), ["error: own"]);
    assert_eq!(rig.exchange("3"), [""; 0]);
    assert_eq!(
        rig.reason(),
        Some(CloseReason::HandlerFailed("disk".into()))
    );
}

#[derive(Clone, Copy, PartialEq)]
enum Where {
    Clone,
    Ready,
    Call,
    Future,
}

/// Panics where it is told to.
struct Panics(Where);

impl Clone for Panics {
    fn clone(&self) -> Self {
        assert!(self.0 != Where::Clone, "told to");
        Self(self.0)
    }
}

impl Service<Request<Text>> for Panics {
    type Response = Answer;
    type Error = WireframeError<Oops>;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Answer, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        assert!(self.0 != Where::Ready, "told to");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Text>) -> Self::Future {
        assert!(self.0 != Where::Call, "told to");
        Box::pin(async { panic!("told to") })
    }
}

#[test]
fn a_layer_that_panics_ends_its_connection_and_no_other() {
    // rule: RESP-4, RESP-8
    for place in [Where::Clone, Where::Ready, Where::Call, Where::Future] {
        let protocol = Text::default();
        let app = text(&protocol)
            .route(1, never)
            .layer(layer_fn(move |_| Panics(place)))
            .build()
            .unwrap();
        let simulation = Simulation::new();
        let mut rig = Rig::idle(&app, &simulation, 1000);
        let other = Rig::idle(&app, &simulation, 1000);
        assert_eq!(rig.exchange("1"), [""; 0]);
        assert_eq!(rig.reason(), Some(CloseReason::HandlerPanicked));
        assert_eq!(protocol.record.count("command_end Panicked"), 1);
        assert!(!other.driver.is_done());
    }
}

#[test]
fn a_handler_that_panics_inside_layers_ends_its_connection() {
    // rule: RESP-8
    let handlers: [fn(WireframeApp<Text>) -> WireframeApp<Text>; 2] = [
        |app| app.route(1, || -> Line { panic!("told to") }),
        |app| {
            app.route(1, async |clock: Clock| -> Line {
                clock.sleep(secs(1)).await;
                panic!("told to")
            })
        },
    ];
    for handler in handlers {
        let protocol = Text::default();
        let app = handler(text(&protocol)).layer(ConcurrencyLimitLayer::new(1));
        let mut rig = Rig::new(app);
        rig.ask("1");
        rig.advance(secs(1));
        assert_eq!(rig.reason(), Some(CloseReason::HandlerPanicked));
        assert_eq!(protocol.record.count("command_end Panicked"), 1);
    }
}

#[test]
fn a_handler_inside_layers_is_called_when_its_future_is_polled() {
    // rule: APP-3
    let calls = Record::default();
    let called = calls.clone();
    let handler = move || called.note("called");
    let dropping = layer_fn(|mut inner: HandlerService<Text>| {
        tower::service_fn(move |request: Request<Text>| {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(inner.poll_ready(&mut cx).is_ready());
            drop(inner.call(request));
            ready(Ok::<_, WireframeError<Oops>>(Answer::Empty))
        })
    });
    let mut rig = Rig::new(text(&Text::default()).route(1, handler).layer(dropping));
    rig.ask("1");
    assert_eq!(calls.take(), [""; 0]);
}

/// Reads its body to the end.
async fn collect(mut body: RequestBody<Line>) -> Result<String, WireframeError<Oops>> {
    let mut parts = String::new();
    while let Some(Line(part)) = body.next().await? {
        parts.push_str(&part);
    }
    Ok(parts)
}

#[test]
fn a_body_waits_for_a_handler_whose_request_waits_in_a_layer() {
    // rule: APP-3, REQ-2, REQ-3
    let app = text(&Text::default())
        .route(1, slow_echo)
        .route(2, collect)
        .layer(ConcurrencyLimitLayer::new(1))
        .build()
        .unwrap();
    let simulation = Simulation::new();
    let mut first = Rig::idle(&app, &simulation, 1000);
    let mut second = Rig::idle(&app, &simulation, 1000);
    first.ask("1a");
    for frame in ["2", "+a", "+b"] {
        second.ask(frame);
    }
    simulation.advance(secs(1));
    assert_eq!(first.heard(), ["1a"]);
    assert_eq!(second.exchange("+."), ["2:+a+b+."]);
}

#[test]
fn a_body_is_discarded_when_its_request_is_given_up_in_a_layer() {
    // rule: APP-3, REQ-4
    /// Drops the request, and answers later.
    #[derive(Clone)]
    struct Forgets;

    impl Service<Request<Text>> for Forgets {
        type Response = Answer;
        type Error = WireframeError<Oops>;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<Answer, Self::Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Text>) -> Self::Future {
            let clock = request.clock().clone();
            Box::pin(async move {
                clock.sleep(secs(1)).await;
                Ok(Response::Single(line("late")))
            })
        }
    }

    let app = text(&Text::default())
        .route(1, collect)
        .layer(layer_fn(|_| Forgets));
    let mut rig = Rig::new(app);
    rig.ask("1");
    for _ in 0..100 {
        rig.ask("+more than may wait");
    }
    assert_eq!(rig.exchange("~now"), ["~now"], "nothing of it is kept");
    rig.ask("+.");
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["late"]);
}

/// Envelopes with bodies: 2 is a part of one, 3 its last frame.
struct Bodied;

impl WireframeProtocol for Bodied {
    type Frame = Envelope;
    type Error = Oops;
    type Codec = EnvelopeCodec;
    type Framing = LengthDelimited;
    type Session = ();

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Envelope, _: &View<'_, ()>) -> Role {
        let correlation = frame.correlation_id.map(CorrelationId);
        match frame.id {
            2 | 3 => Role::Body {
                of: correlation,
                last: frame.id == 3,
            },
            route => Role::Request {
                route,
                correlation,
                exclusive: false,
            },
        }
    }
}

/// A frame of it, without a payload.
fn bodied(route: u8, correlation: u8) -> [u8; 8] {
    [0, 0, 0, 4, route, 1, correlation, 0]
}

#[test]
fn a_peer_cannot_keep_a_permit_by_filling_the_body_of_a_request_that_waits_for_it() {
    // rule: APP-3, REQ-3, LIM-3
    async fn count(mut body: RequestBody) -> Result<String, BodyError> {
        let mut frames = 0;
        while body.next().await?.is_some() {
            frames += 1;
        }
        Ok(frames.to_string())
    }
    let app = WireframeApp::with_protocol(Bodied)
        .config(config(|c| {
            c.heartbeat = Some(Heartbeat::expecting(secs(300)));
        }))
        .route(1, async |body: RequestBody| {
            // Whoever is late is told, and gives the permit back.
            count(body).await.unwrap_or_else(|error| error.to_string())
        })
        .layer(ConcurrencyLimitLayer::new(1))
        .build()
        .unwrap();
    let simulation = Simulation::new();
    let serve = || {
        let (near, peer) = link(1 << 20);
        let driver = Driver::server(&app, near, None, &simulation.environment());
        (simulation.spawn(driver), peer)
    };
    let (greedy, mut peer) = serve();
    peer.send(&[bodied(1, 1), bodied(1, 2)].concat());
    peer.send(&bodied(2, 2).repeat(20));
    simulation.run();
    let (_other, mut patient) = serve();
    patient.send(&[bodied(1, 1), bodied(3, 1)].concat());
    simulation.run();
    assert_eq!(patient.receive(), [0; 0]);
    simulation.advance(secs(30));
    let answer = String::from_utf8(peer.receive()).unwrap();
    assert!(answer.ends_with("no frame of the body came in time"));
    // The second has the permit, reads what there is, and is late in its turn.
    simulation.advance(secs(30));
    assert!(
        String::from_utf8(peer.receive())
            .unwrap()
            .ends_with("in time")
    );
    let answer = String::from_utf8(patient.receive()).unwrap();
    assert!(answer.ends_with('1'), "{answer:?}");
    assert!(!greedy.is_done(), "the connection goes on");
}
