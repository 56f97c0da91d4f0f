//! What a connection holds of what it has read.

use alloc::vec;
use core::ops::Range;

use bytes::BytesMut;

use super::support::{Frame, InOrder, Kind, Link, OVERHEAD};
use crate::{
    CloseReason, Config, Connection, ConnectionId, End, Envelope, EnvelopeProtocol, Event, Instant,
    LimitExceeded, Peer, config::nonzero,
};

const NOW: Instant = Instant::ZERO;

fn limit(max_frame_len: usize) -> Link<InOrder> {
    let mut config = Config::default();
    config.limits.max_frame_len = nonzero(max_frame_len);
    Link::new(config, InOrder::default())
}

#[test]
fn a_payload_of_the_limit_is_accepted_and_one_more_is_refused_by_its_header() {
    // rule: LIM-1
    let sized = |len: usize| Frame::new(Kind::Request, vec![7; len - (OVERHEAD - 4)]);
    let mut link = limit(100);
    link.receive(&[sized(100)]);
    assert_eq!(link.started().len(), 1);

    let mut link = limit(100);
    link.receive_bytes(&sized(101).wire()[..4]);
    let reason = CloseReason::Limit(LimitExceeded {
        limit: "max_frame_len",
        value: 100,
        got: 101,
    });
    assert_eq!(link.events(), [Event::Closing(reason)]);
}

#[test]
fn nothing_is_allocated_on_the_word_of_a_header() {
    // rule: LIM-2
    let mut link = limit(1 << 30);
    link.receive_bytes(&u32::to_be_bytes(1 << 30));
    link.events();
    let mut arrived = 0;
    while arrived < 3 << 20 {
        let buffer = link.connection.receive_buffer();
        let room = buffer.capacity() - buffer.len();
        assert!(room > 0);
        assert!(
            buffer.capacity() <= (512 << 10).max(4 * arrived),
            "after {arrived}"
        );
        let piece = room.min(64 << 10);
        link.receive_bytes(&vec![0; piece]);
        arrived += piece;
        link.events();
    }
}

#[test]
fn an_idle_connection_gives_its_read_buffer_away() {
    // rule: LIM-5
    let mut link = limit(1_000);
    assert!(link.connection.lacks_receive_buffer());
    assert_eq!(link.connection.take_receive_buffer(), None);
    link.receive(&[Frame::new(Kind::Push, [])]);
    link.events();
    let buffer = link.connection.take_receive_buffer().unwrap();
    assert!(buffer.is_empty());
    assert!(link.connection.lacks_receive_buffer());

    link.connection
        .give_receive_buffer(BytesMut::with_capacity(10_000));
    assert!(!link.connection.lacks_receive_buffer());
    link.receive(&[Frame::new(Kind::Push, [])]);
    assert_eq!(link.events().len(), 1);
}

#[test]
fn a_frame_that_has_begun_stays_behind_in_a_small_buffer() {
    // rule: LIM-5
    let mut link = limit(1_000);
    let wire = Frame::request(1).wire();
    link.receive_bytes(&wire[..6]);
    link.events();
    link.connection.take_receive_buffer().unwrap();
    assert!(link.connection.receive.capacity() < 100);
    assert_eq!(link.connection.take_receive_buffer(), None);
    link.receive_bytes(&wire[6..]);
    assert_eq!(link.started().len(), 1);
}

#[test]
fn a_buffer_that_holds_frames_is_not_given_away() {
    // rule: LIM-5, LIM-10
    let mut link = limit(10_000);
    let large = Frame::new(Kind::Request, vec![1; 6_000]);
    link.receive_bytes(&large.wire()[..5_000]);
    link.events();
    assert_eq!(link.connection.take_receive_buffer(), None);
    link.receive_bytes(&large.wire()[5_000..]);
    assert_eq!(link.started().len(), 1);
}

