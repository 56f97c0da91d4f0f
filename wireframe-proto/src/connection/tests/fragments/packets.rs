//! Conversations in numbered packets.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::support::{Frame, InOrder, Kind, Link};
use super::{Framed, Header, events, feed, over, raw, reader, reviewed::numbers, units};
use crate::{
    Body, CloseReason, Config, ConnectionId, End, Event, FragmentMeta, FragmentStrategy, LenSeq16M,
    Malformed, Peer, Priority, State, Unencodable, config::nonzero,
};

/// What a client sends over numbered packets.
fn packet(number: u8, frame: &Frame) -> Vec<u8> {
    let mut wire = frame.wire();
    let payload = wire.split_off(4);
    let [a, b, c, ..] = payload.len().to_le_bytes();
    [&[a, b, c, number], &payload[..]].concat()
}

#[test]
fn ten_thousand_packets_wrap_the_number_and_lose_no_byte() {
    // rule: FRAG-4
    let mut link: Link<Framed<InOrder, LenSeq16M>> = over(LenSeq16M::default(), InOrder::default());
    link.receive_bytes(&packet(0, &Frame::new(Kind::Exclusive, [])));
    let [command] = link.started()[..] else {
        panic!();
    };
    let (mut sent, mut last, mut wraps) = (0u32, 0u8, 0);
    while sent < 10_000 {
        // The client says something too, which counts as well.
        if sent % 1_000 == 500 {
            link.connection.next_body(command.id, link.now);
            let is_last = sent == 9_500;
            let kind = if is_last { Kind::LastBody } else { Kind::Body };
            link.receive_bytes(&packet(last.wrapping_add(1), &Frame::new(kind, [])));
            assert!(matches!(link.events()[..], [Event::Body(_)]));
            link.connection.next_body(command.id, link.now);
            last = last.wrapping_add(1);
        }
        let frame = Frame::numbered(sent);
        link.connection.respond(command.id, frame.clone()).unwrap();
        let number = last.wrapping_add(1);
        assert_eq!(link.sent_bytes(), packet(number, &frame));
        wraps += u32::from(number == 0);
        last = number;
        sent += 1;
    }
    assert_eq!(wraps, 39);
    link.connection.finish(command.id, End::Complete).unwrap();
    // The next command begins anew.
    link.receive_bytes(&packet(0, &Frame::new(Kind::Exclusive, [])));
    assert_eq!(link.started().len(), 1);
}

#[test]
fn ten_thousand_packets_are_received_as_they_were_sent() {
    // rule: FRAG-4
    let mut link: Link<Framed<InOrder, LenSeq16M>> = over(LenSeq16M::default(), InOrder::default());
    link.receive_bytes(&packet(0, &Frame::new(Kind::Exclusive, [])));
    let command = link.started()[0];
    // The last one has the number 255.
    const LAST: u32 = 40 * 256 - 1;
    for n in 1..=LAST {
        let kind = if n == LAST {
            Kind::LastBody
        } else {
            Kind::Body
        };
        let frame = Frame::new(kind, n.to_be_bytes());
        let pending = link.connection.next_body(command.id, link.now);
        assert_eq!(pending, Body::Pending);
        let [number, ..] = n.to_le_bytes();
        link.receive_bytes(&packet(number, &frame));
        assert_eq!(link.events(), [Event::Body(command)]);
        let received = link.connection.next_body(command.id, link.now);
        assert_eq!(received, Body::Frame(frame));
    }
    // The answer goes on counting.
    link.connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.sent_bytes(), packet(0, &Frame::numbered(1)));
}

/// The route of the frame with which a client answers the server's greeting.
const HANDSHAKE: u8 = 9;

/// Numbered packets, of which the answer to a greeting goes on with it.
#[derive(Clone, Default)]
struct Greeted(LenSeq16M);

impl FragmentStrategy<Frame> for Greeted {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        FragmentStrategy::<Frame>::decode_header(&mut self.0, src)
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &Frame,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let mut meta = meta.clone();
        meta.unsolicited &= frame.route != HANDSHAKE;
        self.0.encode_header(dst, frame, &meta)
    }
}

/// Everything that one end has to say goes to the other: the numbers of its packets.
fn deliver(
    from: &mut Link<Framed<InOrder, Greeted>>,
    to: &mut Link<Framed<InOrder, Greeted>>,
) -> Vec<u8> {
    let wire = from.sent_bytes();
    to.receive_bytes(&wire);
    numbers(&wire)
}

