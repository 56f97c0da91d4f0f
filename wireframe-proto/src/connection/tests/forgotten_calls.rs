//! Calls that nobody waits for any more, and what inbound envelopes are.

use alloc::{vec, vec::Vec};

use super::support::{Correlated, Frame, Kind, Link};
use crate::{
    CallId, CallKind, Config, Connection, ConnectionId, CorrelationId, Discarded, Envelope,
    EnvelopeProtocol, Event, Instant, Peer, Priority, Refusal, Side,
};

const DISCARDED: Event<Frame> = Event::Discarded(Discarded::Reply);

fn link() -> Link<Correlated> {
    let peer = Peer::server_of(ConnectionId(1));
    Link::of(peer, Config::default(), Correlated::default())
}

impl Link<Correlated> {
    fn call(&mut self, id: Option<u64>) -> Result<CallId, Refusal> {
        let id = id.map(CorrelationId);
        let called = self.connection.call(Frame::new(Kind::Request, []), id);
        called.map_err(|rejected| rejected.reason)
    }

    fn replies(&mut self, kind: Kind, id: Option<u16>) -> Vec<Event<Frame>> {
        self.receive(&[Frame::new(kind, []).with_id(id)]);
        self.events()
    }
}

fn answered(events: &[Event<Frame>]) -> Vec<(CallId, bool)> {
    let mut calls = vec![];
    for event in events {
        if let Event::Reply { call, last, .. } = event {
            calls.push((*call, *last));
        }
    }
    calls
}

#[test]
fn a_late_reply_to_a_forgotten_call_is_discarded_and_counted() {
    // rule: CLI-2
    let mut link = link();
    let call = link.call(Some(5)).unwrap();
    link.sent();
    assert!(link.connection.forget(call));
    assert!(!link.connection.forget(call));
    assert_eq!(link.connection.calls_pending(), 0);
    assert_eq!(link.replies(Kind::LastReply, Some(5)), [DISCARDED]);
    assert_eq!(link.connection.stats().replies_discarded, 1);
}

#[test]
fn no_other_call_receives_the_reply_to_a_forgotten_one() {
    // rule: CLI-2
    let mut link = link();
    let first = link.call(Some(5)).unwrap();
    link.sent();
    link.connection.forget(first);
    // Its id cannot be used again while its reply may still come.
    assert_eq!(link.call(Some(5)), Err(Refusal::InUse));
    assert!(!link.connection.is_call_free(CorrelationId(5)));
    assert_eq!(link.replies(Kind::Reply, Some(5)), [DISCARDED]);
    assert_eq!(
        link.call(Some(5)),
        Err(Refusal::InUse),
        "there may be more of it"
    );
    assert_eq!(link.replies(Kind::LastReply, Some(5)), [DISCARDED]);
    let second = link.call(Some(5)).unwrap();
    link.sent();
    assert_eq!(
        answered(&link.replies(Kind::LastReply, Some(5))),
        [(second, true)]
    );
}

#[test]
fn in_order_a_forgotten_call_keeps_its_turn() {
    // rule: CLI-2, CLI-1
    let mut link = link();
    let calls: Vec<_> = (0..3).map(|_| link.call(None).unwrap()).collect();
    link.sent();
    link.connection.forget(calls[1]);
    let replies: Vec<_> = (0..3)
        .map(|_| link.replies(Kind::LastReply, None))
        .collect();
    assert_eq!(answered(&replies[0]), [(calls[0], true)]);
    assert_eq!(replies[1], [DISCARDED]);
    assert_eq!(answered(&replies[2]), [(calls[2], true)]);
}

#[test]
fn a_call_that_is_forgotten_before_it_was_sent_keeps_its_turn_too() {
    // rule: CLI-2
    let mut link = link();
    let first = link.call(None).unwrap();
    let second = link.call(None).unwrap();
    link.connection.forget(first);
    link.sent();
    assert_eq!(link.replies(Kind::LastReply, None), [DISCARDED]);
    assert_eq!(
        answered(&link.replies(Kind::LastReply, None)),
        [(second, true)]
    );
}

#[test]
fn many_forgotten_calls_do_not_pile_up() {
    // rule: CLI-2, LIM-10
    let mut link = link();
    for id in 1..=5_000 {
        let call = link.call(Some(id)).unwrap();
        link.sent();
        link.connection.forget(call);
    }
    // The oldest have been given up; the latest are remembered.
    assert!(link.connection.is_call_free(CorrelationId(1)));
    assert!(!link.connection.is_call_free(CorrelationId(5_000)));
    let remembered = (1..=5_000).filter(|&id| !link.connection.is_call_free(CorrelationId(id)));
    assert_eq!(remembered.count(), 1_024);
}

#[test]
fn a_forgotten_call_is_remembered_beside_any_number_that_were_answered() {
    // rule: CLI-2
    let mut link = link();
    let stream = link.call(Some(1)).unwrap();
    link.sent();
    link.connection.forget(stream);
    for _ in 0..2_000 {
        let call = link.call(Some(2)).unwrap();
        link.sent();
        link.connection.forget(call);
        assert_eq!(link.replies(Kind::LastReply, Some(2)), [DISCARDED]);
    }
    assert!(!link.connection.is_call_free(CorrelationId(1)));
    assert!(link.connection.is_call_free(CorrelationId(2)));
}

