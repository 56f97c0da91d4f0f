//! Typed payloads, errors that are answered, and layers around all handlers: a kitchen
//! that takes two orders at a time, refuses more, and gives up on what takes too long.
//!
//! `cargo run -p wireframe-tokio --example middleware` runs a server and a client over
//! loopback TCP, and fails if an answer is not the one that was expected.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tower::{Layer, Service, ServiceBuilder, layer::layer_fn};
use wireframe::{
    AnswerError, AnswerOrder, Client, Clock, CorrelationId, Envelope, EnvelopeProtocol,
    HandlerService, LengthDelimited, Message, Payload, Postcard, Protocol, ProtocolError, Reaction,
    Request, RequestService, Role, State, View, WireframeApp, WireframeError, WireframeProtocol,
    proto::EnvelopeCodec,
};
use wireframe_tokio::{Server, connect_with};

const PRICE: u32 = 1;
const COOK: u32 = 2;
const ERROR: u32 = 100;

// ANCHOR: payloads
#[derive(Serialize, Deserialize)]
struct Order {
    dish: String,
    count: u32,
}

impl Payload for Order {
    type Format = Postcard;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Price {
    cents: u64,
}

impl Payload for Price {
    type Format = Postcard;
}
// ANCHOR_END: payloads

// ANCHOR: error
/// What a handler may fail with and still leave the connection usable.
#[derive(Debug)]
enum Refused {
    NotOnTheMenu(String),
    Sold,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOnTheMenu(dish) => write!(f, "{dish} is not on the menu"),
            Self::Sold => f.write_str("sold out"),
        }
    }
}

impl Error for Refused {}
impl ProtocolError for Refused {}
// ANCHOR_END: error

/// The default protocol, with a frame that says what went wrong.
#[derive(Clone, Copy, Default)]
struct Kitchen(EnvelopeProtocol);

impl WireframeProtocol for Kitchen {
    type Frame = Envelope;
    type Error = Refused;
    type Codec = EnvelopeCodec;
    type Framing = LengthDelimited;
    type Session = ();

    const ANSWERS: AnswerOrder = EnvelopeProtocol::ANSWERS;

    fn codec(&self) -> EnvelopeCodec {
        self.0.codec()
    }

    fn framing(&self) -> LengthDelimited {
        self.0.framing()
    }

    fn classify(&self, frame: &Envelope, view: &View<'_, ()>) -> Role {
        self.0.classify(frame, view)
    }

    fn correlate(&self, frame: &mut Envelope, id: CorrelationId) {
        self.0.correlate(frame, id);
    }

    // ANCHOR: handle_error
    /// Asked whenever a request fails with anything but an I/O error.
    fn handle_error(
        &self,
        error: AnswerError<Refused>,
        ctx: &mut wireframe::Context<'_, Self>,
    ) -> Reaction<Envelope> {
        let route = ctx.request().map(|request| request.route);
        println!("server: route {route:?}: {error}");
        let said = match error {
            AnswerError::Protocol(refused) => refused.to_string(),
            AnswerError::Malformed(_) => "that is no order".to_owned(),
            AnswerError::Other(_) => "come back later".to_owned(),
            _ => "failed".to_owned(),
        };
        Reaction::Send(Envelope::new(ERROR, said))
    }
    // ANCHOR_END: handle_error
}

// ANCHOR: handlers
/// What a dish costs, in cents.
#[derive(Clone, Copy)]
struct Menu(fn(&str) -> Option<u64>);

/// Waits for nothing, so it is a plain function.
fn price(
    Message(order): Message<Order>,
    State(menu): State<Menu>,
) -> Result<Message<Price>, Refused> {
    let Some(each) = menu.0(&order.dish) else {
        return Err(Refused::NotOnTheMenu(order.dish));
    };
    let cents = each * u64::from(order.count);
    Ok(Message(Price { cents }))
}

