//! Pings, and the end of a peer that is silent.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::support::{Between, Correlated, Frame, Hook, InOrder, Kind, Link, goodbyes, numbers};
use crate::{
    Body, CloseReason, Config, Context, DeadlineReason, End, Event, Filled, HalfClose, Heartbeat,
    Instant, Priority, Reaction, Shutdown, State, WireframeProtocol, config::nonzero,
};

const PING: u32 = 77;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config(heartbeat: Heartbeat) -> Config {
    Config {
        heartbeat: Some(heartbeat),
        ..Config::default()
    }
}

/// A ping after 100 ms of silence, and 40 ms for the peer to answer it.
fn pinging() -> Config {
    config(Heartbeat::pinging(ms(100), ms(40)))
}

fn link(config: Config) -> Link<InOrder> {
    let protocol = InOrder {
        ping: Some(Frame::numbered(PING)),
        goodbye: Some(Frame::numbered(50)),
        ..InOrder::default()
    };
    let mut link = Link::new(config, protocol);
    link.events();
    link
}

/// The peer lets itself be heard.
fn sign_of_life() -> Frame {
    Frame::new(Kind::Push, [])
}

impl<P> Link<P>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    fn pings_asked_for(&mut self) -> usize {
        let hooks = self.hooks();
        hooks.iter().filter(|hook| **hook == Hook::Ping).count()
    }
}

const CLOSING: Event<Frame> = Event::Closing(CloseReason::HeartbeatTimedOut);

#[test]
fn a_silent_peer_is_pinged_once_and_closed_a_timeout_later() {
    // rule: HB-1, HOOK-6
    let mut link = link(pinging());
    assert_eq!(link.due(), Some((DeadlineReason::Ping, 100)));
    link.pass_until(99);
    assert_eq!(link.sent(), []);
    link.pass_until(100);
    assert_eq!(numbers(&link.sent()), [PING]);
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 140)));
    link.pass_until(139);
    assert_eq!(link.sent(), [], "one ping for one silence");
    assert_eq!(link.connection.state(), State::Active);
    link.pass_until(140);
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [50]);
    assert_eq!(events, [CLOSING]);
    assert_eq!(goodbyes(&link.hooks()), [CloseReason::HeartbeatTimedOut]);
}

#[test]
fn a_peer_has_time_while_it_takes_what_its_transport_holds_up_to_the_ping() {
    // rule: HB-1
    // What the transport makes of it is shorter, or longer.
    for ping in [1, 90] {
        let mut link = link(pinging());
        link.connection
            .push(Priority::Low, Frame::new(Kind::Push, [0; 200]))
            .unwrap();
        link.sent();
        link.held(50, 1000);
        link.pass_until(100);
        assert_eq!(numbers(&link.sent()), [PING]);
        link.held(50 + ping, 1000);
        assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 140)));
        // Others go behind it.
        link.connection
            .push(Priority::Low, Frame::numbered(1))
            .unwrap();
        link.sent();
        let end = 1080 + ping;
        link.held(end - 1000, 1000);
        let mut takes_until = |millis, taken: usize| {
            link.pass_until(millis);
            link.held(end - taken, taken as u64);
            link.due()
        };
        // The peer takes what is before the ping but for a byte, all but the last byte of the
        // ping, and that.
        for (millis, taken) in [(130, 1049), (160, 1049 + ping), (190, 1050 + ping)] {
            let due = Some((DeadlineReason::Heartbeat, millis + 40));
            assert_eq!(takes_until(millis, taken), due, "{taken}, {ping}");
        }
        // What is behind it gives no more time.
        for (millis, taken) in [(200, 1070 + ping), (210, end)] {
            let due = Some((DeadlineReason::Heartbeat, 230));
            assert_eq!(takes_until(millis, taken), due, "{taken}, {ping}");
        }
    }
}

#[test]
fn a_peer_that_takes_nothing_of_what_its_transport_holds_is_not_waited_for() {
    // rule: HB-1
    let mut link = link(pinging());
    link.held(1, 1000);
    link.pass_until(100);
    for (millis, held) in [(100, 60), (120, 90), (139, 200)] {
        link.pass_until(millis);
        link.sent();
        // The transport takes more, with the ping in it.
        link.held(held, 1000);
        assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 140)));
    }
    link.pass_until(140);
    assert_eq!(link.events(), [CLOSING]);
}

