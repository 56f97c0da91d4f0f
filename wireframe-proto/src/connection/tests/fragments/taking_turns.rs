//! What goes between two fragments, unit by unit.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{num::NonZeroUsize, time::Duration};

use super::{
    super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, TestCodec},
    Framed, multiplexed, over, unit_by_unit, units, with_fairness,
};
use crate::{
    Codec, EncodeBuffer, End, FairnessConfig, FragmentMeta, FragmentStrategy, Heartbeat,
    LenFlag32K, Malformed, Multiplexed, Priority, Reaction, Unencodable, WireframeProtocol,
    config::nonzero,
};

/// A frame whose payload is a letter, again and again, behind its head of 4 bytes.
pub(super) fn letters(kind: Kind, letter: char, len: usize) -> Frame {
    Frame::new(kind, vec![u8::try_from(letter).unwrap(); len])
}

/// What each unit carries, named by the letter of its last byte: `a0` is the first
/// fragment of `a`, `a` a whole frame.
pub(super) fn names(wire: &[u8]) -> String {
    let name = |unit: super::Unit| {
        let letter = char::from(*unit.payload.last().unwrap());
        match (unit.meta.seq, unit.meta.is_final) {
            (None, _) => letter.to_string(),
            (Some(seq), false) => format!("{letter}{seq}"),
            (Some(seq), true) => format!("{letter}{seq}."),
        }
    };
    let units = units::<Frame>(Multiplexed::new(), wire);
    units.into_iter().map(name).collect::<Vec<_>>().join(" ")
}

/// Takes one unit at a time, and does after the first what is given.
fn sent_around<P, S>(
    link: &mut Link<Framed<P, S>>,
    then: impl FnOnce(&mut Link<Framed<P, S>>),
) -> Vec<u8>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + Clone,
{
    let _ = link.fill();
    let mut sent = link.take_bytes(usize::MAX);
    then(link);
    sent.extend(link.sent_bytes());
    sent
}

#[test]
fn a_high_push_goes_between_two_fragments_of_a_response() {
    // rule: SEL-7, SEL-8
    let mut link = unit_by_unit(InOrder::default());
    link.receive_bytes(&super::whole(&Frame::request(None).wire()[4..]));
    let command = link.started()[0];
    let answer = letters(Kind::Push, 'a', 28);
    link.connection.answer(command.id, answer).unwrap();
    let sent = sent_around(&mut link, |link| {
        let beat = letters(Kind::Push, 'h', 1);
        link.connection.push(Priority::High, beat).unwrap();
        let low = letters(Kind::Push, 'l', 1);
        link.connection.push(Priority::Low, low).unwrap();
    });
    assert_eq!(names(&sent), "a0 h l a1 a2 a3.");
}

#[test]
fn nothing_goes_between_two_fragments_without_leave() {
    // rule: SEL-7, SEL-1
    let mut link = over(LenFlag32K, InOrder::default());
    let large = letters(Kind::Push, 'l', 70_000);
    link.connection.push(Priority::Low, large).unwrap();
    let sent = sent_around(&mut link, |link| {
        for letter in ['h', 'i'] {
            let high = letters(Kind::Push, letter, 40_000);
            link.connection.push(Priority::High, high).unwrap();
        }
    });
    let units = units::<Frame>(LenFlag32K, &sent);
    let seen: Vec<_> = units
        .iter()
        .map(|unit| {
            (
                char::from(*unit.payload.last().unwrap()),
                unit.meta.is_final,
            )
        })
        .collect();
    let (more, last) = (false, true);
    assert_eq!(
        seen,
        [
            ('l', more),
            ('l', more),
            ('l', last),
            ('h', more),
            ('h', last),
            ('i', more),
            ('i', last),
        ]
    );
}

