//! Metrics for Prometheus, and a snapshot of a server's connections.
//!
//! `cargo run -p wireframe-tokio --example prometheus` runs a server with some traffic over
//! loopback TCP, scrapes its metrics before and after, and fails if one is missing or has not
//! moved as it should. With `serve 127.0.0.1:9100` it goes on, for `curl` or Prometheus to
//! look.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use bytes::Bytes;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use wireframe::{
    CallError, Client, Clock, Envelope, FragmentLimits, Multiplexed, Priority, PushCapacity,
    PushHandle, PushLimits, PushPolicy, WireframeApp, WireframeError, server::ServerHandle,
};
use wireframe_tokio::{Server, connect_with};

const ECHO: u32 = 1;
const SLOW: u32 = 2;
const FAIL: u32 = 3;
const PANIC: u32 = 4;
const PUSH: u32 = 5;

const DEPTHS: [&str; 2] = [
    r#"wireframe_push_queue_depth{priority="high"}"#,
    r#"wireframe_push_queue_depth{priority="low"}"#,
];

/// What is pushed: some of these fill what the sockets hold.
const PUSHED: &[u8] = &[7; 256 * 1024];

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What was scraped: names with their labels, and values.
type Series = BTreeMap<String, f64>;

/// What moves with the traffic, and by how much.
const MOVED: [(&str, f64); 13] = [
    ("wireframe_connections_active", 1.0),
    (
        r#"wireframe_frames_processed_total{direction="inbound"}"#,
        6.0,
    ),
    (
        r#"wireframe_frames_processed_total{direction="outbound"}"#,
        6.0,
    ),
    (r#"wireframe_pushes_total{priority="high"}"#, 1.0),
    (r#"wireframe_pushes_total{priority="low"}"#, 1.0),
    (r#"wireframe_pushes_dropped_total{reason="policy"}"#, 2.0),
    ("wireframe_request_latency_seconds_count", 6.0),
    (r#"wireframe_request_latency_seconds_bucket{le="10"}"#, 6.0),
    ("wireframe_messages_assembled_total", 1.0),
    (r#"wireframe_reassembly_errors_total{reason="limit"}"#, 1.0),
    ("wireframe_handler_panics_total", 1.0),
    (r#"wireframe_errors_total{kind="other"}"#, 1.0),
    (r#"wireframe_errors_total{kind="handler_panicked"}"#, 1.0),
];

#[tokio::main]
async fn main() -> Outcome {
    tracing_subscriber::fmt()
        .with_env_filter("prometheus=warn")
        .with_writer(io::stderr)
        .init();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => check().await,
        ["serve", address] => go_on(address).await,
        _ => Err("expected no argument, or `serve` and an address".into()),
    }
}

// ANCHOR: install
/// Upper bounds of the buckets of latencies, in seconds.
const LATENCIES: [f64; 8] = [0.0001, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Installs the recorder, and serves an app that is built after that.
async fn start() -> Outcome<(PrometheusHandle, SocketAddr, ServerHandle)> {
    let metrics = PrometheusBuilder::new()
        .set_buckets(&LATENCIES)?
        .install_recorder()?;
    tokio::spawn(keep_up(metrics.clone()));
    let server = Server::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    tokio::spawn(server.serve(app()));
    Ok((metrics, address, handle))
}

/// The recorder keeps each latency until somebody scrapes it, or this sorts it into its bucket.
async fn keep_up(metrics: PrometheusHandle) {
    loop {
        sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}
// ANCHOR_END: install

fn app() -> WireframeApp {
    // Room for one push of each priority.
    let room = PushCapacity {
        frames: NonZeroUsize::MIN,
        ..PushCapacity::new()
    };
    // And for messages of 512 KiB.
    let mut limits = FragmentLimits::default();
    limits.max_message_size = NonZeroUsize::new(512 * 1024);
    WireframeApp::new()
        .fragmentation(Multiplexed::new(), limits)
        .push_limits(PushLimits::both(room))
        .route(ECHO, async |body: Bytes| body)
        .route(SLOW, slow)
        .route(FAIL, || Err::<(), _>(failure()))
        .route(PANIC, fail_badly)
        .route(PUSH, push)
}

/// Large messages go in fragments of 16 KiB, both ways.
fn client_app() -> WireframeApp {
    WireframeApp::new().fragmentation(Multiplexed::new(), FragmentLimits::default())
}

async fn slow(clock: Clock) -> &'static str {
    clock.sleep(Duration::from_millis(20)).await;
    "done"
}

fn failure() -> WireframeError<Infallible> {
    WireframeError::Other("as the example says".into())
}

#[expect(clippy::panic, reason = "it is counted")]
fn fail_badly() {
    panic!("as the example says");
}

/// Pushes two frames of each priority, of which the second finds no room.
async fn push(push: PushHandle) -> &'static str {
    for priority in Priority::ALL {
        for _ in 0..2 {
            let frame = Envelope::new(PUSH, PUSHED);
            // What it returns says what has become of it, and so do the metrics.
            let _ = push.push_with_policy(priority, frame, PushPolicy::DropIfFull);
        }
    }
    "pushed"
}

/// Frames of all kinds. The client that stays is returned.
async fn traffic(server: SocketAddr) -> Outcome<Client> {
    let client = connect_with(server, client_app()).await?;
    client.call(Envelope::new(ECHO, "small")).await?;
    client.call(Envelope::new(ECHO, vec![7; 100_000])).await?;
    client.call(Envelope::new(SLOW, "")).await?;
    client.call(Envelope::new(PUSH, "")).await?;
    // Nobody answers: by default a failure is logged.
    let failing = client.call(Envelope::new(FAIL, ""));
    let answered = failing.timeout(Duration::from_millis(50)).await;
    expect_failure(answered)?;
    // Each of these ends its connection, and no other.
    let too_large = Envelope::new(ECHO, vec![7; 1024 * 1024]);
    for frame in [Envelope::new(PANIC, ""), too_large] {
        let doomed = connect_with(server, client_app()).await?;
        expect_failure(doomed.call(frame).await)?;
    }
    Ok(client)
}

fn expect_failure(answered: Result<Envelope, CallError>) -> Outcome {
    match answered {
        Ok(frame) => Err(format!("expected no answer, got {frame:?}").into()),
        Err(_) => Ok(()),
    }
}

// ANCHOR: scrape
/// How long the head of a scraper's request may be, in bytes.
const MAX_HEAD: u64 = 8 * 1024;

/// Answers every HTTP request with the metrics. No scraper is in the way of another.
async fn serve_metrics(listener: TcpListener, metrics: PrometheusHandle) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let answered = timeout(Duration::from_secs(10), answer(stream, metrics.clone()));
                tokio::spawn(async move {
                    if let Err(error) = answered.await.unwrap_or_else(|late| Err(late.into())) {
                        tracing::warn!(%peer, %error, "a scrape failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept scrapers for now");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, metrics: PrometheusHandle) -> io::Result<()> {
    let mut request = Vec::new();
    let mut head = (&mut stream).take(MAX_HEAD);
    while !request.ends_with(b"\r\n\r\n") {
        if head.read_buf(&mut request).await? == 0 {
            let expected =
                format!("expected the head of a request, of MAX_HEAD = {MAX_HEAD} bytes at most");
            return Err(io::Error::new(io::ErrorKind::InvalidData, expected));
        }
    }
    let body = metrics.render();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await
}
// ANCHOR_END: scrape

/// What `curl` would show: each series and its value.
async fn scrape(address: SocketAddr) -> Outcome<Series> {
    let answer = timeout(Duration::from_secs(10), fetch(address)).await??;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head.into());
    }
    let samples = body
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').ok_or("a series without a value")?;
        Ok((series.to_owned(), value.parse()?))
    };
    samples.map(sample).collect()
}

async fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

// ANCHOR: snapshot
/// Prints what each connection is at.
fn show(server: &ServerHandle) {
    for connection in server.snapshot().connections {
        println!(
            "connection {} of {:?}: {} bytes in, {} out, {} requests, {} pushes queued",
            connection.id,
            connection.peer,
            connection.bytes_received,
            connection.bytes_sent,
            connection.requests,
            connection.queued_high + connection.queued_low,
        );
        if let Some(time) = connection.stalled {
            println!("  it has taken nothing for {time:?}");
        }
    }
}
// ANCHOR_END: snapshot

/// A scraper that resets its connection, and one that sends half a request and goes on to wait.
async fn trouble(address: SocketAddr) -> Outcome<TcpStream> {
    let mut half = TcpStream::connect(address).await?;
    half.write_all(b"GET /metrics HTTP/1.1\r\n").await?;
    TcpStream::connect(address).await?.set_zero_linger()?;
    Ok(half)
}

async fn check() -> Outcome {
    let (metrics, server, handle) = start().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve_metrics(listener, metrics));
    let _half = trouble(address).await?;
    let before = scrape(address).await?;
    let client = traffic(server).await?;
    let patience = Instant::now() + Duration::from_secs(10);
    let after = loop {
        // A client may see the end of its connection before the server has counted it.
        let after = scrape(address).await?;
        match complaint(&before, &after) {
            Some(complaint) if Instant::now() > patience => return Err(complaint.into()),
            Some(_) => tokio::task::yield_now().await,
            None => break after,
        }
    };
    for (series, now) in &after {
        match before.get(series) {
            None => return Err(format!("{series} was missing before there was traffic").into()),
            Some(then) if now != then => println!("{series} {then} -> {now}"),
            Some(_) => {}
        }
    }
    let patience = Duration::from_secs(10);
    let deaf = timeout(patience, push_to_the_deaf(server, address)).await??;
    show(&handle);
    drop((client, deaf));
    timeout(patience, async {
        while queued(&scrape(address).await?) != Some(0.0) {
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    })
    .await?
}

/// Until a push waits: a client asks for them and reads none.
async fn push_to_the_deaf(server: SocketAddr, metrics: SocketAddr) -> Outcome<TcpStream> {
    // A unit that is a whole message of 3 bytes: the route, no correlation id, no payload.
    let request = [0, 0, 0, 3, 2, u8::try_from(PUSH)?, 0, 0];
    let mut deaf = TcpStream::connect(server).await?;
    loop {
        deaf.write_all(&request).await?;
        // Either priority may be what the full transport stops.
        if let Some(queued @ 1.0..) = queued(&scrape(metrics).await?) {
            println!("pushes queued 0 -> {queued}, for a client that reads nothing");
            return Ok(deaf);
        }
    }
}

/// What is not as it should be.
fn complaint(before: &Series, after: &Series) -> Option<String> {
    for (series, expected) in MOVED {
        // All are there from the beginning.
        let (Some(then), Some(now)) = (before.get(series), after.get(series)) else {
            return Some(format!("{series} is missing"));
        };
        let moved = now - then;
        if moved != expected {
            return Some(format!(
                "{series} has moved by {moved}, expected {expected}"
            ));
        }
    }
    match queued(after) {
        Some(0.0) => None,
        other => Some(format!(
            "{DEPTHS:?} are {other:?} together, expected 0: all pushes were sent"
        )),
    }
}

/// Pushes on their way, of both priorities.
fn queued(scraped: &Series) -> Option<f64> {
    DEPTHS.iter().map(|depth| scraped.get(*depth)).sum()
}

async fn go_on(address: &str) -> Outcome {
    let (metrics, server, _handle) = start().await?;
    let listener = TcpListener::bind(address).await?;
    println!("curl http://{}/metrics", listener.local_addr()?);
    tokio::spawn(serve_metrics(listener, metrics));
    loop {
        traffic(server).await?;
        sleep(Duration::from_secs(1)).await;
    }
}
