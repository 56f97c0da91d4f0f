//! The end of a message that is not whole in time.

use std::time::Duration;

use wireframe_proto::{DeadlineReason, FragmentStats, Instant};
use wireframe_tests::{count_warnings, warnings};

use crate::load::{Bounds, KIB, Load, begin, next};

#[test]
fn an_abandoned_message_is_freed_at_its_deadline_with_a_count_and_a_warning_in_an_interval() {
    // rule: REASM-5, OBS-3
    count_warnings();
    let nanosecond = Duration::from_nanos(1);
    let mut load = Load::new(Bounds::SMALL);
    load.feed(&begin(1, 40 * KIB, &[1; 4 * KIB]));
    // Another one, one nanosecond later, is dropped one later.
    load.pass(nanosecond);
    load.feed(&begin(2, 40 * KIB, &[1; 4 * KIB]));
    let held = load.held;
    for dropped in 0..2 {
        let due = load.connection.poll_timeout().unwrap();
        let expected = Instant::ZERO + Duration::from_secs(30) + nanosecond * dropped;
        assert_eq!((due.reason, due.at), (DeadlineReason::Reassembly, expected));
        let before = due.at.saturating_duration_since(load.now) - nanosecond;
        load.pass(before);
        let is_there = |load: &Load, dropped: u32| {
            assert_eq!(load.dropped, dropped as usize);
            // They are dropped at about the same time.
            assert_eq!(warnings(), dropped.min(1) as usize);
            let freed = i64::from(dropped) * 6 * KIB as i64;
            assert!((held - freed - load.held).abs() < 1_000, "{}", load.held);
        };
        is_there(&load, dropped);
        load.pass(nanosecond);
        is_there(&load, dropped + 1);
    }
    assert_eq!(load.connection.poll_timeout(), None);
    // What comes late is no cause for another.
    load.feed(&next(1, 1, b"x"));
    load.pass(Duration::from_secs(100));
    let mut counted = FragmentStats::default();
    (counted.timed_out, counted.late) = (2, 1);
    assert_eq!(load.connection.stats().fragments, counted);
    assert_eq!(warnings(), 1);
}
