//! What goes in fragments comes out as it went in.

use alloc::{vec, vec::Vec};

use bytes::Bytes;
use proptest::prelude::*;

use super::{RawConnection, encoded, events, feed, multiplexed, output, raw, units};
use crate::{
    Config, Event, FragmentStrategy, LenFlag32K, LenSeq16M, LengthDelimited, Multiplexed, Priority,
    config::nonzero,
};

const MIB: usize = 1024 * 1024;

fn roomy() -> Config {
    let mut config = Config::default();
    // All that goes in one unit has room, where nothing is split.
    config.limits.max_frame_len = nonzero(64 * MIB);
    config
}

/// Bytes that tell one place from another.
fn patterned(len: usize) -> Bytes {
    let byte = |i: usize| (i ^ (i >> 8) ^ (i >> 16)).to_le_bytes()[0];
    (0..len).map(byte).collect::<Vec<u8>>().into()
}

fn pushed<S>(receiver: &mut RawConnection<S>) -> Vec<Bytes>
where
    S: FragmentStrategy<Bytes> + Clone,
{
    let pushed = |event| match event {
        Event::Push(frame) => frame,
        other => panic!("{other:?}"),
    };
    events(receiver).into_iter().map(pushed).collect()
}

/// Feeds `wire` in reads of these sizes, again and again.
fn received<S>(framing: S, wire: &[u8], reads: &[usize]) -> Vec<Bytes>
where
    S: FragmentStrategy<Bytes> + Clone,
{
    let mut receiver = raw(framing, roomy());
    let mut received = vec![];
    let (mut rest, mut reads) = (wire, reads.iter().cycle());
    while !rest.is_empty() {
        let (read, later) = rest.split_at((*reads.next().unwrap()).min(rest.len()));
        feed(&mut receiver, read);
        received.extend(pushed(&mut receiver));
        rest = later;
    }
    received
}

/// Sizes of reads, of all magnitudes up to 192 KiB, that are the same each time.
fn any_reads(seed: usize) -> Vec<usize> {
    let mut state = seed as u64 | 1;
    let mut read = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let magnitude = (state >> 32) % 18;
        (1 << magnitude) + usize::try_from((state >> 40) % (1 << magnitude)).unwrap() / 2
    };
    (0..1_000).map(|_| read()).collect()
}

/// How a message is cut into reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cuts {
    Whole,
    Any,
    Bytes,
}

fn round_trips<S>(framing: &S, message: &Bytes, cuts: &[Cuts])
where
    S: FragmentStrategy<Bytes> + Clone,
{
    let wire = encoded(framing.clone(), roomy(), core::slice::from_ref(message));
    for cut in cuts {
        let reads = match cut {
            Cuts::Whole => vec![usize::MAX],
            Cuts::Any => any_reads(message.len()),
            Cuts::Bytes => vec![1],
        };
        let received = received(framing.clone(), &wire, &reads);
        let size = message.len();
        assert!(received == [message.clone()], "{size} in reads: {cut:?}");
    }
}

/// Messages of these sizes, over every strategy that there is.
fn round_trips_over_all(sizes: &[usize], cuts: &[Cuts]) {
    for &size in sizes {
        let message = patterned(size);
        round_trips(&LengthDelimited::default(), &message, cuts);
        round_trips(&LenFlag32K, &message, cuts);
        round_trips(&LenSeq16M::default(), &message, cuts);
        round_trips(&Multiplexed::new(), &message, cuts);
    }
}

/// Nothing, a byte, and what is around one fragment and two of `cap` bytes.
const fn around(cap: usize) -> [usize; 6] {
    [0, 1, cap - 1, cap, cap + 1, 2 * cap]
}

const PACKET: usize = 16_777_215;

#[test]
fn sizes_around_a_fragment_round_trip_in_reads_of_any_size() {
    // rule: FRAG-2, FRAG-5, FRAME-5
    let cuts = [Cuts::Whole, Cuts::Any, Cuts::Bytes];
    round_trips_over_all(&around(32_767), &cuts);
    round_trips_over_all(&around(16 * 1024), &cuts);
    for size in around(3) {
        round_trips(&multiplexed(3), &patterned(size), &cuts);
    }
}

#[test]
fn sizes_around_a_packet_round_trip_whole_and_in_reads_of_any_size() {
    // rule: FRAG-4, FRAG-5, FRAME-5
    round_trips_over_all(&around(PACKET)[2..], &[Cuts::Whole, Cuts::Any]);
}

#[test]
fn sixty_four_mebibytes_round_trip_whole_and_in_reads_of_any_size() {
    // rule: FRAG-5, FRAME-5
    round_trips_over_all(&[64 * MIB], &[Cuts::Whole, Cuts::Any]);
}

