//! Clients over TCP and sockets of the file system, on any runtime.

use std::{io, net::SocketAddr};

use super::{Client, Reconnecting};
use crate::{
    app::{App, WireframeApp},
    error::BuildError,
    frame::Protocol,
    rt::{Address, Runtime},
    server::Stream,
    transport::Transport,
};

/// Connects to a server of the app's protocol. The app serves what the server asks.
///
/// The connection runs in a task of its own, until the client is dropped. Of several
/// addresses that `address` stands for, it is with the first that answers.
///
/// # Errors
///
/// The address cannot be resolved or connected to; or the app cannot be built, which is
/// an [`io::ErrorKind::InvalidInput`] with the [`BuildError`] in it.
///
/// # Cancel safety
///
/// Dropping the future leaves no connection open.
pub async fn connect<R: Runtime, P: Protocol>(
    address: impl Into<Address>,
    app: WireframeApp<P>,
) -> io::Result<Client<P>> {
    connect_to::<R, P>(address.into(), app.build().map_err(invalid)?).await
}

/// An app that cannot be built.
pub(crate) fn invalid(error: BuildError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

async fn connect_to<R: Runtime, P: Protocol>(
    address: Address,
    app: App<P>,
) -> io::Result<Client<P>> {
    let (stream, address) = open::<R>(address).await?;
    Ok(start::<R, _, P>(&app, stream, address))
}

/// Connects to the first of the addresses that answers.
pub(crate) async fn open<R: Runtime>(
    address: Address,
) -> io::Result<(Stream<R>, Option<SocketAddr>)> {
    #[cfg(unix)]
    if let Some(path) = address.path() {
        let stream = R::connect_unix(path.to_owned()).await?;
        return Ok((Stream::Unix(Box::new(stream)), None));
    }
    let mut last = None;
    for address in address.resolve::<R>().await? {
        match R::connect(address).await {
            Ok(stream) => return Ok((Stream::Tcp(stream), Some(address))),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// Runs a connection in a task of its own.
pub(crate) fn start<R: Runtime, T: Transport + 'static, P: Protocol>(
    app: &App<P>,
    stream: T,
    address: Option<SocketAddr>,
) -> Client<P> {
    let environment = R::environment();
    let (client, driver) = Client::new(app, stream, address, &environment);
    environment.tasks.spawn_unabortable(async move {
        driver.await;
    });
    client
}

/// A client of the app's protocol that connects when it is first needed, and again when
/// its connection is dead. The address is resolved anew for each attempt.
///
/// For another [`Backoff`](crate::Backoff), or a limit on the time of its calls, see
/// [`Reconnecting`]; for another transport, [`Reconnecting::new`].
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
    app: WireframeApp<P>,
) -> Result<Reconnecting<P>, BuildError> {
    let (address, app) = (address.into(), app.build()?);
    let connect = move || connect_to::<R, P>(address.clone(), app.clone());
    Ok(Reconnecting::new(connect, R::environment().clock))
}
