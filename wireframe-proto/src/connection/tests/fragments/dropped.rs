//! What becomes of a connection when a message of it is dropped.

extern crate std;

use alloc::{vec, vec::Vec};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, TestCodec};
use super::{Framed, fragment, whole};
use crate::{
    CloseReason, Config, DeadlineReason, DropReason, DroppedMessage, Event, Instant, Malformed,
    Multiplexed, Reaction, State, WireframeProtocol, config::nonzero,
};

const GAP: DropReason = DropReason::SequenceGap {
    expected: 1,
    got: 2,
};

fn over<P>(inner: P) -> Link<Framed<P, Multiplexed>>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
{
    let mut config = Config::default();
    config.limits.max_control = nonzero(2);
    config.fragments.reassembly_timeout = Duration::from_millis(50);
    let framing = Multiplexed::new();
    Link::new(config, Framed { inner, framing })
}

/// A message is lost, and a push follows it: all events.
fn lose<P>(link: &mut Link<Framed<P, Multiplexed>>, why: DropReason) -> Vec<Event<Frame>>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
{
    let mut units = vec![fragment(1, 0, Some(9), false, b"abc")];
    if why == GAP {
        units.push(fragment(1, 2, None, false, b"ghi"));
    }
    link.receive_bytes(&units.concat());
    let mut events = match why {
        DropReason::TimedOut => vec![],
        _ => link.events(),
    };
    link.events();
    link.pass_until(50);
    link.receive_bytes(&whole(&Frame::numbered(7).wire()[4..]));
    events.extend(link.events());
    events
}

fn dropped(why: DropReason) -> DroppedMessage {
    DroppedMessage {
        id: 1,
        received: 3,
        why,
    }
}

/// What hooks were told, but for frames that they saw go by.
fn told<P>(link: &mut Link<P>) -> Vec<Hook>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    let mut hooks = link.hooks();
    hooks.retain(|hook| !matches!(hook, Hook::Setup | Hook::BeforeSend(_)));
    hooks
}

#[test]
fn where_answers_go_in_order_a_lost_message_ends_the_connection() {
    // rule: REASM-4, REASM-5
    let gap = Malformed::new("sequence gap: expected fragment 1, got 2");
    for (why, reason) in [
        (GAP, CloseReason::Malformed(gap)),
        (DropReason::TimedOut, CloseReason::MessageTimedOut),
    ] {
        let mut link = over(InOrder::default());
        assert_eq!(lose(&mut link, why), [Event::Closing(reason.clone())]);
        assert_eq!(told(&mut link), [Hook::Goodbye(reason)]);
        assert_eq!(link.sent(), []);
    }
}

#[test]
fn where_answers_go_in_order_the_header_behind_a_gap_is_enough() {
    // rule: REASM-4, FRAME-5
    let mut link = over(InOrder::default());
    let mut units = fragment(1, 0, Some(9), false, b"abc");
    units.extend(fragment(1, 2, None, false, b"ghi"));
    units.pop();
    link.receive_bytes(&units);
    assert!(matches!(link.events()[..], [Event::Closing(_)]));
}

#[test]
fn where_answers_are_correlated_the_protocol_is_told_before_the_driver_and_goes_on() {
    // rule: REASM-4, REASM-5
    for why in [GAP, DropReason::TimedOut] {
        let mut link = over(Correlated::default());
        let lost = Event::MessageDropped(dropped(why));
        let events = [lost, Event::Push(Frame::numbered(7))];
        assert_eq!(lose(&mut link, why), events);
        assert_eq!(told(&mut link), [Hook::MessageDropped(dropped(why))]);
        assert_eq!(link.sent(), []);
    }
    let mut link = over(Correlated::default());
    link.receive_bytes(&fragment(1, 0, Some(9), false, b"abc"));
    link.events();
    link.pass_until(50);
    // It has been told although nobody took the event.
    let told = told(&mut link);
    assert_eq!(told, [Hook::MessageDropped(dropped(DropReason::TimedOut))]);
}

