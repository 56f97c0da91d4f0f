//! Loads that somebody may think of.

use std::{ops::Range, time::Duration};

use crate::load::{Bounds, KIB, Load, MIB, begin, fragment, next};

#[test]
fn fresh_ids_hold_what_the_account_of_them_takes() {
    // rule: REASM-3
    for messages in [1, 2, 3, 64, 65, 1_000, 1_025] {
        let bounds = Bounds {
            messages: messages as usize,
            all: 9,
            ..Bounds::SMALL
        };
        let mut load = Load::new(bounds);
        // All but one place is taken, and messages without end come, go, and are dropped.
        (1..messages).for_each(|id| load.feed(&begin(id, 9, b"")));
        for id in messages..messages + 5_000 {
            load.feed(&begin(id, 9, b""));
            load.feed(&next(id, 2, b""));
        }
        load.feed(&begin(0, 9, b""));
        // All of them are told of at once.
        load.pass(Duration::from_secs(60));
        assert_eq!(load.dropped, 5_000 + bounds.messages);
        let account = load.peak - bounds.read_buffer;
        let most = 640 * bounds.messages + 9 * KIB;
        assert!(
            account <= most,
            "{account} of {most} for {messages} messages"
        );
        assert!(
            account > most / 3,
            "{account} of {most} for {messages} messages"
        );
        let more = messages + 5_000..;
        let limit = load.until_closed(more.map(|id| begin(id, 9, b"")));
        assert_eq!(limit, "max_partial_messages");
    }
}

#[test]
fn what_is_charged_is_what_is_held() {
    // rule: LIM-6
    for messages in [0, 1, 5, 64, 1_000] {
        let mut load = Load::new(Bounds {
            messages: messages as usize + 1,
            ..Bounds::SMALL
        });
        (0..messages).for_each(|id| load.feed(&begin(id, 99, b"ten bytes.")));
        let check = |load: &mut Load, what| {
            load.watch(|load| load.connection.shrink());
            let charged = load.connection.buffered() as i64;
            let off = (charged - load.held).abs();
            let held = load.held;
            assert!(
                off <= held / 8 + 512,
                "{charged} of {held}, {messages} {what}"
            );
        };
        check(&mut load, "open");
        for id in messages..messages + 100 {
            load.feed(&next(id, 2, b""));
        }
        check(&mut load, "open, and others dropped");
        (0..messages).for_each(|id| load.feed(&next(id, 9, b"")));
        check(&mut load, "dropped");
    }
}

#[test]
fn a_hundred_thousand_attempts_leave_nothing_behind() {
    // rule: REASM-3, REASM-5
    let mut load = Load::new(Bounds::SMALL);
    let gaps = |load: &mut Load, ids: Range<u32>| {
        ids.for_each(|id| load.feed(&next(id, 1, b"x")));
    };
    gaps(&mut load, 0..1_000);
    let held = load.held;
    gaps(&mut load, 1_000..100_000);
    assert_eq!(load.dropped, 100_000);
    assert!(
        load.held <= held + 4 * KIB as i64,
        "{} after {held}",
        load.held
    );
}

#[test]
fn tiny_fragments_hold_half_more_than_has_come() {
    // rule: LIM-2, REASM-3
    let mut load = Load::new(Bounds::SMALL);
    load.feed(&begin(0, 64 * KIB, b"x"));
    let before = load.held;
    let limit = load.until_closed((1..).map(|seq| next(0, seq, b"x")));
    assert_eq!(limit, "max_fragments_per_message");
    let most = before + 272 + 136;
    assert!(load.peak as i64 <= most + 272, "{} of {most}", load.peak);
}

#[test]
fn an_announcement_of_two_gibibytes_holds_what_has_come() {
    // rule: LIM-2
    let bounds = Bounds {
        message: 2 << 30,
        all: 8 << 30,
        ..Bounds::DEFAULT
    };
    let mut load = Load::new(bounds);
    for id in 0..64 {
        load.feed(&begin(id, 2 << 30, &[1; 1000]));
    }
    let most = 64 * (1_500 + 512) + 4 * KIB + 256 * KIB;
    assert!(load.peak <= most, "{} of {most}", load.peak);
}

#[test]
fn many_that_grow_cross_the_memory_for_all_and_not_the_bound() {
    // rule: REASM-2, REASM-3
    for piece in [1, 100, 1_000, 4 * KIB] {
        let bounds = Bounds::SMALL;
        let mut load = Load::new(bounds);
        let body = vec![1; piece];
        (0..64).for_each(|id| load.feed(&begin(id, bounds.message, &body)));
        let grow = (1..).flat_map(|seq| (0..64).map(move |id| (id, seq)));
        let limit = load.until_closed(grow.map(|(id, seq)| next(id, seq, &body)));
        match piece {
            1 => assert_eq!(limit, "max_fragments_per_message"),
            _ => {
                assert_eq!(limit, "max_partial_bytes");
                assert!(load.peak > bounds.all - 64 * piece, "{}", load.peak);
            }
        }
        // Only what is read is left.
        let most = i64::try_from(bounds.read()).unwrap() + 512;
        assert!(
            load.held <= most,
            "{} held by a closed connection",
            load.held
        );
    }
}

#[test]
fn the_defaults_hold_what_the_guide_says() {
    // rule: REASM-3, LIM-2
    let bounds = Bounds::DEFAULT;
    let guide = 97 * MIB + 256 * KIB + 49 * KIB;
    assert_eq!(bounds.held() + bounds.read(), guide);
    let mut load = Load::new(bounds);
    let body = vec![1; MIB];
    // Six of nine MiB, and then five of them grow to eleven, which is all that may come. These
    // have room for 16 MiB, the last one while its old memory is still there, and that for 10.5.
    for id in 0..6 {
        load.feed(&begin(id, 16 * MIB, &body));
        (1..9).for_each(|seq| load.feed(&next(id, seq, &body)));
    }
    let grow = (0..5).flat_map(|id| [(id, 9), (id, 10)]);
    grow.for_each(|(id, seq)| load.feed(&next(id, seq, &body)));
    let most = 5 * 16 * MIB + 2 * (10 * MIB + 512 * KIB);
    assert!((most..most + 3 * MIB).contains(&load.peak), "{}", load.peak);
    let limit = load.until_closed([begin(6, 9, b"x")]);
    assert_eq!(limit, "max_partial_bytes");
}

#[test]
fn what_was_dropped_and_what_is_whole_hold_nothing() {
    // rule: REASM-3, REASM-4
    let mut load = Load::new(Bounds::SMALL);
    let body = [1; KIB];
    let round = |load: &mut Load, first: u32| {
        for id in first..first + 50 {
            load.feed(&begin(id, 5 * KIB, &body));
            (1..4).for_each(|seq| load.feed(&next(id, seq, &body)));
        }
        for id in first..first + 50 {
            match id % 3 {
                0 => load.feed(&fragment(id, 4, None, true, &body)),
                1 => load.feed(&next(id, 9, b"x")),
                _ => {}
            }
        }
        // What was received meanwhile may have given a second more.
        load.pass(Duration::from_secs(31));
        // What comes now is late, or a gap, and belongs to nothing.
        (first..first + 50).for_each(|id| load.feed(&next(id, 4, &body)));
        load.watch(|load| load.connection.shrink());
    };
    (0..4).for_each(|n| round(&mut load, n * 50));
    let held = load.held;
    (4..40).for_each(|n| round(&mut load, n * 50));
    assert_eq!(load.held, held);
}
