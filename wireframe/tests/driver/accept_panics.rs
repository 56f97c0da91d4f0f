//! Code of the user that panics while connections are taken.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use wireframe::{
    Clock, Environment, TaskTracker, Transport,
    proto::{Instant, TransportInfo},
    rt::{BoxTask, Sleep, Spawn, Timer},
    server::{ConnectionLimits, WhenFull},
    testing::{Link, Simulation},
};

use crate::{
    rig::{Text, text},
    serving::Serving,
};

/// A timer that panics when it is asked for the time, after so many times that it does not.
pub(crate) struct Fragile(Simulation, Arc<AtomicUsize>);

const WHOLE: usize = usize::MAX;

impl Fragile {
    pub(crate) fn clock(simulation: &Simulation, left: &Arc<AtomicUsize>) -> Clock {
        Clock::new(Arc::new(Self(simulation.clone(), Arc::clone(left))))
    }
}

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
        let serving = Serving::timed(text(&Text::default()), move |simulation, _| {
            Fragile::clock(&simulation, &fragile)
        });
        left.store(asked, Ordering::Relaxed);
        let one = serving.connect(1000);
        assert_eq!(left.load(Ordering::Relaxed), WHOLE, "asked {asked} times");
        assert!(one.is_at_end());
        let _other = serving.connect(1000);
        assert_eq!(serving.handle.connections(), 1, "asked {asked} times");
    }
}

/// Where a transport may panic over a connection that is new.
pub(crate) const PLACES: [&str; 5] = [
    "preparation",
    "info",
    "prepare",
    "info of one prepared",
    "address of one prepared",
];

/// Serves over transports of which the first panics there.
pub(crate) fn serving_after_a_panic_in(place: &'static str) -> Serving {
    let mut told = Some(place);
    let over = move |link, _: Option<SocketAddr>| Odd {
        link,
        panics_in: told.take().unwrap_or_default(),
        prepared: false,
    };
    let serving = Serving::over(text(&Text::default()), ConnectionLimits::default(), over);
    assert!(serving.connect(1000).is_at_end(), "{place}");
    serving
}

#[test]
fn a_transport_that_panics_keeps_nobody_else_from_being_served() {
    // rule: HOOK-7
    for place in PLACES {
        let serving = serving_after_a_panic_in(place);
        let _other = serving.connect(1000);
        assert_eq!(serving.handle.connections(), 1, "{place}");
    }
}

#[test]
fn the_drop_of_a_transport_that_is_one_too_many_may_panic() {
    // rule: HOOK-7
    // One is served, and 64 are being refused.
    const TAKEN: usize = 1 + 64;
    let mut limits = ConnectionLimits::default();
    (limits.max_connections, limits.when_full) = (NonZeroUsize::MIN, WhenFull::Refuse);
    let mut came = 0;
    let over = move |link, _: Option<SocketAddr>| {
        came += 1;
        Odd {
            link,
            panics_in: if came > TAKEN { "drop" } else { "" },
            prepared: true,
        }
    };
    let serving = Serving::over(text(&Text::default()), limits, over);
    let mut links: Vec<_> = (0..TAKEN).map(|_| serving.connect(0)).collect();
    assert!(serving.connect(0).is_at_end());
    drop(links.remove(0));
    serving.simulation.run();
    let _next = serving.connect(0);
    assert_eq!(serving.handle.connections(), 1);
}

#[test]
fn a_spawner_that_panics_keeps_nobody_else_from_being_served() {
    // rule: HOOK-7
    for prepared in [false, true] {
        let panics = Arc::new(AtomicBool::new(true));
        let serving = Serving::within(
            text(&Text::default()),
            ConnectionLimits::default(),
            move |link, _| Odd {
                link,
                panics_in: "",
                prepared,
            },
            |simulation, _| Environment {
                tasks: TaskTracker::new(Arc::new(Refusing(simulation.clone(), panics))),
                ..simulation.environment()
            },
        );
        assert!(serving.connect(1000).is_at_end(), "prepared: {prepared}");
        let _other = serving.connect(1000);
        assert_eq!(serving.handle.connections(), 1, "prepared: {prepared}");
    }
}

/// Panics over the first task.
struct Refusing(Simulation, Arc<AtomicBool>);

impl Spawn for Refusing {
    fn spawn(&self, task: BoxTask) {
        assert!(!self.1.swap(false, Ordering::Relaxed), "told to");
        Spawn::spawn(&self.0, task);
    }
}

/// A transport that panics where it is told to.
struct Odd {
    link: Link,
    panics_in: &'static str,
    prepared: bool,
}

impl Odd {
    fn at(&self, place: &str) {
        let of = if self.prepared {
            " of one prepared"
        } else {
            ""
        };
        let told_to = !place.is_empty() && self.panics_in == format!("{place}{of}");
        assert!(!told_to, "told to");
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        assert!(self.panics_in != "drop", "told to");
    }
}

impl Transport for Odd {
    fn address(&self, socket: Option<SocketAddr>) -> Option<SocketAddr> {
        self.at("address");
        socket
    }

    fn info(&self) -> TransportInfo {
        self.at("info");
        self.link.info()
    }

    fn preparation(&self) -> Option<Duration> {
        self.at("preparation");
        (!self.prepared).then_some(Duration::MAX)
    }

    fn poll_prepare(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.at("prepare");
        self.prepared = true;
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.link.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.poll_write(cx, chunks)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }
}
