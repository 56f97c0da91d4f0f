//! One connection as a pure state machine.

mod answers;
mod body;
mod fragments;
mod heartbeat;
mod hooks;
mod inbound;
mod input_end;
mod lifecycle;
mod memory;
mod outbound;
mod phase;
mod preamble;
mod pressure;
mod reassembly;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;
mod timers;
mod units;

pub use lifecycle::Shutdown;
pub use outbound::Filled;
pub use phase::State;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use bytes::BytesMut;

use self::{phase::Phase, preamble::Opening, pressure::Pressure, receiving::Stopped};
use crate::{
    calls::Calls,
    config::{Config, PushBound},
    error::{CloseReason, LimitExceeded, Rejected},
    event::Event,
    fragment::{FragmentMeta, reassembler::Reassembler},
    heartbeat::Pulse,
    held_output::HeldOutput,
    ids::{Peer, RequestId},
    protocol::{AnswerOrder, WireframeProtocol},
    schedule::{
        begun::Begun, commands::Commands, pushes::Pushes, scheduler::Scheduler, seldom::Seldom,
    },
    stats::{Counters, FragmentStats, Stats},
    throttle::Warnings,
    time::{Instant, ReadingClock},
    transmit::TransmitQueue,
    transport_info::TransportInfo,
};

/// What comes of offering a frame: it is given back if it is refused.
type Respond<P> = Result<(), Rejected<<P as WireframeProtocol>::Frame>>;

/// One connection of a protocol: decides everything, does no I/O, reads no clock.
///
/// Its methods come in four kinds, which may be called in any order:
///
/// * *handlers* (`handle_*`) tell it what happened on the transport and the clock;
/// * *commands* (`push`, `respond`, `finish`, `call`, ...) ask something of it, never
///   block, and give back what they refuse;
/// * *polls* (`poll_event`, `fill`, `transmit`, `poll_timeout`) tell its driver what to do;
/// * *getters* look.
///
/// A driver repeats: read into [`receive_buffer`](Self::receive_buffer), report it, take
/// events until there are none, [`fill`](Self::fill), and send what
/// [`transmit`](Self::transmit) lends. The [crate's documentation](crate) has one
/// complete loop.
///
/// # Panics
///
/// None of its own. If a hook, codec or framing panics, the panic reaches the caller,
/// and from then on the connection is closed: it sends nothing more, refuses every
/// command, and runs only [`on_disconnect`](WireframeProtocol::on_disconnect), at the
/// next [`poll_event`](Self::poll_event).
pub struct Connection<P: WireframeProtocol> {
    protocol: P,
    codec: P::Codec,
    framing: P::Framing,
    session: P::Session,
    peer: Peer,
    transport_info: TransportInfo,
    config: Arc<Config>,
    max_in_flight: usize,

    // Inbound.
    receive: BytesMut,
    /// Bytes of `receive` that have been counted.
    counted: usize,
    /// The unit whose header was consumed and whose payload is not whole.
    unit: Option<FragmentMeta>,
    /// The peer's messages that come in fragments, boxed because few peers send any.
    reassembler: Option<Box<Reassembler>>,
    /// Set while no message in fragments may begin, and boxed because it rarely is.
    refused_messages: Option<Box<LimitExceeded>>,
    /// The length of `receive` at which nothing whole was found in it, or [`NOT_STARVED`].
    starved_at: usize,
    /// What the peer still sends is dropped unread: the last frame to it is decided, or it
    /// stands behind a request that will not be served and might have changed its meaning.
    ignores_input: bool,
    /// Why nothing more is read, where that closes the connection once what came before has
    /// been served.
    flaw: Option<Box<CloseReason>>,
    /// The last poll handed an event out, of which the application may yet make something.
    serves: bool,
    /// Whether the driver wants nothing decoded.
    stopped: Stopped,
    calls: Calls,

