//! A protocol whose every hook can be set and is logged, and a driver for it.

use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use bytes::{BufMut, Bytes};

use crate::{
    AnswerError, AnswerOrder, CloseReason, Codec, Config, Connection, ConnectionId, Context,
    CorrelationId, DeadlineReason, DroppedMessage, Event, Filled, FragmentMeta, FrameBuf,
    HeldOutput, Instant, LengthDelimited, Malformed, Outcome, Peer, Preamble, PushTiming, Reaction,
    RequestInfo, Role, Unencodable, View, WireframeProtocol,
};

/// What a frame is, as its first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Request,
    Exclusive,
    Body,
    LastBody,
    Control,
    Reply,
    LastReply,
    Push,
    /// Outbound: the codec writes half of it and refuses. Inbound: malformed.
    Flawed,
    ReplyEnd,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Request,
        Self::Exclusive,
        Self::Body,
        Self::LastBody,
        Self::Control,
        Self::Reply,
        Self::LastReply,
        Self::Push,
        Self::Flawed,
        Self::ReplyEnd,
    ];
}

/// On the wire, behind a `u32` length: kind, route, `u16` id with 0 for none, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) route: u8,
    pub(super) id: Option<u16>,
    pub(super) body: Bytes,
}

/// Bytes that a frame with an empty body takes on the wire.
pub(super) const OVERHEAD: usize = 4 + HEAD;
const HEAD: usize = 4;

impl Frame {
    pub(super) fn new(kind: Kind, body: impl AsRef<[u8]>) -> Self {
        Self {
            kind,
            route: 0,
            id: None,
            body: Bytes::copy_from_slice(body.as_ref()),
        }
    }

    /// A frame that stands for a number.
    pub(super) fn numbered(n: u32) -> Self {
        Self::new(Kind::Push, n.to_be_bytes())
    }

    pub(super) fn request(id: impl Into<Option<u16>>) -> Self {
        Self::new(Kind::Request, []).with_id(id)
    }

    pub(super) fn with_id(self, id: impl Into<Option<u16>>) -> Self {
        Self {
            id: id.into(),
            ..self
        }
    }

    pub(super) fn with_route(self, route: u8) -> Self {
        Self { route, ..self }
    }

    /// The number that it stands for.
    pub(super) fn number(&self) -> u32 {
        u32::from_be_bytes(self.body[..4].try_into().unwrap())
    }

    /// Its bytes on the wire.
    pub(super) fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        wire.put_u32(u32::try_from(HEAD + self.body.len()).unwrap());
        self.put(&mut wire);
        wire
    }

    fn put(&self, to: &mut Vec<u8>) {
        to.put_slice(&[self.kind as u8, self.route]);
        to.put_u16(self.id.unwrap_or(0));
        to.put_slice(&self.body);
    }

    fn parse(payload: &[u8]) -> Option<Self> {
        let (&[kind, route, high, low], body) = payload.split_first_chunk()?;
        let id = u16::from_be_bytes([high, low]);
        Some(Self {
            kind: *Kind::ALL.get(usize::from(kind))?,
            route,
            id: (id != 0).then_some(id),
            body: Bytes::copy_from_slice(body),
        })
    }

    /// All frames of some output, which must be whole.
    pub(super) fn parse_all(wire: &[u8]) -> Vec<Self> {
        let (frames, rest) = Self::parse_prefix(wire);
        assert_eq!(rest, [], "output ends inside a frame");
        frames
    }

    /// The whole frames that some output begins with, and what follows them.
    pub(super) fn parse_prefix(mut wire: &[u8]) -> (Vec<Self>, &[u8]) {
        let mut frames = Vec::new();
        while let Some((len, rest)) = wire.split_first_chunk()
            && let Some((payload, rest)) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)
        {
            frames.push(Self::parse(payload).unwrap());
            wire = rest;
        }
        (frames, wire)
    }
}

/// The bodies of frames that stand for numbers.
pub(super) fn numbers(frames: &[Frame]) -> Vec<u32> {
    frames.iter().map(Frame::number).collect()
}

