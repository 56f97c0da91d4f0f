//! Messages under way: their slots, what cannot be sent, and how they end.

use alloc::{format, string::ToString, vec, vec::Vec};
use core::num::NonZeroUsize;

use bytes::Bytes;

use super::{
    super::support::{Frame, InOrder, Kind, Link},
    Framed, GROWS, RawConnection, encoded, events, multiplexed, output, over, raw,
    taking_turns::letters,
    unit_by_unit, units, whole, with_fairness,
};
use crate::{
    CloseReason, Config, End, Event, FairnessConfig, Filled, FragmentMeta, FragmentStrategy,
    Instant, LenFlag32K, Malformed, Multiplexed, Priority, Reaction, Shutdown, State,
    UndeliveredReason, Unencodable, UnsentPushes, config::nonzero,
};

fn body(wire: &[u8]) -> Vec<u8> {
    let units = units::<Frame>(Multiplexed::new(), wire);
    units.into_iter().flat_map(|unit| unit.payload).collect()
}

fn payload(frame: &Frame) -> Vec<u8> {
    frame.wire().split_off(4)
}

#[test]
fn a_push_keeps_its_slot_until_its_last_byte_is_taken() {
    // rule: PUSH-1
    let mut link = unit_by_unit(InOrder::default());
    let frame = letters(Kind::Push, 'l', 20);
    link.connection.push(Priority::Low, frame).unwrap();
    let mut left = 3 * 13 + 8 + 24;
    while left > 1 {
        let _ = link.fill();
        left -= link.take_bytes(1).len();
        assert_eq!(link.connection.stats().low.queued, 1, "{left} bytes left");
        assert_eq!(link.connection.take_released(Priority::Low).sent, 0);
    }
    assert_eq!(link.take_bytes(1).len(), 1);
    assert_eq!(link.connection.take_released(Priority::Low).sent, 1);
    let stats = link.connection.stats().low;
    assert_eq!((stats.queued, stats.sent), (0, 1));
}

#[test]
fn the_high_water_mark_counts_units() {
    // rule: SEL-8
    let mut link = unit_by_unit(InOrder::default());
    let frame = letters(Kind::Push, 'l', 20);
    link.connection.push(Priority::Low, frame).unwrap();
    assert_eq!(link.fill(), Filled::HighWater);
    // The first unit and no more; its header declares the total.
    assert_eq!(link.take_bytes(usize::MAX).len(), 21 + 8);
}

/// Messages of 100 bytes go, and of 101 not, because of that limit.
fn leaves_no_byte_of_101(config: Config, limit: &str) {
    let mut sender = raw(multiplexed(8), config);
    for (len, sent) in [(100, true), (101, false), (8, true)] {
        let message = Bytes::from(vec![1; len]);
        sender.push(Priority::Low, message.clone()).unwrap();
        assert_eq!(!output(&mut sender).is_empty(), sent);
        let event = events(&mut sender).pop();
        if sent {
            assert_eq!(event, None);
            continue;
        }
        let Some(Event::Undelivered(undelivered)) = event else {
            panic!("{event:?}");
        };
        assert_eq!(undelivered.frame, message);
        let error = Unencodable::new(format!("{limit} is 100, got 101"));
        assert_eq!(undelivered.why, UndeliveredReason::Unencodable(error));
    }
}

#[test]
fn a_message_over_the_limit_leaves_no_byte() {
    // rule: FRAME-6
    let mut config = Config::default();
    config.fragments.max_message_size = Some(nonzero(100));
    leaves_no_byte_of_101(config, "max_message_size");
}

#[test]
fn a_message_over_the_limit_of_all_together_leaves_no_byte() {
    // rule: FRAME-6, SEL-7
    let mut config = Config::default();
    config.fragments.max_partial_bytes = Some(nonzero(100));
    leaves_no_byte_of_101(config, "max_partial_bytes");
}

#[test]
fn a_fragment_is_no_longer_than_a_frame_may_be() {
    // rule: FRAME-6, FRAG-1
    let mut config = Config::default();
    config.limits.max_frame_len = nonzero(10);
    let wire = encoded(
        LenFlag32K,
        config,
        &[Bytes::from_static(b"twenty-one characters")],
    );
    let units = units::<Bytes>(LenFlag32K, &wire);
    let lengths: Vec<_> = units.iter().map(|unit| unit.payload.len()).collect();
    assert_eq!(lengths, [10, 10, 1]);
}

