//! Answers carry the id of their request.

use alloc::vec::Vec;

use super::support::{Correlated, Frame, Hook, InOrder, Link};
use crate::{
    AnswerError, Config, ConnectionId, CorrelationId, End, Peer, Priority, Reaction,
    WireframeProtocol,
};

/// The ids of frames as `before_send` saw them.
fn seen<P>(link: &mut Link<P>) -> Vec<(u32, Option<u16>)>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    let hooks = link.hooks().into_iter();
    hooks
        .filter_map(|hook| match hook {
            Hook::BeforeSend(frame) => Some((frame.number(), frame.id)),
            _ => None,
        })
        .collect()
}

fn answers_are_correlated_before_they_are_seen<P>(protocol: P)
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    let mut link = Link::new(Config::default(), protocol);
    let frame = Frame::numbered;

    let single = link.requests(&[7])[0];
    link.connection.answer(single.id, frame(1)).unwrap();

    // Queued behind a push, so that it takes the way through the slot.
    let stream = link.requests(&[8])[0];
    link.connection.push(Priority::High, frame(2)).unwrap();
    for n in [3, 4] {
        link.connection.respond(stream.id, frame(n)).unwrap();
    }
    link.connection
        .finish(stream.id, End::StreamComplete)
        .unwrap();
    let mut on_wire = link.sent();

    let failed = link.requests(&[9])[0];
    link.connection.respond(failed.id, frame(6)).unwrap();
    link.connection
        .finish(failed.id, End::Failed(AnswerError::Protocol(1)))
        .unwrap();
    on_wire.extend(link.sent());

    let unrouted = link.requests(&[10])[0];
    link.connection
        .finish_unrouted(unrouted.id, frame(0))
        .unwrap();
    on_wire.extend(link.sent());

    let anonymous = {
        link.receive(&[Frame::request(None)]);
        link.started()[0]
    };
    link.connection.answer(anonymous.id, frame(9)).unwrap();
    on_wire.extend(link.sent());

    let expected = [
        (1, Some(7)),
        (2, None),
        (3, Some(8)),
        (4, Some(8)),
        (5, Some(8)),
        (6, Some(9)),
        (7, Some(9)),
        (8, Some(10)),
        (9, None),
    ];
    assert_eq!(seen(&mut link), expected);
    let on_wire: Vec<_> = on_wire.iter().map(|f| (f.number(), f.id)).collect();
    assert_eq!(on_wire, expected);
}

#[test]
fn every_frame_of_an_answer_has_its_id_before_before_send_sees_it() {
    // rule: RESP-2, RESP-3
    answers_are_correlated_before_they_are_seen(Correlated {
        stream_end: Some(Frame::numbered(5)),
        on_error: |_| Reaction::Send(Frame::numbered(7)),
        on_unknown_route: |_| Reaction::Send(Frame::numbered(8)),
        ..Correlated::default()
    });
    answers_are_correlated_before_they_are_seen(InOrder {
        stream_end: Some(Frame::numbered(5)),
        on_error: |_| Reaction::Send(Frame::numbered(7)),
        on_unknown_route: |_| Reaction::Send(Frame::numbered(8)),
        ..InOrder::default()
    });
}

#[test]
fn every_outbound_frame_is_seen_once_and_in_wire_order() {
    // rule: HOOK-2
    let mut link = Link::new(Config::default(), Correlated::default());
    let commands = link.requests(&[1, 2]);
    for n in 0..3 {
        link.connection
            .push(Priority::Low, Frame::numbered(100 + n))
            .unwrap();
        link.connection
            .push(Priority::High, Frame::numbered(n))
            .unwrap();
    }
    for command in commands {
        link.connection
            .answer(command.id, Frame::numbered(200))
            .unwrap();
    }
    let sent = link.sent();
    let on_wire: Vec<_> = sent.iter().map(|f| (f.number(), f.id)).collect();
    assert_eq!(seen(&mut link), on_wire);
    assert_eq!(on_wire.len(), 8);
}

#[test]
fn a_call_is_correlated_when_it_is_made() {
    // rule: RESP-2
    let peer = Peer::server_of(ConnectionId(1));
    let mut link = Link::of(peer, Config::default(), Correlated::default());
    let id = Some(CorrelationId(42));
    link.connection.call(Frame::numbered(1), id).unwrap();
    link.connection.call(Frame::numbered(2), None).unwrap();
    assert_eq!(
        link.sent(),
        [Frame::numbered(1).with_id(42), Frame::numbered(2)]
    );
    assert_eq!(seen(&mut link), [(1, Some(42)), (2, None)]);
}
