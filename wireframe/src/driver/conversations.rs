//! The driver's side of handlers that converse.

use wireframe_proto::{Body, Connection, Instant, RequestId, WireframeProtocol};

use super::{
    Driver,
    at_work::AtWork,
    hosted::Hosted,
    task::{self, Task},
    task_set::TaskSet,
};
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
    /// Commands whose handlers have frames to send for which the engine had no room.
    blocked: Vec<RequestId>,
    /// Something was handed to a handler, or room was made for it.
    stirred: bool,
}

/// The conversation of one command; closed when this is dropped.
struct Conversing<F> {
    id: RequestId,
    /// The place of the answer's other frames, if there are several and the handler has
    /// returned them.
    feed: Option<u32>,
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

/// What came of serving a handler.
#[derive(Clone, Copy, Default)]
struct Served {
    /// It was handed something, or room was made for it.
    stirred: bool,
    /// It has frames that could not go.
    waits: bool,
}

/// What the driver has besides its conversations.
struct Around<'a, P: Protocol> {
    engine: &'a mut Connection<Hosted<P>>,
    at_work: Option<&'a AtWork<P>>,
    now: Instant,
}

impl<F> Conversing<F> {
    /// Does what the handler asks for.
    fn serve<P: Protocol<Frame = F>>(&mut self, around: &mut Around<'_, P>) -> Served {
        let sent = self.may_send(around.at_work) && self.send(around.engine);
        let engine = &mut *around.engine;
        if !engine.is_running(self.id) {
            // A frame of it could not be encoded, as an event will tell.
            return Served {
                stirred: sent,
                waits: false,
            };
        }
        let asked = self.exchange.asked();
        if asked.gave_up && std::mem::take(&mut self.awaits) {
            engine.stop_awaiting_body(self.id);
        }
        let came = match asked.wants {
            Wanted::Next => self.fetch(engine, around.now),
            Wanted::Nothing => false,
            Wanted::Dropped => {
                if !std::mem::replace(&mut self.body_dropped, true) {
                    // What was sent before does not wait for the rest of the body.
                    self.send_all(engine);
                    engine.drop_body(self.id);
                }
                false
            }
        };
        Served {
            stirred: sent || came,
            waits: asked.sends,
        }
    }

    /// Whether a frame that it has to send could go.
    fn has_room<P: Protocol<Frame = F>>(
        &self,
        engine: &Connection<Hosted<P>>,
        at_work: Option<&AtWork<P>>,
    ) -> bool {
        engine.response_capacity(self.id) > 0 && self.may_send(at_work)
    }