#[test]
fn an_answer_over_the_limit_ends_as_an_error() {
    // rule: FRAME-6, RESP-6
    let inner = InOrder {
        on_error: |error| Reaction::Send(Frame::new(Kind::Push, error.to_string())),
        ..InOrder::default()
    };
    let mut link = unit_by_unit(inner);
    let config = alloc::sync::Arc::make_mut(&mut link.connection.config);
    config.fragments.max_message_size = Some(nonzero(100));
    link.receive_bytes(&whole(&payload(&Frame::request(None))));
    let command = link.started()[0];
    let frame = letters(Kind::Push, 'a', 200);
    link.connection.answer(command.id, frame).unwrap();
    let error = "frame cannot be encoded: max_message_size is 100, got 204";
    let expected = payload(&Frame::new(Kind::Push, error));
    assert_eq!(body(&link.sent_bytes()), expected);
}

#[test]
fn after_close_a_message_that_has_begun_is_completed_and_then_comes_the_last_word() {
    // rule: HOOK-6, SEL-7
    let inner = InOrder {
        on_control: |_| Reaction::Close(Some(letters(Kind::Push, 'w', 12))),
        ..InOrder::default()
    };
    let mut link = unit_by_unit(inner);
    let begun = letters(Kind::Push, 'l', 20);
    let never = letters(Kind::Push, 'n', 20);
    link.connection.push(Priority::Low, begun.clone()).unwrap();
    link.connection.push(Priority::Low, never.clone()).unwrap();
    let _ = link.fill();
    let mut sent = link.take_bytes(usize::MAX);
    link.receive_bytes(&whole(&payload(&Frame::new(Kind::Control, []))));
    let undelivered = link.events();
    assert_eq!(link.connection.state(), State::Closing);
    assert!(!link.connection.wants().half_close);
    sent.extend(link.sent_bytes());
    let last_word = letters(Kind::Push, 'w', 12);
    assert_eq!(body(&sent), [payload(&begun), payload(&last_word)].concat());
    assert!(link.connection.wants().half_close);
    let unsent = undelivered.into_iter().filter_map(|event| match event {
        Event::Undelivered(undelivered) => Some(undelivered.frame),
        _ => None,
    });
    assert_eq!(unsent.collect::<Vec<_>>(), [never]);
    assert_eq!(link.connection.stats().low.sent, 1);
}

#[test]
fn an_answer_that_closes_waits_for_the_messages_that_have_begun() {
    // rule: HOOK-6, RESP-6
    let inner = InOrder {
        on_error: |_| Reaction::Close(Some(letters(Kind::Push, 'e', 1))),
        ..InOrder::default()
    };
    // An answer is due after each push.
    let fairness = FairnessConfig {
        max_push_before_response: 1,
        ..FairnessConfig::default()
    };
    let mut link = with_fairness(fairness, multiplexed(8), inner);
    link.receive_bytes(&whole(&payload(&Frame::request(None))));
    let command = link.started()[0];
    let begun = letters(Kind::Push, 'h', 20);
    link.connection.push(Priority::High, begun.clone()).unwrap();
    let _ = link.fill();
    let mut sent = link.take_bytes(usize::MAX);
    let answer = letters(Kind::Push, 'a', 20);
    link.connection.respond(command.id, answer.clone()).unwrap();
    let failed = End::Failed(crate::AnswerError::Protocol(1));
    link.connection.finish(command.id, failed).unwrap();
    let never = letters(Kind::Push, 'n', 1);
    link.connection.push(Priority::Low, never).unwrap();
    sent.extend(link.sent_bytes());
    let last = letters(Kind::Push, 'e', 1);
    let expected = [payload(&begun), payload(&answer), payload(&last)].concat();
    assert_eq!(body(&sent), expected);
    assert_eq!(link.connection.state(), State::Closing);
}

#[test]
fn a_drain_waits_for_the_last_fragment() {
    // rule: SHUT-2
    let mut link = unit_by_unit(InOrder::default());
    let begun = letters(Kind::Push, 'h', 20);
    link.connection.push(Priority::High, begun.clone()).unwrap();
    let _ = link.fill();
    let mut sent = link.take_bytes(usize::MAX);
    let deadline = Instant::from_millis(1_000);
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    assert_eq!(link.events(), []);
    assert_eq!(link.connection.state(), State::Draining);
    sent.extend(link.sent_bytes());
    assert_eq!(body(&sent), payload(&begun));
    assert_eq!(link.events(), [Event::Closing(CloseReason::Drained)]);
}

