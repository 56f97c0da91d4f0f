//! What shuts a server down, and knows its connections.

mod places;

use std::{
    fmt,
    future::poll_fn,
    net::IpAddr,
    num::NonZeroUsize,
    task::{Context, Poll, Waker},
};

use hashbrown::{HashMap, hash_map::Entry};
use wireframe_proto::{ConnectionId, Instant, LimitExceeded, Throttle};

pub(super) use self::places::{Place, Refusal, Seat};
use super::{ConnectionLimits, ConnectionSnapshot, ServerSnapshot, ShutdownReport, WhenFull};
use crate::{
    contain,
    push::{AnyMailbox, ConnectionHandle},
    sync::{Arc, Mutex, lock},
};

/// Shuts a server down. A clone is the same server.
#[derive(Clone, Default)]
pub struct ServerHandle {
    state: Arc<Mutex<ServerState>>,
}

#[derive(Default)]
struct ServerState {
    stage: Stage,
    /// That of the future that serves.
    server: Option<Waker>,
    connections: HashMap<ConnectionId, Member>,
    /// How many of them each address has, where that is limited.
    addresses: HashMap<IpAddr, usize>,
    /// Connections that the app does not know of yet: a handshake may be under way.
    preparing: usize,
    /// Connections that never were.
    unprepared: u64,
    /// Connections that are being refused.
    refused: usize,
    /// The server waits for a connection to end.
    awaits_room: bool,
    report: ShutdownReport,
    warned: Warned,
}

/// When it was last warned of what concerns no one connection.
#[derive(Default)]
struct Warned {
    handshakes: Throttle,
    panics: Throttle,
}

/// A connection that is served.
#[derive(Clone)]
struct Member {
    mailbox: Arc<dyn AnyMailbox>,
    /// By the clock of the mailbox.
    since: Instant,
}

impl Member {
    fn handle(&self) -> ConnectionHandle {
        ConnectionHandle::new(Arc::clone(self.mailbox.control()))
    }
}

impl ServerState {
    /// Connections that have a place, with those that prepare.
    fn taken(&self) -> usize {
        self.connections.len() + self.preparing
    }

    /// Counts a connection of an address, if that may have another, and says as which one.
    fn one_more_of(
        &mut self,
        limits: &ConnectionLimits,
        address: Option<IpAddr>,
    ) -> Result<Option<IpAddr>, LimitExceeded> {
        let (Some(most), Some(address)) = (limits.max_per_address, address) else {
            return Ok(None);
        };
        let address = address.to_canonical();
        let there = self.addresses.get(&address).map_or(1, |there| there + 1);
        at_most("max_per_address", most, there)?;
        self.addresses.insert(address, there);
        Ok(Some(address))
    }

    fn one_less_of(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address
            && let Entry::Occupied(mut there) = self.addresses.entry(address)
        {
            *there.get_mut() -= 1;
            if *there.get() == 0 {
                there.remove();
            }
        }
    }

    /// There is room: who is to be woken for it.
    fn take_waiting(&mut self) -> Option<Waker> {
        match std::mem::take(&mut self.awaits_room) {
            true => self.server.take(),
            false => None,
        }
    }
}

/// How far a server's life has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Serving,
    Draining,
    Aborting,
    Ended,
}

impl ServerHandle {
    /// Stops taking connections and drains those there are. Returns at once; the future
    /// that serves ends when all is done, at the latest after
    /// [`Timeouts::close`](crate::Timeouts::close), when what is left is aborted.
    pub fn shutdown(&self) {
        self.enter_stage(Stage::Draining, ConnectionHandle::close);
    }

    /// Stops taking connections and ends those there are at once, with their handlers, and
    /// the tasks that these have started. Returns at once; the future that serves ends when
    /// all is done.
    pub fn abort(&self) {
        self.enter_stage(Stage::Aborting, ConnectionHandle::abort);
    }

    fn enter_stage(&self, stage: Stage, tell: fn(&ConnectionHandle)) {
        let mut state = lock(&self.state);
        state.stage = state.stage.max(stage);
        let server = state.server.take();
        let connections: Vec<_> = state.connections.values().map(Member::handle).collect();
        drop(state);
        if let Some(server) = server {
            contain::wake(server);
        }
        for connection in connections {
            tell(&connection);
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.state).connections.len()
    }

    /// What its connections are at, as each of them was when it last had nothing to do or let
    /// others run. They notice nothing: the caller alone does the work, in proportion to their
    /// number.
    ///
    /// ```
    /// use wireframe::server::ServerHandle;
    ///
    /// fn report_slow(server: &ServerHandle) {
    ///     for connection in server.snapshot().connections {
    ///         if let Some(time) = connection.stalled {
    ///             println!("{} has taken nothing for {time:?}", connection.id);
    ///         }
    ///     }
    /// }
    /// # report_slow(&ServerHandle::default());
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> ServerSnapshot {
        let state = lock(&self.state);
        let members: Vec<_> = state.connections.values().cloned().collect();
        let (preparing, failed_handshakes) = (state.preparing, state.unprepared);
        drop(state);
        // It asks their clocks: foreign code, which must not run locked.
        let look = |member: &Member| ConnectionSnapshot::new(&*member.mailbox, member.since);
        ServerSnapshot {
            connections: members.iter().map(look).collect(),
            preparing,
            failed_handshakes,
        }
    }

    /// How many connections have failed before the app knew of them: their handshake, or the
    /// header of a proxy, failed or took too long, or their source was not trusted to send one.
    #[must_use]
    pub fn failed_handshakes(&self) -> u64 {
        lock(&self.state).unprepared
    }

    /// Counts a connection that did not become ready for the app; says whether to warn of
    /// it, see [`Throttle::pass`].
    pub(super) fn count_unprepared(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        state.unprepared += 1;
        state.warned.handshakes.pass(now)
    }

    /// Code of the user has panicked while connections were taken; says whether to log that.
    pub(super) fn note_panic(&self, now: Instant) -> Option<u64> {
        lock(&self.state).warned.panics.pass(now)
    }

    /// The server has ended.
    pub(super) fn end(&self) -> ShutdownReport {
        let mut state = lock(&self.state);
        state.stage = Stage::Ended;
        state.report
    }

    /// Whether it is the same server.
    #[cfg(all(unix, feature = "signals"))]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    #[cfg(all(unix, feature = "signals"))]
    pub(super) fn stage(&self) -> Stage {
        lock(&self.state).stage
    }

    /// Whether the server waits for a connection to end before it takes another.
    pub(super) fn awaits_room(&self, limits: &ConnectionLimits) -> bool {
        let mut state = lock(&self.state);
        state.awaits_room =
            limits.when_full == WhenFull::Wait && state.taken() >= limits.max_connections.get();
        state.awaits_room
    }

    /// What is waited for; `None` once the server is past that stage.
    pub(super) async fn during<T>(
        &self,
        stage: Stage,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        poll_fn(|cx| {
            let fresh = cx.waker().clone();
            let mut state = lock(&self.state);
            if state.stage > stage {
                return Poll::Ready(None);
            }
            let stale = state.server.replace(fresh);
            drop(state);
            drop(stale);
            poll(cx).map(Some)
        })
        .await
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

fn at_most(limit: &'static str, most: NonZeroUsize, got: usize) -> Result<(), LimitExceeded> {
    if got <= most.get() {
        return Ok(());
    }
    Err(LimitExceeded {
        limit,
        value: most.get() as u64,
        got: got as u64,
    })
}
