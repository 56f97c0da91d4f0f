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
        Outcome::from(reassembler.take(meta, payload, AT_ONCE, &bounds))
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
        let taken = reassembler.take(meta.clone(), payload, AT_ONCE, &bounds);
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
