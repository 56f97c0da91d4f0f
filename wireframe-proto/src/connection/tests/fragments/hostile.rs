//! Peers that send fragments to do harm.

use alloc::{vec, vec::Vec};

use super::{events, feed, fragment, raw};
use crate::{
    CloseReason, Config, Event, Instant, LenFlag32K, LimitExceeded, Multiplexed, State,
    config::nonzero, steps::counting,
};

fn small() -> Config {
    let mut config = Config::default();
    config.limits.max_frame_len = nonzero(1024);
    config
}

/// Feeds one unit after the other until the connection closes: how many it took, and why.
fn until_closed(config: Config, units: impl IntoIterator<Item = Vec<u8>>) -> (usize, CloseReason) {
    let mut receiver = raw(Multiplexed::new(), config);
    for (n, unit) in units.into_iter().take(1_000).enumerate() {
        feed(&mut receiver, &unit);
        for event in events(&mut receiver) {
            if let Event::Closing(reason) = event {
                assert_eq!(receiver.state(), State::Closing);
                // What concerns a unit by itself is no matter of its message.
                let of_message =
                    !matches!(&reason, CloseReason::Limit(l) if l.limit == "max_frame_len");
                let over_limit = receiver.stats().fragments.over_limit;
                assert_eq!(over_limit, u64::from(of_message));
                return (n, reason);
            }
        }
    }
    panic!("it is still open");
}

fn limit(limit: &'static str, value: u64, got: u64) -> CloseReason {
    CloseReason::Limit(LimitExceeded { limit, value, got })
}

#[test]
fn fresh_ids_without_end_cross_the_number_of_messages() {
    // rule: REASM-2, REASM-3
    let units = (0..).map(|id| fragment(id, 0, Some(10), false, b"x"));
    let expected = (64, limit("max_partial_messages", 64, 65));
    assert_eq!(until_closed(small(), units), expected);
}

#[test]
fn empty_fragments_without_end_cross_their_number() {
    // rule: REASM-2, REASM-3
    let empty = (1..).map(|seq| fragment(1, seq, None, false, b""));
    let units = [fragment(1, 0, Some(9), false, b"x")]
        .into_iter()
        .chain(empty);
    let expected = (33, limit("max_empty_fragments", 32, 33));
    assert_eq!(until_closed(small(), units), expected);
}

#[test]
fn empty_fragments_with_others_between_them_are_within_their_number() {
    // rule: REASM-2
    let mut receiver = raw(Multiplexed::new(), small());
    feed(&mut receiver, &fragment(1, 0, Some(9), false, b"x"));
    for seq in 1..=64 {
        let body: &[u8] = if seq == 32 { b"x" } else { b"" };
        feed(&mut receiver, &fragment(1, seq, None, false, body));
    }
    assert_eq!(events(&mut receiver), []);
    feed(&mut receiver, &fragment(1, 65, None, false, b""));
    let reason = limit("max_empty_fragments", 32, 33);
    assert_eq!(events(&mut receiver), [Event::Closing(reason)]);
}

#[test]
fn tiny_fragments_without_end_cross_their_number() {
    // rule: REASM-2, REASM-3
    let tiny = (1..).map(|seq| fragment(1, seq, None, false, b"x"));
    let units = [fragment(1, 0, Some(16_384), false, b"x")]
        .into_iter()
        .chain(tiny);
    // 16 KiB / 256 + 16.
    let expected = (80, limit("max_fragments_per_message", 80, 81));
    assert_eq!(until_closed(small(), units), expected);
}

#[test]
fn a_message_that_grows_without_end_crosses_its_size() {
    // rule: REASM-2, REASM-3
    let kibibyte = [1; 1024];
    let mut receiver = raw(LenFlag32K, small());
    let unit = [&[4, 0], &kibibyte[..]].concat();
    for _ in 0..16 {
        feed(&mut receiver, &unit);
        assert_eq!(events(&mut receiver), []);
    }
    // Its header is enough.
    feed(&mut receiver, &[0, 1]);
    let reason = limit("max_message_size", 16_384, 16_385);
    assert_eq!(events(&mut receiver), [Event::Closing(reason)]);
}

#[test]
fn an_announcement_of_two_gibibytes_is_refused_at_its_header() {
    // rule: REASM-2, LIM-2
    let mut unit = fragment(1, 0, Some(2 << 30), false, b"x");
    unit.pop();
    let expected = (0, limit("max_message_size", 16 << 20, 2 << 30));
    assert_eq!(until_closed(Config::default(), [unit]), expected);
}

#[test]
fn messages_together_cross_the_memory_for_all() {
    // rule: REASM-2, REASM-3
    let kibibyte = [1; 1024];
    let unit = |id| {
        let mut unit = fragment(id, 0, Some(8 << 10), false, &kibibyte);
        // The header of the last one is enough.
        unit.truncate(if id == 10 { 30 } else { usize::MAX });
        unit
    };
    let units = (0..).map(unit);
    let mut config = small();
    config.fragments.max_partial_bytes = Some(nonzero(10 << 10));
    let expected = (10, limit("max_partial_bytes", 10 << 10, 11 << 10));
    assert_eq!(until_closed(config, units), expected);
}

#[test]
fn an_announcement_of_more_than_all_may_be_together_is_refused_at_its_header() {
    // rule: REASM-2, LIM-2
    let mut unit = fragment(1, 0, Some(2_001), false, b"x");
    unit.pop();
    let mut config = small();
    config.fragments.max_partial_bytes = Some(nonzero(2_000));
    let expected = (0, limit("max_partial_bytes", 2_000, 2_001));
    assert_eq!(until_closed(config, [unit]), expected);
}