#[test]
fn client_and_server_count_the_packets_of_a_conversation_together() {
    // rule: FRAG-4
    let mut server = over(Greeted::default(), InOrder::default());
    let protocol = Framed {
        inner: InOrder::default(),
        framing: Greeted::default(),
    };
    let peer = Peer::server_of(ConnectionId(1));
    let mut client = Link::of(peer, Config::default(), protocol);
    let command = |route| Frame::new(Kind::Exclusive, []).with_route(route);
    let reply = |last| Frame::new(if last { Kind::LastReply } else { Kind::Reply }, []);

    // The server greets, and the client says who it is.
    server
        .connection
        .push(Priority::High, Frame::numbered(0))
        .unwrap();
    assert_eq!(deliver(&mut server, &mut client), [0]);
    assert!(matches!(client.events()[..], [Event::Push(_)]));
    client.connection.call(command(HANDSHAKE), None).unwrap();
    assert_eq!(deliver(&mut client, &mut server), [1]);
    let login = server.started()[0];
    server.connection.answer(login.id, reply(true)).unwrap();
    assert_eq!(deliver(&mut server, &mut client), [2]);
    assert!(matches!(
        client.events()[..],
        [Event::Reply { last: true, .. }]
    ));

    // Each query begins anew; one asks for a file, which the client sends along.
    for _ in 0..2 {
        client.connection.call(command(1), None).unwrap();
        assert_eq!(deliver(&mut client, &mut server), [0]);
        let load = server.started()[0];
        server.connection.respond(load.id, reply(false)).unwrap();
        assert_eq!(deliver(&mut server, &mut client), [1]);
        client.events();
        for (kind, number) in [(Kind::Body, 2), (Kind::LastBody, 3)] {
            let pending = server.connection.next_body(load.id, server.now);
            assert_eq!(pending, Body::Pending);
            let piece = Frame::new(kind, []);
            client.connection.push(Priority::Low, piece).unwrap();
            assert_eq!(deliver(&mut client, &mut server), [number]);
            assert_eq!(server.events(), [Event::Body(load)]);
            server.connection.next_body(load.id, server.now);
        }
        server.connection.answer(load.id, reply(true)).unwrap();
        assert_eq!(deliver(&mut server, &mut client), [4]);
        client.events();
    }
    assert_eq!(client.connection.state(), State::Active);
    assert_eq!(server.connection.state(), State::Active);
}

#[test]
fn a_wrong_packet_number_ends_the_connection() {
    // rule: FRAG-4
    let mut link: Link<Framed<InOrder, LenSeq16M>> = over(LenSeq16M::default(), InOrder::default());
    link.receive_bytes(&packet(3, &Frame::request(None)));
    let error = Malformed::new("packet number 3, expected 0");
    assert_eq!(
        link.events(),
        [Event::Closing(CloseReason::Malformed(error))]
    );
}

#[test]
fn a_packet_longer_than_a_frame_may_be_is_not_cut_otherwise() {
    // rule: FRAG-4, FRAME-6
    let mut sender = raw(LenSeq16M::default(), Config::default());
    let message = Bytes::from(alloc::vec![0; 16_777_215]);
    sender.push(Priority::Low, message).unwrap();
    assert_eq!(super::output(&mut sender), []);
    let [Event::Undelivered(undelivered)] = &events(&mut sender)[..] else {
        panic!();
    };
    let why = alloc::format!("{:?}", undelivered.why);
    assert!(
        why.contains("max_frame_len is 1048576, got 16777215"),
        "{why}"
    );
}

/// A length and a flag; bit 0 ends a message, bit 1 marks a unit that stands alone.
fn flagged(src: &[u8]) -> Header {
    Ok(src.first_chunk().map(|&[len, flags]| {
        let mut meta = FragmentMeta::whole(len.into());
        meta.is_final = flags & 1 != 0;
        meta.alone = flags & 2 != 0;
        (meta, 2)
    }))
}

#[test]
fn a_unit_that_stands_alone_is_delivered_between_two_fragments() {
    // rule: FRAME-3
    let mut receiver = reader(Config::default(), flagged);
    feed(
        &mut receiver,
        b"\x02\x00ab\x01\x03!\x01\x00c\x00\x03\x02\x01de",
    );
    let frames = [&b"!"[..], b"", b"abcde"].map(|frame| Event::Push(Bytes::from_static(frame)));
    assert_eq!(events(&mut receiver), frames);
    // Behind it a unit of its own is whole again.
    feed(&mut receiver, b"\x01\x01f");
    assert_eq!(
        events(&mut receiver),
        [Event::Push(Bytes::from_static(b"f"))]
    );
    // One that stands alone and goes on cannot be.
    feed(&mut receiver, b"\x01\x02f");
    let error = Malformed::new("a unit that stands alone and is not final");
    let reason = CloseReason::Malformed(error);
    assert_eq!(events(&mut receiver), [Event::Closing(reason)]);
}

#[test]
fn a_full_packet_of_the_peer_is_followed_by_more() {
    // rule: FRAG-4
    let mut config = Config::default();
    config.limits.max_frame_len = nonzero(16 * 1024 * 1024);
    let message = Bytes::from(alloc::vec![7; 16_777_215]);
    let wire = super::encoded(LenSeq16M::default(), config.clone(), &[message]);
    let units = units::<Bytes>(LenSeq16M::default(), &wire);
    let lengths: Vec<_> = units.iter().map(|unit| unit.meta.payload_len).collect();
    assert_eq!(lengths, [16_777_215, 0]);
    assert_eq!(units[0].meta.seq, None, "the number is none of a fragment");
    let mut receiver = raw(LenSeq16M::default(), config);
    feed(&mut receiver, &wire[..wire.len() - 1]);
    assert_eq!(events(&mut receiver), []);
    feed(&mut receiver, &wire[wire.len() - 1..]);
    assert_eq!(events(&mut receiver).len(), 1);
}
