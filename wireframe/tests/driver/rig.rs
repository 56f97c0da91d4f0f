//! A text protocol whose hooks keep a record, and a server of it to be worked by hand.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use wireframe::{
    AnswerError, App, CloseReason, Codec, Config, Context, Driver, FragmentMeta, Frame, FrameBuf,
    Heartbeat, LengthDelimited, Malformed, Outcome, PayloadFrame, Preamble, Priority,
    ProtocolError, PushHandle, Reaction, Role, Transport, Unencodable, View, WireframeApp,
    WireframeProtocol,
    testing::{Link, Script, Simulation, Spawned, link},
};

/// A frame: what it begins with says what it is. A digit is the route of a request, `^` and
/// a digit that of an exclusive one, `+` a part of the oldest request's body, `+.` the last
/// one, `~` a control frame, `<end` the end of an answer, `<+` a reply that others follow, `<`
/// the last one, everything else a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line(pub(crate) String);

pub(crate) fn line(text: impl Into<String>) -> Line {
    Line(text.into())
}

impl Frame for Line {}

impl PayloadFrame for Line {
    fn into_payload(self) -> Bytes {
        self.0.into_bytes().into()
    }

    fn answering(route: u32, payload: Bytes) -> Self {
        line(format!("{route}:{}", String::from_utf8_lossy(&payload)))
    }
}

/// The protocol's own error.
#[derive(Debug)]
pub(crate) struct Oops(pub(crate) &'static str);

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Oops {}
impl ProtocolError for Oops {}

/// What a session holds.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Vec<String>);

#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<String>>>);

impl Record {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        let record = self.0.lock().unwrap();
        record.iter().filter(|noted| *noted == what).count()
    }
}

/// The protocol; its hooks note that they ran, and panic if told to.
#[derive(Clone, Default)]
pub(crate) struct Text {
    pub(crate) record: Record,
    pub(crate) greeting: Option<&'static str>,
    /// What a peer has to say first. A `!` behind it is answered, a `-` refused.
    pub(crate) preamble: Option<&'static str>,
    pub(crate) ping: Option<&'static str>,
    pub(crate) stream_end: bool,
    pub(crate) has_goodbye: bool,
    pub(crate) panics_in: &'static str,
    pub(crate) unknown: Option<&'static str>,
    /// Encodes what is broadcast once for all.
    pub(crate) shares: bool,
}

impl Text {
    fn note(&self, hook: &str, rest: &str) {
        self.record.note(format!("{hook}{rest}"));
        assert!(self.panics_in != hook, "told to panic in {hook}");
    }
}

/// What a request that nobody serves may end with, to have it warned of.
const KINDS: [&str; 2] = ["noise", "trouble"];

/// What the codec says to a frame that it refuses.
const QUESTION: &str = "a question";

/// Refuses frames with a `?` in them. Charges one byte for each.
#[derive(Clone, Copy)]
pub(crate) struct TextCodec;

impl Codec for TextCodec {
    type Frame = Line;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Line, Malformed> {
        assert!(&payload[..] != b"codec panics", "told to");
        let text = std::str::from_utf8(&payload).map_err(|_| Malformed::new("not text"))?;
        Ok(line(text))
    }

    fn encode(&mut self, frame: &Line, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        if frame.0.contains('?') {
            return Err(Unencodable::new(QUESTION));
        }
        dst.put_bytes(&Bytes::copy_from_slice(frame.0.as_bytes()));
        Ok(())
    }

    fn encoded_len(&self, frame: &Line) -> usize {
        frame.0.len()
    }
}

impl WireframeProtocol for Text {
    type Frame = Line;
    type Error = Oops;
    type Codec = TextCodec;
    type Framing = LengthDelimited;
    type Session = Notes;

