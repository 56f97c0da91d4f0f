//! The byte stream under a connection.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use wireframe_proto::{HeldOutput, TransportInfo};

use crate::clock::Clock;

/// A byte stream, as the driver needs it.
///
/// Partial progress is always reported: dropping whoever polls loses nothing.
///
/// A transport over another forwards what it does not answer itself, also where there is a
/// default: `held`, which it puts [over](HeldOutput::over) that of the other if it has buffers,
/// `preparation` and `poll_prepare`, of which the steps of the other go first, `address`, and
/// `info`, to which it adds what it knows. Without `held` a peer that takes nothing is not
/// found to stall; without the others the app does not learn who the peer is.
pub trait Transport: Send + Unpin {
    /// How long the next step of [`poll_prepare`](Self::poll_prepare) may take before a server
    /// gives the connection up; `None`, the default, once there is nothing left to prepare.
    fn preparation(&self) -> Option<Duration> {
        None
    }

    /// Does the next step of what goes before the first byte of the protocol: a header of the
    /// transport, or a handshake. A server does all of them, as [`prepare`](crate::prepare) does,
    /// before there is a connection for the app, and looks after each who the
    /// [peer](Self::address) is.
    ///
    /// `Ready` means that a step has been done, and so many of them that
    /// [`preparation`](Self::preparation) is `None` must be enough: whoever prepares asks for
    /// the next at once, without yielding in between. It may be called again when nothing is
    /// left.
    ///
    /// # Errors
    ///
    /// The peer is not to be served; the transport will not be used again.
    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// The peer's address, given that of the socket's other end, which it is by default. `None`
    /// as long as a proxy has yet to tell it.
    fn address(&self, socket: Option<SocketAddr>) -> Option<SocketAddr> {
        socket
    }

    /// What it knows of the peer when there is nothing left to prepare; handlers
    /// [see](crate::ConnectionHandle::transport_info) it, and hooks. Default nothing. A
    /// transport over another adds to what that one knows.
    fn info(&self) -> TransportInfo {
        TransportInfo::default()
    }

    /// Reads into the spare capacity of `buf`, which there is. 0 means that the peer has
    /// ended its output.
    ///
    /// # Errors
    ///
    /// The transport has failed; it will not be used again.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes some of `chunks`, none of which is empty, from the front. A transport
    /// that is not [vectored](Self::is_write_vectored) gets one chunk at a time.
    ///
    /// # Errors
    ///
    /// The transport has failed; it will not be used again.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// What it holds in buffers of its own, and how much it has handed on; `None`, the default,
    /// if it has no buffers: then what it takes is with the system.
    ///
    /// It is asked behind each write and flush, so it has to cost next to nothing. What is held
    /// counts as the connection's memory, and a peer stalls that lets it wait: for as long as
    /// [`handed_on`](HeldOutput::handed_on) does not grow.
    fn held(&self) -> Option<HeldOutput> {
        None
    }

    /// Sends on what the transport itself may hold back. `Ready` means that nothing is
    /// [held](Self::held) any more.
    ///
    /// # Errors
    ///
    /// The transport has failed; it will not be used again.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the output; the peer may go on sending.
    ///
    /// # Errors
    ///
    /// The transport has failed; it will not be used again.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether one write takes several chunks.
    fn is_write_vectored(&self) -> bool;
}

/// Does all that goes before the first byte of the protocol: a header of the transport, its
/// handshake. Each step has the time that [`preparation`](Transport::preparation) says.
///
/// Servers and [`connect`](crate::connect) do it themselves. Whoever makes a
/// [`Driver`](crate::Driver) or a [`Client`](crate::Client) does it before, because these ask the
/// transport who the peer is as they are made, and give what is left of it no time limit.
///
/// # Errors
///
/// The transport has failed, the peer is not to be served, or a step was not done in time
/// (`TimedOut`). The transport cannot be used any more.
///
/// # Cancel safety
///
/// Dropping the future loses nothing that was received, and the next call goes on; the step that
/// was under way has all of its time again.
pub async fn prepare<T: Transport>(transport: &mut T, clock: &Clock) -> io::Result<()> {
    while let Some(limit) = transport.preparation() {
        step(transport, limit, clock).await?;
    }
    Ok(())
}

/// Does the next step, for so long.
pub(crate) async fn step<T: Transport>(
    transport: &mut T,
    limit: Duration,
    clock: &Clock,
) -> io::Result<()> {
    let done = clock.timeout(limit, poll_fn(|cx| transport.poll_prepare(cx)));
    done.await
        .unwrap_or_else(|elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)))
}
