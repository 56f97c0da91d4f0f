use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    message_size: 40,
    messages: 3,
    bytes: 90,
    fragments: 9,
    timeout: Duration::from_millis(100),
    reuses_ids: false,
    drops_alone: true,
};

/// A moment at which nothing has been received that would give time.
fn moment(millis: u64) -> Moment {
    Moment {
        now: Instant::from_millis(millis),
        received: 0,
    }
}

/// A fragment, said relative to what its message has had so far.
#[derive(Clone, Debug)]
enum Op {
    Fragment {
        id: Option<u64>,
        /// Added to the number of the next fragment; `None` numbers none.
        ahead: Option<i8>,
        len: usize,
        is_final: bool,
        total: Option<u64>,
    },
    Pass(u64),
}

/// A message of the model.
#[derive(Clone, Debug)]
struct Plain {
    id: Option<u64>,
    total: Option<u64>,
    bytes: Vec<u8>,
    capacity: usize,
    fragments: u32,
    empty: usize,
    due: u64,
}

/// What a reader of the rules would write who has all the time in the world.
#[derive(Debug, Default)]
struct Model {
    open: Vec<Plain>,
    dropped: Vec<u64>,
}

/// What comes of a fragment, without the words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    Whole(Vec<u8>),
    Gap(u64),
    Limit(&'static str),
    Malformed,
}

impl Model {
    fn take(&mut self, meta: &FragmentMeta, payload: &[u8], now: u64) -> Outcome {
        let id = meta.msg_id;
        if id.is_some_and(|id| self.dropped.contains(&id)) {
            return Outcome::Nothing;
        }
        let at = self.open.iter().position(|message| message.id == id);
        let fresh = Plain {
            id,
            total: meta.total_message_len,
            bytes: vec![],
            capacity: 0,
            fragments: 0,
            empty: 0,
            due: now + 100,
        };
        let mut message = at.map_or(fresh, |at| self.open[at].clone());
        match meta.seq {
            Some(seq) if seq < message.fragments => return Outcome::Nothing,
            Some(seq) if seq > message.fragments => {
                let Some(id) = id else {
                    return Outcome::Malformed;
                };
                self.open.retain(|message| message.id != Some(id));
                self.dropped.push(id);
                return Outcome::Gap(id);
            }
            _ => {}
        }
        let size = message.bytes.len() + payload.len();
        let again = meta.total_message_len;
        if again.is_some() && again != message.total {
            return Outcome::Malformed;
        }
        if let Some(total) = message.total
            && (size as u64 > total || (meta.is_final && (size as u64) < total))
        {
            return Outcome::Malformed;
        }
        if size > 40 || message.total.is_some_and(|total| total > 40) {
            return Outcome::Limit("max_message_size");
        }
        message.fragments += 1;
        if message.fragments > 9 {
            return Outcome::Limit("max_fragments_per_message");
        }
        if at.is_some() && payload.is_empty() && message.empty == 32 {
            return Outcome::Limit("max_empty_fragments");
        }
        if at.is_none() && meta.is_final {
            return Outcome::Whole(payload.to_vec());
        }
        if at.is_none() && self.open.len() == 3 {
            return Outcome::Limit("max_partial_messages");
        }
        let all: usize = self.open.iter().map(|message| message.capacity).sum();
        let room = 90 - (all - message.capacity);
        if size > message.capacity {
            if size > room {
                return Outcome::Limit("max_partial_bytes");
            }
            let total = usize::try_from(message.total.unwrap_or(40)).unwrap();
            message.capacity = (2 * size).min(40).min(room).min(total).max(size);
        }
        message.empty = if payload.is_empty() {
            message.empty + 1
        } else {
            0
        };
        message.bytes.extend_from_slice(payload);
        match at {
            Some(at) if meta.is_final => {
                self.open.remove(at);
                return Outcome::Whole(message.bytes);
            }
            Some(at) => self.open[at] = message,
            None => self.open.push(message),
        }
        Outcome::Nothing
    }

