//! Clients over TLS.

use std::{future::poll_fn, io};

use super::{Tls, TlsConnector};
use crate::{
    app::{App, WireframeApp},
    client::{self, Client, Reconnecting},
    error::BuildError,
    frame::Protocol,
    rt::{Address, Runtime},
    transport::Transport,
};

/// As [`connect`](crate::connect), over TLS. The handshake is done when it returns.
///
/// # Errors
///
/// As [`connect`](crate::connect), or the handshake failed. That the server does not take
/// this client's certificate may show only with the first call.
///
/// # Cancel safety
///
/// Dropping the future leaves no connection open.
pub async fn connect<R: Runtime, P: Protocol>(
    address: impl Into<Address>,
    tls: &TlsConnector,
    app: WireframeApp<P>,
) -> io::Result<Client<P>> {
    let app = app.build().map_err(client::invalid)?;
    connect_to::<R, P>(address.into(), tls, app).await
}

async fn connect_to<R: Runtime, P: Protocol>(
    address: Address,
    tls: &TlsConnector,
    app: App<P>,
) -> io::Result<Client<P>> {
    let (stream, address) = client::open::<R>(address).await?;
    let stream = handshake::<R, _>(tls.connect(stream)?, tls).await?;
    Ok(client::start::<R, _, P>(&app, stream, address))
}

async fn handshake<R: Runtime, T: Transport>(
    mut stream: Tls<T>,
    tls: &TlsConnector,
) -> io::Result<Tls<T>> {
    let clock = R::environment().clock;
    let done = clock.timeout(tls.timeout, poll_fn(|cx| stream.poll_prepare(cx)));
    match done.await {
        Ok(done) => done.map(|()| stream),
        Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
    }
}

/// As [`reconnecting`](crate::reconnecting), over TLS.
///
/// # Errors
///
/// [`BuildError`] if the app cannot be built.
///
/// # Panics
///
/// Outside of the runtime, where that is something one can be outside of.
pub fn reconnecting<R: Runtime, P: Protocol>(
    address: impl Into<Address>,
    tls: TlsConnector,
    app: WireframeApp<P>,
) -> Result<Reconnecting<P>, BuildError> {
    let (address, app) = (address.into(), app.build()?);
    let connect = move || {
        let (address, tls, app) = (address.clone(), tls.clone(), app.clone());
        async move { connect_to::<R, P>(address, &tls, app).await }
    };
    Ok(Reconnecting::new(connect, R::environment().clock))
}