    fn codec(&self) -> TextCodec {
        TextCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Line, _: &View<'_, Notes>) -> Role {
        assert!(self.panics_in != "classify", "told to panic in classify");
        match frame.0.as_bytes().first() {
            Some(digit @ b'0'..=b'9') => Role::Request {
                route: u32::from(digit - b'0'),
                correlation: None,
                exclusive: false,
            },
            Some(b'^') => Role::Request {
                route: frame.0.as_bytes().get(1).map_or(0, |d| u32::from(*d) - 48),
                correlation: None,
                exclusive: true,
            },
            Some(b'+') => Role::Body {
                of: None,
                last: frame.0.starts_with("+."),
            },
            Some(b'~') => Role::Control,
            Some(b'<') if frame.0 == "<end" => Role::ReplyEnd { to: None },
            Some(b'<') => Role::Reply {
                to: None,
                last: !frame.0.starts_with("<+"),
            },
            _ => Role::Push,
        }
    }

    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        self.note("setup", "");
        ctx.session().0.push("setup".into());
        if let Some(greeting) = self.greeting {
            ctx.push(Priority::High, line(greeting)).unwrap();
        }
    }

    fn preamble(&self, received: &[u8], _: &mut Context<'_, Self>) -> Preamble<Line> {
        let Some(magic) = self.preamble.map(str::as_bytes) else {
            return Preamble::Absent;
        };
        self.note("preamble", &format!(" {}", received.len()));
        let reaction = match received.split_at_checked(magic.len()) {
            Some((start, [b'!', ..])) if start == magic => Reaction::Send(line("~welcome")),
            Some((start, [b'-', ..])) if start == magic => Reaction::Close(Some(line("no"))),
            Some((start, [b'+', ..])) if start == magic => Reaction::Continue,
            Some((start, [])) if start == magic => return Preamble::Incomplete,
            None if magic.starts_with(received) => return Preamble::Incomplete,
            _ => return Preamble::Malformed(Malformed::new("not the magic")),
        };
        let len = magic.len() + 1;
        Preamble::Done { len, reaction }
    }

    fn encode_shared(&self, frame: &Line) -> Option<Bytes> {
        self.note("share", &format!(" {}", frame.0));
        self.shares.then(|| wire(&frame.0).into())
    }

    fn before_send(&self, frame: &mut Line, ctx: &mut Context<'_, Self>) {
        self.note("send", &format!(" {}", frame.0));
        ctx.session().0.push(format!("sent {}", frame.0));
    }

    fn on_control(&self, frame: Line, ctx: &mut Context<'_, Self>) -> Reaction<Line> {
        self.note("control", "");
        if let Some(seconds) = frame.0.strip_prefix("~expect ") {
            let timeout = secs(seconds.parse().unwrap());
            ctx.set_heartbeat(Some(Heartbeat::expecting(timeout)));
            return Reaction::Continue;
        }
        if frame.0 == "~drain" {
            ctx.close();
            return Reaction::Continue;
        }
        if frame.0 == "~bye" {
            return Reaction::Close(Some(frame));
        }
        Reaction::Send(frame)
    }

    fn handle_error(&self, error: AnswerError<Oops>, _: &mut Context<'_, Self>) -> Reaction<Line> {
        self.note("error", "");
        match error {
            AnswerError::Protocol(Oops("close")) => Reaction::Close(Some(line("error: close"))),
            AnswerError::Protocol(Oops(what)) => Reaction::Send(line(format!("error: {what}"))),
            AnswerError::Unencodable(error) if error.what == QUESTION => {
                Reaction::Send(line("error: unencodable"))
            }
            other => Reaction::Send(line(format!("error: {other}"))),
        }
    }

    fn unknown_route(&self, frame: Line, ctx: &mut Context<'_, Self>) -> Reaction<Line> {
        self.note("unknown", "");
        let kind = KINDS.into_iter().find(|kind| frame.0.ends_with(kind));
        if let Some((kind, suppressed)) = kind.and_then(|kind| Some((kind, ctx.may_warn(kind)?))) {
            self.note("warned", &format!(" of {kind}, {suppressed} before"));
        }
        match self.unknown {
            Some(answer) => Reaction::Send(line(answer)),
            None => Reaction::Close(None),
        }
    }

    fn stream_end_frame(&self, _: &mut Context<'_, Self>) -> Option<Line> {
        self.note("stream_end", "");
        self.stream_end.then(|| line("end"))
    }

    fn on_command_end(&self, outcome: Outcome, _: &mut Context<'_, Self>) {
        self.note("command_end", &format!(" {outcome:?}"));
    }

    fn ping(&self, _: &mut Context<'_, Self>) -> Option<Line> {
        self.note("ping", "");
        self.ping.map(line)
    }

    fn goodbye(&self, _: &CloseReason, _: &mut Context<'_, Self>) -> Option<Line> {
        self.note("goodbye", "");
        self.has_goodbye.then(|| line("goodbye"))
    }

    fn on_disconnect(&self, reason: &CloseReason, _: &mut Context<'_, Self>) {
        self.note("disconnect", &format!(" {reason}"));
    }
}

