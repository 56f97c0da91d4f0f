//! Work per call does not grow with the number of live things.

use alloc::vec::Vec;
use core::time::Duration;

use super::support::{Correlated, Frame, InOrder, Kind, Link};
use crate::{
    Config, ConnectionId, CorrelationId, End, Heartbeat, Instant, Limits, Peer, Priority, Reaction,
    RequestInfo, config::nonzero, steps::counting,
};

/// A server's connection with so many commands in flight, each with a frame of its
/// answer waiting.
fn with_commands(live: u16) -> (Link<Correlated>, Vec<RequestInfo>) {
    let config = Config {
        limits: Limits {
            max_in_flight: Some(nonzero(2_000)),
            ..Limits::default()
        },
        ..Config::default()
    };
    let protocol = Correlated {
        on_error: |_| Reaction::Send(Frame::numbered(0)),
        ..Correlated::default()
    };
    let mut link = Link::new(config, protocol);
    let ids: Vec<u16> = (1..=live).collect();
    let commands = link.requests(&ids);
    assert_eq!(commands.len(), usize::from(live));
    (link, commands)
}

/// The same work takes the same number of steps beside one and beside a thousand.
fn takes_equal_steps(what: &str, work: impl Fn(&mut Link<Correlated>, &[RequestInfo])) {
    let steps = [2, 1_000].map(|live| {
        let (mut link, commands) = with_commands(live);
        counting::of(|| work(&mut link, &commands))
    });
    let [few, many] = steps;
    assert_eq!(few, many, "{what} beside 2 and beside 1000 commands");
}

#[test]
fn requests_answers_and_pushes_cost_the_same_beside_a_thousand_commands() {
    // rule: LIM-9
    takes_equal_steps("a request", |link, _| {
        link.requests(&[60_000]);
    });
    takes_equal_steps("a whole answer", |link, commands| {
        let id = commands[0].id;
        link.connection.answer(id, Frame::numbered(1)).unwrap();
        link.sent();
    });
    takes_equal_steps("a streamed answer", |link, commands| {
        let id = commands[1].id;
        link.connection.respond(id, Frame::numbered(1)).unwrap();
        link.connection.finish(id, End::StreamComplete).unwrap();
        link.sent();
    });
    takes_equal_steps("a push", |link, _| {
        link.connection
            .push(Priority::High, Frame::numbered(1))
            .unwrap();
        link.sent();
    });
}

#[test]
fn an_answer_that_cannot_be_encoded_costs_the_same_with_a_thousand_waiting() {
    // rule: LIM-9
    let steps = [2, 1_000].map(|live| {
        let (mut link, commands) = with_commands(live);
        let (first, others) = commands.split_first().unwrap();
        let flawed = || Frame::new(Kind::Flawed, []);
        link.connection.respond(first.id, flawed()).unwrap();
        link.connection.respond(first.id, flawed()).unwrap();
        for other in others {
            link.connection
                .respond(other.id, Frame::numbered(1))
                .unwrap();
        }
        alloc::sync::Arc::make_mut(&mut link.connection.config)
            .limits
            .high_water = nonzero(1);
        counting::of(|| {
            let _ = link.fill();
        })
    });
    assert_eq!(steps[0], steps[1]);
}

#[test]
fn timers_cost_the_same_beside_a_thousand_commands() {
    // rule: LIM-9
    takes_equal_steps("a spurious timeout", |link, _| {
        link.connection.handle_timeout(Instant::from_millis(1));
    });
    takes_equal_steps("a ping", |link, _| {
        let heartbeat = Heartbeat::pinging(Duration::ZERO, Duration::MAX);
        let now = link.now;
        link.connection.set_heartbeat(Some(heartbeat), now);
        link.connection.handle_timeout(now);
        link.sent();
    });
    takes_equal_steps("a body's timeout", |link, commands| {
        link.connection.next_body(commands[0].id, Instant::ZERO);
        let due = link.connection.poll_timeout().unwrap();
        link.connection.handle_timeout(due.at);
    });
}

#[test]
fn a_body_frame_costs_the_same_beside_a_thousand_commands() {
    // rule: LIM-9
    let steps = [2, 1_000].map(|live| {
        let (mut link, _) = with_commands(live);
        // The first one builds the table of ids, once for all commands there are.
        link.receive(&[Frame::new(Kind::Body, []).with_id(1)]);
        link.events();
        counting::of(|| {
            link.receive(&[Frame::new(Kind::Body, []).with_id(2)]);
            link.events();
        })
    });
    assert_eq!(steps[0], steps[1]);
}

#[test]
fn bytes_of_bodies_cost_the_same_beside_a_thousand_bodies() {
    // rule: LIM-9, REQ-3
    let steps = [3, 1_000].map(|live| {
        let (mut link, commands) = with_commands(live);
        let config = alloc::sync::Arc::make_mut(&mut link.connection.config);
        config.limits.max_body_bytes = Some(nonzero(4 * usize::from(live) + 100));
        let frame = |id, len| Frame::new(Kind::Body, alloc::vec![0; len]).with_id(id);
        // Each has a frame, of four bytes.
        link.receive(&(1..=live).map(|id| frame(id, 0)).collect::<Vec<_>>());
        link.events();
        counting::of(|| {
            link.receive(&[frame(1, 60), frame(1, 60), frame(2, 60)]);
            link.events();
            assert!(!link.connection.wants().read);
            link.connection.next_body(commands[1].id, link.now);
            link.connection.drop_body(commands[0].id);
            link.connection
                .answer(commands[2].id, Frame::numbered(1))
                .unwrap();
            link.events();
            assert!(link.connection.wants().read);
        })
    });
    assert_eq!(steps[0], steps[1]);
}

#[test]
fn calls_cost_the_same_beside_a_thousand_calls() {
    // rule: LIM-9
    let steps = [1, 1_000].map(|live| {
        let peer = Peer::server_of(ConnectionId(1));
        let mut link = Link::of(peer, Config::default(), InOrder::default());
        for n in 0..live {
            let id = (n % 2 == 0).then_some(CorrelationId(n));
            link.connection.call(Frame::numbered(1), id).unwrap();
            link.sent();
        }
        counting::of(|| {
            let id = Some(CorrelationId(5_000));
            let call = link.connection.call(Frame::numbered(1), id).unwrap();
            link.sent();
            link.receive(&[Frame::new(Kind::LastReply, []).with_id(5_000)]);
            link.events();
            link.connection.forget(call);
        })
    });
    assert_eq!(steps[0], steps[1]);
}
