//! What anyone may ask of a connection, whatever its frames are.

use std::{any::Any, fmt, net::SocketAddr};

use wireframe_proto::{ConnectionId, Heartbeat, Peer, TransportInfo};

use super::{published::Published, signal::Signal};
use crate::{
    meter::Metrics,
    proxy::ProxyInfo,
    sync::{Arc, AtomicU8, AtomicU64, Mutex, Ordering, lock},
};

/// What a [`ConnectionHandle`] has asked of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Drain, then close.
    Close,
    /// End at once.
    Abort,
}

/// What was asked of a driver since it last looked, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked(u8);

impl Asked {
    const NOTHING: u8 = 0;
    const CLOSE: u8 = 1;
    const ABORT: u8 = 2;
    const HEARTBEAT: u8 = 4;
    const MEMORY: u8 = 8;
    const CONDEMNED: u8 = 16;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    pub(crate) fn is_nothing(self) -> bool {
        self.0 == Self::NOTHING
    }

    /// The stronger command, if there were several: an abort overrides a close.
    pub(crate) fn command(self) -> Option<Command> {
        match (self.has(Self::ABORT), self.has(Self::CLOSE)) {
            (true, _) => Some(Command::Abort),
            (false, true) => Some(Command::Close),
            (false, false) => None,
        }
    }

    /// There is a heartbeat to [take](Control::take_heartbeat).
    pub(crate) fn has_heartbeat(self) -> bool {
        self.has(Self::HEARTBEAT)
    }

    /// There is memory again for those who wait for it.
    pub(crate) fn has_memory(self) -> bool {
        self.has(Self::MEMORY)
    }

    /// The connection holds too much, and has to close.
    pub(crate) fn is_condemned(self) -> bool {
        self.has(Self::CONDEMNED)
    }
}

/// The part of a connection that its handles share with its driver and that knows no
/// frame type.
#[derive(Debug)]
pub(crate) struct Control {
    id: ConnectionId,
    peer: Option<SocketAddr>,
    /// Bits of [`Asked`].
    asked: AtomicU8,
    /// Boxed because few ask.
    heartbeat: Mutex<Option<Box<Option<Heartbeat>>>>,
    signal: Signal,
    unhandled_pushes: AtomicU64,
    transport_info: TransportInfo,
    published: Published,
    /// What the connection counts with.
    metrics: Metrics,
}

impl Control {
    pub(crate) fn new(peer: &Peer) -> Self {
        Self {
            id: peer.id,
            peer: peer.address,
            asked: AtomicU8::new(Asked::NOTHING),
            heartbeat: Mutex::new(None),
            signal: Signal::default(),
            unhandled_pushes: AtomicU64::new(0),
            transport_info: TransportInfo::default(),
            published: Published::default(),
            metrics: Metrics::default(),
        }
    }

    pub(crate) fn with_transport_info(mut self, info: TransportInfo) -> Self {
        self.transport_info = info;
        self
    }

    /// Counting with those metrics.
    pub(crate) fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the driver tells of the connection.
    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// Whether anything is asked of the driver, as far as can be told by one load.
    pub(crate) fn seems_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != Asked::NOTHING
    }

    /// Whether anything is asked of the driver: a second look, as [`Signal`] wants it.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.fetch_or(Asked::NOTHING, Ordering::AcqRel) != Asked::NOTHING
    }

    /// What was asked since the last call. Costs one load if nothing was.
    pub(crate) fn take_asked(&self) -> Asked {
        match self.seems_asked() {
            false => Asked(Asked::NOTHING),
            true => Asked(self.asked.swap(Asked::NOTHING, Ordering::AcqRel)),
        }
    }

    /// The heartbeat that was asked for since the last call, the last one if there were
    /// several. One that came after [`take_asked`](Self::take_asked) is taken now, and
    /// found gone the next time.
    pub(crate) fn take_heartbeat(&self) -> Option<Option<Heartbeat>> {
        let asked = lock(&self.heartbeat).take();
        asked.map(|heartbeat| *heartbeat)
    }

    /// Counts frames that the peer pushed and nobody handled.
    pub(crate) fn count_unhandled(&self, frames: u64) {
        self.unhandled_pushes.fetch_add(frames, Ordering::Relaxed);
    }

    fn ask_heartbeat(&self, heartbeat: Option<Heartbeat>) {
        let asked = Box::new(heartbeat);
        let stale = lock(&self.heartbeat).replace(asked);
        drop(stale);
        self.ask(Asked::HEARTBEAT);
    }

    /// The budget has memory again.
    pub(crate) fn tell_of_memory(&self) {
        self.ask(Asked::MEMORY);
    }

    /// The connection holds too much.
    pub(crate) fn condemn(&self) {
        self.ask(Asked::CONDEMNED);
    }

    fn ask(&self, bit: u8) {
        self.asked.fetch_or(bit, Ordering::AcqRel);
        self.signal.unpark();
    }
}

