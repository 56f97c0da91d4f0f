//! The peer's commands that have begun and not ended: their answers and bodies.

mod answers;
mod bodies;
mod held;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use hashbrown::HashMap;

use self::held::HeldBack;
use super::{
    list::{Linked, Links, List},
    seldom::Seldom,
};
use crate::{
    ids::{CorrelationId, RequestId},
    protocol::{AnswerOrder, Outcome, RequestInfo},
    time::Instant,
};

/// How far a command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The place is free.
    Free,
    /// Waits for others to end; the application does not know it yet.
    Held,
    /// The application is at it.
    Running,
    /// The application is done; what it left to send goes, then it ends.
    Finished(Outcome),
}

/// One command.
#[derive(Debug)]
pub(crate) struct Command<F> {
    pub(crate) info: RequestInfo,
    pub(crate) stage: Stage,
    pub(crate) exclusive: bool,
    /// The handler will read no body.
    pub(crate) body_dropped: bool,
    /// The connection closes after its last frame.
    closes: bool,
    /// Whether it stands in the ring of answers that take turns, or aside.
    in_ring: bool,
    /// A message of its answer goes in fragments, and not all of them have gone.
    under_way: bool,
    /// Frames of its answer that wait to be encoded.
    pub(crate) answer: VecDeque<F>,
    /// Boxed because most commands have none.
    pub(crate) body: Option<Box<BodyState<F>>>,
    live: Links,
}

/// The rest of a command, which follows it in frames of its own.
#[derive(Debug)]
pub(crate) struct BodyState<F> {
    /// Frames that wait for the handler, each with the length of its payload.
    frames: VecDeque<(F, usize)>,
    /// The sum of these lengths.
    bytes: usize,
    /// The last frame has arrived.
    pub(crate) complete: bool,
    /// Nobody reads it: what arrives is dropped.
    pub(crate) discarding: bool,
    /// While discarding in order: frames of the answer that were queued before, and may
    /// still go.
    pub(crate) sendable: usize,
    pub(crate) timed_out: bool,
    /// When, on the reading clock, it has been waited for long enough. Set exactly
    /// while it stands in the list of awaited bodies.
    pub(crate) deadline: Option<Instant>,
    full: bool,
    awaited: Links,
}

impl<F> Default for BodyState<F> {
    fn default() -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            complete: false,
            discarding: false,
            sendable: 0,
            timed_out: false,
            deadline: None,
            full: false,
            awaited: Links::default(),
        }
    }
}

/// All commands of a connection.
#[derive(Debug)]
pub(crate) struct Commands<F> {
    order: AnswerOrder,
    places: Vec<Command<F>>,
    free: Vec<u32>,
    /// Commands ever entered: tells one use of a place from the next.
    entered: u32,
    /// All that are not free, in order of arrival.
    live: List,
    running: usize,
    /// Running without a correlation id.
    unnamed_running: u32,
    /// Boxed on first use: few peers send more at once than may be in flight.
    held_back: Option<Box<HeldBack<F>>>,
    /// Answers with something to send, in the order of their turns. Correlated only.
    ring: VecDeque<u32>,
    /// Answers that were not let in at their turn, and have left the ring: the first of them
    /// goes before all others once it may.
    aside: Seldom<u32>,
    /// Exclusive commands that are live, oldest first. Only the first can have started.
    exclusives: Seldom<u32>,
    /// Bodies that somebody waits for, in the order of their deadlines.
    awaited: List,
    /// Bodies that have as many frames as may wait.
    full_bodies: u32,
    /// Payload bytes of the body frames that wait, of all commands.
    body_bytes: usize,
    /// Commands by correlation id; made when the first body frame names one.
    by_id: Option<Box<HashMap<CorrelationId, u32>>>,
}

struct Live<'a, F>(&'a mut [Command<F>]);
struct Awaited<'a, F>(&'a mut [Command<F>]);

impl<F> Linked for Live<'_, F> {
    fn links(&mut self, index: u32) -> Option<&mut Links> {
        Some(&mut self.0.get_mut(index as usize)?.live)
    }
}

impl<F> Linked for Awaited<'_, F> {
    fn links(&mut self, index: u32) -> Option<&mut Links> {
        let body = self.0.get_mut(index as usize)?.body.as_mut()?;
        Some(&mut body.awaited)
    }
}

impl<F> Commands<F> {
    pub(crate) fn new(order: AnswerOrder) -> Self {
        Self {
            order,
            places: Vec::new(),
            free: Vec::new(),
            entered: 0,
            live: List::default(),
            running: 0,
            unnamed_running: 0,
            held_back: None,
            ring: VecDeque::new(),
            aside: Seldom::default(),
            exclusives: Seldom::default(),
            awaited: List::default(),
            full_bodies: 0,
            body_bytes: 0,
            by_id: None,
        }
    }

    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn held(&self) -> usize {
        self.held_back.as_ref().map_or(0, |held| held.len())
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held_back.as_ref().map_or(0, |held| held.bytes())
    }

    pub(crate) fn full_bodies(&self) -> u32 {
        self.full_bodies
    }

