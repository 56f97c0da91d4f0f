//! Calls that are answered with any number of frames.

use alloc::{vec, vec::Vec};

use bytes::Bytes;

use super::support::{Correlated, Frame, Kind, Link};
use crate::{
    CallId, Config, Connection, ConnectionId, CorrelationId, Discarded, End, Envelope,
    EnvelopeProtocol, Event, Filled, Instant, LengthDelimited, Peer, Refusal, Shutdown, State,
};

const NOW: Instant = Instant::ZERO;
const DISCARDED: Event<Envelope> = Event::Discarded(Discarded::Reply);
const END: u32 = 100;

/// One end of a connection of the default protocol.
struct Near(Connection<EnvelopeProtocol>);

impl Near {
    fn new(protocol: EnvelopeProtocol, peer: Peer) -> Self {
        Self(Connection::new(Config::default(), protocol, peer, NOW))
    }

    /// A client that knows the end of streams.
    fn client() -> Self {
        let protocol = EnvelopeProtocol::default().with_stream_end(END);
        Self::new(protocol, Peer::server_of(ConnectionId(1)))
    }

    fn call_streaming(&mut self, id: u64) -> Result<CallId, Refusal> {
        let called = self
            .0
            .call_streaming(Envelope::new(1, ""), Some(CorrelationId(id)));
        let _ = self.output();
        called.map_err(|rejected| rejected.reason)
    }

    fn output(&mut self) -> Vec<u8> {
        let mut wire = vec![];
        while self.0.fill(NOW) == Filled::HighWater || self.0.wants().write {
            let transmit = self.0.transmit().unwrap();
            let sent: Vec<u8> = transmit.chunks().flatten().copied().collect();
            transmit.advance(sent.len());
            wire.extend(sent);
        }
        wire
    }

    /// Gives it an envelope with correlation id 7 and so many bytes, and says what it is.
    fn receive(&mut self, id: u8, bytes: u8) -> Event<Envelope> {
        let mut wire = vec![0, 0, 0, 4 + bytes, id, 1, 7, bytes];
        wire.extend(vec![b'.'; usize::from(bytes)]);
        self.receive_bytes(&wire)
    }

    fn receive_bytes(&mut self, wire: &[u8]) -> Event<Envelope> {
        self.0.receive_buffer().extend_from_slice(wire);
        self.0.handle_received(NOW);
        self.0.poll_event(NOW).unwrap()
    }
}

fn reply(call: CallId, id: u32, bytes: usize, last: bool) -> Event<Envelope> {
    let frame = Envelope::new(id, vec![b'.'; bytes]).with_correlation_id(7);
    Event::Reply { call, frame, last }
}

#[test]
fn replies_to_a_streaming_call_go_on_until_the_empty_end_envelope() {
    // rule: WIRE-1, CLI-1
    let mut near = Near::client();
    let call = near.call_streaming(7).unwrap();
    assert_eq!(near.receive(9, 2), reply(call, 9, 2, false));
    assert_eq!(near.receive(9, 0), reply(call, 9, 0, false));
    assert_eq!(near.receive(100, 1), reply(call, END, 1, false));
    assert_eq!(near.0.calls_pending(), 1);
    assert_eq!(near.receive(100, 0), Event::ReplyEnd { call });
    assert_eq!(near.0.calls_pending(), 0);
    assert!(near.call_streaming(7).is_ok(), "its id is free");
}

#[test]
fn other_calls_end_with_their_first_reply_whatever_it_is() {
    // rule: WIRE-1
    for (id, bytes) in [(9, 2), (100, 0)] {
        let mut near = Near::client();
        let call = near.0.call(Envelope::new(1, ""), Some(CorrelationId(7)));
        let _ = near.output();
        let expected = reply(call.unwrap(), u32::from(id), usize::from(bytes), true);
        assert_eq!(near.receive(id, bytes), expected);
    }
}

#[test]
fn without_an_end_envelope_the_first_reply_to_a_streaming_call_is_its_last() {
    // rule: WIRE-1
    let mut near = Near::new(
        EnvelopeProtocol::with_framing(LengthDelimited::default()),
        Peer::server_of(ConnectionId(1)),
    );
    let call = near.call_streaming(7).unwrap();
    assert_eq!(near.receive(100, 0), reply(call, END, 0, true));
}