#[test]
fn messages_of_all_sources_take_turns_as_their_sources_do() {
    // rule: SEL-2, SEL-7
    let mut link = unit_by_unit(InOrder::default());
    for (priority, letter) in [
        (Priority::Low, 'l'),
        (Priority::Low, 'm'),
        (Priority::High, 'h'),
        (Priority::High, 'i'),
    ] {
        let push = letters(Kind::Push, letter, 12);
        link.connection.push(priority, push).unwrap();
    }
    // High goes first, one message after the other.
    let sent = link.sent_bytes();
    assert_eq!(names(&sent), "h0 h1. i0 i1. l0 l1. m0 m1.");
}

#[test]
fn the_quotas_count_units() {
    // rule: SEL-3, SEL-7
    let fairness = FairnessConfig {
        max_high_before_low: 2,
        ..FairnessConfig::default()
    };
    let mut link = with_fairness(fairness, multiplexed(8), InOrder::default());
    for (priority, letter, len) in [
        (Priority::High, 'h', 28),
        (Priority::Low, 'l', 12),
        (Priority::Low, 'm', 1),
    ] {
        let push = letters(Kind::Push, letter, len);
        link.connection.push(priority, push).unwrap();
    }
    let sent = link.sent_bytes();
    assert_eq!(names(&sent), "h0 h1 l0 h2 h3. l1. m");
}

fn correlated(
    ids: &[u16],
) -> (
    Link<Framed<Correlated, Multiplexed>>,
    Vec<crate::RequestInfo>,
) {
    let mut link = unit_by_unit(Correlated::default());
    let mut wire = vec![];
    for &id in ids {
        wire.extend(super::whole(&Frame::request(id).wire()[4..]));
    }
    link.receive_bytes(&wire);
    let commands = link.started();
    (link, commands)
}

#[test]
fn correlated_answers_take_turns_unit_by_unit() {
    // rule: SEL-6, SEL-7
    let (mut link, commands) = correlated(&[1, 2, 3]);
    let sizes = [20, 12, 1];
    for ((command, letter), len) in commands.iter().zip(['a', 'b', 'c']).zip(sizes) {
        let frame = letters(Kind::Push, letter, len);
        link.connection.respond(command.id, frame).unwrap();
    }
    let more = letters(Kind::Push, 'd', 1);
    link.connection.respond(commands[2].id, more).unwrap();
    let next = letters(Kind::Push, 'e', 12);
    link.connection.respond(commands[1].id, next).unwrap();
    let sent = link.sent_bytes();
    assert_eq!(names(&sent), "a0 b0 c a1 b1. d a2. e0 e1.");
}

#[test]
fn a_command_ends_after_the_last_fragment_of_its_answer() {
    // rule: RESP-4, SEL-7
    let (mut link, commands) = correlated(&[1]);
    link.hooks();
    let frame = letters(Kind::Push, 'a', 20);
    link.connection.answer(commands[0].id, frame).unwrap();
    for _ in 0..2 {
        assert!(
            link.hooks()
                .iter()
                .all(|hook| matches!(hook, Hook::BeforeSend(_)))
        );
        assert_eq!(link.connection.commands_in_flight(), 1);
        link.take_bytes(usize::MAX);
        let _ = link.fill();
    }
    assert_eq!(
        link.hooks(),
        [Hook::CommandEnd(crate::Outcome::Done, Some(1))]
    );
    assert_eq!(link.connection.commands_in_flight(), 0);
}

#[test]
fn before_send_sees_a_message_once() {
    // rule: HOOK-2
    let mut link = unit_by_unit(InOrder::default());
    let push = letters(Kind::Push, 'h', 50);
    link.connection.push(Priority::High, push.clone()).unwrap();
    link.sent_bytes();
    let seen = link
        .hooks()
        .into_iter()
        .filter(|hook| matches!(hook, Hook::BeforeSend(_)));
    assert_eq!(seen.collect::<Vec<_>>(), [Hook::BeforeSend(push)]);
    assert_eq!(link.connection.stats().frames_sent, 1);
}

