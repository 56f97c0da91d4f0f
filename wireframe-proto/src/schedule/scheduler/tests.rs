use alloc::{vec, vec::Vec};
use core::time::Duration;

use proptest::prelude::*;

use super::{FairnessConfig, Instant, Ready, Scheduler, Source};

/// The rules as they are written, evaluated over the whole past at every pick.
struct Reference {
    config: FairnessConfig,
    past: Vec<(Ready, Instant, Option<Source>)>,
}

impl Reference {
    /// How many of the picks since the last `end` are `counted`.
    fn run(&self, counted: &[Source], end: Source) -> u32 {
        let picks = self.past.iter().rev().filter_map(|pick| pick.2);
        let run = picks.take_while(|&source| source != end);
        let run = run.filter(|source| counted.contains(source)).count();
        u32::try_from(run).unwrap()
    }

    /// When the run of highs began that neither a low nor the lack of highs has ended.
    fn slice_start(&self, ready: Ready) -> Option<Instant> {
        let run = self.past.iter().rev();
        let run = run.take_while(|(ready, _, pick)| ready.high && *pick != Some(Source::Low));
        let highs = run.filter(|(.., pick)| *pick == Some(Source::High));
        highs.last().filter(|_| ready.high).map(|(_, at, _)| *at)
    }

    fn pick(&mut self, ready: Ready, now: Instant) -> Option<Source> {
        let FairnessConfig {
            max_high_before_low: highs,
            max_push_before_response: pushes,
            time_slice,
        } = self.config;
        let slice_over = match (time_slice, self.slice_start(ready)) {
            (Some(slice), Some(start)) => now >= start + slice,
            _ => false,
        };
        let low_due = highs > 0 && self.run(&[Source::High], Source::Low) >= highs || slice_over;
        let pushed = self.run(&[Source::High, Source::Low], Source::Response);
        let response_due = pushes > 0 && pushed >= pushes;

        let order = [
            (Source::Control, ready.control),
            (Source::Low, ready.low && low_due),
            (Source::Response, ready.response && response_due),
            (Source::High, ready.high),
            (Source::Low, ready.low),
            (Source::Response, ready.response),
        ];
        let first = order.into_iter().find(|(_, may_go)| *may_go);
        let picked = first.map(|(source, _)| source);
        self.past.push((ready, now, picked));
        picked
    }
}

/// All sixteen combinations of sources.
fn ready(bits: u8) -> Ready {
    Ready {
        control: bits & 1 != 0,
        high: bits & 2 != 0,
        low: bits & 4 != 0,
        response: bits & 8 != 0,
    }
}

fn configs() -> Vec<FairnessConfig> {
    let mut configs = vec![];
    for max_high_before_low in 0..4 {
        for max_push_before_response in 0..5 {
            for time_slice in [None, Some(Duration::ZERO), Some(Duration::from_millis(3))] {
                configs.push(FairnessConfig {
                    max_high_before_low,
                    max_push_before_response,
                    time_slice,
                });
            }
        }
    }
    configs
}

#[test]
fn something_goes_whenever_anything_is_ready_and_nothing_else_does() {
    // rule: SEL-1
    for config in configs() {
        for history in 0..1u32 << 12 {
            let mut scheduler = Scheduler::default();
            for shift in [0, 4, 8] {
                let ready = ready(u8::try_from(history >> shift & 15).unwrap());
                let picked = scheduler.pick(&config, ready, Instant::ZERO);
                let was_ready = match picked {
                    Some(Source::Control) => ready.control,
                    Some(Source::High) => ready.high && !ready.control,
                    Some(Source::Low) => ready.low && !ready.control,
                    Some(Source::Response) => ready.response && !ready.control,
                    None => ready == Ready::default(),
                };
                assert!(was_ready, "{picked:?} of {ready:?} with {config:?}");
            }
        }
    }
}

/// How many picks other than `waiting` go by, at most, while it is ready all the time
/// and the other sources come and go in every way.
fn longest_wait(config: FairnessConfig, waiting: u8, rounds: u32) -> u32 {
    let mut longest = 0;
    // Control goes first without a bound; two bits are the other two sources.
    let others: Vec<u8> = [2, 4, 8]
        .into_iter()
        .filter(|&bit| bit != waiting)
        .collect();
    for history in 0..1u32 << (2 * rounds) {
        let mut scheduler = Scheduler::default();
        let mut wait = 0;
        for round in 0..rounds {
            let [a, b] = [0, 1].map(|bit| history >> (2 * round + bit) & 1 != 0);
            let bits = waiting | if a { others[0] } else { 0 } | if b { others[1] } else { 0 };
            let picked = scheduler.pick(&config, ready(bits), Instant::ZERO);
            let source = match waiting {
                4 => Source::Low,
                _ => Source::Response,
            };
            wait = if picked == Some(source) { 0 } else { wait + 1 };
            longest = longest.max(wait);
        }
    }
    longest
}

#[test]
fn a_ready_low_and_a_ready_response_wait_for_a_bounded_number_of_others() {
    // rule: SEL-3, SEL-5
    for highs in 1..4 {
        for pushes in 1..4 {
            let config = FairnessConfig {
                max_high_before_low: highs,
                max_push_before_response: pushes,
                time_slice: None,
            };
            let low = longest_wait(config, 4, 7);
            // Responses among the highs, one for every so many pushes.
            assert!(
                low <= highs + highs.div_ceil(pushes),
                "{low} with {config:?}"
            );
            let response = longest_wait(config, 8, 7);
            // A low that is due too goes first.
            assert!(response <= pushes + 1, "{response} with {config:?}");
        }
    }
}

proptest! {
    #[test]
    fn picks_are_those_of_the_written_rules(
        max_high_before_low in 0u32..5,
        max_push_before_response in 0u32..7,
        slice in proptest::option::of(0u64..20),
        rounds in proptest::collection::vec((0u8..16, 0u64..6), 1..80),
    ) {
        // rule: SEL-1, SEL-3, SEL-4, SEL-5
        let config = FairnessConfig {
            max_high_before_low,
            max_push_before_response,
            time_slice: slice.map(Duration::from_millis),
        };
        let mut scheduler = Scheduler::default();
        let mut reference = Reference { config, past: vec![] };
        let mut now = Instant::ZERO;
        for (bits, passed) in rounds {
            now += Duration::from_millis(passed);
            // Control is rare, or nothing else would ever go.
            let ready = ready(if passed == 0 { bits } else { bits & !1 });
            prop_assert_eq!(scheduler.pick(&config, ready, now), reference.pick(ready, now));
        }
    }
}
