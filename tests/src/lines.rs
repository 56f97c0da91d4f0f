//! A text protocol whose hooks keep a record: what it does can be compared hook by hook.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;
use wireframe::{
    AnswerError, CloseReason, Codec, Context, FragmentMeta, FragmentStrategy, Frame, FrameBuf,
    LengthDelimited, Malformed, Outcome, PayloadFrame, Preamble, Priority, ProtocolError, Reaction,
    Role, Unencodable, View, WireframeProtocol, tls::TlsInfo,
};

/// A frame. What it begins with says what it is: a digit is the route of a request, `^` and
/// a digit that of an exclusive one, `+` a part of the oldest request's body, `+.` the last
/// one, `~` a control frame, everything else a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(pub String);

/// A frame with that text.
pub fn line(text: impl Into<String>) -> Line {
    Line(text.into())
}

impl Frame for Line {}

impl PayloadFrame for Line {
    fn into_payload(self) -> Bytes {
        self.0.into_bytes().into()
    }

    fn answering(route: u32, payload: Bytes) -> Self {
        line(format!("{route}={}", String::from_utf8_lossy(&payload)))
    }
}

/// The protocol's own error. What says `close` closes the connection.
#[derive(Clone, Copy, Debug)]
pub struct Oops(pub &'static str);

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Oops {}
impl ProtocolError for Oops {}

/// What was noted, in order.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<watch::Sender<Vec<String>>>);

impl Notes {
    /// Notes something.
    pub fn note(&self, what: impl Into<String>) {
        self.0.send_modify(|notes| notes.push(what.into()));
    }

    /// All that was noted.
    pub fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Waits until something that begins so has been noted, and says what.
    pub async fn find(&self, beginning: &str) -> String {
        let find = |notes: &Vec<String>| {
            let found = notes.iter().find(|note| note.starts_with(beginning));
            found.cloned()
        };
        let mut noted = self.0.subscribe();
        let noted = noted.wait_for(|notes| find(notes).is_some()).await;
        find(&noted.expect("we hold it")).expect("it is there")
    }
}

/// The protocol.
#[derive(Clone, Debug, Default)]
pub struct Lines<S = LengthDelimited> {
    /// What its hooks note.
    pub notes: Notes,
    /// What a peer has to say first, and is welcomed for.
    pub preamble: Option<&'static str>,
    /// Frames of each connection have this one's headers.
    pub framing: S,
}

impl Lines {
    /// The protocol as most use it.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Lines<S> {
    fn note(&self, hook: &str, what: impl fmt::Display) {
        self.notes.note(format!("{hook} {what}"));
    }
}

/// Frames are text, without question marks.
#[derive(Clone, Copy, Debug)]
pub struct LineCodec;

impl Codec for LineCodec {
    type Frame = Line;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Line, Malformed> {
        let text = std::str::from_utf8(&payload).map_err(|_| Malformed::new("not text"))?;
        Ok(line(text))
    }

    fn encode(&mut self, frame: &Line, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        if frame.0.contains('?') {
            return Err(Unencodable::new("a question"));
        }
        dst.put_bytes(&Bytes::copy_from_slice(frame.0.as_bytes()));
        Ok(())
    }

    fn encoded_len(&self, frame: &Line) -> usize {
        frame.0.len()
    }
}

impl<S: FragmentStrategy<Line> + Clone> WireframeProtocol for Lines<S> {
    type Frame = Line;
    type Error = Oops;
    type Codec = LineCodec;
    type Framing = S;
    type Session = ();

    fn codec(&self) -> LineCodec {
        LineCodec
    }

    fn framing(&self) -> S {
        self.framing.clone()
    }

    fn classify(&self, frame: &Line, _: &View<'_, ()>) -> Role {
        let request = |digit: u8, exclusive| Role::Request {
            route: u32::from(digit - b'0'),
            correlation: None,
            exclusive,
        };
        match frame.0.as_bytes() {
            [digit @ b'0'..=b'9', ..] => request(*digit, false),
            [b'^', digit @ b'0'..=b'9', ..] => request(*digit, true),
            [b'+', rest @ ..] => Role::Body {
                of: None,
                last: rest.starts_with(b"."),
            },
            [b'~', ..] => Role::Control,
            _ => Role::Push,
        }
    }

    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        match ctx.transport_info::<TlsInfo>() {
            Some(tls) => self.note("setup", format_args!("{tls:?}")),
            None => self.note("setup", ""),
        }
        let room = ctx.push(Priority::High, line("hello"));
        room.expect("the first frame fits");
    }

    fn preamble(&self, received: &[u8], _: &mut Context<'_, Self>) -> Preamble<Line> {
        let Some(magic) = self.preamble.map(str::as_bytes) else {
            return Preamble::Absent;
        };
        if received.starts_with(magic) {
            self.note("preamble", "");
            let (len, reaction) = (magic.len(), Reaction::Send(line("~welcome")));
            return Preamble::Done { len, reaction };
        }
        match magic.starts_with(received) {
            true => Preamble::Incomplete,
            false => Preamble::Malformed(Malformed::new("not the magic")),
        }
    }

    fn before_send(&self, frame: &mut Line, _: &mut Context<'_, Self>) {
        self.note("send", &frame.0);
    }

    fn on_control(&self, frame: Line, _: &mut Context<'_, Self>) -> Reaction<Line> {
        self.note("control", &frame.0);
        Reaction::Send(frame)
    }

    fn handle_error(&self, error: AnswerError<Oops>, _: &mut Context<'_, Self>) -> Reaction<Line> {
        self.note("error", &error);
        let last = line(format!("error: {error}"));
        match error {
            AnswerError::Protocol(Oops("close")) => Reaction::Close(Some(last)),
            _ => Reaction::Send(last),
        }
    }

    fn unknown_route(&self, frame: Line, _: &mut Context<'_, Self>) -> Reaction<Line> {
        self.note("unknown", &frame.0);
        Reaction::Send(line("no such route"))
    }

    fn stream_end_frame(&self, _: &mut Context<'_, Self>) -> Option<Line> {
        self.note("stream_end", "");
        Some(line("end"))
    }

    fn on_command_end(&self, outcome: Outcome, _: &mut Context<'_, Self>) {
        self.notes.note(format!("command_end {outcome:?}"));
    }

    fn ping(&self, _: &mut Context<'_, Self>) -> Option<Line> {
        self.note("ping", "");
        Some(line("~ping"))
    }

    fn drain_notice(&self, _: &mut Context<'_, Self>) -> Option<Line> {
        self.note("drain_notice", "");
        Some(line("draining"))
    }

    fn goodbye(&self, reason: &CloseReason, _: &mut Context<'_, Self>) -> Option<Line> {
        self.note("goodbye", reason);
        Some(line(format!("goodbye: {reason}")))
    }

    fn on_disconnect(&self, reason: &CloseReason, _: &mut Context<'_, Self>) {
        self.note("disconnect", reason);
    }
}

/// The frame on the wire, framed as is usual.
pub fn wire(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a length of 32 bits");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// What the bytes hold.
///
/// # Panics
///
/// If there is half a frame.
pub fn lines(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (text, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        lines.push(String::from_utf8(text.to_vec()).expect("text"));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a header");
    lines
}