    // Outbound.
    transmit: TransmitQueue,
    /// What the transport last said that it holds.
    held: HeldOutput,
    /// Scratch for one header.
    header: Vec<u8>,
    /// The length of the last header: most likely that of the next.
    header_len: usize,
    control: Seldom<P::Frame>,
    pushes: Pushes<P::Frame>,
    commands: Commands<P::Frame>,
    scheduler: Scheduler,
    /// Messages that go in fragments, boxed because few connections ever split one.
    begun: Option<Box<Begun<P::Frame>>>,
    /// The command after whose last frame the connection closes.
    last_command: Option<RequestId>,

    // Lifecycle.
    phase: Phase<P::Frame>,
    setup_ran: bool,
    opening: Opening,
    /// Set around every call into the protocol; a panic leaves it set.
    in_user_code: bool,
    /// A hook asked for a drain.
    close_asked: bool,
    /// The peer has ended its output.
    peer_closed: bool,
    /// And all of it has been decoded.
    input_ended: bool,
    /// The caller will hand over no more pushes.
    pushes_ended: bool,
    events: Seldom<Event<P::Frame>>,

    // Time.
    now: Instant,
    /// When the connection did, from which its preamble is timed.
    began: Instant,
    reading: ReadingClock,
    /// When the frame that has begun to arrive did so, on the reading clock.
    frame_since: Option<Instant>,
    /// When the peer last took a byte, or output began to wait.
    last_progress: Instant,
    /// When something was last received or sent, on the reading clock.
    last_activity: Instant,
    /// The heartbeat, boxed because most connections have none.
    pulse: Option<Box<Pulse>>,
    /// The end of a drain or close.
    close_at: Option<Instant>,

    counters: Counters,
    /// What it was last warned of, and when.
    warnings: Warnings,
    /// Why it does not read, if that has been logged.
    pressure: Option<Pressure>,
}

/// A length that no read buffer has: something whole may be found.
const NOT_STARVED: usize = usize::MAX;

/// What the engine would have its driver do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wants {
    /// Read from the transport. While this is false the engine is at a bound of its
    /// own, its [input is held](Connection::hold_input) and it has read ahead as much
    /// as it may, or [reading is paused](Connection::pause_reading), and the peer has to
    /// wait.
    pub read: bool,
    /// Send what [`Connection::transmit`] lends.
    pub write: bool,
    /// Take an event.
    pub event: bool,
    /// End the output: everything has been sent. Then call
    /// [`Connection::handle_half_closed`].
    pub half_close: bool,
    /// With [`PushBound::Caller`](crate::PushBound::Caller): take no more
    /// pushes, hand over what was accepted, and call [`Connection::end_pushes`].
    pub end_of_pushes: bool,
}

impl<P: WireframeProtocol> Connection<P> {
    /// A new connection. The protocol's setup runs at the first
    /// [`poll_event`](Self::poll_event).
    ///
    /// Connections that share an `Arc<Config>` share its memory.
    pub fn new(config: impl Into<Arc<Config>>, protocol: P, peer: Peer, now: Instant) -> Self {
        let config = config.into();
        let default_in_flight = match P::ANSWERS {
            AnswerOrder::InOrder => 1,
            AnswerOrder::Correlated => 64,
        };
        Self {
            codec: protocol.codec(),
            framing: protocol.framing(),
            session: P::Session::default(),
            peer,
            transport_info: TransportInfo::default(),
            max_in_flight: config
                .limits
                .max_in_flight
                .map_or(default_in_flight, core::num::NonZeroUsize::get),
            receive: BytesMut::new(),
            counted: 0,
            unit: None,
            reassembler: None,
            refused_messages: None,
            starved_at: NOT_STARVED,
            ignores_input: false,
            flaw: None,
            serves: false,
            stopped: Stopped::default(),
            calls: Calls::default(),
            transmit: TransmitQueue::default(),
            held: HeldOutput::default(),
            header: Vec::new(),
            header_len: 0,
            control: Seldom::default(),
            pushes: Pushes::new(config.push_bound, config.unsent_pushes),
            commands: Commands::new(P::ANSWERS),
            scheduler: Scheduler::default(),
            begun: None,
            last_command: None,
            phase: Phase::Active,
            setup_ran: false,
            opening: Opening::Unasked,
            in_user_code: false,
            close_asked: false,
            peer_closed: false,
            input_ended: false,
            pushes_ended: false,
            events: Seldom::default(),
            now,
            began: now,
            reading: ReadingClock::default(),
            frame_since: None,
            last_progress: now,
            last_activity: now,
            pulse: config
                .heartbeat
                .map(|heartbeat| Box::new(Pulse::new(heartbeat, now))),
            close_at: None,
            counters: Counters::default(),
            warnings: Warnings::default(),
            pressure: None,
            protocol,
            config,
        }
    }

