//! The protocol of the programs, which keeps a record.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wireframe::{
    AnswerError, AnswerOrder, CloseReason, Codec, Context, CorrelationId, Envelope,
    EnvelopeProtocol, LengthDelimited, Outcome, ProtocolError, Reaction, RequestInfo, Role, View,
    WireframeProtocol,
    proto::{EnvelopeCodec, RequestId},
};

/// What happened to commands, and how the connection ended.
#[derive(Default)]
pub(super) struct Record {
    /// With their routes.
    pub(super) begun: Vec<(RequestId, u32)>,
    pub(super) ended: Vec<(RequestId, Outcome)>,
    /// A frame of an answer was encoded after its command had ended.
    pub(super) sent_late: bool,
    pub(super) disconnects: usize,
    /// Pushes of handlers that were accepted.
    pub(super) pushed: u64,
    /// Something of the protocol ran after the last hook.
    pub(super) late: bool,
}

pub(super) type Log = Arc<Mutex<Record>>;

/// The protocol's own error.
#[derive(Debug, thiserror::Error)]
#[error("failure {0}")]
pub(super) struct Failure(pub(super) u8);

impl ProtocolError for Failure {}

/// Frames are envelopes; their id says what they are.
pub(super) struct Program<const CORRELATED: bool> {
    pub(super) log: Log,
    /// Which hook panics.
    pub(super) panics: Panics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panics {
    Nowhere,
    OnControl,
    OnCommandEnd,
    OnDisconnect,
}

pub(super) const CONTROL: u32 = 101;
pub(super) const PEER_PUSH: u32 = 102;
pub(super) const BODY: u32 = 103;
pub(super) const PUSH: u32 = 200;
pub(super) const UNENCODABLE: u32 = 666;

impl<const CORRELATED: bool> Program<CORRELATED> {
    fn note(&self, note: impl FnOnce(&mut Record)) {
        let mut log = self.log.lock().unwrap();
        log.late |= log.disconnects > 0;
        note(&mut log);
    }
}

/// The default codec, but that it refuses some frames.
pub(super) struct Choosy;

impl Codec for Choosy {
    type Frame = Envelope;

    fn decode(
        &mut self,
        meta: &wireframe::FragmentMeta,
        payload: Bytes,
    ) -> Result<Envelope, wireframe::Malformed> {
        EnvelopeCodec.decode(meta, payload)
    }

    fn encode(
        &mut self,
        frame: &Envelope,
        dst: &mut wireframe::FrameBuf<'_>,
    ) -> Result<(), wireframe::Unencodable> {
        if frame.id == UNENCODABLE {
            return Err(wireframe::Unencodable::new("not this one"));
        }
        EnvelopeCodec.encode(frame, dst)
    }

    fn encoded_len(&self, frame: &Envelope) -> usize {
        EnvelopeCodec.encoded_len(frame)
    }
}

impl<const CORRELATED: bool> WireframeProtocol for Program<CORRELATED> {
    type Frame = Envelope;
    type Error = Failure;
    type Codec = Choosy;
    type Framing = LengthDelimited;
    type Session = ();

    const ANSWERS: AnswerOrder = if CORRELATED {
        AnswerOrder::Correlated
    } else {
        AnswerOrder::InOrder
    };

    fn codec(&self) -> Choosy {
        Choosy
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Envelope, _: &View<'_, ()>) -> Role {
        match frame.id {
            CONTROL => Role::Control,
            PEER_PUSH => Role::Push,
            BODY => Role::Body {
                of: frame
                    .correlation_id
                    .filter(|_| CORRELATED)
                    .map(CorrelationId),
                last: frame.payload.is_empty(),
            },
            route => Role::Request {
                route,
                correlation: frame
                    .correlation_id
                    .filter(|_| CORRELATED)
                    .map(CorrelationId),
                exclusive: frame.payload == "exclusive",
            },
        }
    }

    fn correlate(&self, frame: &mut Envelope, id: CorrelationId) {
        EnvelopeProtocol::default().correlate(frame, id);
    }

    fn on_control(&self, frame: Envelope, _: &mut Context<'_, Self>) -> Reaction<Envelope> {
        self.note(|_| {});
        assert!(self.panics != Panics::OnControl, "told to");
        Reaction::Send(frame)
    }

    fn handle_error(
        &self,
        error: AnswerError<Failure>,
        _: &mut Context<'_, Self>,
    ) -> Reaction<Envelope> {
        self.note(|_| {});
        match error {
            AnswerError::Protocol(Failure(0)) => Reaction::Continue,
            AnswerError::Protocol(Failure(1)) => Reaction::Close(Some(Envelope::new(1, "close"))),
            _ => Reaction::Send(Envelope::new(1, "error")),
        }
    }

    fn unknown_route(&self, _: Envelope, ctx: &mut Context<'_, Self>) -> Reaction<Envelope> {
        let RequestInfo { id, route, .. } = *ctx.request().unwrap();
        self.note(|log| log.begun.push((id, route)));
        Reaction::Send(Envelope::new(1, "unknown"))
    }

    fn stream_end_frame(&self, _: &mut Context<'_, Self>) -> Option<Envelope> {
        Some(Envelope::new(1, "end"))
    }

    fn before_send(&self, _: &mut Envelope, ctx: &mut Context<'_, Self>) {
        let request = ctx.request().map(|request| request.id);
        self.note(|log| log.sent_late |= log.ended.iter().any(|(id, _)| Some(*id) == request));
    }

    fn ping(&self, _: &mut Context<'_, Self>) -> Option<Envelope> {
        self.note(|_| {});
        Some(Envelope::new(CONTROL, "ping"))
    }

    fn on_command_end(&self, outcome: Outcome, ctx: &mut Context<'_, Self>) {
        let id = ctx.request().unwrap().id;
        self.note(|log| log.ended.push((id, outcome)));
        assert!(self.panics != Panics::OnCommandEnd, "told to");
    }

    fn on_disconnect(&self, _: &CloseReason, _: &mut Context<'_, Self>) {
        self.note(|log| log.disconnects += 1);
        assert!(self.panics != Panics::OnDisconnect, "told to");
    }
}