/// Names one connection, sets its heartbeat and ends it, whatever its frames are.
///
/// It comes from [`PushHandle::connection`](super::PushHandle::connection). All of it is
/// idempotent and harmless after the connection has ended; a handle keeps neither the
/// connection nor its task alive.
///
/// ```
/// use wireframe::PushHandle;
///
/// fn expel(client: &PushHandle<Vec<u8>>) {
///     client.connection().close();
/// }
/// ```
#[derive(Clone)]
pub struct ConnectionHandle {
    control: Arc<Control>,
}

impl ConnectionHandle {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// This end's name for the connection.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.control.id
    }

    /// The peer's address, where it has one. That of the client, if a proxy has
    /// [told](Self::proxied).
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.control.peer
    }

    /// What the [transport](crate::Transport::info) knows of the peer and has that type.
    #[must_use]
    pub fn transport_info<T: Any>(&self) -> Option<&T> {
        self.control.transport_info.get()
    }

    /// What a proxy has told of the connection, by the [PROXY protocol](crate::proxy), and the
    /// proxy's own address. `None` if there is no proxy.
    #[must_use]
    pub fn proxied(&self) -> Option<&ProxyInfo> {
        self.transport_info()
    }

    /// What is known of the peer by TLS: its certificates among others. `None` without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&crate::tls::TlsInfo> {
        self.transport_info()
    }

    /// How many frames the peer pushed that nobody here handled: there was no `on_push`
    /// handler and nobody listened, they came faster than they were taken, or the
    /// connection ended first.
    #[must_use]
    pub fn unhandled_pushes(&self) -> u64 {
        self.control.unhandled_pushes.load(Ordering::Relaxed)
    }

    /// Counts frames for [`unhandled_pushes`](Self::unhandled_pushes).
    pub(crate) fn count_unhandled(&self, frames: usize) {
        self.control.count_unhandled(frames as u64);
    }

    /// Sets or ends the connection's [`Heartbeat`], in place of what the app's
    /// configuration says. To set the one that is there changes nothing; a time of zero is
    /// over at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wireframe::{ConnectionHandle, Heartbeat};
    ///
    /// /// A peer that announces its keep-alive time has half as much again.
    /// fn keep_alive(connection: &ConnectionHandle, announced: Duration) {
    ///     connection.set_heartbeat(Some(Heartbeat::expecting(announced * 3 / 2)));
    /// }
    /// ```
    pub fn set_heartbeat(&self, heartbeat: Option<Heartbeat>) {
        self.control.ask_heartbeat(heartbeat);
    }

    /// Drains the connection: what is in flight or accepted is finished, nothing new is
    /// taken, then it closes.
    pub fn close(&self) {
        self.control.ask(Asked::CLOSE);
    }

    /// Ends the connection at once; what is undelivered becomes dead letters, if the app
    /// has a queue for them, or is lost.
    pub fn abort(&self) {
        self.control.ask(Asked::ABORT);
    }
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionHandle")
            .field("id", &self.control.id)
            .field("peer", &self.control.peer)
            .finish()
    }
}
