//! Messages whose ids are soon used again.

use core::time::Duration;

use bytes::Bytes;

use super::{RawConnection, Reader, changed, events, feed, fragment, raw};
use crate::{
    CloseReason, Config, DropReason, DroppedMessage, Event, FragmentStrategy, Instant, Multiplexed,
};

/// Reads what [`Multiplexed`] reads, but ids are used again, and fragments may have no number.
fn receiver(has_numbers: bool) -> RawConnection<impl FragmentStrategy<Bytes> + Clone> {
    let mut config = Config::default();
    config.fragments.reassembly_timeout = Duration::from_millis(50);
    let decode = move |src: &[u8]| changed(src, |meta| meta.seq = meta.seq.filter(|_| has_numbers));
    let reuses_ids = || true;
    raw(Reader { decode, reuses_ids }, config)
}

fn dropped(why: DropReason) -> Event<Bytes> {
    Event::MessageDropped(DroppedMessage {
        id: 1,
        received: 1,
        why,
    })
}

#[test]
fn an_id_that_was_dropped_names_another_message_when_ids_have_come_round() {
    // rule: REASM-5, FRAG-3
    let mut receiver = raw(Multiplexed::new(), Config::default());
    feed(&mut receiver, &fragment(5, 1, None, false, b"x"));
    let [Event::MessageDropped(_)] = events(&mut receiver)[..] else {
        panic!();
    };
    for id in [6, 5] {
        feed(&mut receiver, &fragment(id, 0, Some(2), false, b"a"));
        feed(&mut receiver, &fragment(id, 1, None, true, b"b"));
        let whole = Event::Push(Bytes::from_static(b"ab"));
        assert_eq!(events(&mut receiver), [whole]);
    }
}

#[test]
fn a_gap_is_told_once_however_many_fragments_are_left() {
    // rule: REASM-4, REASM-5
    let mut receiver = receiver(true);
    for _ in 0..2 {
        feed(&mut receiver, &fragment(1, 0, Some(9), false, b"a"));
        for seq in 2..8 {
            feed(&mut receiver, &fragment(1, seq, None, false, b"a"));
        }
        feed(&mut receiver, &fragment(1, 8, None, true, b"a"));
        let (expected, got) = (1, 2);
        let gap = dropped(DropReason::SequenceGap { expected, got });
        assert_eq!(events(&mut receiver), [gap]);
    }
    let stats = receiver.stats().fragments;
    assert_eq!((stats.gaps, stats.late), (2, 12));
    feed(&mut receiver, &fragment(1, 0, Some(2), false, b"a"));
    feed(&mut receiver, &fragment(1, 1, None, true, b"b"));
    let whole = Event::Push(Bytes::from_static(b"ab"));
    assert_eq!(events(&mut receiver), [whole]);
}

#[test]
fn a_message_whose_rest_could_be_a_new_one_ends_the_connection_when_its_time_is_over() {
    // rule: REASM-5
    for has_numbers in [true, false] {
        let mut receiver = receiver(has_numbers);
        feed(&mut receiver, &fragment(1, 0, Some(2), false, b"a"));
        assert_eq!(events(&mut receiver), []);
        receiver.handle_timeout(Instant::from_millis(50));
        feed(&mut receiver, &fragment(1, 1, None, true, b"b"));
        let expected = match has_numbers {
            true => dropped(DropReason::TimedOut),
            false => Event::Closing(CloseReason::MessageTimedOut),
        };
        assert_eq!(events(&mut receiver), [expected]);
    }
}

#[test]
fn a_message_under_way_is_not_spliced_with_another_of_its_id() {
    // rule: REASM-5
    for (len, is_final) in [(3, false), (9, true)] {
        let mut receiver = receiver(true);
        feed(&mut receiver, &fragment(1, 0, Some(9), false, b"a"));
        feed(&mut receiver, &fragment(1, 0, Some(9), false, b"a"));
        assert_eq!(events(&mut receiver), []);
        assert_eq!(receiver.stats().fragments.duplicates, 1);
        let total = Some(len).filter(|_| !is_final);
        feed(&mut receiver, &fragment(1, 0, total, is_final, b"b"));
        let ended = events(&mut receiver);
        let [Event::Closing(CloseReason::Malformed(error))] = &ended[..] else {
            panic!("not {ended:?}");
        };
        let error = alloc::format!("{error}");
        assert!(error.contains("another first fragment"), "{error}");
    }
}
