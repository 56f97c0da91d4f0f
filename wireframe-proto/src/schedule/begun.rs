//! Messages that go in fragments, from their first to their last.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use hashbrown::HashSet;

use super::scheduler::Source;
use crate::{
    fragment::splitter::Splitter,
    ids::{CallId, Priority},
    steps::step,
};

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Control, or the last word.
    Control,
    Push {
        priority: Priority,
        /// The call that it begins.
        call: Option<CallId>,
    },
    /// The answer of the command in that place.
    Answer(u32),
}

impl Origin {
    const fn source(self) -> Source {
        match self {
            Self::Control => Source::Control,
            Self::Push { priority, .. } => match priority {
                Priority::High => Source::High,
                Priority::Low => Source::Low,
            },
            Self::Answer(_) => Source::Response,
        }
    }
}

/// A message under way.
#[derive(Debug)]
pub(crate) struct Message<F> {
    pub(crate) frame: F,
    pub(crate) origin: Origin,
    pub(crate) splitter: Box<Splitter>,
    /// Counts messages in the order in which they began.
    number: u64,
}

impl<F> Message<F> {
    /// Whether it began there. Counts as a step, since each is asked until it is found.
    fn began_at(&self, origin: Origin) -> bool {
        step();
        self.origin == origin
    }
}

/// The messages under way.
///
/// Sources are served first in, first out, so of each there is one at most; but of
/// answers that take turns there is one for each command.
#[derive(Debug)]
pub(crate) struct Begun<F> {
    control: VecDeque<Message<F>>,
    high: VecDeque<Message<F>>,
    low: VecDeque<Message<F>>,
    /// In the order of their turns.
    answers: VecDeque<Message<F>>,
    /// Ids of messages.
    ids: HashSet<u64>,
    /// Messages without an id.
    anonymous: usize,
    /// Bytes of all messages together, sent ones included.
    bytes: usize,
    /// Bytes allocated for what was copied of them.
    copied: usize,
    /// Those that let not all of the others go between their fragments, by their numbers,
    /// newest last. What began before the newest has to wait for its end.
    barriers: Vec<u64>,
    /// Messages ever begun.
    count: u64,
    next_id: u64,
    /// The ping that is owed: it was asked for to see whether it may go now.
    pub(crate) ping: Option<F>,
}

impl<F> Default for Begun<F> {
    fn default() -> Self {
        Self {
            control: VecDeque::new(),
            high: VecDeque::new(),
            low: VecDeque::new(),
            answers: VecDeque::new(),
            ids: HashSet::new(),
            anonymous: 0,
            bytes: 0,
            copied: 0,
            barriers: Vec::new(),
            count: 0,
            next_id: 0,
            ping: None,
        }
    }
}

