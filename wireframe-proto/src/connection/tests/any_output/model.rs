//! What is known about the output of a connection without knowing the engine.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{
    CorrelationId, FairnessConfig, Priority, Released,
    connection::tests::support::{Frame, Kind, OVERHEAD},
    stats::PushStats,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Control,
    High,
    Low,
    Response,
}

/// The pushes of one priority.
#[derive(Debug, Default)]
struct Queue {
    /// Accepted and not encoded, as far as can be seen: flawed ones stand here until
    /// their turn is over.
    waiting: VecDeque<Frame>,
    /// Passed over by the codec; their events have not been taken.
    refused: Vec<Frame>,
    /// On their way: where each ends in the output, and its charge.
    encoded: VecDeque<(usize, usize)>,
    stats: PushStats,
    released: Released,
    bytes: usize,
}

#[derive(Debug)]
struct Command {
    id: Option<CorrelationId>,
    waiting: VecDeque<Frame>,
    finished: bool,
}

#[derive(Debug)]
pub(super) struct Model {
    correlated: bool,
    fairness: FairnessConfig,
    /// Whether a flawed frame was pushed.
    flaws: bool,
    high: Queue,
    low: Queue,
    commands: VecDeque<Command>,
    control: usize,
    /// Output so far: all of it, and how much the peer has.
    output: Vec<u8>,
    parsed: usize,
    taken: usize,
    /// Picks of others while a low, or a response, was waiting.
    low_waits: u32,
    response_waits: u32,
}

fn pop_if<T>(queue: &mut VecDeque<T>, may_go: impl Fn(&T) -> bool) -> Option<T> {
    if queue.front().is_some_and(may_go) {
        queue.pop_front()
    } else {
        None
    }
}

fn charge(frame: &Frame) -> usize {
    OVERHEAD - 4 + frame.body.len()
}

impl Model {
    pub(super) fn new(correlated: bool, fairness: FairnessConfig) -> Self {
        Self {
            correlated,
            fairness,
            flaws: false,
            high: Queue::default(),
            low: Queue::default(),
            commands: VecDeque::new(),
            control: 0,
            output: Vec::new(),
            parsed: 0,
            taken: 0,
            low_waits: 0,
            response_waits: 0,
        }
    }

    fn queue(&mut self, priority: Priority) -> &mut Queue {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }

    pub(super) fn has_room(&mut self, priority: Priority, frame: &Frame) -> bool {
        let queue = self.queue(priority);
        let frames = queue.stats.queued;
        frames == 0
            || (frames < super::FRAMES as u64 && queue.bytes + charge(frame) <= super::BYTES)
    }

    pub(super) fn pushed(&mut self, priority: Priority, frame: Frame) {
        self.flaws |= frame.kind == Kind::Flawed;
        let queue = self.queue(priority);
        queue.stats.accepted += 1;
        queue.stats.queued += 1;
        queue.bytes += charge(&frame);
        queue.waiting.push_back(frame);
    }

    pub(super) fn control(&mut self) {
        self.control += 1;
    }

    pub(super) fn begin(&mut self, id: Option<CorrelationId>) {
        self.commands.push_back(Command {
            id,
            waiting: VecDeque::new(),
            finished: false,
        });
    }

    fn command(&mut self, id: Option<CorrelationId>) -> &mut Command {
        let mut commands = self.commands.iter_mut();
        commands.find(|command| command.id == id).unwrap()
    }

    pub(super) fn responded(&mut self, id: Option<CorrelationId>, frame: Frame) {
        self.command(id).waiting.push_back(frame);
    }

    pub(super) fn finished(&mut self, id: Option<CorrelationId>) {
        self.command(id).finished = true;
        self.forget_ended();
    }

    fn forget_ended(&mut self) {
        let ended = |command: &Command| command.finished && command.waiting.is_empty();
        self.commands.retain(|command| !ended(command));
    }

    /// Whether an answer may go: any, or that of the oldest command.
    fn response_ready(&self) -> bool {
        let mut commands = self.commands.iter();
        match self.correlated {
            true => commands.any(|command| !command.waiting.is_empty()),
            false => commands.next().is_some_and(|c| !c.waiting.is_empty()),
        }
    }

    /// A push came back: it was the oldest flawed one of its queue.
    pub(super) fn came_back(&mut self, priority: Priority, frame: &Frame) {
        assert_eq!(frame.kind, Kind::Flawed);
        self.pass_over_flawed(priority);
        let queue = self.queue(priority);
        assert_eq!(queue.refused.remove(0), *frame);
        queue.stats.unencodable += 1;
        queue.stats.queued -= 1;
        queue.released.unencodable += 1;
        queue.released.bytes += charge(frame);
        queue.bytes -= charge(frame);
    }

    /// Flawed frames at the front have had their turn, or will have it unseen.
    fn pass_over_flawed(&mut self, priority: Priority) {
        let queue = self.queue(priority);
        while let Some(frame) = pop_if(&mut queue.waiting, |f| f.kind == Kind::Flawed) {
            queue.refused.push(frame);
        }
    }

    /// These bytes, from the front of what was lent, have left.
    pub(super) fn taken(&mut self, bytes: &[u8]) {
        let end = self.taken + bytes.len();
        assert_eq!(self.output[self.taken..end], *bytes);
        self.taken = end;
        for queue in [&mut self.high, &mut self.low] {
            while let Some((_, charge)) = pop_if(&mut queue.encoded, |(e, _)| *e <= end) {
                queue.stats.sent += 1;
                queue.stats.queued -= 1;
                queue.released.sent += 1;
                queue.released.bytes += charge;
                queue.bytes -= charge;
            }
        }
    }