#[test]
fn a_unit_over_the_frame_limit_is_refused_as_ever() {
    // rule: LIM-1
    let units = [fragment(1, 0, Some(4096), false, &[0; 1025])];
    let expected = (0, limit("max_frame_len", 1024, 1025));
    assert_eq!(until_closed(small(), units), expected);
}

#[test]
fn a_slow_drip_ends_at_the_deadline_of_its_message() {
    // rule: REASM-2, REASM-5
    let mut receiver = raw(Multiplexed::new(), small());
    let mut seen = vec![];
    for second in 0..40 {
        let now = Instant::from_millis(1_000 * u64::from(second));
        receiver.handle_timeout(now);
        let unit = match second {
            0 => fragment(1, 0, Some(99), false, b"x"),
            _ => fragment(1, second, None, false, b"x"),
        };
        receiver.receive_buffer().extend_from_slice(&unit);
        receiver.handle_received(now);
        while let Some(event) = receiver.poll_event(now) {
            seen.push((second, event));
        }
    }
    assert!(matches!(seen[..], [(30, Event::MessageDropped(message))] if message.received == 30));
    assert_eq!(receiver.stats().fragments.late, 10);
}

#[test]
fn fragments_of_dropped_messages_are_absorbed() {
    // rule: REASM-5
    let mut receiver = raw(Multiplexed::new(), small());
    for id in 0..100 {
        feed(&mut receiver, &fragment(id, 1, None, false, b"x"));
    }
    assert_eq!(events(&mut receiver).len(), 100);
    // The last 64 are remembered.
    for seq in 2..1_002 {
        feed(&mut receiver, &fragment(36, seq, None, false, b"x"));
    }
    assert_eq!(events(&mut receiver), []);
    assert_eq!(receiver.stats().fragments.late, 1_000);
    feed(&mut receiver, &fragment(35, 2, None, false, b"x"));
    assert_eq!(events(&mut receiver).len(), 1, "it is told of once more");
    assert_eq!(receiver.stats().fragments.late, 1_000);
}

#[test]
fn late_fragments_of_messages_that_timed_out_are_absorbed() {
    // rule: REASM-5
    let mut receiver = raw(Multiplexed::new(), small());
    for id in 0..64 {
        feed(&mut receiver, &fragment(id, 0, Some(9), false, b"x"));
    }
    assert_eq!(events(&mut receiver), []);
    let now = Instant::from_millis(30_000);
    receiver.handle_timeout(now);
    let dropped = core::iter::from_fn(|| receiver.poll_event(now)).count();
    assert_eq!((dropped, receiver.stats().fragments.timed_out), (64, 64));
    for seq in 1..1_001 {
        feed(&mut receiver, &fragment(seq % 64, seq, None, false, b"x"));
    }
    assert_eq!(events(&mut receiver), []);
    assert_eq!(receiver.stats().fragments.late, 1_000);
    assert_eq!(receiver.poll_timeout(), None, "none of them begins again");
}

#[test]
fn a_fragment_costs_the_same_beside_sixty_four_messages() {
    // rule: REASM-6, LIM-9
    // Each message that is asked for its id counts, so a search for one does. What a hash table
    // does with an id, and a tree with a deadline, is not counted.
    let steps = [1, 2, 3, 7, 16, 33, 64].map(|open| {
        let mut receiver = raw(Multiplexed::new(), Config::default());
        for id in 0..open {
            feed(&mut receiver, &fragment(id, 0, Some(99), false, b"x"));
        }
        events(&mut receiver);
        counting::of(|| {
            feed(&mut receiver, &fragment(0, 1, None, false, b"x"));
            feed(&mut receiver, &fragment(0, 1, None, false, b"x"));
            feed(&mut receiver, &fragment(0, 3, None, false, b"x"));
            feed(&mut receiver, &fragment(99, 0, Some(9), false, b"x"));
            feed(&mut receiver, &fragment(99, 1, None, false, b"xxxxxxxx"));
            events(&mut receiver);
            receiver.handle_timeout(Instant::from_millis(1));
        })
    });
    assert_eq!(steps, [steps[0]; 7]);
}

#[test]
fn a_hundred_thousand_attempts_cost_a_step_each() {
    // rule: REASM-6
    type Attempt = fn(u32) -> Vec<u8>;
    let attempts: [(&str, Attempt); 4] = [
        ("gaps", |n| fragment(1_000 + n, 1, None, false, b"x")),
        ("duplicates", |_| fragment(1, 0, Some(99), false, b"x")),
        ("late", |n| fragment(2, 1 + n, None, false, b"x")),
        ("whole", |n| fragment(1_000 + n, 0, None, true, b"x")),
    ];
    for (what, attempt) in attempts {
        let mut receiver = raw(Multiplexed::new(), Config::default());
        feed(&mut receiver, &fragment(1, 0, Some(99), false, b"x"));
        feed(&mut receiver, &fragment(2, 1, None, false, b"x"));
        assert_eq!(events(&mut receiver).len(), 1);
        let wire: Vec<u8> = (0..100_000).flat_map(attempt).collect();
        feed(&mut receiver, &wire);
        let steps = counting::of(|| while receiver.poll_event(Instant::ZERO).is_some() {});
        assert_eq!(steps, 100_000, "{what}");
        let stats = receiver.stats().fragments;
        let counted = match what {
            "gaps" => stats.gaps - 1,
            "duplicates" => stats.duplicates,
            "late" => stats.late,
            _ => stats.messages,
        };
        assert_eq!(counted, 100_000, "{what}");
    }
}