/// A connection that ends at once while a message of it is under way; what comes back.
fn aborted(unsent_pushes: UnsentPushes) -> (Link<Framed<InOrder, Multiplexed>>, Vec<Frame>) {
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    config.unsent_pushes = unsent_pushes;
    let (inner, framing) = (InOrder::default(), multiplexed(8));
    let mut link = Link::new(config, Framed { inner, framing });
    for letter in ['a', 'b', 'c'] {
        let frame = letters(Kind::Push, letter, if letter == 'a' { 1 } else { 20 });
        link.connection.push(Priority::Low, frame).unwrap();
    }
    let _ = link.fill();
    // One whole frame waits to be taken, and one has begun.
    alloc::sync::Arc::make_mut(&mut link.connection.config)
        .limits
        .high_water = nonzero(20);
    let _ = link.fill();
    link.connection.shutdown(link.now, Shutdown::Immediate);
    let back = link.events().into_iter().filter_map(|event| match event {
        Event::Undelivered(undelivered) => Some(undelivered.frame),
        _ => None,
    });
    let back = back.collect();
    (link, back)
}

#[test]
fn a_message_under_way_at_the_end_is_counted_or_comes_back() {
    // rule: PUSH-9
    let frames = ['a', 'b', 'c']
        .map(|letter| letters(Kind::Push, letter, if letter == 'a' { 1 } else { 20 }));
    let (link, back) = aborted(UnsentPushes::Counted);
    assert_eq!(back, frames[2..]);
    let stats = link.connection.stats().low;
    assert_eq!(
        (stats.accepted, stats.connection_ended, stats.queued),
        (3, 3, 0)
    );
    let (link, back) = aborted(UnsentPushes::Returned);
    assert_eq!(back, frames);
    let stats = link.connection.stats().low;
    assert_eq!(
        (stats.accepted, stats.connection_ended, stats.queued),
        (3, 3, 0)
    );
}

#[test]
fn the_last_word_may_be_long() {
    // rule: HOOK-6, SEL-8
    let goodbye = letters(Kind::Push, 'g', 50);
    let inner = InOrder {
        goodbye: Some(goodbye.clone()),
        ..InOrder::default()
    };
    let mut link = unit_by_unit(inner);
    link.receive_bytes(&[0, 0, 0, 0, 0xff]);
    link.events();
    assert_eq!(link.fill(), Filled::HighWater);
    assert!(!link.connection.wants().half_close);
    assert_eq!(body(&link.sent_bytes()), payload(&goodbye));
    assert!(link.connection.wants().half_close);
}

/// Refuses, or panics over, every fragment but the first.
#[derive(Clone, Copy)]
struct Fickle {
    panics: bool,
}

impl FragmentStrategy<Bytes> for Fickle {
    fn decode_header(&mut self, _: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        Ok(None)
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        _: &Bytes,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        assert!(!self.panics || meta.seq == Some(0), "over a fragment");
        dst.push(0);
        match meta.seq {
            Some(0) => Ok(()),
            _ => Err(Unencodable::new("changed its mind")),
        }
    }

    fn max_fragment_payload(&self, _: &Bytes) -> Option<NonZeroUsize> {
        Some(nonzero(2))
    }
}

#[test]
fn a_framing_that_refuses_what_it_began_ends_the_connection() {
    // rule: FRAME-6
    let mut sender: RawConnection<Fickle> = raw(Fickle { panics: false }, Config::default());
    sender
        .push(Priority::Low, Bytes::from_static(b"abcd"))
        .unwrap();
    let _ = sender.fill(Instant::ZERO);
    let reason = CloseReason::Unencodable(Unencodable::new("changed its mind"));
    let expected = [Event::Closing(reason.clone()), Event::Closed(reason)];
    assert_eq!(events(&mut sender), expected);
    assert_eq!(sender.stats().low.connection_ended, 1);
}

#[test]
fn a_framing_that_panics_over_a_fragment_is_accounted_for() {
    // rule: HOOK-7, PUSH-9
    extern crate std;
    for unsent_pushes in [UnsentPushes::Counted, UnsentPushes::Returned] {
        let config = Config {
            unsent_pushes,
            ..Config::default()
        };
        let mut sender: RawConnection<Fickle> = raw(Fickle { panics: true }, config);
        let message = Bytes::from_static(b"abcd");
        sender.push(Priority::Low, message.clone()).unwrap();
        let filled =
            std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| sender.fill(Instant::ZERO)));
        assert!(filled.is_err());
        let back = events(&mut sender)
            .into_iter()
            .filter_map(|event| match event {
                Event::Undelivered(undelivered) => Some(undelivered.frame),
                _ => None,
            });
        let comes_back = unsent_pushes == UnsentPushes::Returned;
        assert_eq!(
            back.collect::<Vec<_>>(),
            vec![message; usize::from(comes_back)]
        );
        let stats = sender.stats().low;
        assert_eq!((stats.connection_ended, stats.queued), (1, 0));
    }
}