/// Reads requests with payloads of these sizes at once; returns where the buffer was.
fn read(connection: &mut Connection<EnvelopeProtocol>, sizes: &[usize]) -> Range<usize> {
    let mut wire = vec![];
    for (n, &size) in sizes.iter().enumerate() {
        let head = [1, 1, u8::try_from(n).unwrap() + 1, 0xFB];
        let size_bytes = u16::try_from(size).unwrap().to_le_bytes();
        let len = u32::try_from(head.len() + 2 + size).unwrap();
        wire.extend(len.to_be_bytes());
        wire.extend(head);
        wire.extend(size_bytes);
        wire.extend(vec![7; size]);
    }
    let buffer = connection.receive_buffer();
    let start = buffer.as_ptr().addr();
    let end = start + buffer.capacity();
    buffer.extend_from_slice(&wire);
    assert_eq!(buffer.as_ptr().addr(), start);
    connection.handle_received(NOW);
    start..end
}

#[test]
fn a_small_payload_that_is_held_back_does_not_pin_the_read_buffer() {
    // rule: LIM-5
    let mut config = Config::default();
    config.limits.max_in_flight = Some(nonzero(1));
    let peer = Peer::client_of(ConnectionId(1));
    let mut connection = Connection::new(config, EnvelopeProtocol::default(), peer, NOW);
    let buffer = read(&mut connection, &[300, 300, 5_000]);
    let mut payloads = vec![];
    loop {
        match connection.poll_event(NOW) {
            Some(Event::Request { info, frame }) => {
                payloads.push(frame.payload);
                if payloads.len() == 1 {
                    // The others are held back meanwhile.
                    while connection.poll_event(NOW).is_some() {}
                    assert_eq!(connection.commands_held_back(), 2);
                }
                connection.answer(info.id, Envelope::new(1, "")).unwrap();
            }
            Some(_) => {}
            None => break,
        }
    }
    let pinned: vec::Vec<_> = payloads
        .iter()
        .map(|payload| buffer.contains(&payload.as_ptr().addr()))
        .collect();
    // The first goes straight to its handler; the last is too large to be copied.
    assert_eq!(pinned, [true, false, true]);
}

#[test]
fn small_payloads_that_are_kept_share_the_buffer_that_they_came_in() {
    // rule: LIM-5
    let peer = Peer::client_of(ConnectionId(1));
    let mut connection = Connection::new(Config::default(), EnvelopeProtocol::default(), peer, NOW);
    let mut kept = vec![];
    for n in 0..1_000u16 {
        // One at a time, each in a read of its own, and all of them stay.
        let buffer = connection.receive_buffer();
        let [high, low] = n.to_be_bytes();
        buffer.extend_from_slice(&[0, 0, 0, 5, 1, 0, 2, high, low]);
        connection.handle_received(NOW);
        let Some(Event::Request { info, frame }) = connection.poll_event(NOW) else {
            panic!("a request");
        };
        kept.push(frame.payload);
        connection.answer(info.id, Envelope::new(1, "")).unwrap();
        connection.poll_event(NOW);
        if let Some(buffer) = connection.take_receive_buffer() {
            connection.give_receive_buffer(buffer);
        }
    }
    let places = kept.iter().map(|payload| payload.as_ptr() as usize);
    let (first, last) = (places.clone().min().unwrap(), places.max().unwrap());
    assert!(last - first < 256 * 1024, "one buffer holds them all");
}

#[test]
fn the_queue_of_a_long_answer_is_freed_when_it_is_empty() {
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    let mut link = Link::new(config, InOrder::default());
    for (frames, kept) in [(2, true), (1_000, false)] {
        let id = link.requests(&[1])[0].id;
        for n in 0..frames {
            let frame = Frame::numbered(n);
            link.connection.accept_response(id, frame).unwrap();
        }
        link.connection.finish(id, End::Complete).unwrap();
        link.sent();
        let place = link.connection.commands.at(0).unwrap();
        assert_eq!(place.answer.capacity() > 0, kept, "{frames} frames");
    }
}
