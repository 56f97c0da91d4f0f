//! Taking connections, one after the other.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tracing::field;

use super::{
    Accepted, ConnectionLimits, Listener, ServerHandle, ShutdownReport,
    back_off::BackOff,
    handle::{Place, Refusal, Stage},
    prepare::{Standing, known_as, limited_by, prepare},
};
use crate::{
    app::{App, WireframeApp},
    contain,
    driver::{Driver, Environment},
    error::BuildError,
    frame::Protocol,
    meter::ErrorKind,
    transport::Transport,
};

/// Connections that are taken before others run, however fast they come.
const IN_A_ROW: usize = 16;

/// Serves an app to everyone who connects, until `handle` shuts it down. Every
/// connection has been drained, and every task has ended, when it returns.
///
/// A drain has [`Timeouts::close`](crate::Timeouts::close) in all; what has not ended by
/// then is aborted. Only code that does not return keeps it longer.
///
/// # Errors
///
/// [`BuildError`], before any connection is taken.
///
/// # Cancel safety
///
/// Dropping it stops taking connections. Those there are go on.
pub async fn serve<P: Protocol, L: Listener>(
    mut listener: L,
    app: WireframeApp<P>,
    environment: Environment,
    handle: ServerHandle,
    limits: ConnectionLimits,
) -> Result<ShutdownReport, BuildError> {
    let app = app.build()?;
    let Environment { clock, tasks } = &environment;
    let mut back_off = BackOff::default();
    let mut in_a_row = 0;
    let mut accept = |cx: &mut Context<'_>| {
        if handle.awaits_room(&limits) {
            return Poll::Pending;
        }
        if in_a_row == IN_A_ROW {
            in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let accepted = listener.poll_accept(cx);
        in_a_row = if accepted.is_ready() { in_a_row + 1 } else { 0 };
        accepted
    };
    while let Some(accepted) = handle.during(Stage::Serving, &mut accept).await {
        match accepted {
            Ok(accepted) => {
                back_off.end();
                start(&app, accepted, &environment, &handle, &limits);
            }
            Err(error) => {
                let mut pause = pin!(contain::run_async(async {
                    if let Some(pause) = back_off.after(&error, clock.now()) {
                        clock.sleep(pause).await;
                    }
                }));
                let pause = |cx: &mut Context<'_>| pause.as_mut().poll(cx);
                if handle.during(Stage::Serving, pause).await == Some(None) {
                    note_panic(&app, None, &environment, &handle);
                }
            }
        }
    }
    drop(listener);
    tasks.shutdown_token().trigger();
    let mut ended = pin!(clock.timeout(app.shared.config.timeouts.close, tasks.wait()));
    let ended = |cx: &mut Context<'_>| ended.as_mut().poll(cx);
    if !matches!(handle.during(Stage::Draining, ended).await, Some(Ok(()))) {
        tasks.abort();
        tasks.wait().await;
    }
    Ok(handle.end())
}

/// Transports, timers, spawners and protocols are code of the user: one that panics over a new
/// connection ends that alone.
fn start<P: Protocol, T: Transport + 'static>(
    app: &App<P>,
    accepted: Accepted<T>,
    environment: &Environment,
    handle: &ServerHandle,
    limits: &ConnectionLimits,
) {
    let (transport, address) = &accepted;
    let mut prepares = false;
    let standing = contain::run(|| {
        prepares = transport.preparation().is_some();
        let admitted = handle.admit(limits, limited_by(transport, *address));
        Standing::of(admitted, *address, handle, &app.shared.metrics)
    });
    match standing {
        Some(Some(standing)) if prepares => {
            begin_prepared(app, accepted, environment, handle, limits, standing);
        }
        standing => begin(app, accepted, environment, handle, standing),
    }
}

/// Has a task begin the connection when it is prepared.
fn begin_prepared<P: Protocol, T: Transport + 'static>(
    app: &App<P>,
    mut accepted: Accepted<T>,
    environment: &Environment,
    handle: &ServerHandle,
    limits: &ConnectionLimits,
    standing: Standing,
) {
    let peer = accepted.1;
    let task = {
        let (app, environment, handle, limits) =
            (app.clone(), environment.clone(), handle.clone(), *limits);
        async move {
            let metrics = &app.shared.metrics;
            let prepared = prepare(
                &mut accepted,
                standing,
                &environment,
                &handle,
                &limits,
                metrics,
            );
            let standing = contain::run_async(prepared).await;
            begin(&app, accepted, &environment, &handle, standing);
        }
    };
    if contain::run(|| environment.tasks.spawn(task)).is_none() {
        note_panic(app, peer, environment, handle);
    }
}

/// Begins the connection, if it has a standing, and what gave it that has not panicked.
fn begin<P: Protocol, T: Transport + 'static>(
    app: &App<P>,
    (transport, address): Accepted<T>,
    environment: &Environment,
    handle: &ServerHandle,
    standing: Option<Option<Standing>>,
) {
    let standing = match standing {
        Some(Some(standing)) => standing,
        Some(None) => return contain::discard(transport),
        None => {
            let peer = contain::run(|| known_as(&transport, address)).flatten();
            contain::discard(transport);
            return note_panic(app, peer, environment, handle);
        }
    };
    let mut peer = None;
    let begun = contain::run(|| {
        peer = transport.address(address);
        let since = environment.clock.now();
        match standing {
            Standing::Admitted(seat) => {
                let driver = Driver::server(app, transport, address, environment);
                let place = handle.enter(&driver.push_handle(), seat, since);
                let served = Served { driver, place };
                environment.tasks.spawn_unabortable(served);
            }
            Standing::Refused(refusal, limit) => {
                let driver = Driver::refusing(app, transport, address, environment, limit);
                environment.tasks.spawn(Refused { driver, refusal });
            }
        }
    });
    if begun.is_none() {
        note_panic(app, peer, environment, handle);
    }
}

/// Code of the user has panicked while connections were taken, perhaps over one of them, which
/// is gone by that.
fn note_panic<P: Protocol>(
    app: &App<P>,
    peer: Option<SocketAddr>,
    environment: &Environment,
    handle: &ServerHandle,
) {
    app.shared.metrics.error(ErrorKind::ProtocolPanicked);
    let now = contain::run(|| environment.clock.now());
    if let Some(suppressed) = now.and_then(|now| handle.note_panic(now)) {
        let peer = peer.map(field::display);
        tracing::error!(
            peer,
            suppressed,
            "code of the application panicked while connections were taken"
        );
    }
}

/// A connection of a server. Written by hand because an async block would keep room for
/// the driver twice.
struct Served<P: Protocol, T: Transport> {
    driver: Driver<P, T>,
    place: Place,
}

impl<P: Protocol, T: Transport> Future for Served<P, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { driver, place } = self.get_mut();
        Pin::new(&mut *driver).poll(cx).map(|reason| {
            let undelivered = driver.push_handle().stats().unsent_at_end;
            place.leave(Some(&reason), undelivered);
        })
    }
}

/// A connection that only hears why it is not served.
struct Refused<P: Protocol, T: Transport> {
    driver: Driver<P, T>,
    #[expect(dead_code, reason = "counts by being there")]
    refusal: Refusal,
}

impl<P: Protocol, T: Transport> Future for Refused<P, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.driver).poll(cx).map(drop)
    }
}
