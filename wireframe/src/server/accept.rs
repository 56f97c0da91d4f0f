//! Taking connections, one after the other.

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tracing::field;
use wireframe_proto::{Escaped, LimitExceeded};

use super::{
    Accepted, ConnectionLimits, Listener, ServerHandle, ShutdownReport,
    back_off::BackOff,
    handle::{Place, Refusal, Seat, Stage},
};
use crate::{
    app::{App, WireframeApp},
    driver::{Driver, Environment},
    error::BuildError,
    frame::Protocol,
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
                if let Some(pause) = back_off.after(&error, clock.now()) {
                    let mut pause = pin!(clock.sleep(pause));
                    let pause = |cx: &mut Context<'_>| pause.as_mut().poll(cx);
                    handle.during(Stage::Serving, pause).await;
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

fn start<P: Protocol, T: Transport + 'static>(
    app: &App<P>,
    (transport, address): Accepted<T>,
    environment: &Environment,
    handle: &ServerHandle,
    limits: &ConnectionLimits,
) {
    let ip = address.map(|address| address.ip());
    let mut standing = match handle.check(limits, ip) {
        Ok(()) => Standing::Admitted(None),
        Err(limit) => {
            tracing::debug!(peer = address.map(field::display), %limit, "a connection is refused");
            match handle.refuse() {
                Some(refusal) => Standing::Refused(refusal, limit),
                None => return,
            }
        }
    };
    let Some(limit) = transport.preparation() else {
        return begin(app, (transport, address), environment, handle, standing);
    };
    if let Standing::Admitted(seat) = &mut standing {
        *seat = Some(handle.reserve(ip));
    }
    let (app, environment, handle) = (app.clone(), environment.clone(), handle.clone());
    let tasks = environment.tasks.clone();
    tasks.spawn(async move {
        let mut transport = transport;
        match prepare(&mut transport, limit, &environment).await {
            None => {}
            Some(Ok(())) => {
                let accepted = (transport, address);
                begin(&app, accepted, &environment, &handle, standing);
            }
            Some(Err(error)) => {
                let suppressed = handle.count_unprepared(environment.clock.now());
                // Who sees the end finds the place free.
                drop(standing);
                if let Some(suppressed) = suppressed {
                    let (peer, error) = (address.map(field::display), Escaped(&error));
                    tracing::warn!(peer, %error, suppressed, "a handshake failed");
                }
            }
        }
    });
}

/// Does what goes before the protocol, for so long; `None` if the server shuts down before.
async fn prepare<T: Transport>(
    transport: &mut T,
    limit: Duration,
    environment: &Environment,
) -> Option<io::Result<()>> {
    let mut shutdown = pin!(environment.tasks.shutdown_token().triggered());
    let preparing = poll_fn(|cx| match transport.poll_prepare(cx) {
        Poll::Pending => shutdown.as_mut().poll(cx).map(|()| None),
        ready @ Poll::Ready(_) => ready.map(Some),
    });
    let prepared = environment.clock.timeout(limit, preparing).await;
    prepared.unwrap_or_else(|elapsed| Some(Err(io::Error::new(io::ErrorKind::TimedOut, elapsed))))
}

/// What becomes of a connection when it begins.
enum Standing {
    /// It is served; with the place that it had while it prepared.
    Admitted(Option<Seat>),
    /// It is over a limit, and told so.
    Refused(Refusal, LimitExceeded),
}

fn begin<P: Protocol, T: Transport + 'static>(
    app: &App<P>,
    (transport, address): Accepted<T>,
    environment: &Environment,
    handle: &ServerHandle,
    standing: Standing,
) {
    // It makes the protocol's codec, framing and session: code of the user.
    let driver = AssertUnwindSafe(|| Driver::server(app, transport, address, environment));
    let Ok(mut driver) = catch_unwind(driver) else {
        if let Some(suppressed) = handle.note_panic(environment.clock.now()) {
            let peer = address.map(field::display);
            tracing::error!(
                peer,
                suppressed,
                "the protocol panicked over a new connection"
            );
        }
        return;
    };
    match standing {
        Standing::Admitted(seat) => {
            let place = handle.enter(&driver.push_handle().connection(), seat);
            let served = Served { driver, place };
            environment.tasks.spawn_unabortable(served);
        }
        Standing::Refused(refusal, limit) => {
            driver.refuse(limit);
            environment.tasks.spawn(Refused { driver, refusal });
        }
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