/// Waits, and fails in more than one way.
async fn cook(
    Message(order): Message<Order>,
    clock: Clock,
) -> Result<String, WireframeError<Refused>> {
    if order.count > 10 {
        return Err(Refused::Sold.into());
    }
    let needed = match order.dish.as_str() {
        "soup" => Duration::from_millis(20),
        _ => Duration::from_secs(3600),
    };
    let cooking = clock.sleep(needed);
    clock.timeout(Duration::from_secs(60), cooking).await?;
    Ok(format!("{} {}", order.count, order.dish))
}
// ANCHOR_END: handlers

// ANCHOR: layer
/// Tells what came of each request, and how long that took.
#[derive(Clone)]
struct Timing<S>(S);

impl<P: Protocol, S: RequestService<P>> Service<Request<P>> for Timing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<P>) -> Self::Future {
        let (route, clock) = (request.info().route, request.clock().clone());
        let began = clock.now();
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let took = clock.now().saturating_duration_since(began).as_millis();
            let how = if answer.is_ok() { "answered" } else { "failed" };
            println!("server: route {route} {how} after {took} ms");
            answer
        })
    }
}
// ANCHOR_END: layer

// ANCHOR: app
fn layers() -> impl Layer<HandlerService<Kitchen>, Service: RequestService<Kitchen>> + Send + 'static
{
    ServiceBuilder::new()
        .layer(layer_fn(Timing))
        .load_shed()
        .concurrency_limit(2)
        .timeout(Duration::from_millis(200))
}

fn app() -> WireframeApp<Kitchen> {
    let menu = Menu(|dish| (dish == "soup").then_some(450));
    WireframeApp::with_protocol(Kitchen::default())
        .route(PRICE, price)
        .route(COOK, cook)
        .state(menu)
        .layer(layers())
}
// ANCHOR_END: app

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let served = tokio::spawn(server.serve(app()));
    let client = connect_with(address, WireframeApp::with_protocol(Kitchen::default())).await?;

    // ANCHOR: client
    let order = |dish: &str, count| {
        let dish = dish.to_owned();
        Order { dish, count }.to_payload()
    };
    let reply = client.call(Envelope::new(PRICE, order("soup", 3)?)).await?;
    let price = Price::from_payload(reply.payload)?;
    // ANCHOR_END: client
    println!("client: three soups are {} cents", price.cents);
    expect(&price.cents, &1350)?;

    let refusals = [
        (PRICE, order("stew", 1)?, "stew is not on the menu"),
        (COOK, order("soup", 11)?, "sold out"),
        (PRICE, "soup".into(), "that is no order"),
        (COOK, order("roast", 1)?, "come back later"),
    ];
    for (route, payload, said) in refusals {
        let reply = client.call(Envelope::new(route, payload)).await?;
        expect(&reply.id, &ERROR)?;
        expect(&text(&reply), &said.to_owned())?;
    }

    println!("client: four soups at once, in a kitchen that takes two");
    let soup = || cooked(&client, order("soup", 1));
    let (first, second, third, fourth) = tokio::join!(soup(), soup(), soup(), soup());
    let answers = [first?, second?, third?, fourth?];
    println!("client: {answers:?}");
    let late = "come back later";
    expect(
        &answers,
        &["1 soup", "1 soup", late, late].map(str::to_owned),
    )?;

    drop(client);
    handle.shutdown();
    served.await??;
    Ok(())
}

/// Calls the cook, and says what came back.
async fn cooked(
    client: &Client<Kitchen>,
    order: Result<bytes::Bytes, wireframe::Unencodable>,
) -> Result<String, Box<dyn Error>> {
    Ok(text(&client.call(Envelope::new(COOK, order?)).await?))
}

fn text(reply: &Envelope) -> String {
    String::from_utf8_lossy(&reply.payload).into_owned()
}

fn expect<T: fmt::Debug + PartialEq>(got: &T, expected: &T) -> Result<(), Box<dyn Error>> {
    if got == expected {
        return Ok(());
    }
    Err(format!("expected {expected:?}, got {got:?}").into())
}