#[test]
fn a_forgotten_stream_is_remembered_for_as_long_as_it_goes_on() {
    // rule: CLI-2
    let mut link = link();
    let stream = link.call(Some(1)).unwrap();
    link.sent();
    link.connection.forget(stream);
    for id in 2..=5_000 {
        let call = link.call(Some(id)).unwrap();
        link.sent();
        link.connection.forget(call);
        assert!(!link.connection.is_call_free(CorrelationId(1)));
        if id % 1_000 == 0 {
            assert_eq!(link.replies(Kind::Reply, Some(1)), [DISCARDED]);
        }
    }
    assert_eq!(link.replies(Kind::LastReply, Some(1)), [DISCARDED]);
    assert!(link.connection.is_call_free(CorrelationId(1)));
}

#[test]
fn many_forgotten_calls_without_an_id_hold_up_the_next() {
    // rule: CLI-2, LIM-10
    let mut link = link();
    for _ in 0..=1_024 {
        let call = link.call(None).unwrap();
        link.sent();
        link.connection.forget(call);
    }
    assert_eq!(link.call(None), Err(Refusal::Full));
    let mut frame = Frame::new(Kind::Request, []);
    let registered = link
        .connection
        .register_call(&mut frame, None, CallKind::Single);
    assert_eq!(registered, Err(Refusal::Full));
    assert!(link.call(Some(5)).is_ok(), "those with an id are not held");
    // A turn ends with the last frame of its reply.
    assert_eq!(link.replies(Kind::Reply, None), [DISCARDED]);
    assert_eq!(link.call(None), Err(Refusal::Full));
    assert_eq!(link.replies(Kind::LastReply, None), [DISCARDED]);
    let next = link.call(None).unwrap();
    link.sent();
    for _ in 0..1_024 {
        assert_eq!(link.replies(Kind::LastReply, None), [DISCARDED]);
    }
    let reply = link.replies(Kind::LastReply, None);
    assert_eq!(answered(&reply), [(next, true)]);
}

#[test]
fn calls_without_an_id_that_were_forgotten_and_cannot_be_sent_hold_up_nothing() {
    // rule: CLI-2, FRAME-6
    let mut link = link();
    for _ in 0..2_000 {
        let flawed = Frame::new(Kind::Flawed, []);
        let call = link.connection.call(flawed, None).unwrap();
        link.connection.forget(call);
        link.sent();
        link.events();
    }
}

#[test]
fn a_streaming_reply_ends_with_its_last_frame() {
    // rule: CLI-1
    let mut link = link();
    let call = link.call(Some(5)).unwrap();
    link.sent();
    assert_eq!(
        answered(&link.replies(Kind::Reply, Some(5))),
        [(call, false)]
    );
    assert_eq!(
        answered(&link.replies(Kind::LastReply, Some(5))),
        [(call, true)]
    );
    assert_eq!(link.replies(Kind::LastReply, Some(5)), [DISCARDED]);
}

/// What an envelope with that correlation id is, on an end with call 7 pending.
fn classified(side: Side, id: Option<u64>, forgotten: bool) -> Event<Envelope> {
    let peer = match side {
        Side::Server => Peer::client_of(ConnectionId(1)),
        Side::Client => Peer::server_of(ConnectionId(1)),
    };
    let protocol = EnvelopeProtocol::default();
    let mut connection = Connection::new(Config::default(), protocol, peer, Instant::ZERO);
    let call = connection.call(Envelope::new(1, ""), Some(CorrelationId(7)));
    let _ = connection.fill(Instant::ZERO);
    if forgotten {
        connection.forget(call.unwrap());
    }
    let wire = match id {
        None => vec![0, 0, 0, 3, 9, 0, 0],
        Some(id) => vec![0, 0, 0, 4, 9, 1, u8::try_from(id).unwrap(), 0],
    };
    connection.receive_buffer().extend_from_slice(&wire);
    connection.handle_received(Instant::ZERO);
    connection.poll_event(Instant::ZERO).unwrap()
}

#[test]
fn an_envelope_is_a_reply_iff_its_call_is_pending() {
    // rule: WIRE-1
    for side in [Side::Server, Side::Client] {
        let reply = classified(side, Some(7), false);
        assert!(matches!(reply, Event::Reply { last: true, .. }), "{side:?}");
        // A late one must not be taken for a request or a push.
        let late = classified(side, Some(7), true);
        assert_eq!(late, Event::Discarded(Discarded::Reply), "{side:?}");
    }
    for id in [None, Some(8)] {
        let on_server = classified(Side::Server, id, false);
        let Event::Request { info, frame } = on_server else {
            panic!("{on_server:?}");
        };
        assert_eq!(info.correlation, id.map(CorrelationId));
        assert_eq!((info.route, frame.id), (9, 9));
        assert!(matches!(
            classified(Side::Client, id, false),
            Event::Push(_)
        ));
    }
}

#[test]
fn a_call_that_cannot_be_sent_comes_back_and_ends() {
    // rule: CLI-2, FRAME-6
    let mut link = link();
    let flawed = Frame::new(Kind::Flawed, []);
    let call = link
        .connection
        .call(flawed, Some(CorrelationId(5)))
        .unwrap();
    link.sent();
    let events = link.events();
    let [Event::Undelivered(undelivered)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(undelivered.call, Some(call));
    assert_eq!(undelivered.priority, Priority::Low);
    assert_eq!(link.connection.calls_pending(), 0);
    assert!(link.call(Some(5)).is_ok(), "its id is free");
}
