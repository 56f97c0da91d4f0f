//! What a peer says before its first frame.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::support::{Correlated, Frame, Hook, Kind, Link, TakePreamble, goodbyes, numbers};
use crate::{
    CloseReason, Config, ConnectionId, Context, DeadlineReason, Event, HalfClose, Heartbeat,
    Instant, LimitExceeded, Malformed, Peer, Preamble, Priority, Reaction, Shutdown, State,
    config::nonzero,
};

/// `>>`, and one byte that says what is to be done.
pub(super) fn arrow(received: &[u8]) -> Preamble<Frame> {
    let reaction = match received {
        [] | [b'>'] | [b'>', b'>'] => return Preamble::Incomplete,
        [b'>', b'>', b'+', ..] => Reaction::Continue,
        [b'>', b'>', b'!', ..] => Reaction::Send(Frame::numbered(7)),
        [b'>', b'>', b'-', ..] => Reaction::Close(Some(Frame::numbered(8))),
        _ => return Preamble::Malformed(Malformed::with_code(9, "no arrow")),
    };
    Preamble::Done { len: 3, reaction }
}

fn protocol(preamble: TakePreamble) -> Correlated {
    Correlated {
        preamble: Some(preamble),
        goodbye: Some(Frame::numbered(50)),
        ..Correlated::default()
    }
}

fn link(config: Config, preamble: TakePreamble) -> Link<Correlated> {
    let mut link = Link::new(config, protocol(preamble));
    link.events();
    link
}

/// What the hook was shown.
fn shown(link: &mut Link<Correlated>) -> Vec<Vec<u8>> {
    let mut shown = vec![];
    for hook in link.hooks() {
        if let Hook::Preamble(received) = hook {
            shown.push(received);
        }
    }
    shown
}

/// The preamble ends the connection for this reason, with a goodbye and nothing decoded.
fn is_refused(mut link: Link<Correlated>, reason: &CloseReason) {
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [50]);
    assert_eq!(events, [Event::Closing(reason.clone())]);
    assert_eq!(goodbyes(&link.hooks()), core::slice::from_ref(reason));
    assert_eq!(link.connection.stats().frames_received, 0);
}

#[test]
fn where_there_is_none_the_first_byte_is_a_frames() {
    // rule: REQ-5, LIM-5
    let mut link = Link::new(Config::default(), protocol(|_| Preamble::Absent));
    link.receive(&[Frame::request(1)]);
    assert_eq!(link.started().len(), 1);
    assert!(!link.connection.awaits_preamble());
    assert_eq!(link.hooks(), [Hook::Setup, Hook::Preamble(vec![])]);
    assert_eq!(link.due(), None);
}

#[test]
fn where_the_first_bytes_show_that_there_is_none_an_event_says_that_it_is_through() {
    // rule: REQ-5
    let mut link = link(Config::default(), |received| match received {
        [] => Preamble::Incomplete,
        _ => Preamble::Absent,
    });
    assert!(link.connection.awaits_preamble());
    let part = &Frame::request(1).wire()[..3];
    link.receive_bytes(part);
    assert_eq!(link.events(), [Event::Preamble]);
    assert!(!link.connection.awaits_preamble());
    link.receive_bytes(&Frame::request(1).wire()[3..]);
    assert_eq!(link.started().len(), 1);
}

#[test]
fn it_is_asked_for_at_first_and_whenever_more_has_come() {
    // rule: REQ-5, HOOK-2
    let mut link = link(Config::default(), arrow);
    assert!(link.connection.awaits_preamble());
    assert!(link.connection.wants().read && !link.connection.wants().event);
    link.sent();
    for byte in [b">", b">"] {
        link.receive_bytes(byte);
        assert!(link.connection.wants().event);
        assert_eq!(link.events(), []);
        assert!(link.connection.wants().read && !link.connection.wants().event);
    }
    link.receive_bytes(&[b"+", &Frame::request(1).wire()[..]].concat());
    assert_eq!(link.started().len(), 1);
    assert!(!link.connection.awaits_preamble());
    link.receive(&[Frame::request(2)]);
    assert_eq!(link.started().len(), 1);
    let shown = shown(&mut link);
    assert_eq!(shown[..3], [&b""[..], b">", b">>"]);
    assert!(shown[3].starts_with(b">>+") && shown.len() == 4);
}