/// A hook that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Setup,
    Preamble(Vec<u8>),
    BeforeSend(Frame),
    Control(Frame),
    MessageDropped(DroppedMessage),
    /// The error as text.
    Error(String),
    UnknownRoute(Frame),
    StreamEnd,
    CommandEnd(Outcome, Option<u64>),
    DrainNotice,
    Ping,
    Goodbye(CloseReason),
    Disconnect(CloseReason),
}

/// What a protocol makes of the first bytes.
pub(super) type TakePreamble = fn(&[u8]) -> Preamble<Frame>;

/// The protocol under test; what its hooks do can be set.
#[derive(Clone, Debug)]
pub(super) struct Test<const CORRELATED: bool, const BETWEEN: bool = false> {
    /// Logged only if it is set.
    pub(super) preamble: Option<TakePreamble>,
    pub(super) on_control: fn(Frame) -> Reaction<Frame>,
    pub(super) on_dropped: fn(&DroppedMessage) -> Reaction<Frame>,
    pub(super) on_error: fn(AnswerError<u8>) -> Reaction<Frame>,
    pub(super) on_unknown_route: fn(Frame) -> Reaction<Frame>,
    pub(super) stream_end: Option<Frame>,
    pub(super) drain_notice: Option<Frame>,
    pub(super) ping: Option<Frame>,
    pub(super) goodbye: Option<Frame>,
    /// Runs in every hook that has a context, after it was logged.
    pub(super) in_hooks: fn(&Hook, &mut Context<'_, Self>),
}

/// Answers go in order.
pub(super) type InOrder = Test<false>;
/// Answers take turns.
pub(super) type Correlated = Test<true>;
/// Answers go in order, and pushes only between commands.
pub(super) type Between = Test<false, true>;

impl<const CORRELATED: bool, const BETWEEN: bool> Default for Test<CORRELATED, BETWEEN> {
    fn default() -> Self {
        Self {
            preamble: None,
            on_control: |_| Reaction::Continue,
            on_dropped: |_| Reaction::Continue,
            on_error: |_| Reaction::Continue,
            on_unknown_route: |_| Reaction::Continue,
            stream_end: None,
            drain_notice: None,
            ping: None,
            goodbye: None,
            in_hooks: |_, _| {},
        }
    }
}

impl<const CORRELATED: bool, const BETWEEN: bool> Test<CORRELATED, BETWEEN> {
    fn log(&self, hook: &Hook, ctx: &mut Context<'_, Self>) {
        ctx.session().push(hook.clone());
        (self.in_hooks)(hook, ctx);
    }
}

#[derive(Debug)]
pub(super) struct TestCodec;

impl Codec for TestCodec {
    type Frame = Frame;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Frame, Malformed> {
        Frame::parse(&payload)
            .filter(|frame| frame.kind != Kind::Flawed)
            .ok_or_else(|| Malformed::with_code(7, "a flawed frame"))
    }

    fn encode(&mut self, frame: &Frame, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        let mut head = Vec::new();
        let bodiless = Frame {
            body: Bytes::new(),
            ..frame.clone()
        };
        bodiless.put(&mut head);
        dst.put_slice(&head);
        dst.put_bytes(&frame.body);
        if frame.kind == Kind::Flawed {
            return Err(Unencodable::new("a flawed frame"));
        }
        Ok(())
    }

    fn encoded_len(&self, frame: &Frame) -> usize {
        HEAD + frame.body.len()
    }
}

impl<const CORRELATED: bool, const BETWEEN: bool> WireframeProtocol for Test<CORRELATED, BETWEEN> {
    type Frame = Frame;
    type Error = u8;
    type Codec = TestCodec;
    type Framing = LengthDelimited;
    type Session = Vec<Hook>;

    const ANSWERS: AnswerOrder = match CORRELATED {
        true => AnswerOrder::Correlated,
        false => AnswerOrder::InOrder,
    };
    const PUSHES: PushTiming = match BETWEEN {
        true => PushTiming::BetweenCommands,
        false => PushTiming::AnyTime,
    };

