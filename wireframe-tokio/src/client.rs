//! The client.

use std::io;

use tokio::net::{TcpStream, ToSocketAddrs};
use wireframe::{App, BuildError, Client, Protocol, Reconnecting, WireframeApp};

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
    connect_to(address, app.build().map_err(invalid)?).await
}

async fn connect_to<P: Protocol>(
    address: impl ToSocketAddrs,
    app: App<P>,
) -> io::Result<Client<P>> {
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

/// A client of the app's protocol that connects when it is first needed, and again when
/// its connection is dead. The address is resolved anew for each attempt.
///
/// For another [`Backoff`](wireframe::Backoff), or a limit on the time of its calls, see
/// [`Reconnecting`]; for another transport, [`Reconnecting::new`].
///
/// ```no_run
/// use std::time::Duration;
/// use wireframe::{Envelope, WireframeApp};
/// use wireframe_tokio::reconnecting;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = reconnecting("db.example:7878", WireframeApp::new())?
///     .with_timeout(Duration::from_secs(5));
/// let reply = client.call(Envelope::new(1, "hello")).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`BuildError`] if the app cannot be built.
///
/// # Panics
///
/// Outside of a runtime of tokio.
pub fn reconnecting<P: Protocol>(
    address: impl ToSocketAddrs + Clone + Send + Sync + 'static,
    app: WireframeApp<P>,
) -> Result<Reconnecting<P>, BuildError> {
    let app = app.build()?;
    let connect = move || connect_to(address.clone(), app.clone());
    Ok(Reconnecting::new(connect, environment().clock))
}
