//! Sockets and timer of the reactor that async-std and smol share.

#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::{
    fmt, io, net,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{self, Duration},
};

use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};
use wireframe_proto::Instant;

use super::{FuturesIo, Sleep, Timer};
use crate::server::{Accepted, Listener};

/// A socket on the reactor of `async-io`. As a transport it stands in a [`FuturesIo`].
///
/// It is there because the sockets of async-std and of `async-io` itself do not end their
/// output when they are closed.
pub struct AsyncIoStream<S>(Async<S>);

impl<S> AsyncIoStream<S> {
    /// The socket as a stream whose output ends when it is closed.
    pub const fn new(socket: Async<S>) -> Self {
        Self(socket)
    }

    /// The socket.
    pub fn get_ref(&self) -> &S {
        self.0.get_ref()
    }
}

/// Does again what a signal has interrupted. Streams of `futures-io` have to; those of
/// `async-io` leave it to who uses them.
pub(super) fn uninterrupted<T>(
    mut poll: impl FnMut() -> Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    loop {
        match poll() {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            polled => return polled,
        }
    }
}

/// A TCP connection on the reactor of `async-io`, as a transport.
pub type AsyncIoTcp = FuturesIo<AsyncIoStream<net::TcpStream>>;

/// A stream whose output can be ended.
pub trait ShutDown {
    /// Ends the output.
    ///
    /// # Errors
    ///
    /// The stream is not connected any more.
    fn shut_down(&self) -> io::Result<()>;
}

impl ShutDown for net::TcpStream {
    fn shut_down(&self) -> io::Result<()> {
        self.shutdown(net::Shutdown::Write)
    }
}

#[cfg(unix)]
impl ShutDown for UnixStream {
    fn shut_down(&self) -> io::Result<()> {
        self.shutdown(net::Shutdown::Write)
    }
}

impl<S> AsyncRead for AsyncIoStream<S>
where
    Async<S>: AsyncRead + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // It looks at the socket first. To wait behind a short read until the reactor has
        // looked would save a call, but a driver that is late must see what has come.
        uninterrupted(|| Pin::new(&mut self.0).poll_read(cx, buf))
    }
}

impl<S: ShutDown> AsyncWrite for AsyncIoStream<S>
where
    Async<S>: AsyncWrite + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        uninterrupted(|| Pin::new(&mut self.0).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        uninterrupted(|| Pin::new(&mut self.0).poll_write_vectored(cx, bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(self.get_ref().shut_down())
    }
}

impl AsyncIoTcp {
    /// Takes a connection on.
    ///
    /// # Errors
    ///
    /// The reactor does not.
    pub fn adopt(stream: net::TcpStream) -> io::Result<Self> {
        Async::new(stream).map(Self::over)
    }

    fn over(stream: Async<net::TcpStream>) -> Self {
        if let Err(error) = stream.get_ref().set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        Self::new(AsyncIoStream::new(stream))
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or the system does not connect.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no connection open.
    pub async fn connect(address: net::SocketAddr) -> io::Result<Self> {
        Async::<net::TcpStream>::connect(address)
            .await
            .map(Self::over)
    }
}

/// A TCP socket that takes connections, on the reactor of `async-io`.
#[derive(Debug)]
pub struct AsyncIoListener(Async<net::TcpListener>);

impl AsyncIoListener {
    /// Takes a socket on.
    ///
    /// # Errors
    ///
    /// The reactor does not.
    pub fn adopt(listener: net::TcpListener) -> io::Result<Self> {
        Async::new(listener).map(Self)
    }
}

impl Listener for AsyncIoListener {
    type Transport = AsyncIoTcp;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<AsyncIoTcp>>> {
        loop {
            match self.0.get_ref().accept() {
                Ok((stream, address)) => {
                    let transport = AsyncIoTcp::adopt(stream);
                    return Poll::Ready(transport.map(|transport| (transport, Some(address))));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.0.poll_readable(cx))?;
        }
    }
}

/// The timer of `async-io`.
#[derive(Clone, Copy, Debug)]
pub struct AsyncIoTimer {
    origin: time::Instant,
}

impl AsyncIoTimer {
    /// A timer that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: time::Instant::now(),
        }
    }

    /// The system's name for a moment; a moment out of its reach is some decades from now.
    fn moment(self, at: Instant) -> time::Instant {
        let since = Duration::from_nanos(at.as_nanos());
        let far = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        let moment = self.origin.checked_add(since.min(far));
        moment.unwrap_or(self.origin)
    }
}

impl Default for AsyncIoTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for AsyncIoTimer {
    fn now(&self) -> Instant {
        let since = self.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(AsyncIoSleep {
            alarm: async_io::Timer::at(self.moment(deadline)),
            timer: *self,
        })
    }
}

struct AsyncIoSleep {
    alarm: async_io::Timer,
    timer: AsyncIoTimer,
}

impl Future for AsyncIoSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.alarm).poll(cx).map(drop)
    }
}

impl Sleep for AsyncIoSleep {
    fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        let moment = self.timer.moment(deadline);
        self.alarm.set_at(moment);
    }
}

impl<S> fmt::Debug for AsyncIoStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncIoStream").finish_non_exhaustive()
    }
}