#[test]
fn any_byte_is_a_sign_of_life_and_begins_the_cycle_anew() {
    // rule: HB-1
    let mut link = link(pinging());
    let wire = sign_of_life().wire();
    for (n, byte) in wire.iter().enumerate() {
        let begins = 130 * n as u64;
        link.pass_until(begins + 100);
        assert_eq!(numbers(&link.sent()), [PING]);
        link.pass_until(begins + 130);
        link.receive_bytes(&[*byte]);
        link.events();
        assert_eq!(link.due(), Some((DeadlineReason::Ping, begins + 230)));
    }
}

#[test]
fn a_peer_that_is_expected_to_speak_is_closed_without_a_ping() {
    // rule: HB-1
    let mut link = link(config(Heartbeat::expecting(ms(90))));
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 90)));
    link.pass_until(89);
    link.receive(&[sign_of_life()]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 179)));
    link.pass_until(178);
    assert_eq!(link.sent(), []);
    link.pass_until(179);
    assert_eq!(link.events(), [CLOSING]);
    assert_eq!(link.pings_asked_for(), 0);
}

#[test]
fn without_a_heartbeat_nobody_is_pinged_or_closed() {
    // rule: HB-1, LIM-5
    let mut link = link(Config::default());
    assert_eq!(link.due(), None);
    link.pass_until(1_000_000_000);
    assert_eq!(link.sent(), []);
    assert_eq!(link.connection.state(), State::Active);
}

#[test]
fn a_protocol_without_a_ping_still_closes_a_silent_peer() {
    // rule: HB-1
    let mut link = Link::new(pinging(), InOrder::default());
    link.events();
    link.pass_until(100);
    assert_eq!(link.sent(), []);
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 140)));
    assert_eq!(link.pings_asked_for(), 1);
}

#[test]
fn an_unencodable_ping_leaves_no_byte_on_the_wire() {
    // rule: FRAME-6, HB-1
    let protocol = InOrder {
        ping: Some(Frame::new(Kind::Flawed, [])),
        ..InOrder::default()
    };
    let mut link = Link::new(pinging(), protocol);
    link.events();
    link.pass_until(100);
    assert_eq!(link.sent(), []);
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 140)));
}

#[test]
fn a_ping_goes_behind_control_that_waits_and_before_all_else() {
    // rule: SEL-1, HB-1
    let protocol = Correlated {
        on_control: Reaction::Send,
        ping: Some(Frame::numbered(PING)),
        ..Correlated::default()
    };
    let mut link = Link::new(pinging(), protocol);
    let command = link.requests(&[1])[0];
    let control = Frame::new(Kind::Control, 1u32.to_be_bytes());
    link.receive(core::slice::from_ref(&control));
    link.events();
    for (priority, n) in [(Priority::Low, 3), (Priority::High, 2)] {
        link.connection.push(priority, Frame::numbered(n)).unwrap();
    }
    link.connection
        .respond(command.id, Frame::numbered(4))
        .unwrap();
    link.pass_until(100);
    assert_eq!(link.pings_asked_for(), 0, "asked only when it is its turn");
    assert_eq!(numbers(&link.sent()), [1, PING, 2, 3, 4]);
    assert_eq!(link.pings_asked_for(), 1);
}

#[test]
fn an_answer_does_not_pass_a_ping_that_is_owed() {
    // rule: SEL-1
    let mut link = link(pinging());
    let command = link.requests(&[1])[0];
    link.pass_until(100);
    link.connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [PING, 1]);
}

#[test]
fn a_ping_takes_no_slot_and_touches_no_fairness_count() {
    // rule: SEL-1, SEL-3
    let mut config = pinging();
    config.fairness.max_high_before_low = 2;
    config.limits.high_water = nonzero(1);
    let mut link = link(config);
    for n in [1, 2, 3] {
        link.connection
            .push(Priority::High, Frame::numbered(n))
            .unwrap();
        link.connection
            .push(Priority::Low, Frame::numbered(10 + n))
            .unwrap();
    }
    let _ = link.fill();
    let mut sent = link.take_bytes(usize::MAX);
    link.pass_until(100);
    sent.extend(link.sent_bytes());
    let order = [1, PING, 2, 11, 3, 12, 13];
    assert_eq!(numbers(&Frame::parse_all(&sent)), order);
    assert_eq!(link.connection.stats().high.accepted, 3);
}

#[test]
fn the_timeout_counts_from_when_the_peer_has_taken_the_ping() {
    // rule: HB-1
    let mut link = link(pinging());
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    let _ = link.fill();
    link.pass_until(100);
    let _ = link.fill();
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 140)));
    // It takes one byte now and then, of what goes before the ping and of the ping.
    let (mut wire, mut millis) = (vec![], 100);
    while link.connection.wants().write {
        millis += 39;
        link.pass_until(millis);
        wire.extend(link.take_bytes(1));
        assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, millis + 40)));
    }
    assert_eq!(numbers(&Frame::parse_all(&wire)), [1, PING]);
    // What comes behind it does not matter.
    link.pass_until(millis + 39);
    link.connection
        .push(Priority::Low, Frame::numbered(2))
        .unwrap();
    link.sent();
    link.pass_until(millis + 40);
    assert_eq!(link.events(), [CLOSING]);
}

