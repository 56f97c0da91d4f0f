//! Clients over TLS.

use std::io;

use super::TlsConnector;
use crate::{
    app::{App, WireframeApp},
    client::{self, Client, Reconnecting},
    error::BuildError,
    frame::Protocol,
    rt::{Address, Runtime},
    transport::prepare,
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
    let mut stream = tls.connect(stream)?;
    prepare(&mut stream, &R::environment().clock).await?;
    Ok(client::start::<R, _, P>(&app, stream, address))
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
