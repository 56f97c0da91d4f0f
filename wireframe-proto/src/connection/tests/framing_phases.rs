//! Framing and codec as the engine uses them, in a protocol that changes its phase.

use alloc::{string::String, vec::Vec};

use super::upgrade::{Frame, Upgrade};
use crate::{
    Body, CloseReason, Config, Connection, ConnectionId, Event, Instant, Malformed, Peer, Priority,
    RequestInfo, config::nonzero,
};

const NOW: Instant = Instant::ZERO;

fn connection() -> Connection<Upgrade> {
    with(Config::default())
}

fn with(config: Config) -> Connection<Upgrade> {
    Connection::new(config, Upgrade, Peer::client_of(ConnectionId(1)), NOW)
}

fn receive(connection: &mut Connection<Upgrade>, bytes: &[u8]) -> Vec<Event<Frame>> {
    connection.receive_buffer().extend_from_slice(bytes);
    connection.handle_received(NOW);
    core::iter::from_fn(|| connection.poll_event(NOW)).collect()
}

fn sent(connection: &mut Connection<Upgrade>) -> Vec<u8> {
    let _ = connection.fill(NOW);
    let Some(transmit) = connection.transmit() else {
        return Vec::new();
    };
    let bytes: Vec<u8> = transmit.chunks().flatten().copied().collect();
    transmit.advance(bytes.len());
    bytes
}

fn request(events: &[Event<Frame>]) -> (RequestInfo, Frame) {
    let [.., Event::Request { info, frame }] = events else {
        panic!("{events:?}");
    };
    (*info, frame.clone())
}

#[test]
fn a_unit_without_a_header_gives_its_whole_length() {
    // rule: FRAME-2, FRAME-1
    let mut connection = connection();
    assert_eq!(receive(&mut connection, b"hel"), []);
    assert_eq!(sent(&mut connection), b"220\n", "the server spoke first");
    let (info, frame) = request(&receive(&mut connection, b"lo\nnext"));
    assert_eq!(frame, Frame::line("hello"));
    connection.answer(info.id, Frame::line("world")).unwrap();
    assert_eq!(sent(&mut connection), b"world\n");
    let (_, frame) = request(&receive(&mut connection, b"\n"));
    assert_eq!(frame, Frame::line("next"));
}

#[test]
fn an_unfinished_header_is_asked_for_again_only_when_there_is_more() {
    // rule: FRAME-2
    let mut connection = connection();
    // The framing itself asserts that it sees the same bytes and more.
    for byte in b"hello" {
        assert_eq!(receive(&mut connection, &[*byte]), []);
        assert_eq!(receive(&mut connection, b""), []);
        sent(&mut connection);
        assert!(!connection.wants().event);
    }
    let (_, frame) = request(&receive(&mut connection, b"\n"));
    assert_eq!(frame, Frame::line("hello"));
}

#[test]
fn malformed_headers_reach_the_goodbye_with_their_code() {
    // rule: FRAME-2
    let mut connection = connection();
    let malformed = Malformed::with_code(400, "a line begins with 0");
    let closing = Event::Closing(CloseReason::Malformed(malformed));
    let events = receive(&mut connection, b"\0");
    assert_eq!(events.first(), Some(&closing));
    assert_eq!(sent(&mut connection), b"220\n400\n", "after the greeting");
}

#[test]
fn the_frame_that_means_the_change_changes_the_phase_of_what_is_behind_it() {
    // rule: FRAME-4
    let mut connection = connection();
    let mut bytes = b"upgrade\n".to_vec();
    bytes.extend(Frame::masked("binary", 0x55));
    let (info, _) = request(&receive(&mut connection, &bytes));
    sent(&mut connection);
    connection.respond(info.id, Frame::line("101")).unwrap();
    let first = Frame::Binary("first".into());
    connection.respond(info.id, first).unwrap();
    connection.finish(info.id, crate::End::Complete).unwrap();
    assert_eq!(sent(&mut connection), b"101\n\x05\0first");
    let (info, frame) = request(&receive(&mut connection, b""));
    assert_eq!(
        frame,
        Frame::Binary("binary".into()),
        "unmasked, and not lost"
    );
    connection
        .answer(info.id, Frame::Binary("ok".into()))
        .unwrap();
    assert_eq!(sent(&mut connection), b"\x02\0ok");
}

#[test]
fn a_push_behind_the_change_is_encoded_in_the_new_phase() {
    // rule: FRAME-4
    let mut connection = connection();
    let (info, _) = request(&receive(&mut connection, b"upgrade\n"));
    sent(&mut connection);
    connection.answer(info.id, Frame::line("101")).unwrap();
    let push = Frame::Binary("push".into());
    connection.push(Priority::High, push).unwrap();
    assert_eq!(sent(&mut connection), b"101\n\x04\0push");
}

#[test]
fn a_conversation_can_come_before_the_change() {
    // rule: FRAME-4, REQ-2
    let mut connection = connection();
    let lines = b"upgrade\nbody one\nbody end\n";
    let (info, _) = request(&receive(&mut connection, lines));
    let mut read = Vec::new();
    loop {
        match connection.next_body(info.id, NOW) {
            Body::Frame(frame) => read.push(frame),
            Body::Pending => {
                let events = receive(&mut connection, b"");
                assert_eq!(events, [Event::Body(info)]);
            }
            Body::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read, [Frame::line("body one"), Frame::line("body end")]);
    connection.answer(info.id, Frame::line("101")).unwrap();
    assert_eq!(sent(&mut connection), b"220\n101\n");
    let (_, frame) = request(&receive(&mut connection, &Frame::masked("x", 1)));
    assert_eq!(frame, Frame::Binary("x".into()));
}

#[test]
fn a_line_that_has_not_ended_after_64_kib_is_refused_however_it_came() {
    // rule: LIM-1, FRAME-5
    let max = 64 * 1024;
    let line = |len: usize| [&"x".repeat(len)[..], "\n"].concat();
    for step in [1_000, max, 2 * max] {
        let read = |text: &str| {
            let mut connection = connection();
            let chunks = text.as_bytes().chunks(step);
            let mut events = Vec::new();
            for chunk in chunks {
                events.extend(receive(&mut connection, chunk));
            }
            events
        };
        let (_, frame) = request(&read(&line(max - 1)));
        assert_eq!(frame, Frame::Line(String::from(line(max - 1).trim_end())));
        let [Event::Closing(CloseReason::Limit(limit)), ..] = &read(&line(max + 5))[..] else {
            panic!("accepted in steps of {step}");
        };
        assert_eq!(limit.limit, "max_header_len");
        assert_eq!((limit.value, limit.got), (max as u64, max as u64 + 1));
    }
}

#[test]
fn a_small_read_buffer_does_not_stop_a_long_header() {
    // rule: LIM-1
    let mut config = Config::default();
    config.limits.read_buffer = nonzero(16);
    let mut connection = with(config);
    for _ in 0..100 {
        assert!(connection.wants().read);
        assert_eq!(receive(&mut connection, b"0123456789"), []);
    }
    request(&receive(&mut connection, b"\n"));
}