#[test]
fn a_peer_that_takes_nothing_is_silent_too() {
    // rule: HB-1
    let mut link = link(pinging());
    link.pass_until(100);
    let _ = link.fill();
    link.pass_until(140);
    assert_eq!(link.events(), [CLOSING]);
}

#[test]
fn a_sign_of_life_makes_up_for_a_ping_that_has_not_gone() {
    // rule: HB-1
    let mut link = link(pinging());
    link.pass_until(100);
    link.receive(&[sign_of_life()]);
    assert_eq!(link.sent(), []);
    assert_eq!(link.pings_asked_for(), 0);
    assert_eq!(link.due(), Some((DeadlineReason::Ping, 200)));
}

fn between() -> Link<Between> {
    let protocol = Between {
        on_control: Reaction::Send,
        ping: Some(Frame::numbered(PING)),
        ..Between::default()
    };
    Link::new(pinging(), protocol)
}

#[test]
fn between_commands_a_ping_waits_for_the_command_and_nobody_is_closed_for_that() {
    // rule: SEL-9, HB-1
    let mut link = between();
    let first = link.requests(&[1, 2])[0];
    for millis in [100, 140, 10_000] {
        link.pass_until(millis);
        assert_eq!(link.sent(), []);
        assert_eq!(link.due(), None, "no ping, no timeout");
    }
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [1], "the second is held back");
    let second = link.started()[0];
    assert_eq!(link.sent(), []);
    link.connection
        .answer(second.id, Frame::numbered(2))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [2, PING]);
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 10_040)));
}

