//! Taking connections: what a listener's errors cost, and how a server stops.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use wireframe::{
    Clock, Transport, WireframeApp,
    proto::Instant,
    rt::{Sleep, Timer},
    server::{self, Accepted, ConnectionLimits, Listener, ServerHandle},
    testing::{Link, Simulation, Spawned},
};

use crate::{
    rig::{Text, secs, text},
    serving,
};

/// Gives these errors, one for each call, and then nothing.
struct Failing {
    errors: VecDeque<io::ErrorKind>,
    calls: Arc<AtomicUsize>,
}

impl Listener for Failing {
    type Transport = Link;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted<Link>>> {
        let Some(kind) = self.errors.pop_front() else {
            return Poll::Pending;
        };
        self.calls.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Err(kind.into()))
    }
}

struct Serving {
    simulation: Simulation,
    served: Spawned<bool>,
    handle: ServerHandle,
    calls: Arc<AtomicUsize>,
}

impl Serving {
    fn with(errors: impl IntoIterator<Item = io::ErrorKind>) -> Self {
        let simulation = Simulation::new();
        let (handle, calls) = (ServerHandle::default(), Arc::new(AtomicUsize::new(0)));
        let listener = Failing {
            errors: errors.into_iter().collect(),
            calls: Arc::clone(&calls),
        };
        let environment = simulation.environment();
        let serve = server::serve(
            listener,
            WireframeApp::new(),
            environment,
            handle.clone(),
            ConnectionLimits::default(),
        );
        let served = simulation.spawn(async move { serve.await.is_ok() });
        simulation.run();
        Self {
            simulation,
            served,
            handle,
            calls,
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

#[test]
fn an_error_of_one_connection_does_not_keep_the_next_waiting() {
    let serving = Serving::with([io::ErrorKind::ConnectionAborted; 5]);
    assert_eq!(serving.calls(), 5);
}

#[test]
fn errors_of_connections_without_end_are_no_busy_loop() {
    // rule: LIM-4
    let serving = Serving::with([io::ErrorKind::ConnectionAborted; 1000]);
    for pauses in 1..=3 {
        assert_eq!(serving.calls(), 64 * pauses);
        serving.simulation.advance(Duration::from_millis(9));
        assert_eq!(serving.calls(), 64 * pauses);
        serving.simulation.advance(Duration::from_millis(1));
    }
}

#[test]
fn a_shortage_is_waited_for_longer_and_longer() {
    let serving = Serving::with([io::ErrorKind::OutOfMemory; 20]);
    for (calls, pause) in [(1, 10), (2, 20), (3, 40), (4, 80)] {
        assert_eq!(serving.calls(), calls);
        serving.simulation.advance(Duration::from_millis(pause - 1));
        assert_eq!(serving.calls(), calls, "before {pause} ms");
        serving.simulation.advance(Duration::from_millis(1));
    }
    // 160, 320 and 640 ms, then a second each.
    serving.simulation.advance(secs(3));
    let calls = serving.calls();
    serving.simulation.advance(secs(1));
    assert_eq!(serving.calls(), calls + 1);
}

#[test]
fn a_shutdown_does_not_wait_for_the_pause_to_end() {
    let serving = Serving::with([io::ErrorKind::OutOfMemory; 20]);
    serving.handle.shutdown();
    serving.simulation.run();
    assert_eq!(serving.served.take(), Some(true));
}

/// A timer that panics when it is asked for the time, after so many times that it does not.
struct Fragile(Simulation, Arc<AtomicUsize>);

const WHOLE: usize = usize::MAX;

impl Timer for Fragile {
    fn now(&self) -> Instant {
        let left = self.1.load(Ordering::Relaxed);
        if left != WHOLE {
            self.1.store(left.wrapping_sub(1), Ordering::Relaxed);
        }
        assert!(left != 0, "told to");
        self.0.clock().now()
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.clock().sleep_until(at)
    }
}

#[test]
fn a_timer_that_panics_over_a_new_connection_keeps_nobody_else_from_being_served() {
    // rule: HOOK-7
    for asked in 0..3 {
        let left = Arc::new(AtomicUsize::new(WHOLE));
        let fragile = Arc::clone(&left);
        let serving = serving::Serving::timed(text(&Text::default()), |simulation, _| {
            Clock::new(Arc::new(Fragile(simulation, fragile)))
        });
        left.store(asked, Ordering::Relaxed);
        let one = serving.connect(1000);
        assert_eq!(left.load(Ordering::Relaxed), WHOLE, "asked {asked} times");
        assert!(one.is_at_end());
        let _other = serving.connect(1000);
        assert_eq!(serving.handle.connections(), 1, "asked {asked} times");
    }
}

#[test]
fn a_transport_that_panics_keeps_nobody_else_from_being_served() {
    // rule: HOOK-7
    let mut panics = true;
    let over = move |link, _: Option<SocketAddr>| Nameless(link, std::mem::take(&mut panics));
    let app = text(&Text::default());
    let serving = serving::Serving::over(app, ConnectionLimits::default(), over);
    let one = serving.connect(1000);
    assert!(one.is_at_end());
    let _other = serving.connect(1000);
    assert_eq!(serving.handle.connections(), 1);
}

/// A transport that panics when it is asked who its peer is, if it is told to.
struct Nameless(Link, bool);

impl Transport for Nameless {
    fn address(&self, socket: Option<SocketAddr>) -> Option<SocketAddr> {
        assert!(!self.1, "told to");
        socket
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, chunks)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