#[test]
fn what_is_left_of_a_forgotten_stream_is_discarded_to_its_end() {
    // rule: CLI-2
    let mut near = Near::client();
    let call = near.call_streaming(7).unwrap();
    assert_eq!(near.receive(9, 2), reply(call, 9, 2, false));
    near.0.forget(call);
    for _ in 0..3 {
        assert_eq!(near.receive(9, 2), DISCARDED);
        assert_eq!(near.call_streaming(7), Err(Refusal::InUse));
    }
    assert_eq!(near.receive(100, 0), DISCARDED);
    assert_eq!(near.0.stats().replies_discarded, 4);
    assert!(matches!(near.receive(9, 2), Event::Push(_)), "of no call");
}

#[test]
fn the_answering_end_marks_the_end_of_a_stream_and_of_nothing_else() {
    // rule: WIRE-1, RESP-3
    let protocol = EnvelopeProtocol::default().with_stream_end(END);
    for (end, marked) in [(End::StreamComplete, true), (End::Complete, false)] {
        let mut near = Near::new(protocol, Peer::client_of(ConnectionId(1)));
        let Event::Request { info, .. } = near.receive(9, 0) else {
            panic!("no request");
        };
        near.0.finish(info.id, end).unwrap();
        let expected: &[u8] = &[0, 0, 0, 4, 100, 1, 7, 0];
        assert_eq!(near.output(), if marked { expected } else { &[] });
    }
    let mut near = Near::new(
        EnvelopeProtocol::default(),
        Peer::client_of(ConnectionId(1)),
    );
    let Event::Request { info, .. } = near.receive(9, 0) else {
        panic!("no request");
    };
    near.0.finish(info.id, End::StreamComplete).unwrap();
    assert!(near.output().is_empty());
}

#[test]
fn an_answer_that_fails_closes_a_connection_whose_streams_have_an_end() {
    // rule: WIRE-1
    for marked in [true, false] {
        let protocol = match marked {
            true => EnvelopeProtocol::default().with_stream_end(END),
            false => EnvelopeProtocol::default(),
        };
        let mut near = Near::new(protocol, Peer::client_of(ConnectionId(1)));
        let Event::Request { info, .. } = near.receive(9, 0) else {
            panic!("no request");
        };
        let too_long = Bytes::from(vec![0; 2 * 1024 * 1024]);
        near.0.respond(info.id, Envelope::new(9, too_long)).unwrap();
        let _ = near.output();
        assert_eq!(near.0.state() == State::Closing, marked);
    }
}

/// With a protocol that says by itself which reply is the last.
#[test]
fn an_end_without_a_frame_ends_a_call_of_any_kind() {
    // rule: REQ-1
    for id in [Some(5), None] {
        let peer = Peer::server_of(ConnectionId(1));
        let mut link = Link::of(peer, Config::default(), Correlated::default());
        let frame = || Frame::new(Kind::Request, []);
        let correlation = id.map(|id| CorrelationId(u64::from(id)));
        let single = link.connection.call(frame(), correlation).unwrap();
        link.sent();
        link.receive(&[Frame::new(Kind::ReplyEnd, []).with_id(id)]);
        assert_eq!(link.events(), [Event::ReplyEnd { call: single }]);
        let stream = link
            .connection
            .call_streaming(frame(), correlation)
            .unwrap();
        link.sent();
        link.receive(&[
            Frame::new(Kind::Reply, []).with_id(id),
            Frame::new(Kind::ReplyEnd, []).with_id(id),
            Frame::new(Kind::ReplyEnd, []).with_id(id),
        ]);
        let events = link.events();
        assert!(matches!(events[0], Event::Reply { call, last: false, .. } if call == stream));
        assert_eq!(events[1], Event::ReplyEnd { call: stream });
        assert_eq!(events[2], Event::Discarded(Discarded::Reply));
    }
}

#[test]
fn a_drain_waits_for_the_end_of_a_stream() {
    // rule: SHUT-2
    let mut near = Near::client();
    let _ = near.call_streaming(7).unwrap();
    let deadline = Instant::from_millis(5_000);
    near.0.shutdown(NOW, Shutdown::Drain { deadline });
    let _ = near.receive(9, 2);
    let _ = near.output();
    assert_eq!(near.0.state(), State::Draining);
    let _ = near.receive(100, 0);
    let _ = near.output();
    assert_eq!(near.0.state(), State::Closing);
}
