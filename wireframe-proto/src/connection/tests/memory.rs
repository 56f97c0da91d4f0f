//! What a connection has allocated, and what becomes of it when memory is short.

use alloc::vec;

use bytes::Bytes;

use super::{
    fragments::{RawConnection, events, feed, fragment, output, raw, whole},
    support::{Correlated, Frame, Hook, InOrder, Kind, Link, goodbyes, numbers},
};
use crate::{
    Body, CloseReason, Config, End, Event, Instant, LimitExceeded, Multiplexed, Priority, Shutdown,
    State, config::nonzero,
};

const SHORT: LimitExceeded = LimitExceeded {
    limit: "memory_budget",
    value: 1_000,
    got: 1_200,
};

fn closing() -> CloseReason {
    CloseReason::Limit(SHORT)
}

fn small() -> Config {
    let mut config = Config::default();
    config.limits.read_buffer = nonzero(64 << 10);
    config
}

#[test]
fn the_read_buffer_counts_with_its_capacity() {
    // rule: LIM-6
    let mut connection = raw(Multiplexed::new(), small());
    assert_eq!(connection.buffered(), 0);
    feed(&mut connection, b"\0");
    assert_eq!(connection.buffered(), 64 << 10);
    assert_eq!(events(&mut connection), []);
    // A small one stays behind, for the byte that does.
    let taken = connection.take_receive_buffer().unwrap();
    assert_eq!(taken.capacity(), 64 << 10);
    assert_eq!(connection.buffered(), 1);
}

#[test]
fn messages_that_are_not_whole_count_with_their_capacity() {
    // rule: LIM-6
    let mut connection = raw(Multiplexed::new(), small());
    feed(
        &mut connection,
        &fragment(1, 0, Some(9_000), false, &[1; 1_000]),
    );
    feed(
        &mut connection,
        &fragment(2, 0, Some(1_400), false, &[2; 1_000]),
    );
    assert_eq!(events(&mut connection), []);
    connection.take_receive_buffer();
    let account = |connection: &RawConnection<Multiplexed>| {
        let reassembler = connection.reassembler.as_ref();
        reassembler.map_or(0, |reassembler| reassembler.account())
    };
    assert!((300..3_000).contains(&account(&connection)));
    // Half more than has come, but no more than the message.
    let expected = 1_500 + 1_400 + account(&connection);
    assert_eq!(connection.buffered(), expected);
    feed(&mut connection, &fragment(2, 1, None, true, &[2; 400]));
    assert_eq!(events(&mut connection).len(), 1);
    connection.take_receive_buffer();
    assert_eq!(connection.buffered(), 1_500 + account(&connection));
    feed(&mut connection, &fragment(1, 1, None, true, &[1; 8_000]));
    assert_eq!(events(&mut connection).len(), 1);
    connection.take_receive_buffer();
    connection.shrink();
    assert_eq!(connection.buffered(), 0);
}

#[test]
fn output_counts_where_it_was_copied_and_not_where_it_is_shared() {
    // rule: LIM-6
    let mut connection = raw(Multiplexed::new(), small());
    let shared = Bytes::from(vec![7; 16 << 10]);
    connection.push(Priority::High, shared).unwrap();
    let _ = connection.fill(Instant::ZERO);
    assert!(connection.buffered() < 100, "the header alone");
    output(&mut connection);
    connection.take_transmit_buffer();

    for _ in 0..100 {
        let copied = Bytes::from_static(&[7; 100]);
        connection.push(Priority::High, copied).unwrap();
    }
    assert_eq!(connection.buffered(), 0, "it waits to be encoded");
    let _ = connection.fill(Instant::ZERO);
    let waits = connection.transmit().unwrap().len();
    assert!((waits..=2 * waits).contains(&connection.buffered()));
    output(&mut connection);
    let capacity = connection.take_transmit_buffer().unwrap().capacity();
    assert!(capacity >= waits);
    assert_eq!(connection.buffered(), 0);
}