#[test]
#[ignore = "five hundred million reads: the long run does them, optimised"]
fn what_is_large_round_trips_byte_by_byte() {
    // rule: FRAG-4, FRAG-5, FRAME-5
    round_trips_over_all(&around(PACKET)[2..], &[Cuts::Bytes]);
    round_trips_over_all(&[64 * MIB], &[Cuts::Bytes]);
}

#[test]
fn five_kibibytes_are_five_fragments_of_one() {
    // rule: FRAG-1, FRAG-3
    let message = patterned(5 * 1024);
    let config = Config::default();
    let wire = encoded(multiplexed(1024), config, core::slice::from_ref(&message));
    let units = units::<Bytes>(multiplexed(1024), &wire);
    assert_eq!(units.len(), 5);
    for (n, unit) in units.iter().enumerate() {
        assert_eq!(unit.meta.seq, Some(u32::try_from(n).unwrap()));
        assert_eq!(unit.meta.msg_id, Some(0));
        assert_eq!(unit.meta.total_message_len, (n == 0).then_some(5 * 1024));
        assert_eq!(unit.meta.is_final, n == 4);
        assert_eq!(unit.payload, message[n * 1024..(n + 1) * 1024]);
    }
}

#[test]
fn ids_advance_only_for_messages_that_are_split() {
    // rule: FRAG-2
    let messages = [3, 9, 8, 10, 0, 24].map(patterned);
    let wire = encoded(multiplexed(8), Config::default(), &messages);
    let units = units::<Bytes>(multiplexed(8), &wire);
    let ids: Vec<_> = units.iter().map(|unit| unit.meta.msg_id).collect();
    let expected = [None, Some(0), Some(0), None, Some(1), Some(1), None];
    assert_eq!(ids[..7], expected);
    assert_eq!(ids[7..], [Some(2); 3]);
    // What fits is the same unit as over a framing of any other size.
    assert_eq!(wire[..8], [0, 0, 0, 3, 2, 0, 1, 2]);
}

#[test]
fn payloads_that_look_like_headers_survive() {
    // rule: FRAG-5
    let mut messages = vec![];
    for size in [0, 5, 40] {
        let message = [patterned(size)];
        messages.push(encoded(LenFlag32K, roomy(), &message).into());
        messages.push(encoded(LenSeq16M::default(), roomy(), &message).into());
        messages.push(encoded(multiplexed(4), roomy(), &message).into());
    }
    fn survive<S: FragmentStrategy<Bytes> + Clone>(framing: &S, messages: &[Bytes]) {
        let wire = encoded(framing.clone(), roomy(), messages);
        for reads in [1, 7, usize::MAX] {
            assert_eq!(received(framing.clone(), &wire, &[reads]), messages);
        }
    }
    survive(&LenFlag32K, &messages);
    survive(&LenSeq16M::default(), &messages);
    survive(&multiplexed(4), &messages);
    survive(&multiplexed(100), &messages);
}

#[test]
fn the_payload_of_a_large_message_is_not_copied() {
    // rule: FRAG-1
    let message = patterned(40_000);
    let mut sender = raw(Multiplexed::new(), Config::default());
    sender.push(Priority::High, message.clone()).unwrap();
    let _ = sender.fill(crate::Instant::ZERO);
    let transmit = sender.transmit().unwrap();
    let chunks: Vec<_> = transmit.chunks().map(<[u8]>::as_ptr).collect();
    let at = |n: usize| message[n * 16 * 1024..].as_ptr();
    assert_eq!([chunks[1], chunks[3], chunks[5]], [at(0), at(1), at(2)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_round_trip_in_any_cuts(
        sizes in proptest::collection::vec(0usize..60, 1..8),
        piece in 1usize..20,
        reads in proptest::collection::vec(1usize..30, 1..10),
        priorities in proptest::collection::vec(any::<bool>(), 8),
    ) {
        // rule: FRAG-5, FRAME-5
        let messages: Vec<Bytes> = sizes.iter().map(|&size| patterned(size)).collect();
        let mut sender = raw(multiplexed(piece), roomy());
        for (message, high) in messages.iter().zip(priorities) {
            let priority = if high { Priority::High } else { Priority::Low };
            sender.push(priority, message.clone()).unwrap();
        }
        let wire = output(&mut sender);
        let mut received = received(multiplexed(1), &wire, &reads);
        let mut messages = messages;
        received.sort();
        messages.sort();
        prop_assert_eq!(received, messages);
        prop_assert_eq!(sender.stats().high.queued + sender.stats().low.queued, 0);
    }
}