#[test]
fn a_ping_that_waits_for_a_command_holds_up_no_other_control() {
    // rule: SEL-9, SEL-1
    let mut link = between();
    let command = link.requests(&[1])[0];
    link.pass_until(100);
    // Drained meanwhile: its notice is control, too.
    let deadline = Instant::from_millis(10_000);
    link.connection.protocol.drain_notice = Some(Frame::numbered(40));
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    assert_eq!(numbers(&link.sent()), [40]);
    link.connection
        .respond(command.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(numbers(&link.sent()), [1]);
    assert_eq!(link.pings_asked_for(), 0);
}

#[test]
fn pings_keep_their_time_while_a_large_response_streams() {
    // rule: HB-2, SEL-7, SEL-8
    let mut config = pinging();
    config.heartbeat = Some(Heartbeat::pinging(ms(100), ms(10_000)));
    config.limits.high_water = nonzero(5 * 12);
    let mut link = link(config);
    let command = link.requests(&[1])[0];
    let mut wire = vec![];
    let mut next = 0;
    // A frame is 12 bytes. The peer takes 4 in each millisecond, and speaks after 250.
    for millis in 0..600 {
        link.pass_until(millis);
        if millis == 250 {
            link.receive(&[sign_of_life()]);
            link.events();
        }
        while link.connection.response_capacity(command.id) > 0 {
            link.connection
                .respond(command.id, Frame::numbered(1_000 + next))
                .unwrap();
            next += 1;
        }
        assert_eq!(link.fill(), Filled::HighWater);
        wire.extend(link.take_bytes(4));
    }
    let (frames, _) = Frame::parse_prefix(&wire);
    let sent = numbers(&frames);
    // Due after 100 and 350 ms, they are behind what was encoded before and nothing more.
    let at: Vec<_> = (0..sent.len()).filter(|&n| sent[n] == PING).collect();
    let encoded_before = |due: usize| (4 * (due - 1) + 5 * 12).div_ceil(12);
    assert_eq!(at, [encoded_before(100), encoded_before(350)]);
    let stream: Vec<_> = sent.iter().filter(|&&n| n != PING).copied().collect();
    let count = u32::try_from(stream.len()).unwrap();
    assert_eq!(stream, Vec::from_iter(1_000..1_000 + count));
    assert_eq!(link.connection.state(), State::Active);
}

#[test]
fn the_heartbeat_of_a_peer_that_has_ended_its_output_stops() {
    // rule: HB-1, SHUT-6
    let due = |link: &mut Link<InOrder>, millis| {
        link.pass_until(millis);
        link.eof();
        link.events();
        assert_eq!(link.due(), None);
        link.pass_until(millis + 1_000_000);
        link.sent()
    };
    let mut silent = link(pinging());
    let command = silent.requests(&[1])[0];
    assert_eq!(due(&mut silent, 50), []);
    silent
        .connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    assert_eq!(numbers(&silent.sent()), [1]);

    let mut owed = link(pinging());
    owed.requests(&[1]);
    assert_eq!(due(&mut owed, 100), [], "a ping that was owed is not sent");

    let mut pinged = link(pinging());
    pinged.requests(&[1]);
    pinged.pass_until(100);
    assert_eq!(pinged.sent().len(), 1);
    assert_eq!(due(&mut pinged, 110), []);
    assert_eq!(pinged.connection.state(), State::Active);
}

#[test]
fn the_heartbeat_goes_on_while_the_connection_drains_and_not_while_it_closes() {
    // rule: HB-1, SHUT-2
    let mut link = link(pinging());
    let command = link.requests(&[1])[0];
    let deadline = Instant::from_millis(1_000_000);
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    link.pass_until(100);
    assert_eq!(numbers(&link.sent()), [PING]);
    link.receive(&[sign_of_life()]);
    link.connection.finish(command.id, End::Complete).unwrap();
    link.wind_up();
    assert_eq!(link.connection.state(), State::Closing);
    let (reason, _) = link.due().unwrap();
    assert_eq!(reason, DeadlineReason::Shutdown);
    link.pass_until(1_000);
    assert_eq!(link.sent(), []);
}

#[test]
fn while_the_engine_itself_does_not_read_the_heartbeat_stands_still() {
    // rule: RESP-7, HB-1
    let mut config = pinging();
    config.limits.max_held_back = nonzero(1);
    let mut link = link(config);
    link.pass_until(60);
    let first = link.requests(&[1, 2])[0];
    assert!(!link.connection.wants().read);
    assert_eq!(link.due(), None);
    link.pass_until(1_060);
    assert_eq!(link.sent(), []);
    link.connection
        .answer(first.id, Frame::numbered(1))
        .unwrap();
    link.started();
    assert!(link.connection.wants().read);
    assert_eq!(link.due(), Some((DeadlineReason::Ping, 1_160)));
}

#[test]
fn a_heartbeat_stands_still_also_where_a_body_that_is_owed_is_timed() {
    // rule: RESP-7, HB-1
    let mut config = pinging();
    config.limits.max_held_back = nonzero(1);
    config.limits.max_in_flight = Some(nonzero(1));
    config.timeouts.body = ms(1_000);
    let mut link = Link::new(config, Correlated::default());
    link.events();
    link.pass_until(60);
    let first = link.requests(&[1, 2])[0];
    assert_eq!(link.connection.next_body(first.id, link.now), Body::Pending);
    // The rest of the body stands behind the bound: it cannot be read, nor any other
    // sign of life.
    assert!(!link.connection.wants().read);
    assert_eq!(link.due(), Some((DeadlineReason::Body, 1_060)));
    link.pass_until(1_060);
    assert_eq!(link.events(), [Event::Body(first)]);
    link.connection.set_heartbeat(None, link.now);
    let again = Some(Heartbeat::pinging(ms(70), ms(40)));
    link.connection.set_heartbeat(again, link.now);
    link.pass_until(2_000);
    assert_eq!(link.due(), None);
    assert_eq!(link.sent(), []);
    link.connection.finish(first.id, End::Complete).unwrap();
    link.started();
    assert_eq!(link.due(), Some((DeadlineReason::Ping, 2_070)));
}

#[test]
fn a_heartbeat_can_be_set_changed_and_ended_at_run_time() {
    // rule: HB-1
    let mut link = link(Config::default());
    link.pass_until(500);
    let pinging = Some(Heartbeat::pinging(ms(100), ms(40)));
    link.connection.set_heartbeat(pinging, link.now);
    assert_eq!(link.due(), Some((DeadlineReason::Ping, 600)));
    link.pass_until(550);
    link.connection.set_heartbeat(pinging, link.now);
    let due = Some((DeadlineReason::Ping, 600));
    assert_eq!(link.due(), due, "the same again changes nothing");
    let expecting = Some(Heartbeat::expecting(ms(90)));
    link.connection.set_heartbeat(expecting, link.now);
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 640)));
    link.connection.set_heartbeat(None, link.now);
    assert_eq!(link.due(), None);
}