#[test]
fn its_bytes_are_counted_once_and_what_follows_is_a_sign_of_life() {
    // rule: REQ-5, HB-1
    let heartbeat = Heartbeat::expecting(Duration::from_millis(100));
    let config = Config {
        heartbeat: Some(heartbeat),
        ..Config::default()
    };
    let mut link = link(config, arrow);
    link.receive_bytes(b">>+");
    link.events();
    link.pass_until(90);
    link.receive_bytes(b"\0");
    link.events();
    assert_eq!(link.connection.stats().bytes_received, 4);
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 190)));
}

#[test]
fn it_comes_after_the_setup_and_before_frames_even_if_all_is_there_at_once() {
    // rule: REQ-5, HOOK-2
    let mut link = Link::new(Config::default(), protocol(arrow));
    let control = Frame::new(Kind::Control, []);
    link.receive_bytes(&[b">>+", &control.wire()[..]].concat());
    assert_eq!(link.events(), [Event::Preamble, Event::Control]);
    let hooks = link.hooks();
    assert_eq!(hooks[..2], [Hook::Setup, Hook::Preamble(vec![])]);
    assert!(matches!(hooks[2..], [Hook::Preamble(_), Hook::Control(_)]));
}

#[test]
fn what_the_setup_pushes_and_what_is_called_goes_before_it() {
    // rule: HOOK-2, REQ-5
    let protocol = Correlated {
        in_hooks: |hook, ctx: &mut Context<'_, Correlated>| {
            if *hook == Hook::Setup {
                ctx.push(Priority::High, Frame::numbered(220)).unwrap();
            }
        },
        ..protocol(arrow)
    };
    let peer = Peer::server_of(ConnectionId(1));
    let mut link = Link::of(peer, Config::default(), protocol);
    let call = link.connection.call(Frame::numbered(1), None);
    assert!(call.is_ok());
    assert_eq!(numbers(&link.sent()), [220, 1]);
    assert!(link.connection.awaits_preamble());
}

#[test]
fn it_may_be_answered_and_the_answer_is_control() {
    // rule: REQ-5, SEL-1
    let mut link = link(Config::default(), arrow);
    link.connection
        .push(Priority::High, Frame::numbered(1))
        .unwrap();
    link.receive_bytes(b">>!");
    assert_eq!(link.events(), [Event::Preamble]);
    assert_eq!(numbers(&link.sent()), [7, 1]);
}

#[test]
fn an_answer_that_fills_the_control_queue_stops_decoding() {
    // rule: LIM-7, REQ-5
    let mut config = Config::default();
    config.limits.max_control = nonzero(1);
    let mut link = link(config, arrow);
    link.receive_bytes(&[b">>!", &Frame::request(1).wire()[..]].concat());
    assert_eq!(link.started(), []);
    assert_eq!(numbers(&link.sent()), [7]);
    assert_eq!(link.started().len(), 1);
}

#[test]
fn it_may_refuse_the_peer_with_a_last_word() {
    // rule: REQ-5, HOOK-6
    let mut link = link(Config::default(), arrow);
    link.receive_bytes(&[b">>-", &Frame::request(1).wire()[..]].concat());
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [8]);
    assert_eq!(
        events,
        [Event::Preamble, Event::Closing(CloseReason::Protocol)]
    );
    assert_eq!(goodbyes(&link.hooks()), []);
    assert_eq!(link.connection.stats().frames_received, 0);
}

#[test]
fn a_protocol_may_answer_or_refuse_before_the_first_byte() {
    // rule: REQ-5
    fn at_once(reaction: fn(Option<Frame>) -> Reaction<Frame>) -> Preamble<Frame> {
        let reaction = reaction(Some(Frame::numbered(1)));
        Preamble::Done { len: 0, reaction }
    }
    let cases: [(TakePreamble, &[Event<Frame>]); 2] = [
        (
            |_| at_once(|frame| frame.map_or(Reaction::Continue, Reaction::Send)),
            &[Event::Preamble],
        ),
        (
            |_| at_once(Reaction::Close),
            &[Event::Preamble, Event::Closing(CloseReason::Protocol)],
        ),
    ];
    for (preamble, expected) in cases {
        // Whether the driver fills or polls first.
        for fills_first in [true, false] {
            let mut link = Link::new(Config::default(), protocol(preamble));
            let mut sent = vec![];
            if fills_first {
                sent = link.sent();
            }
            assert_eq!(link.events(), expected);
            sent.extend(link.sent());
            assert_eq!(numbers(&sent), [1]);
        }
    }
}

