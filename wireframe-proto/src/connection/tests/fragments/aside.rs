//! Answers that may not begin at their turn let others go.

use alloc::{vec, vec::Vec};

use super::{
    super::support::{Correlated, Frame, Kind, Link},
    Framed, MARKED, multiplexed,
    taking_turns::{letters, names},
    units, whole,
};
use crate::{Config, Multiplexed, Priority, config::nonzero};

/// A connection with room for 50 bytes in fragments of 8, where one push may go before an
/// answer, and a request for each of these
/// answers, which are named by letters and have so many bytes.
fn answering(answers: &[(char, usize)]) -> Link<Framed<Correlated, Multiplexed>> {
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    config.fairness.max_push_before_response = 1;
    config.fragments.max_partial_bytes = Some(nonzero(50));
    let (inner, framing) = (Correlated::default(), multiplexed(8));
    let mut link = Link::new(config, Framed { inner, framing });
    let ids = 1..=u16::try_from(answers.len()).unwrap();
    let requests = ids.flat_map(|id| whole(&Frame::request(id).wire()[4..]));
    link.receive_bytes(&requests.collect::<Vec<_>>());
    for (command, &(letter, len)) in link.started().iter().zip(answers) {
        let answer = letters(Kind::Push, letter, len - 4);
        link.connection.respond(command.id, answer).unwrap();
    }
    link
}

#[test]
fn a_short_answer_has_its_turn_behind_long_ones_that_wait_for_room() {
    // rule: SEL-6, SEL-7
    let answers = [('a', 24), ('b', 24), ('c', 24), ('d', 24), ('s', 5)];
    let mut link = answering(&answers);
    // Those that wait begin in their order, and each as soon as there is room.
    let expected = "a0 b0 a1 s a2. c0 b1 c1 b2. d0 c2. d1 d2.";
    assert_eq!(names(&link.sent_bytes()), expected);
}

#[test]
fn what_waits_aside_is_not_passed_by_what_would_find_room() {
    // rule: SEL-6, SEL-7
    let mut link = answering(&[('a', 24), ('b', 48), ('c', 16), ('d', 16)]);
    let expected = "a0 a1 a2. b0 b1 b2 b3 b4 b5. c0 d0 c1. d1.";
    assert_eq!(names(&link.sent_bytes()), expected);
}

#[test]
fn a_short_answer_has_its_turn_while_a_push_takes_all_the_room() {
    // rule: SEL-6, SEL-7
    let mut link = answering(&[('a', 24), ('b', 24), ('s', 5)]);
    let push = letters(Kind::Push, 'l', 44);
    link.connection.push(Priority::Low, push).unwrap();
    let expected = "l0 l1 s l2 l3 l4 l5. a0 b0 a1 b1 a2. b2.";
    assert_eq!(names(&link.sent_bytes()), expected);
}

#[test]
fn by_default_an_answer_of_ten_bytes_does_not_wait_for_sixty_mebibytes() {
    // rule: SEL-6, SEL-7
    let (inner, framing) = (Correlated::default(), Multiplexed::new());
    let mut link = Link::new(Config::default(), Framed { inner, framing });
    let requests = (1..=7).flat_map(|id| whole(&Frame::request(id).wire()[4..]));
    link.receive_bytes(&requests.collect::<Vec<_>>());
    let mut large = letters(Kind::Push, 'a', 0);
    large.body = vec![b'a'; 15 << 20].into();
    let (small, long) = link
        .started()
        .split_last()
        .map(|(s, l)| (*s, l.to_vec()))
        .unwrap();
    for command in long {
        link.connection.respond(command.id, large.clone()).unwrap();
    }
    let answer = letters(Kind::Push, 's', 10);
    link.connection.respond(small.id, answer).unwrap();
    let mut sent = vec![];
    while sent.len() < 1 << 20 {
        let _ = link.fill();
        sent.extend(link.take_bytes(usize::MAX));
    }
    let mut last = units::<Frame>(Multiplexed::new(), &sent)
        .into_iter()
        .map(|unit| unit.payload[unit.payload.len() - 1]);
    // Four begin; the turn of the fifth goes to one of these, that of the sixth to it.
    assert_eq!(last.position(|letter| letter == b's'), Some(5));
}

#[test]
fn what_is_answered_later_does_not_pass_what_waits_aside() {
    // rule: SEL-6
    let mut link = answering(&[('a', 24), ('b', 48)]);
    let mut sent = vec![];
    for _ in 0..3 {
        let _ = link.fill();
        sent.extend(link.take_bytes(usize::MAX));
    }
    assert_eq!(names(&sent), "a0 a1 a2.");
    link.receive_bytes(&whole(&Frame::request(3).wire()[4..]));
    let command = link.started()[0];
    let answer = letters(Kind::Push, 's', 1);
    link.connection.answer(command.id, answer).unwrap();
    assert_eq!(names(&link.sent_bytes()), "b0 s b1 b2 b3 b4 b5.");
}

#[test]
fn an_answer_that_is_split_once_it_is_correlated_waits_for_room_too() {
    // rule: RESP-2, SEL-7
    let mut link = answering(&[('a', 48)]);
    link.receive_bytes(&whole(&Frame::request(2).wire()[4..]));
    let command = link.started()[0];
    let marked = Frame::new(Kind::Push, MARKED);
    link.connection.respond(command.id, marked).unwrap();
    let expected = "a0 a1 a2 a3 a4 a5. k0 d1.";
    assert_eq!(names(&link.sent_bytes()), expected);
}
