//! Random fragments, against the model.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{
    super::*,
    model::{Model, Outcome},
};

#[derive(Clone, Debug)]
enum Op {
    Fragments(Fragment),
    /// Fragments of so many messages that have not begun.
    Strangers(usize),
    Pass(u64),
    /// Time passes in which nothing is decoded.
    Pause(u64),
    Shrink,
}

/// A fragment, said relative to what its message has had so far.
#[derive(Clone, Debug)]
struct Fragment {
    id: Option<u64>,
    /// Added to the number of the next fragment; `None` numbers none.
    ahead: Option<i8>,
    len: usize,
    is_final: bool,
    /// Declared at the beginning.
    total: Option<u64>,
    /// It is not longer than was declared, and what ends a message not shorter.
    fits: bool,
    /// Declared in the middle too.
    again: bool,
    /// So many alike come in a row, of which none ends a message if there are several.
    times: usize,
}

fn fragment() -> impl Strategy<Value = Fragment> {
    let id = prop_oneof![5 => (0u64..5).prop_map(Some), 1 => Just(None)];
    let ahead = prop_oneof![
        40 => Just(Some(0i8)),
        10 => Just(None),
        1 => (-3i8..3).prop_map(Some)
    ];
    let len = prop_oneof![2 => Just(0), 10 => 1usize..9, 1 => 9usize..30];
    let total = prop_oneof![30 => Just(None), 20 => (0u64..41).prop_map(Some), 1 => Just(Some(41))];
    let often = |share| proptest::bool::weighted(share);
    let says = (often(0.25), often(0.97), often(0.005));
    let times = prop_oneof![45 => Just(1), 1 => 2usize..40];
    (id, ahead, len, total, says, times).prop_map(
        |(id, ahead, len, total, (is_final, fits, again), times)| Fragment {
            id,
            ahead,
            len,
            is_final,
            total,
            fits,
            again,
            times,
        },
    )
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        50 => fragment().prop_map(Op::Fragments),
        1 => prop_oneof![6 => 1usize..4, 1 => 60usize..70].prop_map(Op::Strangers),
        4 => (0u64..80).prop_map(Op::Pass),
        1 => (0u64..2_000).prop_map(Op::Pass),
        2 => (0u64..200).prop_map(Op::Pause),
        1 => Just(Op::Shrink),
    ];
    proptest::collection::vec(op, 1..80)
}

/// Bounds, and how many bytes stand for one in lengths.
fn bounds() -> impl Strategy<Value = (Bounds, usize)> {
    let unit = prop_oneof![60 => Just(1), 1 => Just(16 * 1024)];
    let fragments = proptest::sample::select(vec![9, 100]);
    let messages = prop_oneof![1 => 1usize..6, 4 => Just(6)];
    let bytes = prop_oneof![9 => Just(90), 1 => Just(30)];
    let says = (
        proptest::bool::weighted(0.35),
        proptest::bool::weighted(0.85),
    );
    let counts = (fragments, messages, bytes);
    (unit, counts, says).prop_map(|(unit, (fragments, messages, bytes), says)| {
        let (reuses_ids, drops_alone) = says;
        let bounds = Bounds {
            message_size: 40 * unit,
            messages,
            bytes: bytes * unit,
            fragments,
            timeout: Duration::from_millis(100),
            reuses_ids,
            refused: None,
            drops_alone,
        };
        (bounds, unit)
    })
}

struct Run {
    model: Model,
    reassembler: Reassembler,
    bounds: Bounds,
    unit: usize,
    now: u64,
    byte: u8,
    strangers: u64,
}

impl Run {
    /// Runs a program to its end, or until a fragment is refused.
    fn all(mut self, ops: &[Op]) -> Model {
        for op in ops {
            let goes_on = match op {
                Op::Fragments(fragment) => (0..fragment.times).all(|_| self.fragment(fragment)),
                &Op::Strangers(count) => (0..count).all(|_| self.stranger()),
                Op::Pass(millis) => {
                    self.pass(*millis);
                    true
                }
                Op::Pause(millis) => {
                    self.pause(*millis);
                    true
                }
                Op::Shrink => {
                    self.reassembler.shrink();
                    true
                }
            };
            if !goes_on {
                break;
            }
            self.check();
        }
        self.model
    }

    fn fragment(&mut self, fragment: &Fragment) -> bool {
        let open = self.model.find(fragment.id);
        let next = i64::from(open.map_or(0, |message| message.fragments));
        let mut meta = FragmentMeta::whole(0);
        meta.msg_id = fragment.id;
        meta.is_final = fragment.is_final && fragment.times == 1;
        let ahead = fragment.ahead.map(|ahead| next + i64::from(ahead));
        meta.seq = ahead.and_then(|seq| u32::try_from(seq).ok());
        let unit = self.unit as u64;
        if open.is_none() || fragment.again {
            meta.total_message_len = fragment.total.map(|total| total * unit);
        }
        let mut len = fragment.len * self.unit;
        let declared = match open {
            Some(message) => message
                .total
                .map(|total| total - message.bytes.len() as u64),
            None => meta.total_message_len,
        };
        if let Some(left) = declared
            && fragment.fits
        {
            let left = usize::try_from(left).unwrap();
            len = if meta.is_final { left } else { len.min(left) };
        }
        self.take(meta, len)
    }

    fn stranger(&mut self) -> bool {
        self.strangers += 1;
        let mut meta = FragmentMeta::whole(0);
        meta.msg_id = Some(1_000 + self.strangers);
        meta.seq = Some(1);
        self.take(meta, 1)
    }

