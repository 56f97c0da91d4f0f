//! Taking connections: what a listener's errors cost, and how a server stops.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use wireframe::{
    Clock, Environment, WireframeApp,
    server::{self, Accepted, ConnectionLimits, Listener, ServerHandle},
    testing::{Link, Simulation, Spawned},
};

use crate::{accept_panics::Fragile, rig::secs};

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
        Self::timed(errors, |simulation| simulation.clock().clock())
    }

    fn timed(
        errors: impl IntoIterator<Item = io::ErrorKind>,
        clock: impl FnOnce(&Simulation) -> Clock,
    ) -> Self {
        let simulation = Simulation::new();
        let (handle, calls) = (ServerHandle::default(), Arc::new(AtomicUsize::new(0)));
        let listener = Failing {
            errors: errors.into_iter().collect(),
            calls: Arc::clone(&calls),
        };
        let environment = Environment {
            clock: clock(&simulation),
            ..simulation.environment()
        };
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

#[test]
fn a_timer_that_panics_over_an_error_of_accepting_ends_no_server() {
    // rule: HOOK-7
    for asked in 0..2 {
        let serving = Serving::timed([io::ErrorKind::OutOfMemory; 5], |simulation| {
            Fragile::clock(simulation, &Arc::new(AtomicUsize::new(asked)))
        });
        assert_eq!(serving.calls(), 2, "asked {asked} times");
        serving.simulation.advance(Duration::from_millis(20));
        assert_eq!(serving.calls(), 3, "asked {asked} times");
    }
}
