//! What never ends, never yields or is always ready delays nothing else.

use std::{future::poll_fn, task::Poll};

use bytes::Bytes;
use wireframe::{
    Clock, CloseReason, Codec, Driver, Envelope, FragmentMeta, FragmentStrategy, FrameBuf,
    Malformed,
    Priority::High,
    PushHandle, Response, Role, Unencodable, View, WireframeApp, WireframeProtocol,
    testing::{Link, Script, Simulation, Spawned, link},
};

use crate::rig::{Line, Oops, line, secs};

const SMALL: usize = 10;

async fn flood() -> Response {
    Response::frames(async_stream::stream! {
        loop {
            yield Envelope::new(1, vec![0; SMALL]);
        }
    })
}

async fn spin() -> &'static str {
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    })
    .await;
    "never"
}

async fn echo(body: Bytes) -> Bytes {
    body
}

struct Server {
    simulation: Simulation,
    peer: Link,
    script: Script,
    push: PushHandle,
    driver: Spawned<CloseReason>,
}

fn serve(capacity: usize) -> Server {
    let app = WireframeApp::new()
        .route(1, flood)
        .route(2, spin)
        .route(3, echo)
        .route(4, async |clock: Clock| {
            clock.sleep(secs(1)).await;
            "slept"
        })
        .build()
        .unwrap();
    let simulation = Simulation::new();
    let (near, peer) = link(capacity);
    let script = near.script();
    let driver = Driver::server(&app, near, None, &simulation.environment());
    Server {
        push: driver.push_handle(),
        driver: simulation.spawn(driver),
        simulation,
        script,
        peer,
    }
}

impl Server {
    fn ask(&mut self, route: u8, correlation: u8) {
        self.peer
            .send(&[0, 0, 0, 5, route, 1, correlation, 1, b'?']);
    }

    /// How many bytes of the flood the peer takes before a frame from elsewhere comes.
    fn bytes_until(&mut self, id: u8) -> usize {
        let mut seen = Vec::new();
        for _ in 0..2000 {
            self.simulation.run();
            seen.extend(self.peer.receive_at_most(1000));
            let mut rest = &seen[..];
            while let Some(frame) = rest.get(4..).and_then(|r| r.get(..usize::from(rest[3]))) {
                if frame[0] == id {
                    return seen.len() - rest.len();
                }
                rest = &rest[4 + frame.len()..];
            }
        }
        panic!("it never came");
    }
}

/// What is encoded, what the link holds, and some frames.
const NEAR: usize = 64 * 1024 + 10_000 + 200;

#[test]
fn a_stream_that_is_always_ready_does_not_delay_pushes() {
    // rule: RESP-11
    let mut server = serve(10_000);
    server.ask(1, 1);
    server.simulation.run();
    server
        .push
        .try_push(High, Envelope::new(9, "push"))
        .unwrap();
    assert!(server.bytes_until(9) <= NEAR);
}

#[test]
fn a_stream_that_is_always_ready_does_not_delay_other_requests() {
    // rule: RESP-11, SEL-6
    for route in [3, 4] {
        let mut server = serve(10_000);
        server.ask(1, 1);
        server.simulation.run();
        server.ask(route, 2);
        server.simulation.advance(secs(1));
        assert!(server.bytes_until(route) <= NEAR, "route {route}");
    }
}

#[test]
fn a_stream_that_is_always_ready_does_not_delay_a_shutdown() {
    // rule: RESP-11, SHUT-3
    let mut server = serve(10_000);
    server.ask(1, 1);
    server.simulation.run();
    server.push.connection().close();
    for _ in 0..50 {
        server.simulation.advance(secs(5) / 50);
        server.peer.receive();
    }
    server.simulation.advance(secs(1));
    assert_eq!(
        server.driver.take(),
        Some(CloseReason::DrainTimedOut {
            fault: wireframe::Fault::Own
        })
    );
}

