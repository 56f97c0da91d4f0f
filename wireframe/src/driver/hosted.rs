//! A protocol as the engine of an async connection runs it.

use wireframe_proto::{
    AnswerError, AnswerOrder, CloseReason, Context, CorrelationId, DroppedMessage, Outcome,
    Preamble, Priority, PushSink, PushTiming, Reaction, Refusal, Rejected, Role, View,
    WireframeProtocol,
};

use crate::{
    app::{Framed, Framing},
    frame::Protocol,
    meter::ErrorKind,
    push::Mailbox,
    session::Session,
    sync::{Arc, lock},
};

/// Runs `P` with its session where handlers reach it, behind a lock that is held for
/// one hook at a time, and with the mailbox as the place for what hooks push, so that
/// there is one bound for all pushes. The framing is the protocol's or the app's.
pub(super) struct Hosted<P: Protocol> {
    framed: Arc<Framed<P>>,
    session: Session<P::Session>,
    mailbox: Arc<Mailbox<P::Frame>>,
}

impl<P: Protocol> Hosted<P> {
    pub(super) fn new(
        framed: Arc<Framed<P>>,
        session: Session<P::Session>,
        mailbox: Arc<Mailbox<P::Frame>>,
    ) -> Self {
        Self {
            framed,
            session,
            mailbox,
        }
    }

    #[inline]
    fn hook<R>(
        &self,
        ctx: &mut Context<'_, Self>,
        run: impl FnOnce(&P, &mut Context<'_, P>) -> R,
    ) -> R {
        self.session.for_hook(|session| {
            let mut sink = MailboxSink(&self.mailbox);
            run(&self.framed.protocol, &mut ctx.rebind(session, &mut sink))
        })
    }
}

struct MailboxSink<'a, F>(&'a Mailbox<F>);

impl<F> PushSink<F> for MailboxSink<'_, F> {
    fn push(&mut self, priority: Priority, frame: F) -> Result<(), Rejected<F>> {
        self.0.hook_push(priority, frame).map_err(|frame| Rejected {
            frame,
            reason: if self.0.is_closed() {
                Refusal::Closed
            } else {
                Refusal::Full
            },
        })
    }
}

impl<P: Protocol> WireframeProtocol for Hosted<P> {
    type Frame = P::Frame;
    type Error = P::Error;
    type Codec = P::Codec;
    type Framing = Framing<P>;
    /// The session is beside the engine, not in it.
    type Session = ();

    const ANSWERS: AnswerOrder = P::ANSWERS;
    const PUSHES: PushTiming = P::PUSHES;

    fn codec(&self) -> P::Codec {
        self.framed.protocol.codec()
    }

    fn framing(&self) -> Framing<P> {
        self.framed.framing()
    }

    #[inline]
    fn classify(&self, frame: &P::Frame, view: &View<'_, ()>) -> Role {
        self.session.for_hook(|session| {
            self.framed
                .protocol
                .classify(frame, &view.with_session(session))
        })
    }

    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        self.hook(ctx, P::on_connection_setup);
    }

    fn preamble(&self, received: &[u8], ctx: &mut Context<'_, Self>) -> Preamble<P::Frame> {
        self.hook(ctx, |protocol, ctx| protocol.preamble(received, ctx))
    }

    #[inline]
    fn correlate(&self, frame: &mut P::Frame, id: CorrelationId) {
        self.framed.protocol.correlate(frame, id);
    }

    #[inline]
    fn before_send(&self, frame: &mut P::Frame, ctx: &mut Context<'_, Self>) {
        self.hook(ctx, |protocol, ctx| protocol.before_send(frame, ctx));
    }

    fn on_control(&self, frame: P::Frame, ctx: &mut Context<'_, Self>) -> Reaction<P::Frame> {
        self.hook(ctx, |protocol, ctx| protocol.on_control(frame, ctx))
    }

    fn on_message_dropped(
        &self,
        message: &DroppedMessage,
        ctx: &mut Context<'_, Self>,
    ) -> Reaction<P::Frame> {
        self.hook(ctx, |protocol, ctx| {
            protocol.on_message_dropped(message, ctx)
        })
    }

    fn handle_error(
        &self,
        error: AnswerError<P::Error>,
        ctx: &mut Context<'_, Self>,
    ) -> Reaction<P::Frame> {
        let metrics = self.mailbox.control().metrics();
        metrics.error(ErrorKind::of_answer(&error));
        self.hook(ctx, |protocol, ctx| protocol.handle_error(error, ctx))
    }

    fn unknown_route(&self, frame: P::Frame, ctx: &mut Context<'_, Self>) -> Reaction<P::Frame> {
        // A peer that is closed for that may come back with it as often as it likes.
        let mut for_all = |kind, now| lock(&self.framed.unrouted).pass(kind, now);
        self.session.for_hook(|session| {
            let mut sink = MailboxSink(&self.mailbox);
            let ctx = ctx.rebind(session, &mut sink);
            let protocol = &self.framed.protocol;
            protocol.unknown_route(frame, &mut ctx.with_warnings(&mut for_all))
        })
    }

    fn stream_end_frame(&self, ctx: &mut Context<'_, Self>) -> Option<P::Frame> {
        self.hook(ctx, P::stream_end_frame)
    }

    #[inline]
    fn on_command_end(&self, outcome: Outcome, ctx: &mut Context<'_, Self>) {
        self.hook(ctx, |protocol, ctx| protocol.on_command_end(outcome, ctx));
    }

    fn drain_notice(&self, ctx: &mut Context<'_, Self>) -> Option<P::Frame> {
        self.hook(ctx, P::drain_notice)
    }

    fn ping(&self, ctx: &mut Context<'_, Self>) -> Option<P::Frame> {
        self.hook(ctx, P::ping)
    }

    fn goodbye(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) -> Option<P::Frame> {
        self.hook(ctx, |protocol, ctx| protocol.goodbye(reason, ctx))
    }

    fn on_disconnect(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) {
        self.hook(ctx, |protocol, ctx| protocol.on_disconnect(reason, ctx));
    }
}