#[test]
fn what_the_protocol_sends_for_a_lost_message_goes_as_control() {
    // rule: REASM-4, REASM-5, HOOK-6
    for why in [GAP, DropReason::TimedOut] {
        let mut link = over(Correlated {
            on_dropped: |_| Reaction::Send(Frame::numbered(1)),
            ..Correlated::default()
        });
        link.connection
            .push(crate::Priority::High, Frame::numbered(9))
            .unwrap();
        assert_eq!(lose(&mut link, why).len(), 2);
        let sent = super::units::<Frame>(Multiplexed::new(), &link.sent_bytes());
        let last: Vec<_> = sent.iter().map(|unit| unit.payload.last()).collect();
        assert_eq!(last, [Some(&1), Some(&9)]);
    }
}

#[test]
fn the_protocol_may_close_for_a_lost_message_with_a_last_word() {
    // rule: REASM-4, REASM-5, HOOK-6
    for why in [GAP, DropReason::TimedOut] {
        let mut link = over(Correlated {
            on_dropped: |_| Reaction::Close(Some(Frame::numbered(5))),
            goodbye: Some(Frame::numbered(6)),
            ..Correlated::default()
        });
        let lost = Event::MessageDropped(dropped(why));
        let events = [lost, Event::Closing(CloseReason::Protocol)];
        assert_eq!(lose(&mut link, why), events);
        assert_eq!(told(&mut link), [Hook::MessageDropped(dropped(why))]);
        let sent = super::units::<Frame>(Multiplexed::new(), &link.sent_bytes());
        let last: Vec<_> = sent.iter().map(|unit| unit.payload.last()).collect();
        assert_eq!(last, [Some(&5)]);
    }
}

#[test]
fn a_protocol_that_panics_over_a_lost_message_is_closed() {
    // rule: HOOK-7
    for why in [GAP, DropReason::TimedOut] {
        let mut link = over(Correlated {
            on_dropped: |_| panic!("over a lost message"),
            ..Correlated::default()
        });
        let lost = catch_unwind(AssertUnwindSafe(|| lose(&mut link, why)));
        assert!(lost.is_err());
        assert_eq!(link.connection.state(), State::Closed);
        assert_eq!(link.sent(), []);
        let closed = Event::Closed(CloseReason::ProtocolPanicked);
        assert_eq!(link.events(), [closed]);
        let disconnect = Hook::Disconnect(CloseReason::ProtocolPanicked);
        let expected = [Hook::MessageDropped(dropped(why)), disconnect];
        assert_eq!(told(&mut link), expected);
    }
}

#[test]
fn what_is_said_for_lost_messages_is_bounded_as_all_that_input_provokes() {
    // rule: LIM-7, REASM-5
    let mut link = over(Correlated {
        on_control: |_| Reaction::Continue,
        on_dropped: |message| {
            let id = u16::try_from(message.id).unwrap();
            Reaction::Send(Frame::new(Kind::Push, []).with_id(id))
        },
        ..Correlated::default()
    });
    let begin = (1..=5).flat_map(|id| fragment(id, 0, Some(9), false, b"abc"));
    link.receive_bytes(&begin.collect::<Vec<_>>());
    assert_eq!(link.events(), []);
    let mut rounds = vec![];
    for millis in [50, 1_000, 1_000] {
        assert_eq!(link.due(), Some((DeadlineReason::Reassembly, millis)));
        link.pass_until(millis);
        // The clock of messages stands still where nothing is decoded.
        rounds.push(link.events().len());
        link.pass_until(1_000);
        let sent = super::units::<Frame>(Multiplexed::new(), &link.sent_bytes());
        assert_eq!(sent.len(), *rounds.last().unwrap());
    }
    assert_eq!(rounds, [2, 2, 1]);
    assert_eq!(link.due(), None);
}

#[test]
fn a_message_that_is_due_later_than_what_was_seen_may_still_come() {
    // rule: REASM-5, LIM-3
    let mut link = over(Correlated::default());
    let begins = |id| fragment(id, 0, Some(9), false, b"abc");
    for (at, id) in [(0, 1), (20, 2)] {
        link.now = Instant::from_millis(at);
        link.receive_bytes(&begins(id));
        link.events();
    }
    link.now = Instant::from_millis(1_000);
    let seen = Instant::from_millis(69);
    link.connection.handle_timeout_as_of(link.now, seen);
    let dropped = dropped(DropReason::TimedOut);
    assert_eq!(link.events(), [Event::MessageDropped(dropped)]);
}
