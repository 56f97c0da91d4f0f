//! The driver's side of handlers that converse.

use wireframe_proto::{Body, Connection, Instant, RequestId, WireframeProtocol};

use super::{Driver, task, task_set::TaskSet};
use crate::{
    conversation::{BodyError, Exchange, Wanted},
    frame::Protocol,
    push::Control,
    sync::Arc,
    transport::Transport,
};

/// The conversations of one connection. Each has a place of its own by which it calls the
/// driver, and only those that called are looked at.
pub(super) struct Conversations<F> {
    open: TaskSet<Conversing<F>>,
    /// Their places, by the slots of their commands.
    by_slot: Vec<Option<u32>>,
    /// Those with frames to send for which the engine had no room.
    blocked: Vec<u32>,
    /// Something was handed to a handler, or room was made for it.
    stirred: bool,
}

/// The conversation of one command; closed when this is dropped.
struct Conversing<F> {
    id: RequestId,
    exchange: Arc<Exchange<F>>,
    /// The engine knows that the handler awaits a frame.
    awaits: bool,
    /// The engine knows that the handler reads no more.
    body_dropped: bool,
    /// Whether it stands among the blocked.
    blocked: bool,
}

impl<F> Drop for Conversing<F> {
    fn drop(&mut self) {
        task::discard(self.exchange.close());
    }
}

impl<F> Conversing<F> {
    /// Does what the handler asks for; says whether anything came of it.
    fn serve<P>(&mut self, engine: &mut Connection<P>, now: Instant) -> bool
    where
        P: WireframeProtocol<Frame = F>,
    {
        let sent = self.send(engine);
        let came = match self.exchange.wanted() {
            Wanted::Next => self.fetch(engine, now),
            Wanted::Nothing => {
                if std::mem::take(&mut self.awaits) {
                    engine.stop_awaiting_body(self.id);
                }
                false
            }
            Wanted::Dropped => {
                if !std::mem::replace(&mut self.body_dropped, true) {
                    // What was sent before does not wait for the rest of the body.
                    self.send_all(engine);
                    engine.drop_body(self.id);
                }
                false
            }
        };
        sent || came
    }

    /// Moves frames to the engine while it has room.
    fn send<P>(&mut self, engine: &mut Connection<P>) -> bool
    where
        P: WireframeProtocol<Frame = F>,
    {
        let mut sent = false;
        while engine.response_capacity(self.id) > 0
            && let Some(frame) = self.exchange.take_frame()
        {
            self.respond(engine, frame);
            sent = true;
        }
        if !engine.is_running(self.id) {
            // A frame of it could not be encoded.
            task::discard(self.exchange.close());
        }
        sent
    }

    /// Moves all frames to the engine: no more than may wait here, and that before
    /// something that would keep them waiting, or that they have to precede.
    fn send_all<P>(&mut self, engine: &mut Connection<P>) -> bool
    where
        P: WireframeProtocol<Frame = F>,
    {
        let frames = self.exchange.take_frames();
        let any = !frames.is_empty();
        for frame in frames {
            self.respond(engine, frame);
        }
        any
    }

    fn respond<P>(&self, engine: &mut Connection<P>, frame: F)
    where
        P: WireframeProtocol<Frame = F>,
    {
        if let Err(refused) = engine.accept_response(self.id, frame) {
            task::discard(refused);
        }
    }

    /// Hands the next frame of the body over, if it is there.
    fn fetch<P>(&mut self, engine: &mut Connection<P>, now: Instant) -> bool
    where
        P: WireframeProtocol<Frame = F>,
    {
        let next = match engine.next_body(self.id, now) {
            Body::Pending => {
                self.awaits = true;
                return false;
            }
            Body::Frame(frame) => Ok(Some(frame)),
            Body::End => Ok(None),
            Body::TimedOut => Err(BodyError::TimedOut),
            Body::UnexpectedEof => Err(BodyError::UnexpectedEof),
            _ => Err(BodyError::Closed),
        };
        self.awaits = false;
        if let Some(unread) = self.exchange.hand_over(next) {
            task::discard(unread);
        }
        true
    }
}

impl<F> Conversations<F> {
    pub(super) fn new(control: &Arc<Control>) -> Self {
        Self {
            open: TaskSet::new(Arc::clone(control)),
            by_slot: Vec::new(),
            blocked: Vec::new(),
            stirred: false,
        }
    }