    /// Whether it is its turn to send: the answer's other frames go first if they only
    /// wait for room, or whoever sends without an end could keep the answer from its own.
    fn may_send<P: Protocol<Frame = F>>(&self, at_work: Option<&AtWork<P>>) -> bool {
        let feed = self.feed.and_then(|index| at_work?.tasks.get(index));
        !matches!(feed, Some(Task::Feed { listed: true, .. }))
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
            open: TaskSet::new(control),
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
                feed: None,
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
        if let Some(place) = self.by_slot.get_mut(slot) {
            debug_assert_eq!(*place, None, "a conversation that outlives its command");
            *place = Some(index);
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

    /// Serves those who called, and those who were blocked and for whom there is room now;
    /// says whether anything came of it, here or since this was last called.
    fn serve_called<P: Protocol<Frame = F>>(&mut self, mut around: Around<'_, P>) -> bool {
        let mut called = self.open.take_woken();
        self.unblock(&around, &mut called);
        for index in called.drain(..) {
            self.serve(index, &mut around);
        }
        self.open.reuse_list(called);
        std::mem::take(&mut self.stirred)
    }

    /// Moves those for whom there is room from the blocked to the called.
    fn unblock<P: Protocol<Frame = F>>(&mut self, around: &Around<'_, P>, called: &mut Vec<u32>) {
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|&id| {
            // Those that have ended are dropped from the list here.
            let Some(index) = self.find(id) else {
                return false;
            };
            let stays = self.open.poll(index, |conversing, _| {
                conversing.blocked = !conversing.has_room(around.engine, around.at_work);
                conversing.blocked
            });
            if stays != Some(true) {
                called.push(index);
            }
            stays == Some(true)
        });
        self.blocked = blocked;
    }

    fn serve<P: Protocol<Frame = F>>(&mut self, index: u32, around: &mut Around<'_, P>) {
        let Self { open, blocked, .. } = self;
        let served = open.poll(index, |conversing, _| {
            let served = conversing.serve(around);
            if served.waits && !std::mem::replace(&mut conversing.blocked, true) {
                blocked.push(conversing.id);
            }
            served
        });
        self.stirred |= served.unwrap_or_default().stirred;
    }

    /// What a handler has sent goes before what comes after this; says whether it
    /// converses at all.
    fn precede<P: Protocol<Frame = F>>(
        &mut self,
        id: RequestId,
        mut around: Around<'_, P>,
    ) -> bool {
        let Some(index) = self.find(id) else {
            return false;
        };
        let sent = self.open.poll(index, |c, _| c.send_all(around.engine));
        self.stirred |= sent.unwrap_or_default();
        self.serve(index, &mut around);
        true
    }
}

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// The conversations, if there have been any, and what else is needed to serve them.
    #[inline]
    fn conversations(&mut self) -> Option<(&mut Conversations<P::Frame>, Around<'_, P>)> {
        let around = Around {
            engine: &mut self.engine,
            at_work: self.at_work.as_deref(),
            now: self.now,
        };
        Some((self.conversations.as_deref_mut()?, around))
    }

    /// Serves the handlers that converse, and polls them if anything came of it; says
    /// whether it did.
    #[inline]
    pub(super) fn converse(&mut self) -> bool {
        if self.conversations.is_none() {
            return false;
        }
        // What a handler pushed goes before what it sent after that.
        self.take_pushes();
        let Some((conversations, around)) = self.conversations() else {
            return false;
        };
        let stirred = conversations.serve_called(around);
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

    /// Whether a frame that had to wait may go.
    pub(super) fn may_converse(&self) -> bool {
        self.conversations.as_ref().is_some_and(|conversations| {
            conversations.blocked.iter().any(|&id| {
                let index = conversations.find(id);
                let conversing = index.and_then(|index| conversations.open.get(index));
                conversing.is_some_and(|c| c.has_room(&self.engine, self.at_work.as_deref()))
            })
        })
    }

    /// Serves the handler of a command, if it converses: because it has begun, or its body
    /// has something new.
    #[inline]
    pub(super) fn serve_conversation(&mut self, id: RequestId) {
        if self.conversations.is_none() {
            return;
        }
        // As in `converse`.
        self.take_pushes();
        if let Some((conversations, mut around)) = self.conversations()
            && let Some(index) = conversations.find(id)
        {
            conversations.serve(index, &mut around);
        }
    }

    /// What the handler has sent goes before what it answers from now on; says whether it
    /// converses.
    #[inline]
    pub(super) fn send_what_precedes(&mut self, id: RequestId) -> bool {
        let conversations = self.conversations();
        conversations.is_some_and(|(conversations, around)| conversations.precede(id, around))
    }

    /// The handler has returned more than one frame, which are fed from there.
    pub(super) fn note_feed(&mut self, id: RequestId, feed: u32) {
        if let Some(conversations) = &mut self.conversations
            && let Some(index) = conversations.find(id)
        {
            conversations.open.poll(index, |c, _| c.feed = Some(feed));
        }
    }

    /// The command has ended, and with it its conversation.
    #[inline]
    pub(super) fn end_conversation(&mut self, id: RequestId) {
        if let Some(conversations) = &mut self.conversations {
            conversations.close(id);
        }
    }
}
