//! The end of a message that is not whole in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tracing::{Event, Level, Metadata, Subscriber, span};
use wireframe_proto::{DeadlineReason, FragmentStats, Instant};

use crate::load::{Bounds, KIB, Load, begin, next};

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, SeqCst);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn an_abandoned_message_is_freed_at_its_deadline_with_one_warning_and_one_count() {
    // rule: REASM-5
    let warnings = Arc::new(AtomicUsize::new(0));
    let warned = Arc::clone(&warnings);
    tracing::subscriber::with_default(Warnings(warned), || {
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
                assert_eq!(warnings.load(SeqCst), dropped as usize);
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
        assert_eq!(warnings.load(SeqCst), 2);
    });
}
