//! How much is under way at once: what a peer of the same configuration has room for.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    super::support::{Correlated, Frame, Kind, Link},
    Framed, changed, events, feed, multiplexed, raw, reader,
    taking_turns::letters,
    units, whole,
};
use crate::{Config, Event, Multiplexed, Priority, config::nonzero, steps::counting};

#[test]
fn the_messages_under_way_fit_the_memory_of_a_peer_of_the_same_configuration() {
    // rule: SEL-7, REASM-2
    let mut config = Config::default();
    config.fragments.max_message_size = Some(nonzero(1_000));
    config.fragments.max_partial_bytes = Some(nonzero(2_500));
    let framing = multiplexed(100);
    let inner = Correlated::default();
    let mut link = Link::new(config.clone(), Framed { inner, framing });
    let requests = (1..=10).flat_map(|id| whole(&Frame::request(id).wire()[4..]));
    link.receive_bytes(&requests.collect::<Vec<_>>());
    for command in link.started() {
        let answer = letters(Kind::Push, 'a', 900);
        link.connection.answer(command.id, answer).unwrap();
    }
    let mut receiver = raw(multiplexed(100), config);
    feed(&mut receiver, &link.sent_bytes());
    let events = events(&mut receiver);
    assert_eq!(events.len(), 10);
    assert!(events.iter().all(|event| matches!(event, Event::Push(_))));
}

#[test]
fn messages_of_a_length_unknown_before_fit_a_peer_of_the_same_configuration() {
    // rule: SEL-7, REASM-2
    let mut config = Config::default();
    config.fragments.max_message_size = Some(nonzero(2_000));
    let (inner, framing) = (Correlated::default(), multiplexed(100));
    for len in [900, 1_100, 1_300, 1_596] {
        let inner = inner.clone();
        let mut link = Link::new(config.clone(), Framed { inner, framing });
        let requests = (1..=12).flat_map(|id| whole(&Frame::request(id).wire()[4..]));
        link.receive_bytes(&requests.collect::<Vec<_>>());
        for command in link.started() {
            let answer = letters(Kind::Push, 'a', len);
            link.connection.answer(command.id, answer).unwrap();
        }
        let mut receiver = reader(config.clone(), |src| {
            changed(src, |meta| meta.total_message_len = None)
        });
        feed(&mut receiver, &link.sent_bytes());
        let events = events(&mut receiver);
        let is_whole = |event: &Event<Bytes>| matches!(event, Event::Push(_));
        assert!(events.iter().all(is_whole), "{len}: {:?}", events.last());
        assert_eq!(events.len(), 12);
    }
}

#[test]
fn a_push_that_waits_for_room_is_not_passed_by_answers_without_end() {
    // rule: SEL-1, SEL-7
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    config.fragments.max_partial_bytes = Some(nonzero(2_000));
    let (inner, framing) = (Correlated::default(), multiplexed(100));
    let mut link = Link::new(config, Framed { inner, framing });
    let requests = (1..=6).flat_map(|id| whole(&Frame::request(id).wire()[4..]));
    link.receive_bytes(&requests.collect::<Vec<_>>());
    for (command, len) in link.started().iter().zip([500, 800, 500, 500, 500, 500]) {
        let answer = letters(Kind::Push, 'a', len);
        link.connection.answer(command.id, answer).unwrap();
    }
    let _ = link.fill();
    let mut sent = link.take_bytes(usize::MAX);
    let push = letters(Kind::Push, 'l', 1_500);
    link.connection.push(Priority::Low, push).unwrap();
    sent.extend(link.sent_bytes());
    let units = units::<Frame>(Multiplexed::new(), &sent);
    let begin = units.iter().filter(|unit| unit.meta.seq == Some(0));
    let letters: Vec<_> = begin.map(|unit| unit.payload[99]).collect();
    // It goes as soon as the answer has ended that had begun before it.
    assert_eq!(letters, *b"alaaaaa");
}

#[test]
fn what_waits_for_room_costs_the_same_beside_few_answers_and_many() {
    // rule: LIM-9, SEL-7
    let steps = [2, 60].map(|live: u16| {
        let mut config = Config::default();
        config.limits.high_water = nonzero(1);
        config.fragments.max_partial_bytes = Some(nonzero(usize::from(live) * 4_004 + 10));
        let (inner, framing) = (Correlated::default(), multiplexed(8));
        let mut link = Link::new(config, Framed { inner, framing });
        let requests = (1..=live + 2).flat_map(|id| whole(&Frame::request(id).wire()[4..]));
        link.receive_bytes(&requests.collect::<Vec<_>>());
        for command in link.started() {
            let answer = letters(Kind::Push, 'a', 4_000);
            link.connection.respond(command.id, answer).unwrap();
        }
        let fragments = |link: &mut Link<Framed<Correlated, Multiplexed>>, n| {
            for _ in 0..n {
                let _ = link.fill();
                link.take_bytes(usize::MAX);
            }
        };
        fragments(&mut link, live + 2);
        let answers_wait = counting::of(|| fragments(&mut link, 100));
        let push = letters(Kind::Push, 'l', 100);
        link.connection.push(Priority::Low, push).unwrap();
        let all_wait = counting::of(|| fragments(&mut link, 100));
        (answers_wait, all_wait)
    });
    assert_eq!(steps[0], steps[1]);
}