#[test]
fn an_unknown_preamble_is_malformed_input() {
    // rule: REQ-5, HOOK-6
    let mut link = link(Config::default(), arrow);
    link.receive_bytes(b"GET / HTTP/1.1\r\n");
    let malformed = Malformed::with_code(9, "no arrow");
    is_refused(link, &CloseReason::Malformed(malformed));
}

#[test]
fn a_preamble_longer_than_what_there_is_of_it_is_refused() {
    // rule: LIM-10, REQ-5
    let too_long: [TakePreamble; 2] = [
        |received| Preamble::Done {
            len: received.len() + 1,
            reaction: Reaction::Continue,
        },
        |received| match received.len() {
            0 => Preamble::Incomplete,
            _ => Preamble::Done {
                len: usize::MAX,
                reaction: Reaction::Continue,
            },
        },
    ];
    for preamble in too_long {
        let mut link = Link::new(Config::default(), protocol(preamble));
        link.receive_bytes(b"x");
        let malformed = Malformed::new("the preamble is longer than what there was of it");
        is_refused(link, &CloseReason::Malformed(malformed));
    }
}

/// As long as there are `a`.
fn a_row(received: &[u8]) -> Preamble<Frame> {
    match received.iter().position(|&byte| byte != b'a') {
        None => Preamble::Incomplete,
        Some(len) => Preamble::Done {
            len: len + 1,
            reaction: Reaction::Continue,
        },
    }
}

#[test]
fn a_preamble_that_does_not_end_is_refused_at_its_limit() {
    // rule: REQ-5, HOOK-6
    for limit in [1, 10, 1024] {
        let mut config = Config::default();
        if limit != 1024 {
            config.limits.max_preamble = nonzero(limit);
        }
        let reason = CloseReason::Limit(LimitExceeded {
            limit: "max_preamble",
            value: limit as u64,
            got: limit as u64 + 1,
        });
        // However many bytes come at once, and whatever they are.
        for more in [0, 1, 5_000] {
            let mut link = link(config.clone(), a_row);
            let mut wire = vec![b'a'; limit];
            wire.extend(vec![b'.'; more]);
            link.receive_bytes(&wire);
            is_refused(link, &reason);
        }
        let mut link = link(config, a_row);
        let mut wire = vec![b'a'; limit - 1];
        wire.push(b'.');
        link.receive_bytes(&wire);
        link.receive(&[Frame::request(1)]);
        assert_eq!(link.started().len(), 1, "one of the limit is accepted");
    }
}

#[test]
fn a_preamble_has_its_time_from_the_connections_start() {
    // rule: LIM-3, REQ-5, HOOK-6
    let mut config = Config::default();
    // None of these concerns what is no frame yet.
    config.timeouts.frame_completion = Duration::from_millis(20);
    config.heartbeat = Some(Heartbeat::pinging(
        Duration::from_millis(10),
        Duration::from_millis(10),
    ));
    let mut link = link(config, arrow);
    assert_eq!(link.due(), Some((DeadlineReason::Preamble, 10_000)));
    link.pass_until(9_000);
    link.receive_bytes(b">");
    link.events();
    link.sent();
    assert_eq!(link.due(), Some((DeadlineReason::Preamble, 10_000)));
    link.pass_until(9_999);
    assert_eq!(link.connection.state(), State::Active);
    link.pass_until(10_000);
    is_refused(link, &CloseReason::PreambleTimedOut);
}

#[test]
fn the_time_limit_of_a_preamble_ends_with_it() {
    // rule: LIM-3, LIM-5
    let mut link = link(Config::default(), arrow);
    link.pass_until(9_999);
    link.receive_bytes(b">>+");
    link.events();
    assert_eq!(link.due(), None);
    link.receive_bytes(b"\0");
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 39_999)));
}