#[test]
fn a_heartbeat_that_is_set_after_the_end_is_harmless() {
    // rule: HB-1, LIM-10
    let mut link = link(Config::default());
    link.connection.shutdown(link.now, Shutdown::Immediate);
    let heartbeat = Some(Heartbeat::expecting(ms(1)));
    link.connection.set_heartbeat(heartbeat, link.now);
    assert_eq!(link.due(), None);
    link.events();
    link.connection.set_heartbeat(heartbeat, link.now);
    assert_eq!(link.due(), None);
    assert_eq!(link.connection.wants(), crate::Wants::default());
}

#[test]
fn every_hook_can_set_the_heartbeat_and_the_last_call_counts() {
    // rule: HOOK-4, HB-1
    fn in_hook<const N: usize>(hook: &Hook, ctx: &mut Context<'_, InOrder>) {
        let chosen: [fn(&Hook) -> bool; 6] = [
            |hook| matches!(hook, Hook::Setup),
            |hook| matches!(hook, Hook::Control(_)),
            |hook| matches!(hook, Hook::BeforeSend(_)),
            |hook| matches!(hook, Hook::CommandEnd(..)),
            |hook| matches!(hook, Hook::StreamEnd),
            |hook| matches!(hook, Hook::Ping),
        ];
        if chosen[N](hook) {
            ctx.set_heartbeat(None);
            ctx.set_heartbeat(Some(Heartbeat::expecting(ms(70))));
        }
    }
    let in_hooks = [
        in_hook::<0>,
        in_hook::<1>,
        in_hook::<2>,
        in_hook::<3>,
        in_hook::<4>,
        in_hook::<5>,
    ];
    for in_hooks in in_hooks {
        let protocol = InOrder {
            in_hooks,
            ..InOrder::default()
        };
        let heartbeat = Heartbeat::pinging(ms(50), ms(40));
        let mut link = Link::new(config(heartbeat), protocol);
        let command = link.requests(&[1])[0];
        link.receive(&[Frame::new(Kind::Control, [])]);
        link.events();
        link.connection
            .respond(command.id, Frame::numbered(1))
            .unwrap();
        let end = End::StreamComplete;
        link.connection.finish(command.id, end).unwrap();
        link.sent();
        link.pass_until(50);
        link.sent();
        link.receive(&[sign_of_life()]);
        assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 120)));
    }
}

#[test]
fn a_heartbeat_that_the_ping_itself_sets_begins_with_a_silence() {
    // rule: HB-1, HOOK-4
    let protocol = InOrder {
        ping: Some(Frame::numbered(PING)),
        in_hooks: |hook, ctx: &mut Context<'_, InOrder>| {
            if matches!(hook, Hook::Ping) {
                ctx.set_heartbeat(Some(Heartbeat::pinging(ms(1_000), ms(30))));
            }
        },
        ..InOrder::default()
    };
    let mut link = Link::new(pinging(), protocol);
    link.events();
    link.pass_until(100);
    assert_eq!(numbers(&link.sent()), [PING]);
    assert_eq!(link.due(), Some((DeadlineReason::Ping, 1_100)));
    link.pass_until(1_100);
    assert_eq!(numbers(&link.sent()), [PING]);
    // To set the one that is there changes nothing.
    assert_eq!(link.due(), Some((DeadlineReason::Heartbeat, 1_130)));
}

#[test]
fn heartbeats_past_the_end_of_time_and_of_no_time_are_harmless() {
    // rule: LIM-8, LIM-10
    let never = Duration::MAX;
    for heartbeat in [
        Heartbeat::expecting(never),
        Heartbeat::pinging(never, ms(1)),
        Heartbeat::pinging(ms(1), never),
    ] {
        let mut link = link(config(heartbeat));
        link.pass_until(u64::MAX / 2_000_000);
        link.sent();
        link.pass_until(u64::MAX / 1_000_000 - 1);
        assert_eq!(link.connection.state(), State::Active, "{heartbeat:?}");
    }
    for heartbeat in [
        Heartbeat::expecting(Duration::ZERO),
        Heartbeat::pinging(Duration::ZERO, Duration::ZERO),
    ] {
        let mut link = link(config(heartbeat));
        link.pass_until(0);
        link.sent();
        link.pass_until(0);
        assert_eq!(link.events(), [CLOSING], "{heartbeat:?}");
    }
}

#[test]
fn a_peer_that_is_gone_and_one_that_is_silent_are_told_apart() {
    // rule: HB-1, RESP-10
    let mut config = pinging();
    config.half_close = HalfClose::Ends;
    let mut link = link(config);
    link.pass_until(100);
    link.sent();
    link.eof();
    link.pass_until(1_000);
    let closed = Event::Closed(CloseReason::PeerClosed);
    assert_eq!(link.events().last(), Some(&closed));
}
