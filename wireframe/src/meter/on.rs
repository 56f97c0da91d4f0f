//! The metrics of an app: handles of the recorder that was installed when it was built.

use std::fmt;

use ::metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use super::{Dropped, ErrorKind};
use crate::{contain, sync::Arc};

const CONNECTIONS: &str = "wireframe_connections_active";
const FRAMES: &str = "wireframe_frames_processed_total";
const PUSHES: &str = "wireframe_pushes_total";
const DROPPED: &str = "wireframe_pushes_dropped_total";
const DEPTH: &str = "wireframe_push_queue_depth";
const LATENCY: &str = "wireframe_request_latency_seconds";
const ASSEMBLED: &str = "wireframe_messages_assembled_total";
const REASSEMBLY: &str = "wireframe_reassembly_errors_total";
const PANICS: &str = "wireframe_handler_panics_total";
const ERRORS: &str = "wireframe_errors_total";

/// What a connection counts with: the app's metrics, or nothing.
#[derive(Clone, Default)]
pub(crate) struct Metrics(Option<Arc<Handles>>);

/// What each metric is added to. A name is looked up once, when the app is built.
pub(super) struct Handles {
    pub(super) connections: Gauge,
    pub(super) inbound: Counter,
    pub(super) outbound: Counter,
    pub(super) high: Lane,
    pub(super) low: Lane,
    dropped: Vec<Counter>,
    pub(super) latency: Histogram,
    pub(super) assembled: Counter,
    pub(super) reassembly: Reassembly,
    panics: Counter,
    errors: Vec<Counter>,
}

/// The pushes of one priority.
pub(super) struct Lane {
    pub(super) pushes: Counter,
    pub(super) depth: Gauge,
}

/// What became of messages that did not become whole.
pub(super) struct Reassembly {
    pub(super) gaps: Counter,
    pub(super) timed_out: Counter,
    pub(super) over_limit: Counter,
    pub(super) malformed: Counter,
}

impl Metrics {
    /// Those of an app, in the recorder that is installed now.
    pub(crate) fn register() -> Self {
        describe();
        let lane = |priority: &'static str| Lane {
            pushes: counter!(PUSHES, "priority" => priority),
            depth: gauge!(DEPTH, "priority" => priority),
        };
        let reassembly = |reason: &'static str| counter!(REASSEMBLY, "reason" => reason);
        let dropped = Dropped::VALUES.iter();
        let errors = ErrorKind::VALUES.iter();
        Self(Some(Arc::new(Handles {
            connections: gauge!(CONNECTIONS),
            inbound: counter!(FRAMES, "direction" => "inbound"),
            outbound: counter!(FRAMES, "direction" => "outbound"),
            high: lane("high"),
            low: lane("low"),
            dropped: dropped
                .map(|&reason| counter!(DROPPED, "reason" => reason))
                .collect(),
            latency: histogram!(LATENCY),
            assembled: counter!(ASSEMBLED),
            reassembly: Reassembly {
                gaps: reassembly("sequence_gap"),
                timed_out: reassembly("timed_out"),
                over_limit: reassembly("limit"),
                malformed: reassembly("malformed"),
            },
            panics: counter!(PANICS),
            errors: errors
                .map(|&kind| counter!(ERRORS, "kind" => kind))
                .collect(),
        })))
    }

    /// Tells something, if there is anything to tell it to. A recorder is foreign code.
    #[inline]
    pub(super) fn with(&self, tell: impl FnOnce(&Handles)) {
        if let Some(handles) = &self.0 {
            contain::run(|| tell(handles));
        }
    }

    /// There is a connection more.
    pub(crate) fn connection_began(&self) {
        self.with(|handles| handles.connections.increment(1));
    }

    /// A handler has panicked, or the stream that it answered with.
    pub(crate) fn handler_panicked(&self) {
        self.with(|handles| handles.panics.increment(1));
    }

    /// Something has gone wrong.
    pub(crate) fn error(&self, kind: ErrorKind) {
        self.with(|handles| {
            if let Some(counter) = handles.errors.get(kind as usize) {
                counter.increment(1);
            }
        });
    }

    /// A push was not sent, or not taken.
    pub(crate) fn push_dropped(&self, reason: Dropped) {
        self.with(|handles| handles.pushes_dropped(reason, 1));
    }

    /// So many pushes were accepted, and have ended before the engine saw them.
    pub(crate) fn pushes_lost(&self, high: usize, low: usize) {
        self.with(|handles| {
            let lanes = [(&handles.high, high as u64), (&handles.low, low as u64)];
            for (lane, lost) in lanes.into_iter().filter(|(_, lost)| *lost > 0) {
                lane.pushes.increment(lost);
                handles.pushes_dropped(Dropped::ConnectionClosed, lost);
            }
        });
    }
}

impl Handles {
    /// So many pushes were not sent, or not taken.
    pub(super) fn pushes_dropped(&self, reason: Dropped, pushes: u64) {
        if let Some(counter) = self.dropped.get(reason as usize)
            && pushes > 0
        {
            counter.increment(pushes);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Units and meanings, for those who look at what is recorded.
fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections of servers.");
    let frames = "Whole frames that servers decoded and encoded.";
    describe_counter!(FRAMES, Unit::Count, frames);
    let pushes = "Frames pushed on connections of servers that took a place in a queue.";
    describe_counter!(PUSHES, Unit::Count, pushes);
    let dropped = "Pushes that were not sent, or were refused for now.";
    describe_counter!(DROPPED, Unit::Count, dropped);
    let depth = "Pushes on their way, of all connections together.";
    describe_gauge!(DEPTH, Unit::Count, depth);
    let latency = "From a request's beginning to the last frame of its answer.";
    describe_histogram!(LATENCY, Unit::Seconds, latency);
    let assembled = "Messages that came in fragments and became whole.";
    describe_counter!(ASSEMBLED, Unit::Count, assembled);
    let reassembly = "Messages that came in fragments and did not become whole.";
    describe_counter!(REASSEMBLY, Unit::Count, reassembly);
    describe_counter!(PANICS, Unit::Count, "Handlers that panicked.");
    let errors = "Connections, requests and handlers that failed.";
    describe_counter!(ERRORS, Unit::Count, errors);
}
