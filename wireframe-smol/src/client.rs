//! The client.

use std::io;

use wireframe::{BuildError, Client, Protocol, Reconnecting, WireframeApp, rt::Address};

use crate::SmolRuntime;

/// Connects to a server of the default protocol; see [`wireframe::connect`].
///
/// # Errors
///
/// The address cannot be resolved or connected to.
///
/// # Cancel safety
///
/// Dropping the future leaves no connection open.
pub async fn connect(address: impl Into<Address>) -> io::Result<Client> {
    connect_with(address, WireframeApp::new()).await
}

/// Connects to a server of the app's protocol; see [`wireframe::connect`]. The app serves
/// what the server asks.
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
    address: impl Into<Address>,
    app: WireframeApp<P>,
) -> io::Result<Client<P>> {
    wireframe::connect::<SmolRuntime, P>(address, app).await
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
/// use wireframe_smol::reconnecting;
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
pub fn reconnecting<P: Protocol>(
    address: impl Into<Address>,
    app: WireframeApp<P>,
) -> Result<Reconnecting<P>, BuildError> {
    wireframe::reconnecting::<SmolRuntime, P>(address, app)
}