#[test]
fn a_frame_that_grows_at_the_last_moment_is_not_mixed_with_another() {
    // rule: SEL-7, FRAME-6
    #[derive(Clone, Copy)]
    struct Lenient;
    impl FragmentStrategy<Frame> for Lenient {
        fn decode_header(&mut self, _: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
            Ok(None)
        }
        fn encode_header(
            &mut self,
            dst: &mut Vec<u8>,
            _: &Frame,
            meta: &FragmentMeta,
        ) -> Result<(), Unencodable> {
            dst.push(u8::from(meta.is_final));
            Ok(())
        }
        fn max_fragment_payload(&self, _: &Frame) -> Option<NonZeroUsize> {
            Some(nonzero(8))
        }
        fn may_interrupt(&self, _: &Frame, _: &Frame) -> bool {
            true
        }
    }
    let mut link = over(Lenient, InOrder::default());
    let low = letters(Kind::Push, 'l', 12);
    link.connection.push(Priority::Low, low).unwrap();
    let _ = link.fill();
    link.take_bytes(usize::MAX);
    let high = Frame::new(Kind::Push, GROWS);
    link.connection.push(Priority::High, high).unwrap();
    let sent = link.sent_bytes();
    assert_eq!(sent, *b"\x01llllllll");
    let [Event::Undelivered(undelivered)] = &link.events()[..] else {
        panic!();
    };
    assert_eq!(undelivered.priority, Priority::High);
    let what = "it has to be split, between two fragments of another message";
    let error = Unencodable::new(what);
    assert_eq!(undelivered.why, UndeliveredReason::Unencodable(error));
}

#[test]
fn ids_go_on_where_they_were_after_a_rest() {
    // rule: FRAG-2
    let mut link = unit_by_unit(InOrder::default());
    let mut ids = vec![];
    for _ in 0..2 {
        let push = letters(Kind::Push, 'l', 12);
        link.connection.push(Priority::Low, push).unwrap();
        let sent = link.sent_bytes();
        let units = units::<Frame>(Multiplexed::new(), &sent);
        ids.extend(units.into_iter().map(|unit| unit.meta.msg_id));
        link.connection.shrink();
    }
    assert_eq!(ids, [Some(0), Some(0), Some(1), Some(1)]);
}

#[test]
fn what_goes_between_costs_the_same_beside_few_answers_and_many() {
    // rule: LIM-9
    let steps = [2, 40].map(|live: u16| {
        let inner = super::super::support::Correlated::default();
        let mut link = unit_by_unit(inner);
        let requests: Vec<_> = (1..=live)
            .flat_map(|id| whole(&payload(&Frame::request(id))))
            .collect();
        link.receive_bytes(&requests);
        for command in link.started() {
            let answer = letters(Kind::Push, 'a', 4_000);
            link.connection.respond(command.id, answer).unwrap();
        }
        let mut fragments = |n| {
            for _ in 0..n {
                let _ = link.fill();
                link.take_bytes(usize::MAX);
            }
        };
        fragments(live);
        crate::steps::counting::of(|| fragments(100))
    });
    assert_eq!(steps[0], steps[1]);
}

#[test]
fn the_output_does_not_end_inside_a_message() {
    // rule: HOOK-6, SEL-7
    let inner = InOrder {
        on_control: |_| Reaction::Close(None),
        ..InOrder::default()
    };
    let mut link = unit_by_unit(inner);
    let begun = letters(Kind::Push, 'l', 20);
    link.connection.push(Priority::Low, begun.clone()).unwrap();
    let _ = link.fill();
    let mut sent = link.take_bytes(usize::MAX);
    link.receive_bytes(&whole(&payload(&Frame::new(Kind::Control, []))));
    link.events();
    assert!(!link.connection.wants().write);
    assert!(!link.connection.wants().half_close);
    sent.extend(link.sent_bytes());
    assert_eq!(body(&sent), payload(&begun));
    assert!(link.connection.wants().half_close);
}