    /// Bytes of frames that wait here: of commands that are held back, and in bodies.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.held_bytes() + self.body_bytes
    }

    pub(crate) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    pub(crate) fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// Whether an exclusive command is held.
    pub(crate) fn holds_exclusive(&self) -> bool {
        let newest = self.exclusives.back().and_then(|&index| self.at(index));
        newest.is_some_and(|command| command.stage == Stage::Held)
    }

    /// The oldest live exclusive command.
    #[inline]
    pub(crate) fn exclusive(&self) -> Option<&Command<F>> {
        self.at(*self.exclusives.front()?)
    }

    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<&Command<F>> {
        self.places.get(index as usize)
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut Command<F>> {
        self.places.get_mut(index as usize)
    }

    /// The command with that id, if it is live.
    pub(crate) fn get(&self, id: RequestId) -> Option<&Command<F>> {
        self.at(id.index).filter(|c| c.is(id))
    }

    /// The command with that id, if it is live.
    pub(crate) fn get_mut(&mut self, id: RequestId) -> Option<&mut Command<F>> {
        self.at_mut(id.index).filter(|c| c.is(id))
    }

    /// Whether the application is at that command.
    pub(crate) fn is_running(&self, id: RequestId) -> bool {
        self.get(id).is_some_and(|c| c.stage == Stage::Running)
    }

    /// Enters a new command, held.
    pub(crate) fn insert(
        &mut self,
        route: u32,
        correlation: Option<CorrelationId>,
        exclusive: bool,
    ) -> RequestInfo {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                // Bounded by the commands in flight and held back.
                let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
                self.places.push(Command::vacant());
                index
            }
        };
        self.entered = self.entered.wrapping_add(1);
        let info = RequestInfo {
            id: RequestId {
                index,
                generation: self.entered,
            },
            route,
            correlation,
        };
        if let Some(command) = self.at_mut(index) {
            command.info = info;
            command.stage = Stage::Held;
            command.exclusive = exclusive;
        }
        self.live.push_back(index, &mut Live(&mut self.places));
        if exclusive {
            self.exclusives.push_back(index);
        }
        if let (Some(by_id), Some(id)) = (&mut self.by_id, correlation) {
            by_id.insert(id, index);
        }
        info
    }

    /// The live command with that correlation id, the newest if there are several;
    /// `None` names the oldest command.
    pub(crate) fn find(&mut self, of: Option<CorrelationId>) -> Option<u32> {
        let Some(id) = of else {
            return self.live.head();
        };
        if self.by_id.is_none() {
            let mut by_id = HashMap::new();
            let mut next = self.live.head();
            while let Some(command) = next.and_then(|index| self.at(index)) {
                crate::steps::step();
                if let Some(id) = command.info.correlation {
                    by_id.insert(id, command.info.id.index);
                }
                next = command.live.next();
            }
            self.by_id = Some(Box::new(by_id));
        }
        self.by_id.as_ref()?.get(&id).copied()
    }

    /// Removes a command that is live and has nothing left to send.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32) {
        if self.at(index).is_some_and(|command| command.body.is_some()) {
            self.stop_awaiting(index);
            self.note_fullness(index, false);
            self.clear_body(index);
        }
        self.live.remove(index, &mut Live(&mut self.places));
        let Some(command) = self.places.get_mut(index as usize) else {
            return;
        };
        let id = command.info.correlation;
        if !matches!(command.stage, Stage::Held) {
            self.running -= 1;
            self.unnamed_running -= u32::from(id.is_none());
        }
        command.vacate();
        self.free.push(index);
        self.exclusives.pop_front_if(&index);
        if let (Some(by_id), Some(id)) = (&mut self.by_id, id)
            && by_id.get(&id) == Some(&index)
        {
            by_id.remove(&id);
        }
    }

    /// Removes all commands and returns how far each had come, oldest first.
    pub(crate) fn take_all(&mut self) -> Vec<(RequestInfo, Stage)> {
        let mut all = Vec::new();
        let mut next = self.live.head();
        while let Some(command) = next.and_then(|index| self.at(index)) {
            crate::steps::step();
            all.push((command.info, command.stage));
            next = command.live.next();
        }
        *self = Self {
            entered: self.entered,
            ..Self::new(self.order)
        };
        all
    }

    /// Gives the memory of an idle connection back.
    pub(crate) fn shrink(&mut self) {
        if self.live.len() == 0 {
            *self = Self {
                entered: self.entered,
                ..Self::new(self.order)
            };
        }
    }
}

impl<F> Command<F> {
    fn vacant() -> Self {
        Self {
            info: RequestInfo {
                id: RequestId {
                    index: 0,
                    generation: 0,
                },
                route: 0,
                correlation: None,
            },
            stage: Stage::Free,
            exclusive: false,
            body_dropped: false,
            closes: false,
            in_ring: false,
            under_way: false,
            answer: VecDeque::new(),
            body: None,
            live: Links::default(),
        }
    }

    fn is(&self, id: RequestId) -> bool {
        self.stage != Stage::Free && self.info.id == id
    }

    /// Clears the place for the next command; the answer's queue keeps its memory.
    fn vacate(&mut self) {
        self.stage = Stage::Free;
        self.exclusive = false;
        self.body_dropped = false;
        self.closes = false;
        self.in_ring = false;
        self.under_way = false;
        if !self.answer.is_empty() {
            self.answer.clear();
        }
        self.body = None;
    }
}