    /// Begins the conversation of a command, of whose frames so many may wait.
    pub(super) fn open(&mut self, id: RequestId, capacity: usize) -> Arc<Exchange<F>> {
        let (index, exchange) = self.open.insert_with(|driver| {
            let exchange = Arc::new(Exchange::new(capacity, driver.clone()));
            let conversing = Conversing {
                id,
                exchange: Arc::clone(&exchange),
                awaits: false,
                body_dropped: false,
                blocked: false,
            };
            (conversing, exchange)
        });
        let slot = id.slot();
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, None);
        }
        let place = self.by_slot.get_mut(slot);
        if let Some(stale) = place.and_then(|place| place.replace(index)) {
            // Its command failed while its handler was at work.
            self.open.remove(stale);
        }
        exchange
    }

    /// The place of a command's conversation.
    fn find(&self, id: RequestId) -> Option<u32> {
        let index = (*self.by_slot.get(id.slot())?)?;
        (self.open.get(index)?.id == id).then_some(index)
    }

    /// Ends the conversation of a command, if there is one.
    fn close(&mut self, id: RequestId) {
        if let Some(index) = self.find(id)
            && let Some(place) = self.by_slot.get_mut(id.slot())
        {
            *place = None;
            self.open.remove(index);
        }
    }

    /// Serves those who called and those who were blocked; says whether anything came of
    /// it, here or since this was last called.
    fn serve_called<P>(&mut self, engine: &mut Connection<P>, now: Instant) -> bool
    where
        P: WireframeProtocol<Frame = F>,
    {
        let mut called = self.open.take_woken();
        for &index in &self.blocked {
            self.open.poll(index, |c, _| c.blocked = false);
        }
        called.append(&mut self.blocked);
        for index in called.drain(..) {
            self.serve(index, engine, now);
        }
        self.open.reuse_list(called);
        std::mem::take(&mut self.stirred)
    }

    fn serve<P>(&mut self, index: u32, engine: &mut Connection<P>, now: Instant)
    where
        P: WireframeProtocol<Frame = F>,
    {
        let served = self.open.poll(index, |conversing, _| {
            let stirred = conversing.serve(engine, now);
            let blocked = conversing.exchange.has_frames()
                && !std::mem::replace(&mut conversing.blocked, true);
            (stirred, blocked)
        });
        let (stirred, blocked) = served.unwrap_or_default();
        self.stirred |= stirred;
        if blocked {
            self.blocked.push(index);
        }
    }

    /// What a handler has sent goes before what comes after this; says whether it
    /// converses at all.
    fn precede<P>(&mut self, id: RequestId, engine: &mut Connection<P>, now: Instant) -> bool
    where
        P: WireframeProtocol<Frame = F>,
    {
        let Some(index) = self.find(id) else {
            return false;
        };
        let sent = self.open.poll(index, |c, _| c.send_all(engine));
        self.stirred |= sent.unwrap_or_default();
        self.serve(index, engine, now);
        true
    }
}

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Serves the handlers that converse, and polls them if anything came of it; says
    /// whether it did.
    #[inline]
    pub(super) fn converse(&mut self) -> bool {
        let Some(conversations) = &mut self.conversations else {
            return false;
        };
        let stirred = conversations.serve_called(&mut self.engine, self.now);
        if stirred {
            self.poll_woken();
        }
        stirred
    }

    /// Whether a handler that converses has called and was not served.
    pub(super) fn is_called(&self) -> bool {
        let conversations = self.conversations.as_ref();
        conversations.is_some_and(|conversations| conversations.open.has_woken())
    }

    /// Whether the engine has room for a frame that had to wait.
    pub(super) fn has_room_to_converse(&self) -> bool {
        self.conversations.as_ref().is_some_and(|conversations| {
            let mut blocked = conversations.blocked.iter();
            blocked.any(|&index| {
                let conversing = conversations.open.get(index);
                conversing.is_some_and(|c| self.engine.response_capacity(c.id) > 0)
            })
        })
    }

    /// Serves the handler of a command, if it converses: it has begun, or its body has
    /// something new.
    pub(super) fn serve_conversation(&mut self, id: RequestId) {
        if let Some(conversations) = &mut self.conversations
            && let Some(index) = conversations.find(id)
        {
            conversations.serve(index, &mut self.engine, self.now);
        }
    }

    /// What the handler has sent goes before what it answers from now on; says whether it
    /// converses.
    #[inline]
    pub(super) fn send_what_precedes(&mut self, id: RequestId) -> bool {
        let conversations = self.conversations.as_mut();
        conversations.is_some_and(|c| c.precede(id, &mut self.engine, self.now))
    }

    /// The command has ended, and with it its conversation.
    #[inline]
    pub(super) fn end_conversation(&mut self, id: RequestId) {
        if let Some(conversations) = &mut self.conversations {
            conversations.close(id);
        }
    }
}