#[test]
fn the_answers_in_order_go_whole_one_after_the_other() {
    // rule: SEL-6
    let mut link = unit_by_unit(InOrder::default());
    let config = alloc::sync::Arc::make_mut(&mut link.connection.config);
    config.limits.max_in_flight = Some(nonzero(2));
    link.connection.max_in_flight = 2;
    let request = super::whole(&Frame::request(None).wire()[4..]);
    link.receive_bytes(&[&request[..], &request].concat());
    let commands = link.started();
    for (command, letter) in commands.iter().zip(['a', 'b']) {
        let frame = letters(Kind::Push, letter, 12);
        link.connection.answer(command.id, frame).unwrap();
    }
    assert_eq!(names(&link.sent_bytes()), "a0 a1. b0 b1.");
}

#[test]
fn a_ping_that_falls_due_goes_between_two_fragments() {
    // rule: HB-2, SEL-7
    let inner = InOrder {
        ping: Some(letters(Kind::Control, 'p', 1)),
        ..InOrder::default()
    };
    let mut link = unit_by_unit(inner);
    let heartbeat = Heartbeat::pinging(Duration::from_millis(20), Duration::from_millis(20));
    link.connection.set_heartbeat(Some(heartbeat), link.now);
    let push = letters(Kind::Push, 'l', 28);
    link.connection.push(Priority::Low, push).unwrap();
    let sent = sent_around(&mut link, |link| link.pass_until(20));
    assert_eq!(names(&sent), "l0 p l1 l2 l3.");
    // It is out: from now on its answer is awaited.
    assert_eq!(link.due(), Some((crate::DeadlineReason::Heartbeat, 40)));
    let pings = link.hooks().into_iter().filter(|hook| *hook == Hook::Ping);
    assert_eq!(pings.count(), 1);
}

#[test]
fn a_ping_waits_where_nothing_may_go_between() {
    // rule: HB-1, SEL-7
    let inner = InOrder {
        ping: Some(letters(Kind::Control, 'p', 1)),
        ..InOrder::default()
    };
    let mut link = over(LenFlag32K, inner);
    let heartbeat = Heartbeat::pinging(Duration::from_millis(20), Duration::from_millis(20));
    link.connection.set_heartbeat(Some(heartbeat), link.now);
    let push = letters(Kind::Push, 'l', 70_000);
    link.connection.push(Priority::Low, push).unwrap();
    let sent = sent_around(&mut link, |link| link.pass_until(20));
    let last = units::<Frame>(LenFlag32K, &sent)
        .into_iter()
        .map(|unit| unit.payload[unit.payload.len() - 1]);
    assert_eq!(last.collect::<Vec<_>>(), *b"lllp");
}

#[test]
fn control_goes_between_two_fragments_in_its_order() {
    // rule: SEL-1, SEL-2, SEL-7
    let inner = InOrder {
        on_control: |frame| Reaction::Send(Frame::new(Kind::Push, frame.body)),
        ..InOrder::default()
    };
    let mut link = unit_by_unit(inner);
    let push = letters(Kind::Push, 'h', 20);
    link.connection.push(Priority::High, push).unwrap();
    let sent = sent_around(&mut link, |link| {
        for (letter, len) in [('c', 12), ('d', 1)] {
            let frame = letters(Kind::Control, letter, len);
            link.receive_bytes(&super::whole(&frame.wire()[4..]));
        }
        assert_eq!(link.events().len(), 2);
    });
    assert_eq!(names(&sent), "h0 c0 c1. d h1 h2.");
}

/// [`Multiplexed`], but only what is no longer than a limit goes between two fragments,
/// and nothing between those of a message of `z`.
#[derive(Clone, Copy)]
struct Choosy {
    inner: Multiplexed,
    ids: bool,
}

