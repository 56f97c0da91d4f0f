//! Warnings, counted for each thread, and so for each test.

use std::{cell::Cell, sync::Once};

use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

thread_local! {
    static WARNINGS: Cell<usize> = const { Cell::new(0) };
}

/// There is one for the whole process, because `tracing` remembers what the first thread that
/// came by had said to an event.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        WARNINGS.set(WARNINGS.get() + 1);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Counts from here.
///
/// # Panics
///
/// If there is a subscriber that is not this.
pub fn count_warnings() {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Counter).expect("no other"));
    tracing::callsite::rebuild_interest_cache();
    WARNINGS.set(0);
}

/// Warnings of this thread so far.
pub fn warnings() -> usize {
    WARNINGS.get()
}