    /// With what the transport knows of the peer, which hooks
    /// [see](crate::ConnectionContext::transport_info).
    #[must_use]
    pub fn with_transport_info(mut self, info: TransportInfo) -> Self {
        self.transport_info = info;
        self
    }

    /// The protocol.
    pub const fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The connection's session.
    pub const fn session(&self) -> &P::Session {
        &self.session
    }

    /// The connection's session, to change.
    pub const fn session_mut(&mut self) -> &mut P::Session {
        &mut self.session
    }

    /// The connection as its two ends know it.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// How far the connection's life has come.
    pub fn state(&self) -> State {
        if self.in_user_code {
            return State::Closed;
        }
        match self.phase {
            Phase::Active => State::Active,
            Phase::Draining(_) => State::Draining,
            Phase::Closing(_) => State::Closing,
            Phase::Closed(_) => State::Closed,
        }
    }

    /// Commands of the peer that have begun and not ended, held back ones included.
    pub fn commands_in_flight(&self) -> usize {
        self.commands.live()
    }

    /// Whether that command has begun and not been finished.
    pub fn is_running(&self, id: RequestId) -> bool {
        !self.in_user_code && self.commands.is_running(id)
    }

    /// Commands that wait for others to end.
    pub fn commands_held_back(&self) -> usize {
        self.commands.held()
    }

    /// Calls of this end that await their reply.
    pub fn calls_pending(&self) -> usize {
        self.calls.pending()
    }

    /// Counters since the connection began.
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            bytes_sent: self.transmit.sent_total(),
            high: self.pushes.stats(crate::Priority::High),
            low: self.pushes.stats(crate::Priority::Low),
            frames_received: counters.frames_received,
            frames_sent: counters.frames_sent,
            bytes_received: counters.bytes_received,
            requests: counters.requests,
            requests_dropped: counters.requests_dropped,
            bodies_discarded: counters.bodies_discarded,
            replies_discarded: counters.replies_discarded,
            fragments: self
                .reassembler
                .as_ref()
                .map_or_else(FragmentStats::default, |reassembler| reassembler.stats()),
        }
    }

    /// What the engine would have its driver do now, in constant time.
    pub fn wants(&self) -> Wants {
        if self.in_user_code {
            return Wants {
                event: self.is_unannounced(),
                ..Wants::default()
            };
        }
        Wants {
            read: self.wants_read(),
            write: !self.transmit.is_empty(),
            event: self.wants_event(),
            half_close: self.wants_half_close(),
            end_of_pushes: self.config.push_bound == PushBound::Caller
                && !self.pushes_ended
                && self.has_finished_all_but_pushes(),
        }
    }

    /// Takes note of the time. It never goes back.
    fn observe(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

impl<P: WireframeProtocol> fmt::Debug for Connection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("state", &self.state())
            .field("commands", &self.commands.live())
            .field("received", &self.receive.len())
            .field("waiting", &self.transmit.len())
            .finish_non_exhaustive()
    }
}