    /// Whether the connection goes on after it.
    fn take(&mut self, mut meta: FragmentMeta, len: usize) -> bool {
        self.byte = self.byte.wrapping_add(1);
        let payload = vec![self.byte; len];
        meta.payload_len = len as u64;
        let from = self.moment();
        let expected = self.model.take(&meta, &payload, self.now, &self.bounds);
        let checked = self.reassembler.check(&meta, &self.bounds);
        let taken = self
            .reassembler
            .take(meta, payload.into(), from, &self.bounds);
        assert_eq!(checked.err().as_ref(), taken.as_ref().err());
        let outcome = Outcome::from(taken);
        assert_eq!(outcome, expected);
        outcome.is_harmless()
    }

    fn moment(&self) -> Moment {
        let now = Instant::from_millis(self.now);
        self.reassembler.moment(now, self.model.received as u64)
    }

    fn deadline(&self) -> Option<Instant> {
        let due = self.reassembler.deadline(self.moment())?;
        self.reassembler.clock.due(due)
    }

    /// Goes on where a connection would end, as it does behind a message without an id.
    fn pass(&mut self, millis: u64) {
        self.now += millis;
        let now = self.moment();
        let before = self.model.open.len();
        while let Some(expired) = self.reassembler.expire(now, &self.bounds) {
            self.model.expire(expired, &self.bounds);
        }
        let due = self.model.deadline(&self.bounds);
        assert!(due.is_none_or(|due| due > self.now), "{due:?} is over");
        if before - self.model.open.len() > 1 {
            self.model.saw("several timed out");
        }
    }

    fn pause(&mut self, millis: u64) {
        let clock = &mut self.reassembler.clock;
        clock.stop(Instant::from_millis(self.now));
        self.now += millis;
        assert_eq!(self.deadline(), None);
        let now = self.moment();
        assert_eq!(self.reassembler.expire(now, &self.bounds), None);
        let clock = &mut self.reassembler.clock;
        clock.run(Instant::from_millis(self.now));
        self.model.postpone(millis);
    }

    fn check(&self) {
        let (model, reassembler) = (&self.model, &self.reassembler);
        let due = model.deadline(&self.bounds);
        assert_eq!(self.deadline(), due.map(Instant::from_millis));
        let capacities = reassembler.places.iter().map(Partial::capacity);
        assert_eq!(capacities.sum::<usize>(), reassembler.allocated);
        let received: usize = model.open.iter().map(|message| message.bytes.len()).sum();
        assert_eq!(reassembler.received, received);
        assert!(reassembler.allocated <= received + received / 2);
        assert!(received <= self.bounds.bytes);
        assert_eq!(reassembler.open.len(), model.open.len());
        assert_eq!(reassembler.has_anonymous(), model.find(None).is_some());
        assert_eq!(reassembler.stats(), model.stats);
        assert_eq!(reassembler.cut_off().is_some(), due.is_some());
        let known = reassembler.by_id.len();
        let named = model.open.iter().filter(|message| message.id.is_some());
        assert_eq!(known, named.count() + reassembler.dropped.len());
        assert!(reassembler.dropped.len() <= REMEMBERED);
        assert!(reassembler.places.len() <= self.bounds.messages);
    }
}

fn run((bounds, unit): (Bounds, usize), ops: &[Op]) -> Model {
    let run = Run {
        model: Model::default(),
        reassembler: Reassembler::default(),
        bounds,
        unit,
        now: 0,
        byte: 0,
        strangers: 0,
    };
    run.all(ops)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_a_plain_model(bounds in bounds(), ops in ops()) {
        // rule: REASM-1, REASM-2, REASM-3, REASM-4, REASM-5, REASM-7
        run(bounds, &ops);
    }
}

/// What can happen, and in how many of [`CASES`] random programs it does, at least.
const EVERYTHING: [(&str, usize); 38] = [
    ("whole at once", 300),
    ("whole of several", 200),
    ("whole and interleaved", 200),
    ("whole without an id", 100),
    ("whole as declared", 200),
    ("whole and empty", 10),
    ("empty", 300),
    ("duplicate", 20),
    ("gap", 20),
    ("gap before the beginning", 100),
    ("sequence gap", 8),
    ("late after a gap", 20),
    ("late after its time", 100),
    ("timed out", 150),
    ("timed out without an id", 100),
    ("timed out without a number", 10),
    ("gap in a message without a number", 1),
    ("timed out where answers go in order", 5),
    ("gap where answers go in order", 5),
    ("late, though the id may be used again", 20),
    ("several timed out", 100),
    ("more time", 5),
    ("paused", 250),
    ("id again", 200),
    ("id again after a drop", 10),
    ("id again that was forgotten", 3),
    ("more", 15),
    ("less", 15),
    ("declared with", 30),
    ("declared in the middle", 8),
    ("another first fragment", 3),
    ("too large", 40),
    ("too much announced", 50),
    ("max_fragments_per_message", 30),
    ("max_empty_fragments", 4),
    ("max_partial_messages", 50),
    ("max_partial_bytes", 50),
    ("more announced than all may be", 5),
];
const CASES: usize = 1_000;

#[test]
fn random_programs_reach_everything_that_can_happen() {
    // rule: REASM-1, REASM-2, REASM-3, REASM-4, REASM-5, REASM-7
    let mut runner = TestRunner::deterministic();
    let mut cases = BTreeMap::new();
    for _ in 0..CASES {
        let program = (bounds(), ops()).new_tree(&mut runner).unwrap();
        let (bounds, ops) = program.current();
        for what in run(bounds, &ops).seen {
            *cases.entry(what).or_insert(0) += 1;
        }
    }
    for (what, least) in EVERYTHING {
        let often = cases.remove(what).unwrap_or(0);
        assert!(often >= least, "{what}: {often} times");
    }
    assert!(cases.is_empty(), "{cases:?}");
}
