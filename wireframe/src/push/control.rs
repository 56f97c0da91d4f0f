//! What anyone may ask of a connection, whatever its frames are.

use std::{fmt, net::SocketAddr};

use wireframe_proto::{ConnectionId, Heartbeat, Peer};

use super::signal::Signal;
use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering, lock};

/// What a [`ConnectionHandle`] has asked of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Drain, then close.
    Close,
    /// End at once.
    Abort,
}

// Ordered: an abort overrides a close, never the other way round.
const NONE: u8 = 0;
const CLOSE: u8 = 1;
const ABORT: u8 = 2;

/// The part of a connection that its handles share with its driver and that knows no
/// frame type.
#[derive(Debug)]
pub(crate) struct Control {
    id: ConnectionId,
    peer: Option<SocketAddr>,
    command: AtomicU8,
    /// Set once `heartbeat` holds something for the driver.
    heartbeat_asked: AtomicBool,
    /// Boxed because few ask.
    heartbeat: Mutex<Option<Box<Option<Heartbeat>>>>,
    signal: Signal,
    unhandled_pushes: AtomicU64,
}

impl Control {
    pub(crate) fn new(peer: &Peer) -> Self {
        Self {
            id: peer.id,
            peer: peer.address,
            command: AtomicU8::new(NONE),
            heartbeat_asked: AtomicBool::new(false),
            heartbeat: Mutex::new(None),
            signal: Signal::default(),
            unhandled_pushes: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Whether a command or a heartbeat waits. `SeqCst`, as [`Signal`] asks of a second
    /// look.
    pub(crate) fn has_command(&self) -> bool {
        self.command.load(Ordering::SeqCst) != NONE || self.heartbeat_asked.load(Ordering::SeqCst)
    }

    /// The command given since the last call, the stronger one if there were several.
    pub(crate) fn take_command(&self) -> Option<Command> {
        if self.command.load(Ordering::Relaxed) == NONE {
            return None;
        }
        match self.command.swap(NONE, Ordering::SeqCst) {
            CLOSE => Some(Command::Close),
            ABORT => Some(Command::Abort),
            _ => None,
        }
    }

    /// The heartbeat that was asked for since the last call, the last one if there were
    /// several.
    pub(crate) fn take_heartbeat(&self) -> Option<Option<Heartbeat>> {
        if !self.heartbeat_asked.load(Ordering::Relaxed) {
            return None;
        }
        self.heartbeat_asked.store(false, Ordering::SeqCst);
        // Should another come in between, it is taken now, and found gone the next time.
        let asked = lock(&self.heartbeat).take();
        asked.map(|heartbeat| *heartbeat)
    }

    /// Counts frames that the peer pushed and nobody handled, and says how many they are
    /// now.
    pub(crate) fn count_unhandled(&self, frames: u64) -> u64 {
        self.unhandled_pushes.fetch_add(frames, Ordering::Relaxed) + frames
    }

    fn ask_heartbeat(&self, heartbeat: Option<Heartbeat>) {
        let asked = Box::new(heartbeat);
        let stale = lock(&self.heartbeat).replace(asked);
        drop(stale);
        self.heartbeat_asked.store(true, Ordering::SeqCst);
        self.signal.unpark();
    }

    fn give(&self, command: u8) {
        self.command.fetch_max(command, Ordering::SeqCst);
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

    /// The other end's address, where the transport has one.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.control.peer
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
        self.control.give(CLOSE);
    }

    /// Ends the connection at once; what is undelivered becomes dead letters, if the app
    /// has a queue for them, or is lost.
    pub fn abort(&self) {
        self.control.give(ABORT);
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
