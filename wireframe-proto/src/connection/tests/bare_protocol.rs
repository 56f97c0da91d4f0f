//! A protocol of which only what is required is written, and what its framing says.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    AnswerError, CloseReason, Codec, Config, Connection, ConnectionId, CorrelationId, End, Event,
    FragmentMeta, FragmentStrategy, FrameBuf, Instant, Malformed, Peer, Priority, RequestInfo,
    Role, Shutdown, State, Unencodable, View, WireframeProtocol, config::nonzero,
};

/// A text, and what the header of its unit says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    tag: u8,
    alone: bool,
    text: Bytes,
}

fn said(tag: u8, text: &'static str) -> Said {
    Said {
        tag,
        alone: false,
        text: Bytes::from_static(text.as_bytes()),
    }
}

/// A header of three bytes: the length, the tag, and `alone` on the way in or
/// `unsolicited` on the way out.
struct Header;

impl FragmentStrategy<Said> for Header {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let Some(&[len, tag, alone]) = src.first_chunk() else {
            return Ok(None);
        };
        let mut meta = FragmentMeta::whole(len.into());
        meta.tag = tag.into();
        meta.alone = alone == 1;
        Ok(Some((meta, 3)))
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &Said,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let len = u8::try_from(meta.payload_len).unwrap();
        dst.extend([len, frame.tag, meta.unsolicited.into()]);
        Ok(())
    }
}

/// What a frame is stands in the header alone.
struct Payload;

impl Codec for Payload {
    type Frame = Said;

    fn decode(&mut self, meta: &FragmentMeta, text: Bytes) -> Result<Said, Malformed> {
        let tag = u8::try_from(meta.tag).unwrap();
        if tag == b'!' {
            return Err(Malformed::new("!"));
        }
        let alone = meta.alone;
        Ok(Said { tag, alone, text })
    }

    fn encode(&mut self, frame: &Said, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        if frame.text == "unencodable" {
            return Err(Unencodable::new("unencodable"));
        }
        dst.put_bytes(&frame.text);
        Ok(())
    }

    fn encoded_len(&self, frame: &Said) -> usize {
        frame.text.len()
    }
}

struct Bare;

impl WireframeProtocol for Bare {
    type Frame = Said;
    type Error = ();
    type Codec = Payload;
    type Framing = Header;
    type Session = ();

    fn codec(&self) -> Payload {
        Payload
    }

    fn framing(&self) -> Header {
        Header
    }

    fn classify(&self, frame: &Said, _: &View<'_, ()>) -> Role {
        match frame.tag {
            b'q' => Role::Request {
                route: 0,
                correlation: Some(CorrelationId(1)),
                exclusive: false,
            },
            b'c' => Role::Control,
            _ => Role::Push,
        }
    }
}

const NOW: Instant = Instant::ZERO;

fn connection() -> Connection<Bare> {
    let mut config = Config::default();
    config.limits.max_in_flight = Some(nonzero(2));
    Connection::new(config, Bare, Peer::client_of(ConnectionId(1)), NOW)
}

fn receive(connection: &mut Connection<Bare>, bytes: &[u8]) -> Vec<Event<Said>> {
    connection.receive_buffer().extend_from_slice(bytes);
    connection.handle_received(NOW);
    core::iter::from_fn(|| connection.poll_event(NOW)).collect()
}

fn request(connection: &mut Connection<Bare>) -> RequestInfo {
    match &receive(connection, b"\x01q\0?")[..] {
        [Event::Request { info, .. }] => *info,
        events => panic!("{events:?}"),
    }
}

fn sent(connection: &mut Connection<Bare>) -> Vec<u8> {
    let _ = connection.fill(NOW);
    let Some(transmit) = connection.transmit() else {
        return Vec::new();
    };
    let bytes: Vec<u8> = transmit.chunks().flatten().copied().collect();
    transmit.advance(bytes.len());
    bytes
}

#[test]
fn what_the_framing_says_about_a_unit_reaches_the_codec() {
    // rule: FRAME-3
    let mut connection = connection();
    let events = receive(&mut connection, b"\x03p\0one\x03x\x01two");
    let alone = Said {
        alone: true,
        ..said(b'x', "two")
    };
    let expected = [Event::Push(said(b'p', "one")), Event::Push(alone)];
    assert_eq!(events, expected);
}