#[test]
fn a_message_that_is_split_counts_to_its_end_where_it_was_copied() {
    // rule: LIM-6
    let mut config = small();
    config.limits.high_water = nonzero(1);
    let framing = Multiplexed::new().with_fragment_payload(nonzero(1_000));
    let mut connection = raw(framing, config);
    let (shared, copied) = (vec![7; 5_000].into(), Bytes::from(vec![7; 3_000]));
    connection.push(Priority::High, shared).unwrap();
    connection.push(Priority::Low, copied).unwrap();
    let mut counted = vec![];
    loop {
        let _ = connection.fill(Instant::ZERO);
        let Some(transmit) = connection.transmit() else {
            break;
        };
        let len = transmit.len();
        transmit.advance(len);
        connection.take_transmit_buffer();
        counted.push(connection.buffered());
    }
    counted.dedup();
    assert_eq!(counted, [0, 3_000, 0]);
}

#[test]
fn frames_of_commands_that_are_held_back_count() {
    // rule: LIM-6
    let mut link = Link::new(small(), InOrder::default());
    let large = || Frame::new(Kind::Request, [1; 5_000]);
    link.receive(&[large(), large(), large()]);
    let started = link.started();
    link.connection.take_receive_buffer();
    assert_eq!(link.connection.buffered(), 2 * 5_004);
    link.connection
        .finish(started[0].id, End::Complete)
        .unwrap();
    link.started();
    assert_eq!(link.connection.buffered(), 5_004);
}

#[test]
fn body_frames_count_until_they_are_read_dropped_or_their_command_ends() {
    // rule: LIM-6
    let mut link = Link::new(small(), Correlated::default());
    let body = |id, len| Frame::new(Kind::Body, vec![1; len]).with_id(id);
    let commands = link.requests(&[1, 2, 3]);
    link.receive(&[body(1, 100), body(2, 5_000), body(1, 200), body(3, 50)]);
    link.events();
    link.connection.take_receive_buffer();
    let buffered = |link: &Link<Correlated>| link.connection.buffered();
    assert_eq!(buffered(&link), 5_350 + 4 * 4);
    let read = link.connection.next_body(commands[0].id, link.now);
    assert!(matches!(read, Body::Frame(frame) if frame.body.len() == 100));
    assert_eq!(buffered(&link), 5_250 + 3 * 4);
    link.connection.drop_body(commands[1].id);
    assert_eq!(buffered(&link), 250 + 2 * 4);
    // What still comes of it is not kept.
    link.receive(&[body(2, 5_000)]);
    link.events();
    link.connection.take_receive_buffer();
    assert_eq!(buffered(&link), 250 + 2 * 4);
    let done = link.connection.finish(commands[0].id, End::Complete);
    assert_eq!((done, buffered(&link)), (Ok(()), 50 + 4));
    link.connection.close_over_limit(link.now, SHORT);
    assert_eq!(buffered(&link), 0);
}

#[test]
fn what_is_held_back_and_dropped_by_a_drain_does_not_count() {
    // rule: LIM-6
    let mut link = Link::new(small(), InOrder::default());
    let body = Frame::new(Kind::Body, [1; 100]).with_id(2);
    link.receive(&[Frame::request(1), Frame::request(2), body]);
    assert_eq!(link.started().len(), 1);
    link.connection.take_receive_buffer();
    assert_eq!(link.connection.buffered(), 4 + 104);
    let deadline = Instant::from_millis(1_000);
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    assert_eq!(link.connection.buffered(), 0);
}

#[test]
fn a_message_that_would_begin_is_refused_by_its_header_or_whole_alike() {
    // rule: LIM-6, FRAME-5
    let begins = fragment(2, 0, Some(99), false, b"begins");
    for cut in [begins.len(), begins.len() - 1] {
        let mut connection = raw(Multiplexed::new(), small());
        feed(&mut connection, &fragment(1, 0, Some(9), false, b"goes "));
        events(&mut connection);
        connection.refuse_messages(Some(SHORT));
        assert!(connection.refuses_messages());
        // What has begun goes on, and what is whole does not begin.
        feed(&mut connection, &fragment(1, 1, None, true, b"on.."));
        feed(&mut connection, &whole(b"whole"));
        feed(&mut connection, &fragment(3, 0, None, true, b"alone"));
        let pushed = ["goes on..", "whole", "alone"].map(|text| Event::Push(Bytes::from(text)));
        assert_eq!(events(&mut connection), pushed);
        feed(&mut connection, &begins[..cut]);
        assert_eq!(events(&mut connection), [Event::Closing(closing())]);
    }
}

