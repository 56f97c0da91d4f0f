//! Sockets and timer of the reactor that async-std and smol share.

#[cfg(windows)]
use std::os::windows::io::AsSocket as AsSource;
#[cfg(unix)]
use std::os::{
    fd::AsFd as AsSource,
    unix::net::{UnixListener, UnixStream},
};
use std::{
    fmt, io,
    marker::PhantomData,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{self, Duration},
};

use async_io::{Async, IoSafe};
use futures_io::{AsyncRead, AsyncWrite};
use wireframe_proto::Instant;

use super::{BoxTask, FuturesIo, Runtime, Sleep, Spawn, Timer, origin};
use crate::{
    clock::Clock,
    driver::Environment,
    server::{Accepted, Listener},
    sync::Arc,
    tasks::TaskTracker,
};

/// A connection on the reactor of `async-io`.
///
/// It is there because the streams of async-std and of `async-io` itself do not end their
/// output when they are closed.
///
/// As a transport it stands in a [`FuturesIo`].
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

/// A connection of the standard library.
pub trait BlockingStream:
    io::Read + io::Write + IoSafe + AsSource + Send + Sync + Sized + Unpin + 'static
{
    /// Ends the output.
    ///
    /// # Errors
    ///
    /// The stream is not connected any more.
    fn end_output(&self) -> io::Result<()>;

    /// Sends at once what it is given, where it would not by itself.
    ///
    /// # Errors
    ///
    /// The system does not.
    fn send_at_once(&self) -> io::Result<()>;
}

impl BlockingStream for TcpStream {
    fn end_output(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn send_at_once(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }
}

#[cfg(unix)]
impl BlockingStream for UnixStream {
    fn end_output(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn send_at_once(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: BlockingStream> FuturesIo<AsyncIoStream<S>> {
    /// Takes a connection on.
    ///
    /// # Errors
    ///
    /// The reactor does not.
    pub fn adopt(stream: S) -> io::Result<Self> {
        Async::new(stream).map(Self::over)
    }

    fn over(stream: Async<S>) -> Self {
        if let Err(error) = stream.get_ref().send_at_once() {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        Self::new(AsyncIoStream::new(stream))
    }
}

impl FuturesIo<AsyncIoStream<TcpStream>> {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or the system does not connect.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no connection open.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Async::<TcpStream>::connect(address).await.map(Self::over)
    }
}

#[cfg(unix)]
impl FuturesIo<AsyncIoStream<UnixStream>> {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or the system does not connect.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no connection open.
    pub async fn connect(path: impl AsRef<std::path::Path>) -> io::Result<Self> {
        Async::<UnixStream>::connect(path).await.map(Self::over)
    }
}

impl<S: BlockingStream> AsyncRead for AsyncIoStream<S> {
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

impl<S: BlockingStream> AsyncWrite for AsyncIoStream<S> {
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
        Poll::Ready(self.0.get_ref().end_output())
    }
}

impl<S> fmt::Debug for AsyncIoStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncIoStream").finish_non_exhaustive()
    }
}

/// A socket that takes connections, on the reactor of `async-io`.
#[derive(Debug)]
pub struct AsyncIoListener<L>(Async<L>);

/// A socket of the standard library that takes connections.
pub trait BlockingListener: AsSource + Send + 'static {
    /// Its connections.
    type Stream: BlockingStream;

    /// Takes the next connection, and says who it is with, if that has an IP address.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none, or taking it failed.
    fn accept_one(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)>;
}

impl BlockingListener for TcpListener {
    type Stream = TcpStream;

    fn accept_one(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        self.accept()
            .map(|(stream, address)| (stream, Some(address)))
    }
}

#[cfg(unix)]
impl BlockingListener for UnixListener {
    type Stream = UnixStream;

    fn accept_one(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        self.accept().map(|(stream, _)| (stream, None))
    }
}

impl<L: BlockingListener> AsyncIoListener<L> {
    /// Takes a socket on.
    ///
    /// # Errors
    ///
    /// The reactor does not.
    pub fn adopt(listener: L) -> io::Result<Self> {
        Async::new(listener).map(Self)
    }
}

impl<L: BlockingListener> Listener for AsyncIoListener<L> {
    type Transport = FuturesIo<AsyncIoStream<L::Stream>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<Self::Transport>>> {
        loop {
            match self.0.get_ref().accept_one() {
                Ok((stream, address)) => {
                    let transport = FuturesIo::adopt(stream);
                    return Poll::Ready(transport.map(|transport| (transport, address)));
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
    /// A timer that counts from the [`origin`] of all.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: origin() }
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

/// An executor that runs tasks over the reactor of `async-io`.
pub trait AsyncIoExecutor: 'static {
    /// Runs the task to its end, independently of the caller.
    fn spawn(task: BoxTask);

    /// The addresses that a name and a port stand for, looked up without blocking.
    fn resolve(name: String) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The sockets and the timer of `async-io` as a runtime, with an executor for its tasks.
pub struct AsyncIoRuntime<E>(PhantomData<fn() -> E>);

impl<E: AsyncIoExecutor> Runtime for AsyncIoRuntime<E> {
    type TcpStream = FuturesIo<AsyncIoStream<TcpStream>>;
    type TcpListener = AsyncIoListener<TcpListener>;
    #[cfg(unix)]
    type UnixStream = FuturesIo<AsyncIoStream<UnixStream>>;
    #[cfg(unix)]
    type UnixListener = AsyncIoListener<UnixListener>;

    fn environment() -> Environment {
        Environment {
            clock: Clock::new(Arc::new(AsyncIoTimer::new())),
            tasks: TaskTracker::new(Arc::new(Self(PhantomData))),
        }
    }

    fn resolve(name: String) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        E::resolve(name)
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::TcpStream> {
        <Self::TcpStream>::connect(address).await
    }

    fn listen(listener: TcpListener) -> io::Result<Self::TcpListener> {
        AsyncIoListener::adopt(listener)
    }

    #[cfg(unix)]
    async fn connect_unix(path: std::path::PathBuf) -> io::Result<Self::UnixStream> {
        <Self::UnixStream>::connect(path).await
    }

    #[cfg(unix)]
    fn listen_unix(listener: UnixListener) -> io::Result<Self::UnixListener> {
        AsyncIoListener::adopt(listener)
    }
}

impl<E: AsyncIoExecutor> Spawn for AsyncIoRuntime<E> {
    fn spawn(&self, task: BoxTask) {
        E::spawn(task);
    }
}

impl<E> fmt::Debug for AsyncIoRuntime<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncIoRuntime")
    }
}
