//! What has been told of one connection.

use ::metrics::Counter;
use wireframe_proto::{FragmentStats, Instant, PushStats, RequestId, Stats};

use super::{
    Dropped, Metrics,
    latency::Latency,
    on::{Handles, Lane},
};

/// What a driver has told of its connection. It tells the difference to what the engine has
/// counted, once per run, and of that only what has changed.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    frames_received: u64,
    frames_sent: u64,
    /// Boxed because many connections are never pushed to.
    pushes: Option<Box<Pushes>>,
    /// Boxed because few peers send any.
    fragments: Option<Box<FragmentStats>>,
    latency: Latency,
}

#[derive(Debug, Default)]
struct Pushes {
    high: PushStats,
    low: PushStats,
}

impl Meter {
    /// A request goes on beyond the turn in which it began.
    pub(crate) fn request_goes_on(&mut self, id: RequestId, now: Instant) {
        self.latency.goes_on(id, now);
    }

    /// The last frame of a request's answer was given to the engine.
    pub(crate) fn request_ended(&mut self, id: RequestId, now: Instant) {
        self.latency.ended(id, now);
    }

    /// Whether requests have ended in this turn.
    #[inline]
    pub(crate) fn has_latencies(&self) -> bool {
        self.latency.any_ended()
    }

    /// The turn has ended.
    pub(crate) fn tell_latencies(&mut self, metrics: &Metrics, now: Instant) {
        metrics.with(|handles| self.latency.tell(&handles.latency, now));
        self.latency.forget_ended();
    }

    /// Tells what the engine has counted.
    #[inline]
    pub(crate) fn tell(&mut self, metrics: &Metrics, stats: &Stats) {
        metrics.with(|handles| self.tell_all(handles, stats));
    }

    fn tell_all(&mut self, handles: &Handles, stats: &Stats) {
        let Stats {
            frames_received,
            frames_sent,
            ..
        } = *stats;
        tell(&handles.inbound, &mut self.frames_received, frames_received);
        tell(&handles.outbound, &mut self.frames_sent, frames_sent);
        if stats.high.accepted != 0 || stats.low.accepted != 0 {
            self.tell_pushes(handles, stats);
        }
        if stats.fragments != FragmentStats::default() {
            self.tell_fragments(handles, &stats.fragments);
        }
    }

    fn tell_pushes(&mut self, handles: &Handles, stats: &Stats) {
        let told = self.pushes.get_or_insert_default();
        let lanes = [
            (&handles.high, &mut told.high, &stats.high),
            (&handles.low, &mut told.low, &stats.low),
        ];
        for (lane, told, stats) in lanes {
            tell(&lane.pushes, &mut told.accepted, stats.accepted);
            let unencodable = stats.unencodable - told.unencodable;
            handles.pushes_dropped(Dropped::Unencodable, unencodable);
            let ended = stats.connection_ended - told.connection_ended;
            handles.pushes_dropped(Dropped::ConnectionClosed, ended);
            tell_depth(lane, told.queued, stats.queued);
            *told = *stats;
        }
    }

    fn tell_fragments(&mut self, handles: &Handles, stats: &FragmentStats) {
        let told = self.fragments.get_or_insert_default();
        let reassembly = &handles.reassembly;
        tell(&handles.assembled, &mut told.messages, stats.messages);
        tell(&reassembly.gaps, &mut told.gaps, stats.gaps);
        tell(&reassembly.timed_out, &mut told.timed_out, stats.timed_out);
        tell(
            &reassembly.over_limit,
            &mut told.over_limit,
            stats.over_limit,
        );
        tell(&reassembly.malformed, &mut told.malformed, stats.malformed);
    }

    /// The connection has ended, and nothing of it is under way any more. What it was at in
    /// the end was told.
    pub(crate) fn end(&mut self, metrics: &Metrics) {
        metrics.with(|handles| handles.connections.decrement(1));
    }

    /// Gives up what only a connection with requests under way needs.
    pub(crate) fn rest(&mut self) {
        self.latency.rest();
    }
}

/// Tells what has come on top of what was told.
#[inline]
fn tell(counter: &Counter, told: &mut u64, now: u64) {
    if now != *told {
        let more = now - std::mem::replace(told, now);
        counter.increment(more);
    }
}

fn tell_depth(lane: &Lane, told: u64, now: u64) {
    if now > told {
        lane.depth.increment((now - told) as f64);
    } else if now < told {
        lane.depth.decrement((told - now) as f64);
    }
}
