//! What hooks ask of their connection.

use core::time::Duration;

use super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, numbers};
use crate::{
    CloseReason, Config, Context, DeadlineReason, Event, Priority, PushBound, PushCapacity,
    Refusal, State, TransportInfo, config::nonzero,
};

fn control() -> Frame {
    Frame::new(Kind::Control, [])
}

#[test]
fn hooks_see_what_the_transport_knows_of_the_peer() {
    // rule: HOOK-4
    let protocol = InOrder {
        in_hooks: |_, ctx| {
            let name = *ctx.transport_info().unwrap_or(&"nobody");
            ctx.session().push(Hook::Error(name.into()));
        },
        ..InOrder::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    link.connection = link
        .connection
        .with_transport_info(TransportInfo::default().with("ada").with(7));
    link.receive(&[Frame::request(1), control()]);
    link.events();
    let known = |hook: Hook| [hook, Hook::Error("ada".into())];
    let ran = [Hook::Setup, Hook::Control(control())];
    assert_eq!(link.hooks(), ran.map(known).concat());
}

#[test]
fn a_server_speaks_first_by_a_push_from_its_setup() {
    // rule: HOOK-2, HOOK-4
    let protocol = InOrder {
        in_hooks: |hook, ctx| {
            if matches!(hook, Hook::Setup) {
                ctx.push(Priority::High, Frame::numbered(220)).unwrap();
            }
        },
        ..InOrder::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    link.receive(&[Frame::request(1)]);
    // Even if the driver writes before it takes events.
    assert_eq!(numbers(&link.sent()), [220]);
    assert_eq!(link.started().len(), 1);
    let hooks = link.hooks();
    assert_eq!(hooks.first(), Some(&Hook::Setup));
    assert_eq!(hooks.iter().filter(|hook| **hook == Hook::Setup).count(), 1);
}

/// Pushes two frames from `on_control`; the session says what became of them.
fn pushes_twice(hook: &Hook, ctx: &mut Context<'_, Correlated>) {
    if !matches!(hook, Hook::Control(_)) {
        return;
    }
    for n in [1, 2] {
        if let Err(refused) = ctx.push(Priority::Low, Frame::numbered(n)) {
            assert_eq!(refused.reason, Refusal::Full);
            // Kept in the log, where the test looks.
            ctx.session().push(Hook::BeforeSend(refused.frame));
        }
    }
}

#[test]
fn a_push_from_a_hook_takes_its_slot_at_once_and_comes_back_if_there_is_none() {
    // rule: HOOK-4
    let config = Config {
        push_bound: PushBound::Engine(PushCapacity::new().with_frames(nonzero(1))),
        ..Config::default()
    };
    let protocol = Correlated {
        in_hooks: pushes_twice,
        ..Correlated::default()
    };
    let mut link = Link::new(config, protocol);
    link.receive(&[control()]);
    link.events();
    let refused = Hook::BeforeSend(Frame::numbered(2));
    assert_eq!(link.hooks().last(), Some(&refused));
    assert_eq!(link.connection.stats().low.accepted, 1);
    let full = link.connection.push(Priority::Low, Frame::numbered(3));
    assert_eq!(full.unwrap_err().reason, Refusal::Full);
    assert_eq!(numbers(&link.sent()), [1]);
}

#[test]
fn a_push_of_a_hook_goes_after_the_hook_in_its_turn() {
    // rule: HOOK-4, HOOK-6
    let protocol = Correlated {
        in_hooks: |hook, ctx| {
            if matches!(hook, Hook::Control(_)) {
                ctx.push(Priority::High, Frame::numbered(2)).unwrap();
            }
        },
        on_control: |_| crate::Reaction::Send(Frame::numbered(1)),
        ..Correlated::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    link.receive(&[control()]);
    link.events();
    assert_eq!(numbers(&link.sent()), [1, 2]);
}

#[test]
fn close_drains_once_the_hook_has_returned() {
    // rule: HOOK-4, SHUT-2
    let mut config = Config::default();
    config.timeouts.close = Duration::from_millis(70);
    let protocol = Correlated {
        in_hooks: |hook, ctx| {
            if matches!(hook, Hook::Control(_)) {
                ctx.close();
            }
        },
        ..Correlated::default()
    };
    let mut link = Link::new(config, protocol);
    let command = link.requests(&[1])[0];
    link.receive(&[control()]);
    assert_eq!(link.connection.poll_event(link.now), Some(Event::Control));
    assert!(link.connection.wants().event);
    assert_eq!(link.events(), []);
    assert_eq!(link.connection.state(), State::Draining);
    assert_eq!(link.due(), Some((DeadlineReason::Shutdown, 70)));
    link.connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [1]);
    assert_eq!(events, [Event::Closing(CloseReason::Drained)]);
}

#[test]
fn close_works_from_every_hook() {
    // rule: HOOK-4
    fn close_in<const N: usize>(hook: &Hook, ctx: &mut Context<'_, Correlated>) {
        let chosen: [fn(&Hook) -> bool; 5] = [
            |hook| matches!(hook, Hook::Setup),
            |hook| matches!(hook, Hook::Control(_)),
            |hook| matches!(hook, Hook::BeforeSend(_)),
            |hook| matches!(hook, Hook::CommandEnd(..)),
            |hook| matches!(hook, Hook::StreamEnd),
        ];
        if chosen[N](hook) {
            ctx.close();
        }
    }
    let in_hooks = [
        close_in::<0>,
        close_in::<1>,
        close_in::<2>,
        close_in::<3>,
        close_in::<4>,
    ];
    for in_hooks in in_hooks {
        let protocol = Correlated {
            in_hooks,
            ..Correlated::default()
        };
        let mut link = Link::new(Config::default(), protocol);
        link.receive(&[Frame::request(1)]);
        let Some(Event::Request { info, .. }) = link.connection.poll_event(link.now) else {
            // A drain that began with the setup lets no command in.
            continue;
        };
        link.receive(&[control()]);
        link.events();
        if let Ok(()) = link.connection.respond(info.id, Frame::numbered(1)) {
            link.connection
                .finish(info.id, crate::End::StreamComplete)
                .unwrap();
        }
        let (_, events) = link.wind_up();
        assert_eq!(events.last(), Some(&Event::Closing(CloseReason::Drained)));
    }
}

#[test]
fn the_context_knows_the_connection_its_request_and_the_commands_in_flight() {
    // rule: HOOK-4
    let protocol = Correlated {
        in_hooks: |hook, ctx| {
            assert_eq!(ctx.connection_id(), crate::ConnectionId(1));
            assert_eq!(ctx.peer().side, crate::Side::Server);
            match hook {
                Hook::Setup | Hook::Control(_) => assert_eq!(ctx.request(), None),
                Hook::Error(_) => {
                    assert_eq!(ctx.request().unwrap().route, 4);
                    assert_eq!(ctx.commands_in_flight(), 2);
                }
                _ => {}
            }
        },
        ..Correlated::default()
    };
    let mut link = Link::new(Config::default(), protocol);
    let with_route = |id: u16| Frame::request(id).with_route(4);
    link.receive(&[with_route(1), with_route(2), control()]);
    let started = link.started();
    link.connection
        .finish(
            started[1].id,
            crate::End::Failed(crate::AnswerError::Protocol(1)),
        )
        .unwrap();
    let ran = link.hooks();
    assert!(ran.iter().any(|hook| matches!(hook, Hook::Error(_))));
}