impl<F> Begun<F> {
    /// Messages under way.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.control.len() + self.high.len() + self.low.len() + self.answers.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in no order that matters.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message<F>> {
        let pushes = self.high.iter().chain(&self.low);
        let messages = self.control.iter().chain(pushes).chain(&self.answers);
        messages.inspect(|_| step())
    }

    /// Whether all messages have ids, so that another one that is split may mix with them.
    pub(crate) const fn all_have_ids(&self) -> bool {
        self.anonymous == 0
    }

    /// Whether with one of `len` bytes they are no more than `most` bytes together.
    pub(crate) fn have_room(&self, len: usize, most: usize) -> bool {
        self.bytes.saturating_add(len) <= most
    }

    /// Bytes that are allocated for them, and not only shared.
    pub(crate) const fn copied(&self) -> usize {
        self.copied
    }

    /// An id that names no message under way, if one of those up to `max` is free.
    pub(crate) fn free_id(&self, max: u64) -> Option<u64> {
        let mut id = self.next_id;
        for _ in 0..=self.ids.len() {
            step();
            id = if id > max { 0 } else { id };
            if !self.ids.contains(&id) {
                return Some(id);
            }
            id = id.saturating_add(1);
        }
        None
    }

    /// A message has begun. A barrier is one between whose fragments not all of the others
    /// may go.
    pub(crate) fn insert(
        &mut self,
        frame: F,
        origin: Origin,
        splitter: Box<Splitter>,
        is_barrier: bool,
    ) {
        let number = self.count;
        self.count += 1;
        if is_barrier {
            self.barriers.push(number);
        }
        match splitter.id() {
            Some(id) => {
                self.ids.insert(id);
                self.next_id = id.saturating_add(1);
            }
            None => self.anonymous += 1,
        }
        self.bytes = self.bytes.saturating_add(splitter.total());
        self.copied += splitter.copied();
        self.put_back(Message {
            frame,
            origin,
            splitter,
            number,
        });
    }

    /// The message's turn is over, and more of it is to come.
    pub(crate) fn put_back(&mut self, message: Message<F>) {
        self.of_mut(message.origin.source()).push_back(message);
    }

    /// The message has ended.
    pub(crate) fn end(&mut self, message: &Message<F>) {
        match message.splitter.id() {
            Some(id) => drop(self.ids.remove(&id)),
            None => self.anonymous -= 1,
        }
        self.bytes = self.bytes.saturating_sub(message.splitter.total());
        self.copied -= message.splitter.copied();
        if self.barriers.last() == Some(&message.number) {
            self.barriers.pop();
        }
    }

    fn of(&self, source: Source) -> &VecDeque<Message<F>> {
        match source {
            Source::Control => &self.control,
            Source::High => &self.high,
            Source::Low => &self.low,
            Source::Response => &self.answers,
        }
    }

    fn of_mut(&mut self, source: Source) -> &mut VecDeque<Message<F>> {
        match source {
            Source::Control => &mut self.control,
            Source::High => &mut self.high,
            Source::Low => &mut self.low,
            Source::Response => &mut self.answers,
        }
    }

    /// Whether a message of that source is under way: nothing else of it may begin,
    /// unless they are answers.
    pub(crate) fn has(&self, source: Source) -> bool {
        !self.of(source).is_empty()
    }

    fn goes_on(&self, message: &Message<F>) -> bool {
        step();
        self.barriers
            .last()
            .is_none_or(|&newest| message.number >= newest)
    }

    /// The first message of that source that may go on.
    pub(crate) fn next_of(&self, source: Source) -> Option<&Message<F>> {
        self.of(source).iter().find(|message| self.goes_on(message))
    }

    /// Whether the message of that command may go on.
    pub(crate) fn answer_goes_on(&self, index: u32) -> bool {
        let of_command = |m: &&Message<F>| m.began_at(Origin::Answer(index));
        let message = self.answers.iter().find(of_command);
        message.is_some_and(|message| self.goes_on(message))
    }

    /// The message that began there, to write its next fragment.
    pub(crate) fn get_mut(&mut self, origin: Origin) -> Option<&mut Message<F>> {
        let mut queue = self.of_mut(origin.source()).iter_mut();
        queue.find(|message| message.began_at(origin))
    }

    /// Takes out the message that began there.
    pub(crate) fn take(&mut self, origin: Origin) -> Option<Message<F>> {
        let queue = self.of_mut(origin.source());
        let at = queue.iter().position(|message| message.began_at(origin))?;
        queue.remove(at)
    }

    /// Takes out all of them.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Message<F>> {
        self.ids.clear();
        self.anonymous = 0;
        self.bytes = 0;
        self.copied = 0;
        self.barriers.clear();
        let pushes = self.high.drain(..).chain(self.low.drain(..));
        pushes
            .chain(self.control.drain(..))
            .chain(self.answers.drain(..))
    }

    /// Frees what is only needed while messages are under way.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self {
                count: self.count,
                next_id: self.next_id,
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fragment::splitter::Cut, steps::counting};

    /// So many messages under way, which have taken one id after the other.
    fn under_way(messages: u32) -> Begun<()> {
        let mut begun = Begun::default();
        let cut = Cut {
            piece: 1,
            ends_short: false,
        };
        for index in 0..messages {
            let id = begun.free_id(99);
            let splitter = Splitter::new((VecDeque::new(), 0), cut, id, false);
            begun.insert((), Origin::Answer(index), Box::new(splitter), false);
        }
        begun
    }

    #[test]
    fn an_id_is_found_at_once_however_many_are_in_use() {
        // rule: LIM-9, FRAG-2
        for messages in [1, 64] {
            let begun = under_way(messages);
            let mut id = None;
            let steps = counting::of(|| id = begun.free_id(99));
            assert_eq!((id, steps), (Some(messages.into()), 1));
        }
    }

    #[test]
    fn ids_in_use_are_passed_over_and_those_of_ended_messages_are_free() {
        // rule: FRAG-2
        let mut begun = under_way(100);
        assert_eq!(begun.free_id(99), None);
        for index in [70, 7] {
            let message = begun.take(Origin::Answer(index)).unwrap();
            begun.end(&message);
            assert_eq!(begun.free_id(99), Some(index.into()));
        }
        assert_eq!(begun.take_all().count(), 98);
        assert_eq!(begun.free_id(99), Some(0));
    }
}
