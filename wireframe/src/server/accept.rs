//! Taking connections, one after the other.

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use wireframe_proto::LimitExceeded;

use super::{
    Accepted, ConnectionLimits, Listener, ServerHandle, ShutdownReport,
    handle::{Place, Refusal, Seat, Stage},
};
use crate::{
    app::{App, WireframeApp},
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
    handle.begin(clock);
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
                back_off = BackOff::default();
                start(&app, accepted, &environment, &handle, &limits);
            }
            Err(error) if concerns_one_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for now");
                let mut pause = pin!(clock.sleep(back_off.next()));
                let pause = |cx: &mut Context<'_>| pause.as_mut().poll(cx);
                handle.during(Stage::Serving, pause).await;
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
            tracing::debug!(?address, %limit, "a connection is refused");
            app.shared.metrics.error(ErrorKind::Refused);
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
                let failed = handle.count_unprepared();
                app.shared.metrics.error(ErrorKind::HandshakeFailed);
                // Who sees the end finds the place free.
                drop(standing);
                // A flood of them says no more than some of them.
                if failed.is_power_of_two() {
                    tracing::warn!(?address, %error, failed, "a handshake failed");
                } else {
                    tracing::debug!(?address, %error, failed, "a handshake failed");
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
    let driver = AssertUnwindSafe(|| match &standing {
        Standing::Admitted(_) => Driver::server(app, transport, address, environment),
        Standing::Refused(_, limit) => {
            Driver::refusing(app, transport, address, environment, *limit)
        }
    });
    let Ok(driver) = catch_unwind(driver) else {
        app.shared.metrics.error(ErrorKind::ProtocolPanicked);
        tracing::error!(
            ?address,
            "the protocol panicked over a new connection, which is dropped"
        );
        return;
    };
    match standing {
        Standing::Admitted(seat) => {
            let place = handle.enter(&driver.push_handle(), seat);
            let served = Served { driver, place };
            environment.tasks.spawn_unabortable(served);
        }
        Standing::Refused(refusal, _) => {
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
            tracing::debug!(%reason, "connection ended");
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

/// Whether accepting failed because of the connection that was being accepted, so that
/// the next can be taken at once. Linux reports what the network has done to it, too.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
    )
}

/// How long to wait when the process is short of something: 10 ms, doubling to 1 s.
struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl BackOff {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Duration::from_secs(1));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_connection_are_told_from_a_shortage() {
        // rule: LIM-4
        use io::ErrorKind as Kind;
        for kind in [
            Kind::ConnectionAborted,
            Kind::ConnectionReset,
            Kind::ConnectionRefused,
            Kind::HostUnreachable,
            Kind::NetworkUnreachable,
            Kind::TimedOut,
            Kind::Interrupted,
        ] {
            assert!(concerns_one_connection(&kind.into()), "{kind:?}");
        }
        for kind in [
            Kind::OutOfMemory,
            Kind::InvalidInput,
            Kind::PermissionDenied,
            Kind::NetworkDown,
            Kind::Other,
        ] {
            assert!(!concerns_one_connection(&kind.into()), "{kind:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_or_system_without_descriptors_is_short_of_something() {
        // rule: LIM-4
        use rustix::io::Errno;
        for short in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(!concerns_one_connection(&short.into()), "{short:?}");
        }
    }
}