#[test]
fn what_goes_while_no_command_or_call_is_under_way_is_unsolicited() {
    // rule: FRAME-3
    let mut connection = connection();
    let push = |connection: &mut Connection<Bare>| {
        let pushed = connection.push(Priority::High, said(b'p', "push"));
        pushed.unwrap();
        sent(connection)
    };
    assert_eq!(push(&mut connection), b"\x04p\x01push");
    let command = request(&mut connection);
    assert_eq!(push(&mut connection), b"\x04p\x00push");
    connection.answer(command.id, said(b'a', "answer")).unwrap();
    assert_eq!(sent(&mut connection), b"\x06a\x00answer");
    assert_eq!(push(&mut connection), b"\x04p\x01push");
    // A call with an id says by that what belongs to it.
    for (id, then) in [(Some(CorrelationId(5)), 1), (None, 0)] {
        connection.call(said(b'p', "call"), id).unwrap();
        assert_eq!(sent(&mut connection), b"\x04p\x01call");
        assert_eq!(push(&mut connection)[2], then);
    }
}

#[test]
fn by_default_answers_go_in_order_and_pushes_at_any_time() {
    // rule: HOOK-1
    let mut connection = connection();
    let [first, second] = [(); 2].map(|()| request(&mut connection));
    connection.answer(second.id, said(b'a', "2")).unwrap();
    assert_eq!(sent(&mut connection), b"");
    connection.push(Priority::Low, said(b'p', "3")).unwrap();
    assert_eq!(sent(&mut connection), b"\x01p\x003");
    connection.respond(first.id, said(b'a', "1")).unwrap();
    connection.finish(first.id, End::StreamComplete).unwrap();
    assert_eq!(sent(&mut connection), b"\x01a\x001\x01a\x002");
    assert_eq!(connection.commands_in_flight(), 0);
}

#[test]
fn by_default_nothing_goes_that_the_application_did_not_send() {
    // rule: HOOK-1, HOOK-6
    let mut connection = connection();
    assert_eq!(receive(&mut connection, b"\x01c\0?"), [Event::Control]);
    let failed = request(&mut connection);
    connection
        .finish(failed.id, End::Failed(AnswerError::Protocol(())))
        .unwrap();
    let unencodable = request(&mut connection);
    let answer = said(b'a', "unencodable");
    connection.answer(unencodable.id, answer).unwrap();
    assert_eq!(sent(&mut connection), b"");
    assert_eq!(connection.state(), State::Active, "errors end an answer");
    // A call goes as it is: nothing puts its id in.
    let call = connection.call(said(b'p', "call"), Some(CorrelationId(5)));
    assert_eq!(sent(&mut connection), b"\x04p\x01call");
    assert!(connection.forget(call.unwrap()));
    let last = request(&mut connection);
    let deadline = Instant::from_millis(1);
    connection.shutdown(NOW, Shutdown::Drain { deadline });
    assert_eq!(sent(&mut connection), b"", "no notice");
    connection.answer(last.id, said(b'a', "last")).unwrap();
    assert_eq!(sent(&mut connection), b"\x04a\x00last", "and no goodbye");
    assert!(connection.wants().half_close);
}

#[test]
fn by_default_a_route_that_nobody_serves_closes_the_connection() {
    // rule: HOOK-1, RESP-9
    let mut connection = connection();
    let command = request(&mut connection);
    let frame = said(b'q', "?");
    connection.finish_unrouted(command.id, frame).unwrap();
    assert_eq!(sent(&mut connection), b"");
    let events = receive(&mut connection, b"");
    assert_eq!(events, [Event::Closing(CloseReason::Protocol)]);
}

#[test]
fn by_default_malformed_input_closes_the_connection_without_a_word() {
    // rule: HOOK-1
    let mut connection = connection();
    let events = receive(&mut connection, b"\x01!\0?");
    let malformed = CloseReason::Malformed(Malformed::new("!"));
    assert_eq!(events, [Event::Closing(malformed)]);
    assert_eq!(sent(&mut connection), b"");
    assert!(connection.wants().half_close);
}