    fn codec(&self) -> TestCodec {
        TestCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Frame, _: &View<'_, Vec<Hook>>) -> Role {
        let id = frame.id.map(|id| CorrelationId(u64::from(id)));
        match frame.kind {
            Kind::Request | Kind::Exclusive => Role::Request {
                route: u32::from(frame.route),
                correlation: id,
                exclusive: frame.kind == Kind::Exclusive,
            },
            Kind::Body | Kind::LastBody => Role::Body {
                of: id,
                last: frame.kind == Kind::LastBody,
            },
            Kind::Control => Role::Control,
            Kind::Reply | Kind::LastReply => Role::Reply {
                to: id,
                last: frame.kind == Kind::LastReply,
            },
            Kind::ReplyEnd => Role::ReplyEnd { to: id },
            Kind::Push | Kind::Flawed => Role::Push,
        }
    }

    fn correlate(&self, frame: &mut Frame, id: CorrelationId) {
        frame.id = Some(u16::try_from(id.0).unwrap());
    }

    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        self.log(&Hook::Setup, ctx);
    }

    fn preamble(&self, received: &[u8], ctx: &mut Context<'_, Self>) -> Preamble<Frame> {
        let Some(preamble) = self.preamble else {
            return Preamble::Absent;
        };
        self.log(&Hook::Preamble(received.to_vec()), ctx);
        preamble(received)
    }

    fn before_send(&self, frame: &mut Frame, ctx: &mut Context<'_, Self>) {
        self.log(&Hook::BeforeSend(frame.clone()), ctx);
    }

    fn on_control(&self, frame: Frame, ctx: &mut Context<'_, Self>) -> Reaction<Frame> {
        self.log(&Hook::Control(frame.clone()), ctx);
        (self.on_control)(frame)
    }

    fn on_message_dropped(
        &self,
        message: &DroppedMessage,
        ctx: &mut Context<'_, Self>,
    ) -> Reaction<Frame> {
        self.log(&Hook::MessageDropped(*message), ctx);
        (self.on_dropped)(message)
    }

    fn handle_error(&self, error: AnswerError<u8>, ctx: &mut Context<'_, Self>) -> Reaction<Frame> {
        self.log(&Hook::Error(error.to_string()), ctx);
        (self.on_error)(error)
    }

    fn unknown_route(&self, frame: Frame, ctx: &mut Context<'_, Self>) -> Reaction<Frame> {
        self.log(&Hook::UnknownRoute(frame.clone()), ctx);
        (self.on_unknown_route)(frame)
    }

    fn stream_end_frame(&self, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        self.log(&Hook::StreamEnd, ctx);
        self.stream_end.clone()
    }

    fn on_command_end(&self, outcome: Outcome, ctx: &mut Context<'_, Self>) {
        let id = ctx.request().and_then(|request| request.correlation);
        self.log(&Hook::CommandEnd(outcome, id.map(|id| id.0)), ctx);
    }

    fn drain_notice(&self, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        self.log(&Hook::DrainNotice, ctx);
        self.drain_notice.clone()
    }

    fn ping(&self, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        self.log(&Hook::Ping, ctx);
        self.ping.clone()
    }

    fn goodbye(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        self.log(&Hook::Goodbye(reason.clone()), ctx);
        self.goodbye.clone()
    }

    fn on_disconnect(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) {
        self.log(&Hook::Disconnect(reason.clone()), ctx);
    }
}

/// A connection with a clock that stands still unless told otherwise.
#[derive(Debug)]
pub(super) struct Link<P: WireframeProtocol> {
    pub(super) connection: Connection<P>,
    pub(super) now: Instant,
}

