//! What goes before a connection's protocol: who it is, and whether it has a place.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tracing::field;
use wireframe_proto::{Escaped, LimitExceeded};

use super::{
    Accepted, ConnectionLimits, ServerHandle,
    handle::{Refusal, Seat},
};
use crate::{
    driver::Environment,
    meter::{ErrorKind, Metrics},
    proxy::ProxyInfo,
    transport::{self, Transport},
};

/// The IP address whose limit a connection counts for. None as long as a proxy has not told
/// it: the proxy's own is that of all its clients.
pub(super) fn limited_by<T: Transport>(
    transport: &T,
    address: Option<SocketAddr>,
) -> Option<IpAddr> {
    let address = match transport.info().get::<ProxyInfo>() {
        Some(told) => told.header.source(),
        None => transport.address(address),
    };
    address.map(|address| address.ip())
}

/// Who the peer is, as far as that is known: the proxy, as long as it has not told.
pub(super) fn known_as<T: Transport>(
    transport: &T,
    address: Option<SocketAddr>,
) -> Option<SocketAddr> {
    let known = transport.address(address);
    match transport.info().get::<ProxyInfo>() {
        Some(_) => known,
        None => known.or(address),
    }
}

/// Does what goes before the protocol, step by step. `None` if it failed, or the server shuts
/// down before it is done.
pub(super) async fn prepare<T: Transport>(
    (transport, address): &mut Accepted<T>,
    mut standing: Standing,
    environment: &Environment,
    handle: &ServerHandle,
    limits: &ConnectionLimits,
    metrics: &Metrics,
) -> Option<Standing> {
    while let Some(limit) = transport.preparation() {
        match step_unless_shut_down(transport, limit, environment).await? {
            Ok(()) => {
                let ip = limited_by(transport, *address);
                let known = known_as(transport, *address);
                standing = standing.judged_again(ip, known, handle, limits, metrics)?;
            }
            Err(error) => {
                let accepted = (&*transport, *address);
                unprepared(accepted, &error, environment, handle, standing, metrics);
                return None;
            }
        }
    }
    Some(standing)
}

/// Does one step, for so long; `None` if the server shuts down before.
async fn step_unless_shut_down<T: Transport>(
    transport: &mut T,
    limit: Duration,
    environment: &Environment,
) -> Option<io::Result<()>> {
    let mut shutdown = pin!(environment.tasks.shutdown_token().triggered());
    let mut step = pin!(transport::step(transport, limit, &environment.clock));
    let done = poll_fn(|cx| match step.as_mut().poll(cx) {
        Poll::Pending => shutdown.as_mut().poll(cx).map(|()| None),
        ready @ Poll::Ready(_) => ready.map(Some),
    });
    done.await
}

/// A connection has failed before it began.
fn unprepared<T: Transport>(
    (transport, address): (&T, Option<SocketAddr>),
    error: &io::Error,
    environment: &Environment,
    handle: &ServerHandle,
    standing: Standing,
    metrics: &Metrics,
) {
    let info = transport.info();
    let told = info.get::<ProxyInfo>();
    let peer = known_as(transport, address).map(field::display);
    if told.is_some_and(ProxyInfo::is_local) && went_away(error) {
        tracing::debug!(peer, "a proxy has looked whether the server is there");
        return drop(standing);
    }
    let suppressed = handle.count_unprepared(environment.clock.now());
    metrics.error(ErrorKind::HandshakeFailed);
    // Who sees the end finds the place free.
    drop(standing);
    if let Some(suppressed) = suppressed {
        let error = Escaped(error);
        tracing::warn!(peer, %error, suppressed, "a connection failed before it began");
    }
}

/// Whether all that happened is that the peer is gone.
fn went_away(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}

/// What becomes of a connection when it begins.
pub(super) enum Standing {
    /// It is served, in that place.
    Admitted(Seat),
    /// It is over a limit, and told so.
    Refused(Refusal, LimitExceeded),
}

impl Standing {
    /// `None` if too many are being refused.
    pub(super) fn of(
        admitted: Result<Seat, LimitExceeded>,
        address: Option<SocketAddr>,
        handle: &ServerHandle,
        metrics: &Metrics,
    ) -> Option<Self> {
        match admitted {
            Ok(seat) => Some(Self::Admitted(seat)),
            Err(limit) => {
                let peer = address.map(field::display);
                tracing::debug!(peer, %limit, "a connection is refused");
                metrics.error(ErrorKind::Refused);
                Some(Self::Refused(handle.refuse()?, limit))
            }
        }
    }

    /// With what is known of its peer by now.
    fn judged_again(
        self,
        ip: Option<IpAddr>,
        address: Option<SocketAddr>,
        handle: &ServerHandle,
        limits: &ConnectionLimits,
        metrics: &Metrics,
    ) -> Option<Self> {
        match self {
            Self::Admitted(mut seat) => {
                let settled = seat.settle(limits, ip);
                Self::of(settled.map(|()| seat), address, handle, metrics)
            }
            refused @ Self::Refused(..) => Some(refused),
        }
    }
}