    /// Ids of those that are late, earliest deadline first.
    fn expire(&mut self, now: u64) -> Vec<(Option<u64>, u64)> {
        let late = |message: &Plain| message.due <= now;
        let mut expired: Vec<_> = self.open.iter().filter(|m| late(m)).cloned().collect();
        self.open.retain(|message| !late(message));
        self.dropped.extend(expired.iter().filter_map(|m| m.id));
        expired.sort_by_key(|message| message.due);
        let named = |m: Plain| (m.id, m.bytes.len() as u64);
        let mut named: Vec<_> = expired.into_iter().map(named).collect();
        named.sort_unstable();
        named
    }
}

fn outcome(taken: Result<Taken, CloseReason>) -> Outcome {
    match taken {
        Ok(Taken::Nothing) => Outcome::Nothing,
        Ok(Taken::Whole(_, bytes)) => Outcome::Whole(bytes.to_vec()),
        Ok(Taken::Dropped(message)) => Outcome::Gap(message.id),
        Err(CloseReason::Limit(limit)) => Outcome::Limit(limit.limit),
        Err(CloseReason::Malformed(_)) => Outcome::Malformed,
        Err(other) => panic!("{other:?}"),
    }
}

fn op() -> impl Strategy<Value = Op> {
    let id = prop_oneof![3 => (0u64..5).prop_map(Some), 1 => Just(None)];
    let ahead = prop_oneof![
        12 => Just(Some(0i8)),
        3 => Just(None),
        1 => (-3i8..3).prop_map(Some)
    ];
    let total = prop_oneof![8 => Just(None), 3 => (0u64..50).prop_map(Some)];
    let fragment =
        (id, ahead, 0usize..14, 0u8..5, total).prop_map(|(id, ahead, len, last, total)| {
            Op::Fragment {
                id,
                ahead,
                len: len.saturating_sub(2),
                is_final: last == 0,
                total,
            }
        });
    prop_oneof![9 => fragment, 1 => (0u64..80).prop_map(Op::Pass)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_a_plain_model(ops in proptest::collection::vec(op(), 1..80)) {
        // rule: REASM-1, REASM-2, REASM-3, REASM-4, REASM-5, REASM-7
        let (mut model, mut reassembler) = (Model::default(), Reassembler::default());
        let (mut now, mut byte) = (0, 0u8);
        for op in ops {
            let at = moment(now);
            match op {
                Op::Pass(millis) => {
                    now += millis;
                    let at = moment(now);
                    let first = model.open.iter().map(|message| message.due).min();
                    prop_assert_eq!(reassembler.deadline(at), first.map(Instant::from_millis));
                    let mut expired = vec![];
                    while let Some(message) = reassembler.expire(at, &BOUNDS) {
                        expired.push(message);
                    }
                    expired.sort_unstable();
                    prop_assert_eq!(expired, model.expire(now));
                }
                Op::Fragment { id, ahead, len, is_final, total } => {
                    let mut meta = FragmentMeta::whole(len as u64);
                    meta.msg_id = id;
                    meta.is_final = is_final;
                    meta.total_message_len = total;
                    let open = model.open.iter().find(|message| message.id == id);
                    let next = i64::from(open.map_or(0, |message| message.fragments));
                    meta.seq = ahead.and_then(|ahead| u32::try_from(next + i64::from(ahead)).ok());
                    byte = byte.wrapping_add(1);
                    let payload = vec![byte; len];
                    let expected = model.take(&meta, &payload, now);
                    let checked = reassembler.check(&meta, &BOUNDS);
                    let taken = reassembler.take(meta, payload.into(), at, &BOUNDS);
                    prop_assert_eq!(checked.is_err(), taken.is_err());
                    let outcome = outcome(taken);
                    prop_assert_eq!(&outcome, &expected);
                    if let Outcome::Limit(_) | Outcome::Malformed = outcome {
                        return Ok(());
                    }
                }
            }
            let capacities = reassembler.places.iter().map(Partial::capacity);
            prop_assert_eq!(capacities.sum::<usize>(), reassembler.allocated);
            prop_assert!(reassembler.allocated <= BOUNDS.bytes);
            prop_assert_eq!(reassembler.open.len(), model.open.len());
        }
    }
}

#[test]
fn reused_ids_are_not_remembered() {
    // rule: REASM-5
    let bounds = Bounds {
        reuses_ids: true,
        ..BOUNDS
    };
    let mut reassembler = Reassembler::default();
    let mut take = |seq, is_final| {
        let mut meta = FragmentMeta::whole(1);
        meta.msg_id = Some(7);
        meta.seq = Some(seq);
        meta.is_final = is_final;
        let payload = Bytes::from_static(b"x");
        outcome(reassembler.take(meta, payload, moment(0), &bounds))
    };
    assert_eq!(take(0, false), Outcome::Nothing);
    assert_eq!(take(2, false), Outcome::Gap(7));
    assert_eq!(take(0, false), Outcome::Nothing);
    assert_eq!(take(1, true), Outcome::Whole(b"xx".to_vec()));
}

#[test]
fn memory_follows_what_has_come_and_not_what_was_announced() {
    // rule: LIM-2, REASM-2
    let bounds = Bounds {
        message_size: 1 << 30,
        bytes: 1 << 30,
        ..BOUNDS
    };
    let mut reassembler = Reassembler::default();
    let mut meta = FragmentMeta::whole(1000);
    meta.is_final = false;
    meta.total_message_len = Some(1 << 30);
    for fragments in 1..=9 {
        let payload = vec![0; 1000].into();
        let taken = reassembler.take(meta.clone(), payload, moment(0), &bounds);
        assert_eq!(taken, Ok(Taken::Nothing));
        assert!(reassembler.allocated <= 2_000 * fragments);
        meta.total_message_len = None;
    }
}

#[test]
fn without_an_id_a_gap_is_fatal() {
    // rule: REASM-4
    let mut meta = FragmentMeta::whole(1);
    meta.seq = Some(2);
    let payload = Bytes::from_static(b"x");
    let taken = Reassembler::default().take(meta, payload, moment(0), &BOUNDS);
    let what = "sequence gap: expected fragment 0, got 2";
    assert_eq!(taken, Err(CloseReason::Malformed(Malformed::new(what))));
}

#[test]
fn an_idle_connection_keeps_the_ids_of_dropped_messages_and_no_more() {
    // rule: REASM-5, LIM-5
    let mut reassembler = Reassembler::default();
    let take = |reassembler: &mut Reassembler, id, seq, is_final| {
        let mut meta = FragmentMeta::whole(1);
        meta.msg_id = Some(id);
        meta.seq = Some(seq);
        meta.is_final = is_final;
        let payload = Bytes::from_static(b"x");
        outcome(reassembler.take(meta, payload, moment(0), &BOUNDS))
    };
    assert_eq!(take(&mut reassembler, 1, 0, false), Outcome::Nothing);
    assert_eq!(take(&mut reassembler, 2, 0, false), Outcome::Nothing);
    reassembler.shrink();
    assert_eq!(
        take(&mut reassembler, 2, 1, true),
        Outcome::Whole(b"xx".to_vec())
    );
    assert_eq!(take(&mut reassembler, 1, 2, false), Outcome::Gap(1));
    reassembler.shrink();
    assert_eq!(
        (reassembler.places.capacity(), reassembler.free.capacity()),
        (0, 0)
    );
    assert_eq!(take(&mut reassembler, 1, 0, false), Outcome::Nothing);
    assert_eq!(reassembler.stats().late, 1);
    assert_eq!(take(&mut reassembler, 3, 0, false), Outcome::Nothing);
    assert_eq!(
        take(&mut reassembler, 3, 1, true),
        Outcome::Whole(b"xx".to_vec())
    );
}