impl FragmentStrategy<Frame> for Choosy {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        FragmentStrategy::<Frame>::decode_header(&mut self.inner, src)
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &Frame,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let mut meta = meta.clone();
        let is_whole = meta.is_final && meta.seq.is_none();
        if !self.ids && !is_whole {
            assert_eq!(meta.msg_id, None);
            meta.msg_id = Some(77);
        }
        self.inner.encode_header(dst, frame, &meta)
    }

    fn max_fragment_payload(&self, frame: &Frame) -> Option<NonZeroUsize> {
        self.inner.max_fragment_payload(frame)
    }

    fn max_message_id(&self) -> Option<u64> {
        self.ids.then_some(1)
    }

    fn may_interrupt(&self, message: &Frame, other: &Frame) -> bool {
        message.body.first() != Some(&b'z') && other.body.first() != Some(&b'n')
    }
}

fn choosy(ids: bool) -> Choosy {
    Choosy {
        inner: multiplexed(8),
        ids,
    }
}

#[test]
fn without_ids_only_what_is_not_split_goes_between() {
    // rule: SEL-7
    let mut link = over(choosy(false), InOrder::default());
    let low = letters(Kind::Push, 'l', 20);
    link.connection.push(Priority::Low, low).unwrap();
    let sent = sent_around(&mut link, |link| {
        for (letter, len) in [('h', 1), ('i', 12), ('j', 1)] {
            let high = letters(Kind::Push, letter, len);
            link.connection.push(Priority::High, high).unwrap();
        }
    });
    assert_eq!(names(&sent), "l0 h l1 l2. i0 i1. j");
}

#[test]
fn what_may_not_go_between_waits_and_others_of_its_source_behind_it() {
    // rule: SEL-2, SEL-7
    let mut link = over(choosy(true), InOrder::default());
    let low = letters(Kind::Push, 'l', 20);
    link.connection.push(Priority::Low, low).unwrap();
    let sent = sent_around(&mut link, |link| {
        for (letter, len) in [('h', 1), ('n', 1), ('i', 1)] {
            let high = letters(Kind::Push, letter, len);
            link.connection.push(Priority::High, high).unwrap();
        }
    });
    assert_eq!(names(&sent), "l0 h l1 l2. n i");
}

#[test]
fn a_message_that_lets_nothing_between_goes_whole_even_between_those_of_others() {
    // rule: SEL-7
    let fairness = FairnessConfig {
        max_high_before_low: 1,
        ..FairnessConfig::default()
    };
    let mut link = with_fairness(fairness, choosy(true), InOrder::default());
    for (priority, letter) in [(Priority::High, 'h'), (Priority::Low, 'z')] {
        let push = letters(Kind::Push, letter, 20);
        link.connection.push(priority, push).unwrap();
    }
    // It is the turn of high after its first fragment.
    assert_eq!(names(&link.sent_bytes()), "h0 z0 z1 z2. h1 h2.");
}

#[test]
fn an_answer_that_may_not_go_holds_up_none_that_may() {
    // rule: SEL-1, SEL-6, SEL-7
    let mut link = over(choosy(true), Correlated::default());
    let mut wire = vec![];
    for id in [1, 2, 3] {
        wire.extend(super::whole(&Frame::request(id).wire()[4..]));
    }
    link.receive_bytes(&wire);
    let commands = link.started();
    for ((command, letter), len) in commands.iter().zip(['a', 'n', 'c']).zip([20, 1, 1]) {
        let frame = letters(Kind::Push, letter, len);
        link.connection.respond(command.id, frame).unwrap();
        link.connection.finish(command.id, End::Complete).unwrap();
    }
    assert_eq!(names(&link.sent_bytes()), "a0 c a1 a2. n");
    assert_eq!(link.connection.commands_in_flight(), 0);
    assert_eq!(
        link.connection.wants(),
        crate::Wants {
            read: true,
            ..crate::Wants::default()
        }
    );
}