/// The frame on the wire.
pub(crate) fn wire(text: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// What the bytes hold; panics if there is half a frame.
pub(crate) fn lines(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (text, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
        lines.push(String::from_utf8(text.to_vec()).unwrap());
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a header");
    lines
}

/// A server's end of one connection under way, and its peer.
pub(crate) struct Rig {
    pub(crate) simulation: Simulation,
    pub(crate) peer: Link,
    pub(crate) script: Script,
    pub(crate) push: PushHandle<Line>,
    pub(crate) driver: Spawned<CloseReason>,
}

impl Rig {
    /// Serves the app to a peer who takes everything.
    pub(crate) fn new(app: WireframeApp<Text>) -> Self {
        Self::with_capacity(app, 1 << 24)
    }

    /// Serves the app over a link that holds so many bytes.
    pub(crate) fn with_capacity(app: WireframeApp<Text>, capacity: usize) -> Self {
        Self::over(app, capacity, |link| link)
    }

    /// The same over what is made of the link.
    pub(crate) fn over<T: Transport + 'static>(
        app: WireframeApp<Text>,
        capacity: usize,
        over: impl FnOnce(Link) -> T,
    ) -> Self {
        let rig = Self::idle_over(&app.build().unwrap(), &Simulation::new(), capacity, over);
        rig.simulation.run();
        rig
    }

    /// Serves the app, but not yet.
    pub(crate) fn idle(app: &App<Text>, simulation: &Simulation, capacity: usize) -> Self {
        Self::idle_over(app, simulation, capacity, |link| link)
    }

    fn idle_over<T: Transport + 'static>(
        app: &App<Text>,
        simulation: &Simulation,
        capacity: usize,
        over: impl FnOnce(Link) -> T,
    ) -> Self {
        let (near, peer) = link(capacity);
        let script = near.script();
        let driver = Driver::server(app, over(near), None, &simulation.environment());
        Self {
            push: driver.push_handle(),
            driver: simulation.spawn(driver),
            simulation: simulation.clone(),
            script,
            peer,
        }
    }

    /// Sends a frame and lets the server work.
    pub(crate) fn ask(&mut self, text: &str) {
        self.peer.send(&wire(text));
        self.simulation.run();
    }

    /// Sends a frame, and says what came back.
    pub(crate) fn exchange(&mut self, text: &str) -> Vec<String> {
        self.ask(text);
        self.heard()
    }

    /// One more connection of the app, in the same simulation.
    pub(crate) fn beside(&self, app: &App<Text>) -> Self {
        let rig = Self::idle(app, &self.simulation, 1 << 24);
        rig.simulation.run();
        rig
    }

    /// Takes what the server has sent, letting it go on until there is nothing more.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        loop {
            self.simulation.run();
            let more = self.peer.receive();
            if more.is_empty() {
                return lines(&bytes);
            }
            bytes.extend(more);
        }
    }

    /// How the connection ended, if it has; the peer must have closed, too, for that.
    pub(crate) fn reason(&mut self) -> Option<CloseReason> {
        self.peer.finish();
        self.simulation.run();
        self.driver.take()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.simulation.advance(by);
    }

    /// Asserts that every accepted push stands under one term.
    #[track_caller]
    pub(crate) fn check_account(&self) {
        let s = self.push.stats();
        let lost = s.lost_policy + s.lost_unencodable + s.lost_closed;
        let sum = s.sent + s.dead_lettered + lost + s.queued;
        assert_eq!(s.accepted, sum, "{s:?}");
    }
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn nonzero(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// An app of the protocol.
pub(crate) fn text(protocol: &Text) -> WireframeApp<Text> {
    WireframeApp::with_protocol(protocol.clone())
}