#[test]
fn a_limit_of_its_own_is_named_before_that_of_all() {
    // rule: LIM-6, REASM-2
    let mut config = small();
    config.fragments.max_message_size = Some(nonzero(50));
    let mut connection = raw(Multiplexed::new(), config);
    connection.refuse_messages(Some(SHORT));
    feed(&mut connection, &fragment(1, 0, Some(51), false, b"begins"));
    let limit = LimitExceeded {
        limit: "max_message_size",
        value: 50,
        got: 51,
    };
    let reason = CloseReason::Limit(limit);
    assert_eq!(events(&mut connection), [Event::Closing(reason)]);
}

#[test]
fn messages_begin_again_once_there_is_memory() {
    // rule: LIM-6
    let mut connection = raw(Multiplexed::new(), small());
    connection.refuse_messages(Some(SHORT));
    connection.refuse_messages(None);
    assert!(!connection.refuses_messages());
    feed(&mut connection, &fragment(1, 0, Some(9), false, b"begins"));
    assert_eq!(events(&mut connection), []);
    assert_eq!(connection.state(), State::Active);
}

#[test]
fn who_holds_too_much_is_told_so_and_holds_nothing_more() {
    // rule: LIM-6, HOOK-6
    let protocol = Correlated {
        goodbye: Some(Frame::numbered(50)),
        ..Correlated::default()
    };
    let mut link = Link::new(small(), protocol);
    link.receive_bytes(&Frame::new(Kind::Push, [0; 9_000]).wire()[..8_000]);
    link.events();
    // Its header has been used up.
    assert_eq!(link.connection.buffered(), (64 << 10) - 4);
    link.connection.close_over_limit(link.now, SHORT);
    assert_eq!(link.connection.buffered(), 0);
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [50]);
    assert_eq!(events, [Event::Closing(closing())]);
    assert_eq!(goodbyes(&link.hooks()), [closing()]);
    link.eof();
    assert_eq!(link.events(), [Event::Closed(closing())]);
}

#[test]
fn messages_that_are_not_whole_are_freed_as_the_connection_closes() {
    // rule: LIM-6
    let mut connection = raw(Multiplexed::new(), small());
    feed(&mut connection, &fragment(1, 0, Some(9), false, b"begins"));
    events(&mut connection);
    connection.close_over_limit(Instant::ZERO, SHORT);
    assert_eq!(connection.buffered(), 0);
    assert_eq!(events(&mut connection), [Event::Closing(closing())]);
}

#[test]
fn who_is_closing_already_and_holds_too_much_ends_at_once() {
    // rule: LIM-6
    let mut link = Link::new(small(), InOrder::default());
    link.connection
        .push(Priority::High, Frame::numbered(1))
        .unwrap();
    link.events();
    let _ = link.fill();
    link.connection.handle_panic(link.now);
    let reason = CloseReason::HandlerPanicked;
    assert_eq!(link.events(), [Event::Closing(reason.clone())]);
    link.connection.close_over_limit(link.now, SHORT);
    // The reason that came first is the one that counts.
    assert_eq!(link.events(), [Event::Closed(reason.clone())]);
    assert_eq!(link.take_bytes(9), b"");
    assert_eq!(link.hooks().last(), Some(&Hook::Disconnect(reason)));
}

#[test]
fn who_drains_and_holds_too_much_closes() {
    // rule: LIM-6
    let mut link = Link::new(small(), InOrder::default());
    link.receive(&[Frame::request(1)]);
    assert_eq!(link.started().len(), 1);
    let deadline = Instant::from_millis(1_000);
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    link.connection.close_over_limit(link.now, SHORT);
    assert_eq!(link.events(), [Event::Closing(closing())]);
}
