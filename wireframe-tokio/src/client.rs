//! The client.

use std::io;

use tokio::net::{TcpStream, ToSocketAddrs};
use wireframe::{BuildError, Client, Protocol, WireframeApp};

use crate::{Tokio, environment, server::no_delay};

/// Connects to a server of the default protocol.
///
/// The connection runs in a task of its own, until the client is dropped.
///
/// # Errors
///
/// The address cannot be resolved or connected to.
///
/// # Cancel safety
///
/// Dropping the future leaves no connection open.
pub async fn connect(address: impl ToSocketAddrs) -> io::Result<Client> {
    connect_with(address, WireframeApp::new()).await
}

/// Connects to a server of the app's protocol. The app serves what the server asks.
///
/// # Errors
///
/// The address cannot be resolved or connected to; or the app cannot be built, which is
/// an [`io::ErrorKind::InvalidInput`] with the [`BuildError`] in it.
///
/// # Cancel safety
///
/// Dropping the future leaves no connection open.
pub async fn connect_with<P: Protocol>(
    address: impl ToSocketAddrs,
    app: WireframeApp<P>,
) -> io::Result<Client<P>> {
    let invalid = |error: BuildError| io::Error::new(io::ErrorKind::InvalidInput, error);
    let app = app.build().map_err(invalid)?;
    let stream = TcpStream::connect(address).await?;
    no_delay(&stream);
    let peer = stream.peer_addr().ok();
    let environment = environment();
    let (client, driver) = Client::new(&app, Tokio(stream), peer, &environment);
    environment.tasks.spawn(async move {
        driver.await;
    });
    Ok(client)
}
