mod model;
mod random;

use alloc::vec;

use model::Outcome;

use super::*;
use crate::error::Malformed;

const BOUNDS: Bounds = Bounds {
    message_size: 40,
    messages: 3,
    bytes: 90,
    fragments: 9,
    timeout: Duration::from_millis(100),
    reuses_ids: false,
    refused: None,
    drops_alone: true,
};

/// The beginning.
const AT_ONCE: Moment = Moment {
    now: Instant::ZERO,
    received: 0,
};

const REUSING: Bounds = Bounds {
    reuses_ids: true,
    ..BOUNDS
};

/// Takes one byte of message 7, where ids are used again.
fn take(reassembler: &mut Reassembler, seq: Option<u32>, is_final: bool) -> Outcome {
    let mut meta = FragmentMeta::whole(1);
    meta.msg_id = Some(7);
    meta.seq = seq;
    meta.is_final = is_final;
    let payload = Bytes::from_static(b"x");
    Outcome::from(reassembler.take(meta, payload, AT_ONCE, &REUSING))
}

fn whole(bytes: &[u8]) -> Outcome {
    Outcome::Whole(bytes.to_vec())
}

/// What is dropped of the messages that are open when all of them should be whole.
fn expire(reassembler: &mut Reassembler) -> Option<Expired> {
    let now = Instant::from_millis(100);
    let moment = Moment { now, ..AT_ONCE };
    reassembler.expire(moment, &REUSING)
}

#[test]
fn where_ids_are_used_again_a_gap_is_told_once_and_a_first_fragment_begins_anew() {
    // rule: REASM-4, REASM-5
    let mut reassembler = Reassembler::default();
    for late in [2, 4] {
        assert_eq!(take(&mut reassembler, Some(0), false), Outcome::Nothing);
        assert_eq!(take(&mut reassembler, Some(2), false), Outcome::Gap(7));
        for (seq, is_final) in [(Some(3), false), (Some(4), true)] {
            let taken = take(&mut reassembler, seq, is_final);
            assert_eq!(taken, Outcome::Nothing);
        }
        assert_eq!(reassembler.stats().late, late);
    }
    assert_eq!(reassembler.stats().gaps, 2);
    assert_eq!(take(&mut reassembler, Some(0), false), Outcome::Nothing);
    assert_eq!(take(&mut reassembler, Some(1), true), whole(b"xx"));
    // It is not remembered any more.
    assert_eq!(take(&mut reassembler, None, true), whole(b"x"));
    assert!(reassembler.by_id.is_empty() && reassembler.dropped.len() == 0);
}

#[test]
fn where_ids_are_used_again_a_message_of_one_fragment_begins_anew_too() {
    // rule: REASM-5
    let mut reassembler = Reassembler::default();
    assert_eq!(take(&mut reassembler, Some(1), false), Outcome::Gap(7));
    assert_eq!(take(&mut reassembler, Some(0), true), whole(b"x"));
    assert_eq!(take(&mut reassembler, None, true), whole(b"x"));
}

#[test]
fn where_ids_are_used_again_a_first_fragment_may_be_one_that_came_or_a_new_one() {
    // rule: REASM-5
    let dropped = || {
        let mut reassembler = Reassembler::default();
        assert_eq!(take(&mut reassembler, Some(0), false), Outcome::Nothing);
        assert_eq!(take(&mut reassembler, Some(2), false), Outcome::Gap(7));
        assert_eq!(take(&mut reassembler, Some(0), false), Outcome::Nothing);
        reassembler
    };
    // The message is sent once more.
    assert_eq!(take(&mut dropped(), Some(1), true), whole(b"xx"));
    // The first fragment came twice: what could not be told is told twice.
    assert_eq!(take(&mut dropped(), Some(3), true), Outcome::Gap(7));
}

#[test]
fn where_ids_are_used_again_numbers_tell_the_rest_of_a_message_that_timed_out() {
    // rule: REASM-5
    let mut reassembler = Reassembler::default();
    assert_eq!(take(&mut reassembler, Some(0), false), Outcome::Nothing);
    let expired = Expired {
        id: Some(7),
        received: 1,
        is_alone: true,
    };
    assert_eq!(expire(&mut reassembler), Some(expired));
    assert_eq!(take(&mut reassembler, Some(1), true), Outcome::Nothing);
    let stats = reassembler.stats();
    assert_eq!((stats.late, stats.gaps, stats.timed_out), (1, 0, 1));
    assert_eq!(take(&mut reassembler, Some(0), true), whole(b"x"));
}

#[test]
fn where_ids_are_used_again_a_message_without_numbers_is_not_dropped_alone() {
    // rule: REASM-4, REASM-5
    let mut reassembler = Reassembler::default();
    assert_eq!(take(&mut reassembler, None, false), Outcome::Nothing);
    let expired = Expired {
        id: Some(7),
        received: 1,
        is_alone: false,
    };
    assert_eq!(expire(&mut reassembler), Some(expired));
    // So it is if only its other fragments are numbered.
    let mut reassembler = Reassembler::default();
    assert_eq!(take(&mut reassembler, None, false), Outcome::Nothing);
    let gap = Outcome::Malformed("sequence gap");
    assert_eq!(take(&mut reassembler, Some(2), false), gap);
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
        let taken = reassembler.take(meta.clone(), payload, AT_ONCE, &bounds);
        assert_eq!(taken, Ok(Taken::Nothing));
        assert!(reassembler.allocated <= 1_500 * fragments);
        meta.total_message_len = None;
    }
}

#[test]
fn a_message_grows_by_large_steps_however_little_more_may_come() {
    // rule: LIM-9, REASM-3
    let bounds = Bounds {
        message_size: 10_000,
        bytes: 10_000,
        fragments: 10_000,
        ..BOUNDS
    };
    let mut reassembler = Reassembler::default();
    let mut take = |id, len| {
        let mut meta = FragmentMeta::whole(len as u64);
        meta.msg_id = Some(id);
        meta.is_final = false;
        let payload = vec![0; len].into();
        let taken = reassembler.take(meta, payload, AT_ONCE, &bounds);
        assert_eq!(taken, Ok(Taken::Nothing));
        reassembler.allocated
    };
    // Another one has taken all but what this one needs.
    let others = take(1, 9_000);
    let mut steps: Vec<usize> = (0..1_000).map(|_| take(2, 1) - others).collect();
    steps.dedup();
    // Each is half more than what is copied then.
    assert_eq!(steps[..6], [1, 3, 6, 10, 16, 25]);
    assert!(steps.len() < 20, "{steps:?}");
}

#[test]
fn without_an_id_a_gap_is_fatal() {
    // rule: REASM-4
    let mut meta = FragmentMeta::whole(1);
    meta.seq = Some(2);
    let payload = Bytes::from_static(b"x");
    let taken = Reassembler::default().take(meta, payload, AT_ONCE, &BOUNDS);
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
        Outcome::from(reassembler.take(meta, payload, AT_ONCE, &BOUNDS))
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