    /// These bytes wait to be sent: what was not there before has just been encoded.
    pub(super) fn encoded(&mut self, lent: &[u8]) {
        let known = self.output.len() - self.taken;
        assert_eq!(
            self.output[self.taken..],
            lent[..known],
            "lent bytes changed"
        );
        self.output.extend_from_slice(&lent[known..]);
        let fresh = Frame::parse_all(&self.output[self.parsed..]);
        for frame in fresh {
            self.parsed += frame.wire().len();
            self.picked_one(&frame);
        }
    }

    fn picked_one(&mut self, frame: &Frame) {
        let source = self.source(frame);
        self.check_turn(source);
        match source {
            Source::Control => self.control -= 1,
            Source::High => self.sent_push(Priority::High, frame),
            Source::Low => self.sent_push(Priority::Low, frame),
            Source::Response => {
                let id = frame.id.map(|id| CorrelationId(u64::from(id)));
                let command = match self.correlated {
                    true => self.command(id),
                    false => self.commands.front_mut().unwrap(),
                };
                assert_eq!(command.id, id, "another command's turn");
                let mut sent = command.waiting.pop_front().unwrap();
                sent.id = frame.id;
                assert_eq!(sent, *frame);
                self.forget_ended();
            }
        }
    }

    fn sent_push(&mut self, priority: Priority, frame: &Frame) {
        let end = self.parsed;
        let queue = self.queue(priority);
        assert_eq!(queue.waiting.pop_front().as_ref(), Some(frame));
        queue.encoded.push_back((end, charge(frame)));
    }

    /// Where a frame comes from: the one queue at whose front it stands.
    fn source(&mut self, frame: &Frame) -> Source {
        if frame.kind == Kind::Control {
            return Source::Control;
        }
        if frame.id.is_some() {
            return Source::Response;
        }
        for (priority, source) in Priority::ALL.into_iter().zip([Source::High, Source::Low]) {
            if self.queue(priority).waiting.contains(frame) {
                self.pass_over_flawed(priority);
                return source;
            }
        }
        panic!("{frame:?} was not accepted, or was sent before");
    }

    /// Whether it may be that source's turn, by what waits and what went before.
    fn check_turn(&mut self, source: Source) {
        let is_control = source == Source::Control;
        assert!(is_control || self.control == 0, "control goes first");
        if is_control {
            return;
        }
        let strict = self.fairness == FairnessConfig::strict();
        let sound = |queue: &Queue| queue.waiting.iter().any(|f| f.kind != Kind::Flawed);
        let (high, low) = (sound(&self.high), sound(&self.low));
        let response = self.response_ready();
        match source {
            _ if !strict => {}
            Source::Low => assert!(!high, "strict: high goes before low"),
            Source::Response => assert!(!high && !low, "strict: pushes go first"),
            Source::Control | Source::High => {}
        }
        if source == Source::Response && !self.correlated {
            assert!(
                self.response_ready(),
                "the oldest command has nothing to send"
            );
        }
        self.low_waits = match source {
            Source::Low => 0,
            _ => self.low_waits + u32::from(low),
        };
        self.response_waits = match source {
            Source::Response => 0,
            _ => self.response_waits + u32::from(response),
        };
        let FairnessConfig {
            max_high_before_low: highs,
            max_push_before_response: pushes,
            ..
        } = self.fairness;
        // The turn of a flawed frame cannot be seen, nor what it counts for.
        if !strict && !self.flaws {
            assert!(self.low_waits <= highs + highs.div_ceil(pushes), "{self:?}");
            assert!(self.response_waits <= pushes + 1, "{self:?}");
        }
    }

    /// `fill` says that nothing more is ready.
    pub(super) fn check_nothing_ready(&mut self) {
        for priority in Priority::ALL {
            self.pass_over_flawed(priority);
            assert!(self.queue(priority).waiting.is_empty(), "{self:?}");
        }
        assert_eq!(self.control, 0);
        assert!(!self.response_ready(), "{self:?}");
    }

    pub(super) fn check_lent_at_least(&self, high_water: usize) {
        assert!(self.output.len() - self.taken >= high_water);
    }

    pub(super) fn check_stats(&mut self, priority: Priority, stats: PushStats) {
        assert_eq!(self.queue(priority).stats, stats);
        let terms = stats.sent + stats.unencodable + stats.connection_ended + stats.queued;
        assert_eq!(stats.accepted, terms);
        assert!(stats.queued <= super::FRAMES as u64);
    }

    pub(super) fn check_released(&mut self, priority: Priority, released: Released) {
        let expected = core::mem::take(&mut self.queue(priority).released);
        assert_eq!(expected, released);
    }

    /// Whether everything that was accepted has left.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.control == 0
            && self.taken == self.output.len()
            && self.high.waiting.is_empty()
            && self.low.waiting.is_empty()
    }

    pub(super) fn check_nothing_outstanding(&self) {
        for queue in [&self.high, &self.low] {
            assert_eq!(queue.stats.queued, 0, "{self:?}");
            assert_eq!(queue.bytes, 0, "{self:?}");
        }
    }
}
