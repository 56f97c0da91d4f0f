//! What cannot be seen from outside: what a parked driver keeps.

use std::{
    num::NonZeroUsize,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use wireframe_proto::{
    self as proto, Config, Envelope, EnvelopeCodec, EnvelopeProtocol, Heartbeat, Instant,
    LengthDelimited, Priority, Role, View, WireframeProtocol,
};

use super::{Driver, Environment, pool};
use crate::{
    app::WireframeApp,
    client::Client,
    clock::Clock,
    conversation::Conversation,
    response::Response,
    rt::{Sleep, Timer},
    sync::{Arc, Mutex, lock},
    tasks::TaskTracker,
    testing::{Link, Simulation, link},
};

type EnvelopeDriver = Driver<EnvelopeProtocol, Link>;

fn poll(driver: &mut EnvelopeDriver) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(driver).poll(&mut cx).is_pending());
}

fn server(app: WireframeApp) -> (EnvelopeDriver, Link) {
    let (near, peer) = link(1 << 20);
    let environment = Simulation::new().environment();
    let mut driver = Driver::server(&app.build().unwrap(), near, None, &environment);
    poll(&mut driver);
    (driver, peer)
}

fn echo() -> WireframeApp {
    WireframeApp::new().route(1, async |body: Bytes| body)
}

#[test]
fn a_parked_driver_holds_no_buffer_and_no_timer() {
    // rule: LIM-5
    let (mut driver, mut peer) = server(echo());
    for round in 0..3 {
        peer.send(b"\0\0\0\x04\x01\0\x01x");
        let envelope = Envelope::new(2, vec![0; 10_000]);
        driver
            .push_handle()
            .try_push(Priority::Low, envelope)
            .unwrap();
        poll(&mut driver);
        assert!(peer.receive().len() > 10_000, "round {round}");
        assert!(driver.engine.lacks_receive_buffer());
        assert!(driver.engine.lacks_transmit_buffer());
        assert!(driver.sleep.is_none() && driver.batch.is_none());
    }
}

#[test]
fn a_parked_driver_keeps_of_a_frame_that_has_begun_little_more_than_its_bytes() {
    // rule: LIM-5
    let (mut driver, mut peer) = server(echo());
    peer.send(b"\0\0\0\x04\x01\0");
    poll(&mut driver);
    assert!(driver.engine.take_receive_buffer().is_none(), "a large one");
    peer.send(b"\x01x");
    poll(&mut driver);
    assert_eq!(peer.receive(), b"\0\0\0\x04\x01\0\x01x");
}

#[test]
fn a_driver_keeps_nothing_of_conversations_that_have_ended() {
    // rule: LIM-5, REQ-2
    let app = WireframeApp::new().route(1, async |mut peer: Conversation, tasks: TaskTracker| {
        peer.send(Envelope::new(2, "x")).await.unwrap();
        // Never run: the conversation outlives its command.
        tasks.spawn(async move { drop(peer) });
    });
    let (mut driver, mut peer) = server(app);
    assert!(driver.conversations.is_none(), "there was none");
    for _ in 0..3 {
        peer.send(b"\0\0\0\x04\x01\0\x01x".repeat(10).as_slice());
        poll(&mut driver);
        assert_eq!(peer.receive(), b"\0\0\0\x04\x02\0\x01x".repeat(10));
        assert!(driver.conversations.is_none());
    }
}

#[test]
fn a_driver_makes_room_for_what_is_at_work_only_while_it_is() {
    // rule: LIM-5
    let (give, given) = async_channel::unbounded::<Bytes>();
    let app = echo().route(2, move || {
        let given = given.clone();
        async move { given.recv().await.unwrap() }
    });
    let (mut driver, mut peer) = server(app);
    for _ in 0..3 {
        peer.send(b"\0\0\0\x04\x01\0\x01x");
        poll(&mut driver);
        assert_eq!(peer.receive(), b"\0\0\0\x04\x01\0\x01x");
        assert!(driver.at_work.is_none(), "it was done at once");
        peer.send(b"\0\0\0\x03\x02\0\0");
        poll(&mut driver);
        assert!(driver.at_work.is_some());
        give.try_send(Bytes::from_static(b"x")).unwrap();
        poll(&mut driver);
        assert_eq!(peer.receive(), b"\0\0\0\x04\x02\0\x01x");
        assert!(driver.at_work.is_none());
    }
}

#[test]
fn a_driver_is_small() {
    // rule: LIM-5
    // Each connection has all of it: what few of them use belongs in a box.
    let size = size_of::<EnvelopeDriver>() - size_of::<Link>();
    assert!(size <= 1_100, "{size} bytes");
}

