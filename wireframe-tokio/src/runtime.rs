//! Tokio as a runtime: its timer, its spawner and its sockets.

use std::{
    io,
    net::{self, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
#[cfg(unix)]
use std::{os::unix::net as unix, path::PathBuf};

use pin_project_lite::pin_project;
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::{
    net::{TcpListener, TcpStream, lookup_host},
    runtime::Handle,
    time,
};
use wireframe::{
    Clock, Environment, TaskTracker,
    proto::Instant,
    rt::{BoxTask, Runtime, Sleep, Spawn, Timer, origin},
    server::{Accepted, Listener},
};

use crate::Tokio;

/// Tokio's timer. Paused time of tokio pauses it too.
#[derive(Clone, Copy, Debug)]
pub struct TokioTimer {
    origin: time::Instant,
}

impl TokioTimer {
    /// A timer that counts from the [`origin`] of all, or from now, if time is paused before
    /// that.
    #[must_use]
    pub fn new() -> Self {
        let origin = time::Instant::from_std(origin());
        Self {
            origin: origin.min(time::Instant::now()),
        }
    }

    /// Tokio's name for a moment; a moment out of its reach is some decades from now.
    fn moment(self, at: Instant) -> time::Instant {
        let since = Duration::from_nanos(at.as_nanos());
        let far = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        let moment = self.origin.checked_add(since.min(far));
        moment.unwrap_or(self.origin)
    }
}

impl Default for TokioTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for TokioTimer {
    fn now(&self) -> Instant {
        let since = self.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(TokioSleep {
            sleep: time::sleep_until(self.moment(deadline)),
            timer: *self,
        })
    }
}

pin_project! {
    struct TokioSleep {
        #[pin]
        sleep: time::Sleep,
        timer: TokioTimer,
    }
}

impl Future for TokioSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().sleep.poll(cx)
    }
}

impl Sleep for TokioSleep {
    fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.project();
        let moment = this.timer.moment(deadline);
        this.sleep.reset(moment);
    }
}

/// Starts tasks on a runtime of tokio.
#[derive(Clone, Debug)]
pub struct TokioSpawn(pub Handle);

impl Spawn for TokioSpawn {
    fn spawn(&self, task: BoxTask) {
        drop(self.0.spawn(task));
    }
}

/// Tokio as a runtime.
#[derive(Clone, Copy, Debug)]
pub struct TokioRuntime;

impl Runtime for TokioRuntime {
    type TcpStream = Tokio<TcpStream>;
    type TcpListener = TokioListener<TcpListener>;
    #[cfg(unix)]
    type UnixStream = Tokio<UnixStream>;
    #[cfg(unix)]
    type UnixListener = TokioListener<UnixListener>;

    fn environment() -> Environment {
        environment()
    }

    async fn resolve(name: String) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host(name).await?.collect())
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::TcpStream> {
        let stream = TcpStream::connect(address).await?;
        no_delay(&stream);
        Ok(Tokio(stream))
    }

    fn listen(listener: net::TcpListener) -> io::Result<Self::TcpListener> {
        TcpListener::from_std(listener).map(TokioListener)
    }

    #[cfg(unix)]
    async fn connect_unix(path: PathBuf) -> io::Result<Self::UnixStream> {
        UnixStream::connect(path).await.map(Tokio)
    }

    #[cfg(unix)]
    fn listen_unix(listener: unix::UnixListener) -> io::Result<Self::UnixListener> {
        UnixListener::from_std(listener).map(TokioListener)
    }
}

/// A socket that takes connections.
#[derive(Debug)]
pub struct TokioListener<L>(L);

impl Listener for TokioListener<TcpListener> {
    type Transport = Tokio<TcpStream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<Self::Transport>>> {
        self.0.poll_accept(cx).map_ok(|(stream, address)| {
            no_delay(&stream);
            (Tokio(stream), Some(address))
        })
    }
}

#[cfg(unix)]
impl Listener for TokioListener<UnixListener> {
    type Transport = Tokio<UnixStream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<Self::Transport>>> {
        let accepted = self.0.poll_accept(cx);
        accepted.map_ok(|(stream, _)| (Tokio(stream), None))
    }
}

/// Sends what there is at once: the driver gathers writes itself.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}

/// The timer and spawner of the runtime that this is called in.
///
/// # Panics
///
/// Outside of a runtime of tokio.
#[must_use]
pub fn environment() -> Environment {
    Environment {
        clock: Clock::new(Arc::new(TokioTimer::new())),
        tasks: TaskTracker::new(Arc::new(TokioSpawn(Handle::current()))),
    }
}