#[test]
fn ids_of_messages_under_way_are_not_given_twice() {
    // rule: FRAG-2
    let mut link = over(choosy(true), Correlated::default());
    let mut wire = vec![];
    for id in [1, 2] {
        wire.extend(super::whole(&Frame::request(id).wire()[4..]));
    }
    link.receive_bytes(&wire);
    let commands = link.started();
    let long = letters(Kind::Push, 'a', 60);
    link.connection.respond(commands[0].id, long).unwrap();
    for letter in ['b', 'c'] {
        let short = letters(Kind::Push, letter, 12);
        link.connection.respond(commands[1].id, short).unwrap();
    }
    let ids: Vec<_> = units::<Frame>(Multiplexed::new(), &link.sent_bytes())
        .into_iter()
        .filter(|unit| unit.meta.seq == Some(0))
        .map(|unit| unit.meta.msg_id)
        .collect();
    // There are two ids, and one of them is in use.
    assert_eq!(ids, [Some(0), Some(1), Some(1)]);
}

#[test]
fn no_more_messages_begin_than_the_peer_has_to_keep() {
    // rule: SEL-7, REASM-2
    let (mut link, commands) = correlated(&[1, 2, 3]);
    let config = alloc::sync::Arc::make_mut(&mut link.connection.config);
    config.fragments.max_partial_messages = nonzero(2);
    for (command, letter) in commands.iter().zip(['a', 'b', 'c']) {
        let frame = letters(Kind::Push, letter, 12);
        link.connection.respond(command.id, frame).unwrap();
    }
    assert_eq!(names(&link.sent_bytes()), "a0 b0 a1. c0 b1. c1.");
}

#[test]
fn encoded_units_of_a_broadcast_go_between_fragments() {
    // rule: SEL-7, REG-3
    let mut link = unit_by_unit(InOrder::default());
    let low = letters(Kind::Push, 'l', 12);
    link.connection.push(Priority::Low, low).unwrap();
    let sent = sent_around(&mut link, |link| {
        let frame = letters(Kind::Push, 's', 40);
        let mut buffer = EncodeBuffer::default();
        TestCodec.encode(&frame, &mut buffer.frame_buf()).unwrap();
        let payload: Vec<u8> = buffer.chunks().flatten().copied().collect();
        let shared = crate::SharedUnits::new(super::whole(&payload).into());
        let mut batch = [crate::Accepted::shared(frame, shared)].into();
        link.connection.accept_pushes(Priority::High, &mut batch);
    });
    assert_eq!(names(&sent), "l0 s l1.");
}

/// A connection that owes a ping since moment 20, while a push has gone but for its end.
pub(super) fn a_ping_due_between_fragments() -> Link<Framed<InOrder, LenFlag32K>> {
    let inner = InOrder {
        ping: Some(letters(Kind::Control, 'p', 1)),
        ..InOrder::default()
    };
    let mut link = over(LenFlag32K, inner);
    let heartbeat = Heartbeat::pinging(Duration::from_millis(20), Duration::from_millis(20));
    link.connection.set_heartbeat(Some(heartbeat), link.now);
    let push = letters(Kind::Push, 'l', 70_000);
    link.connection.push(Priority::Low, push).unwrap();
    let _ = link.fill();
    link.take_bytes(usize::MAX);
    link.pass_until(20);
    link
}

#[test]
fn a_ping_that_was_asked_for_is_dropped_when_the_peer_is_heard_of() {
    // rule: HB-1, SEL-7
    let mut link = a_ping_due_between_fragments();
    let _ = link.fill();
    link.take_bytes(usize::MAX);
    // It waits, and is not owed any more.
    link.receive_bytes(&[0x80]);
    let sent = link.sent_bytes();
    assert_eq!(sent.last(), Some(&b'l'));
    let asked = |link: &mut Link<Framed<InOrder, LenFlag32K>>| {
        let hooks: Vec<Hook> = link.hooks();
        hooks.iter().filter(|hook| **hook == Hook::Ping).count()
    };
    assert_eq!(asked(&mut link), 1);
    // The next silence asks anew.
    link.pass_until(40);
    assert_eq!(link.sent_bytes().last(), Some(&b'p'));
    assert_eq!(asked(&mut link), 1);
}