#[test]
fn streams_that_fail_leave_nothing_behind() {
    // rule: RESP-6
    fn frames(first: usize) -> Response {
        Response::frames(async_stream::stream! {
            yield Envelope::new(2, vec![0; first]);
            loop {
                yield Envelope::new(2, "x");
            }
        })
    }
    let mut config = Config::default();
    config.limits.high_water = NonZeroUsize::MIN;
    config.limits.max_in_flight = NonZeroUsize::new(2);
    config.limits.response_slot = NonZeroUsize::new(100).unwrap();
    config.limits.max_frame_len = NonZeroUsize::new(100).unwrap();
    let app = WireframeApp::new()
        .config(config)
        .route(1, || frames(1))
        .route(2, || frames(1000));
    let (mut driver, mut peer) = server(app);
    // One that goes on, beside which others have to wait for their turn to fail.
    peer.send(b"\0\0\0\x04\x01\x01\x01\0");
    for _ in 0..100 {
        // The next begins as soon as one has failed.
        peer.send(&b"\0\0\0\x04\x02\x01\x02\0".repeat(20));
        poll(&mut driver);
        peer.receive();
        let at_work = driver.at_work();
        let listed = at_work.runnable.len() + at_work.blocked.len();
        assert!(listed <= 2, "{listed} places are listed");
    }
    assert!(driver.engine.stats().requests > 200);
}

/// Pings silent peers, and takes what they say for pushes.
#[derive(Debug)]
struct Pinging;

impl WireframeProtocol for Pinging {
    type Frame = Envelope;
    type Error = std::convert::Infallible;
    type Codec = EnvelopeCodec;
    type Framing = LengthDelimited;
    type Session = ();

    fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, _: &Envelope, _: &View<'_, ()>) -> Role {
        Role::Push
    }

    fn ping(&self, _: &mut proto::Context<'_, Self>) -> Option<Envelope> {
        Some(Envelope::new(9, "ping"))
    }
}

#[test]
fn a_ping_is_encoded_into_a_pooled_buffer() {
    while pool::take_write().is_some() {}
    pool::put_write(Vec::with_capacity(10_000));
    let simulation = Simulation::new();
    let mut config = Config::default();
    let second = Duration::from_secs(1);
    config.heartbeat = Some(Heartbeat::pinging(second, second));
    let app = WireframeApp::with_protocol(Pinging).config(config);
    let (near, mut peer) = link(1 << 20);
    let environment = simulation.environment();
    let mut driver = Driver::server(&app.build().unwrap(), near, None, &environment);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut driver).poll(&mut cx).is_pending());
    simulation.clock().advance(second);
    assert!(Pin::new(&mut driver).poll(&mut cx).is_pending());
    assert!(peer.receive().ends_with(b"ping"));
    // The one that was there, and no small one beside it.
    assert_eq!(
        pool::take_write().map(|buffer| buffer.capacity()),
        Some(10_000)
    );
    assert!(pool::take_write().is_none());
}

/// Runs something, once, when the driver looks at its alarm: after it found nothing more
/// to do and before it sleeps.
#[derive(Clone, Default)]
struct BeforeSleep(Arc<Mutex<Option<Deed>>>);

type Deed = Box<dyn FnOnce() + Send>;

impl Timer for BeforeSleep {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(self.clone())
    }
}

impl Future for BeforeSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let run = lock(&self.0).take();
        run.into_iter().for_each(|run| run());
        Poll::Pending
    }
}

impl Sleep for BeforeSleep {
    fn reset(self: Pin<&mut Self>, _: Instant) {}
}

#[test]
fn what_is_sent_just_before_the_driver_sleeps_does_not_wait() {
    // rule: REQ-2
    let before_sleep = BeforeSleep::default();
    let timer = before_sleep.clone();
    // Awaits its body, and leaves the writing half to somebody else.
    let handler = move |peer: Conversation| {
        let (mut sender, mut body) = peer.split();
        *lock(&before_sleep.0) = Some(Box::new(move || {
            let mut cx = Context::from_waker(Waker::noop());
            let sent = pin!(sender.send(Envelope::new(2, "x"))).poll(&mut cx);
            assert!(sent.is_ready());
        }));
        async move { drop(body.next().await) }
    };
    let environment = Environment {
        clock: Clock::new(Arc::new(timer)),
        ..Simulation::new().environment()
    };
    let (near, mut peer) = link(1 << 20);
    let app = WireframeApp::new().route(1, handler).build().unwrap();
    let mut driver = Driver::server(&app, near, None, &environment);
    peer.send(b"\0\0\0\x04\x01\0\x01x");
    poll(&mut driver);
    assert_eq!(peer.receive(), b"\0\0\0\x04\x02\0\x01x");
}

#[test]
fn calls_whose_futures_were_dropped_are_forgotten() {
    // rule: CLI-2
    let simulation = Simulation::new();
    let (_server, far) = link(1 << 20);
    let app = WireframeApp::new().build().unwrap();
    let (client, mut driver) = Client::new(&app, far, None, &simulation.environment());
    poll(&mut driver);
    let call = || {
        let client = client.clone();
        simulation.spawn(async move { client.call(Envelope::new(3, "x")).await })
    };
    let kept = call();
    // Dropped after it was sent, and before it was begun.
    for sent in [true, false].repeat(100) {
        let dropped = call();
        simulation.run();
        if sent {
            poll(&mut driver);
            assert_eq!(driver.calls_pending(), (2, 2));
        }
        dropped.cancel();
        poll(&mut driver);
        assert_eq!(driver.calls_pending(), (1, 1));
    }
    assert!(!kept.is_done());
}