impl<P> Link<P>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    /// A server's end of a connection.
    pub(super) fn new(config: Config, protocol: P) -> Self {
        Self::of(Peer::client_of(ConnectionId(1)), config, protocol)
    }

    pub(super) fn of(peer: Peer, config: Config, protocol: P) -> Self {
        Self {
            connection: Connection::new(config, protocol, peer, Instant::ZERO),
            now: Instant::ZERO,
        }
    }

    /// The peer sends these bytes.
    pub(super) fn receive_bytes(&mut self, bytes: &[u8]) {
        self.connection.receive_buffer().extend_from_slice(bytes);
        self.connection.handle_received(self.now);
    }

    /// The peer sends these frames, in one read.
    pub(super) fn receive(&mut self, frames: &[Frame]) {
        let wire: Vec<u8> = frames.iter().flat_map(Frame::wire).collect();
        self.receive_bytes(&wire);
    }

    /// Takes all events there are.
    pub(super) fn events(&mut self) -> Vec<Event<Frame>> {
        let mut events = vec![];
        while let Some(event) = self.connection.poll_event(self.now) {
            events.push(event);
        }
        events
    }

    /// Takes all events and returns the commands that started.
    pub(super) fn started(&mut self) -> Vec<RequestInfo> {
        let mut started = vec![];
        for event in self.events() {
            if let Event::Request { info, .. } = event {
                started.push(info);
            }
        }
        started
    }

    /// The peer sends requests with these ids; returns those that started.
    pub(super) fn requests(&mut self, ids: &[u16]) -> Vec<RequestInfo> {
        let frames: Vec<_> = ids.iter().map(|&id| Frame::request(id)).collect();
        self.receive(&frames);
        self.started()
    }

    /// Fills and sends until there is nothing more; returns the bytes.
    pub(super) fn sent_bytes(&mut self) -> Vec<u8> {
        let mut sent = vec![];
        loop {
            let filled = self.connection.fill(self.now);
            sent.extend(self.take_bytes(usize::MAX));
            if filled == Filled::Ready {
                return sent;
            }
        }
    }

    /// Fills and sends until there is nothing more; returns the frames.
    pub(super) fn sent(&mut self) -> Vec<Frame> {
        Frame::parse_all(&self.sent_bytes())
    }

    /// Fills once; what it encoded waits to be taken.
    pub(super) fn fill(&mut self) -> Filled {
        self.connection.fill(self.now)
    }

    /// The peer takes at most `n` bytes of what was encoded.
    pub(super) fn take_bytes(&mut self, n: usize) -> Vec<u8> {
        let Some(transmit) = self.connection.transmit() else {
            return vec![];
        };
        let taken: Vec<u8> = transmit.chunks().flatten().take(n).copied().collect();
        transmit.advance(taken.len());
        taken
    }

    /// The transport holds so many bytes, and has handed on so many in all.
    pub(super) fn held(&mut self, bytes: usize, handed_on: u64) {
        let held = HeldOutput { bytes, handed_on };
        self.connection.handle_held(self.now, held);
    }

    /// The hooks that ran since this was last asked.
    pub(super) fn hooks(&mut self) -> Vec<Hook> {
        core::mem::take(self.connection.session_mut())
    }
}

/// The peer's end, time, and how it all closes.
impl<P> Link<P>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    /// The peer ends its output.
    pub(super) fn eof(&mut self) {
        self.connection.handle_eof(self.now);
    }

    /// It is that late, and what is due is done.
    pub(super) fn pass_until(&mut self, millis: u64) {
        self.now = Instant::from_millis(millis);
        self.connection.handle_timeout(self.now);
    }

    /// What is due next, and when, in milliseconds.
    pub(super) fn due(&self) -> Option<(DeadlineReason, u64)> {
        let deadline = self.connection.poll_timeout()?;
        Some((deadline.reason, deadline.at.as_nanos() / 1_000_000))
    }

    /// Sends everything, half-closes if asked to, and takes all events.
    pub(super) fn wind_up(&mut self) -> (Vec<Frame>, Vec<Event<Frame>>) {
        let mut events = self.events();
        let mut sent = self.sent();
        events.extend(self.events());
        if self.connection.wants().half_close {
            self.connection.handle_half_closed(self.now);
            events.extend(self.events());
            sent.extend(self.sent());
        }
        (sent, events)
    }
}

/// The goodbyes that were asked for, and why.
pub(super) fn goodbyes(hooks: &[Hook]) -> Vec<CloseReason> {
    let mut reasons = vec![];
    for hook in hooks {
        if let Hook::Goodbye(reason) = hook {
            reasons.push(reason.clone());
        }
    }
    reasons
}

/// How commands ended, and which.
pub(super) fn ends(hooks: &[Hook]) -> Vec<(Outcome, Option<u64>)> {
    let mut ends = vec![];
    for hook in hooks {
        if let Hook::CommandEnd(outcome, id) = hook {
            ends.push((*outcome, *id));
        }
    }
    ends
}