#[test]
fn the_clock_of_a_preamble_stands_still_while_input_is_held() {
    // rule: RESP-7, LIM-3
    let mut link = link(Config::default(), arrow);
    link.pass_until(4_000);
    link.connection.hold_input(true, link.now);
    link.receive_bytes(b">>+");
    assert_eq!(link.events(), []);
    assert_eq!(link.due(), None);
    link.pass_until(24_000);
    link.connection.hold_input(false, link.now);
    assert_eq!(link.due(), Some((DeadlineReason::Preamble, 30_000)));
    assert_eq!(link.events(), [Event::Preamble]);
    assert_eq!(link.due(), None);
}

#[test]
fn an_end_inside_the_preamble_is_unexpected() {
    // rule: SHUT-6, REQ-5
    for half_close in [HalfClose::Answers, HalfClose::Ends] {
        let config = Config {
            half_close,
            ..Config::default()
        };
        let mut link = link(config, arrow);
        link.receive_bytes(b">>");
        link.eof();
        let reason = CloseReason::PreambleEof { received: 2 };
        let (sent, events) = link.wind_up();
        assert_eq!(
            events,
            [
                Event::Closing(reason.clone()),
                Event::Closed(reason.clone())
            ]
        );
        let said: &[u32] = match half_close {
            HalfClose::Answers => &[50],
            HalfClose::Ends => &[],
        };
        assert_eq!(numbers(&sent), said);
    }
}

#[test]
fn a_peer_that_ends_before_it_has_said_anything_is_a_clean_close() {
    // rule: SHUT-6, REQ-5
    for half_close in [HalfClose::Answers, HalfClose::Ends] {
        let config = Config {
            half_close,
            ..Config::default()
        };
        let mut link = link(config, arrow);
        link.connection
            .push(Priority::Low, Frame::numbered(1))
            .unwrap();
        link.eof();
        assert_eq!(link.due(), None);
        let (_, events) = link.wind_up();
        let closed = Event::Closed(CloseReason::PeerClosed);
        assert_eq!(events.last(), Some(&closed));
    }
}

#[test]
fn a_drain_does_not_wait_for_the_preamble() {
    // rule: SHUT-2, REQ-5
    let mut link = Link::new(Config::default(), protocol(arrow));
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    let deadline = Instant::from_millis(100);
    // Even before the protocol was asked for it.
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [1, 50]);
    assert_eq!(events, [Event::Closing(CloseReason::Drained)]);
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 100)));
}

#[test]
fn a_drain_that_has_calls_to_wait_for_takes_a_preamble_too() {
    // rule: SHUT-2, REQ-5
    let peer = Peer::server_of(ConnectionId(1));
    let mut link = Link::of(peer, Config::default(), protocol(arrow));
    let call = link.connection.call(Frame::numbered(1), None).unwrap();
    let deadline = Instant::from_millis(100);
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    link.sent();
    let reply = Frame::new(Kind::LastReply, []);
    link.receive_bytes(&[b">>+", &reply.wire()[..]].concat());
    let (_, events) = link.wind_up();
    let replied = Event::Reply {
        call,
        frame: reply,
        last: true,
    };
    assert_eq!(
        events,
        [
            Event::Preamble,
            replied,
            Event::Closing(CloseReason::Drained)
        ]
    );
}

#[test]
fn a_connection_that_waits_for_its_preamble_gives_its_read_buffer_away() {
    // rule: LIM-5, REQ-5
    let mut link = link(Config::default(), arrow);
    link.receive_bytes(b">");
    link.events();
    assert!(link.connection.take_receive_buffer().is_some());
    assert!(!link.connection.wants().event);
    assert_eq!(link.events(), []);
    link.receive_bytes(&[b">+", &Frame::request(1).wire()[..]].concat());
    assert_eq!(link.started().len(), 1);
}

#[test]
fn what_its_hook_asks_happens_after_it() {
    // rule: HOOK-4, REQ-5
    let protocol = Correlated {
        in_hooks: |hook, ctx: &mut Context<'_, Correlated>| {
            if matches!(hook, Hook::Preamble(received) if received.len() >= 3) {
                ctx.push(Priority::Low, Frame::numbered(2)).unwrap();
                ctx.close();
            }
        },
        ..protocol(arrow)
    };
    let mut link = Link::new(Config::default(), protocol);
    link.receive_bytes(b">>!");
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [7, 2, 50]);
    assert_eq!(
        events,
        [Event::Preamble, Event::Closing(CloseReason::Drained)]
    );
}