#[test]
fn a_stream_that_is_always_ready_to_a_peer_that_always_reads_yields_to_other_tasks() {
    // rule: RESP-11
    let mut server = serve(usize::MAX / 2);
    server.ask(1, 1);
    for _ in 0..10 {
        assert!(server.simulation.step(), "there is more to do");
        let taken = server.peer.receive().len();
        assert!(taken > 0, "it goes on");
        assert!(taken <= 2 << 20, "{taken} bytes in one poll");
    }
    server.push.connection().abort();
    server.simulation.run();
    assert_eq!(server.driver.take(), Some(CloseReason::Aborted));
}

#[test]
fn a_handler_that_wakes_itself_for_ever_does_not_starve_its_connection() {
    // rule: RESP-11
    let mut server = serve(10_000);
    server.ask(2, 1);
    server.simulation.step();
    server.ask(3, 2);
    server
        .push
        .try_push(High, Envelope::new(9, "push"))
        .unwrap();
    server.simulation.step();
    assert_eq!(server.peer.receive().len(), 9 + 4 + 7);
    server.push.connection().close();
    for _ in 0..5 {
        server.simulation.step();
    }
    assert!(!server.driver.is_done());
    server.simulation.clock().advance(secs(5));
    server.simulation.run();
    assert_eq!(
        server.driver.take(),
        Some(CloseReason::DrainTimedOut {
            fault: wireframe::Fault::Own
        })
    );
}

/// A protocol of single bytes. Its answers take none.
struct Silent;

struct NoBytes;

impl FragmentStrategy<Line> for NoBytes {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        Ok(src.first().map(|_| (FragmentMeta::whole(1), 0)))
    }

    fn encode_header(
        &mut self,
        _: &mut Vec<u8>,
        _: &Line,
        _: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        Ok(())
    }
}

impl Codec for NoBytes {
    type Frame = Line;

    fn decode(&mut self, _: &FragmentMeta, _: Bytes) -> Result<Line, Malformed> {
        Ok(line(""))
    }

    fn encode(&mut self, _: &Line, _: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        Ok(())
    }

    fn encoded_len(&self, _: &Line) -> usize {
        0
    }
}

impl WireframeProtocol for Silent {
    type Frame = Line;
    type Error = Oops;
    type Codec = NoBytes;
    type Framing = NoBytes;
    type Session = ();

    fn codec(&self) -> NoBytes {
        NoBytes
    }

    fn framing(&self) -> NoBytes {
        NoBytes
    }

    fn classify(&self, _: &Line, _: &View<'_, ()>) -> Role {
        Role::Request {
            route: 1,
            correlation: None,
            exclusive: false,
        }
    }
}

#[test]
fn an_endless_stream_of_frames_without_bytes_yields_too() {
    // rule: RESP-11
    let app = WireframeApp::with_protocol(Silent).route(1, async || {
        Response::<Line, Oops>::frames(async_stream::stream! {
            loop {
                yield line("");
            }
        })
    });
    let simulation = Simulation::new();
    let (near, mut peer) = link(100);
    let environment = simulation.environment();
    let driver = Driver::server(&app.build().unwrap(), near, None, &environment);
    let connection = driver.push_handle().connection();
    let driver = simulation.spawn(driver);
    peer.send(b"x");
    for _ in 0..3 {
        assert!(simulation.step());
    }
    connection.abort();
    simulation.run();
    assert_eq!(driver.take(), Some(CloseReason::Aborted));
}

#[test]
fn a_flood_of_requests_does_not_keep_answers_from_leaving() {
    // rule: RESP-11
    let mut server = serve(1 << 24);
    for _ in 0..20_000 {
        server.ask(3, 1);
    }
    server.simulation.step();
    assert!(!server.script.writes().is_empty());
    server.simulation.run();
    assert_eq!(server.peer.receive().len(), 9 * 20_000);
}
