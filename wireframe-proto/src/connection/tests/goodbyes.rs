//! The last word before every close that no reaction has decided.

use core::time::Duration;

use super::support::{Correlated, Frame, Hook, Kind, Link, goodbyes, numbers};
use crate::{
    CloseReason, Config, Context, End, Event, HalfClose, Instant, LimitExceeded, Malformed,
    Priority, Shutdown, UnexpectedEof, config::nonzero,
};

fn config() -> Config {
    let mut config = Config::default();
    config.limits.max_frame_len = nonzero(100);
    config.timeouts.idle = Some(Duration::from_millis(50));
    config.timeouts.write_stall = Duration::from_millis(30);
    config.timeouts.frame_completion = Duration::from_millis(20);
    config
}

fn protocol() -> Correlated {
    Correlated {
        goodbye: Some(Frame::numbered(50)),
        ..Correlated::default()
    }
}

/// What happens asks for exactly one goodbye, with that reason, which is sent last.
fn asks_once(reason: &CloseReason, happens: impl FnOnce(&mut Link<Correlated>)) {
    let mut link = Link::new(config(), protocol());
    link.events();
    happens(&mut link);
    let (sent, mut events) = link.wind_up();
    assert_eq!(numbers(&sent).last(), Some(&50), "{reason:?}");
    // Nothing that comes after asks again.
    link.receive(&[Frame::new(Kind::Flawed, [])]);
    let deadline = link.now;
    link.connection
        .shutdown(link.now, Shutdown::Drain { deadline });
    link.eof();
    link.pass_until(100_000);
    events.extend(link.events());
    assert!(
        events.contains(&Event::Closing(reason.clone())),
        "{events:?}"
    );
    assert_eq!(events.last(), Some(&Event::Closed(reason.clone())));
    let hooks = link.hooks();
    assert_eq!(goodbyes(&hooks), core::slice::from_ref(reason));
    assert_eq!(hooks.last(), Some(&Hook::Disconnect(reason.clone())));
}

#[test]
fn a_drain_ends_with_a_goodbye() {
    // rule: HOOK-6, SHUT-2
    let deadline = Instant::from_millis(1_000);
    asks_once(&CloseReason::Drained, |link| {
        link.connection
            .shutdown(link.now, Shutdown::Drain { deadline });
    });
}

#[test]
fn the_goodbye_names_malformed_input_with_the_protocols_code() {
    // rule: HOOK-6, FRAME-2
    let malformed = Malformed::with_code(7, "a flawed frame");
    asks_once(&CloseReason::Malformed(malformed), |link| {
        link.receive(&[Frame::new(Kind::Flawed, [])]);
    });
}

#[test]
fn the_goodbye_names_a_limit_with_its_value() {
    // rule: HOOK-6, LIM-1
    let limit = LimitExceeded {
        limit: "max_frame_len",
        value: 100,
        got: 101,
    };
    asks_once(&CloseReason::Limit(limit), |link| {
        link.receive_bytes(&101u32.to_be_bytes());
    });
}

#[test]
fn the_goodbye_of_an_idle_connection() {
    // rule: HOOK-6, LIM-3
    asks_once(&CloseReason::Idle, |link| link.pass_until(50));
}

#[test]
fn the_goodbye_to_a_peer_that_takes_nothing() {
    // rule: HOOK-6, LIM-3
    asks_once(&CloseReason::WriteStalled, |link| {
        link.connection
            .push(Priority::Low, Frame::numbered(1))
            .unwrap();
        let _ = link.fill();
        link.pass_until(30);
    });
}

#[test]
fn the_goodbye_to_a_peer_that_is_slow_over_a_frame() {
    // rule: HOOK-6, LIM-3
    asks_once(&CloseReason::FrameTimedOut, |link| {
        link.receive_bytes(&[0]);
        link.events();
        link.pass_until(20);
    });
}

#[test]
fn the_goodbye_to_a_peer_that_ended_inside_a_frame() {
    // rule: HOOK-6, SHUT-6
    let eof = UnexpectedEof {
        received: 2,
        missing: Some(8),
    };
    asks_once(&CloseReason::UnexpectedEof(eof), |link| {
        link.receive_bytes(&[0, 0, 0, 10, 0, 0]);
        link.eof();
    });
}

#[test]
fn the_goodbye_after_a_handler_panicked_or_failed_fatally() {
    // rule: HOOK-6, RESP-8, RESP-6
    asks_once(&CloseReason::HandlerPanicked, |link| {
        let command = link.requests(&[1])[0];
        link.connection.finish(command.id, End::Panicked).unwrap();
    });
    asks_once(&CloseReason::HandlerFailed("disk".into()), |link| {
        let command = link.requests(&[1])[0];
        link.connection
            .finish(command.id, End::Fatal("disk".into()))
            .unwrap();
    });
}

#[test]
fn the_goodbye_after_a_hook_asked_for_a_close() {
    // rule: HOOK-6, HOOK-4
    let close = |hook: &Hook, ctx: &mut Context<'_, Correlated>| {
        if matches!(hook, Hook::Control(_)) {
            ctx.close();
        }
    };
    let protocol = Correlated {
        in_hooks: close,
        ..protocol()
    };
    let mut link = Link::new(config(), protocol);
    link.receive(&[Frame::new(Kind::Control, [])]);
    let (sent, events) = link.wind_up();
    assert_eq!(numbers(&sent), [50]);
    assert_eq!(
        events,
        [Event::Control, Event::Closing(CloseReason::Drained)]
    );
    assert_eq!(goodbyes(&link.hooks()), [CloseReason::Drained]);
}

#[test]
fn a_peer_that_cannot_hear_it_gets_no_goodbye() {
    // rule: HOOK-6, RESP-10
    let gone: [fn(&mut Link<Correlated>); 4] = [
        |link| link.connection.shutdown(link.now, Shutdown::Immediate),
        |link| link.connection.handle_transport_failed(link.now, "reset"),
        |link| link.eof(),
        |link| {
            link.receive_bytes(&[0]);
            link.eof();
        },
    ];
    for happens in gone {
        let mut config = config();
        config.half_close = HalfClose::Ends;
        let mut link = Link::new(config, protocol());
        link.events();
        happens(&mut link);
        let (sent, events) = link.wind_up();
        assert_eq!(sent, []);
        assert!(matches!(events[..], [Event::Closing(_), Event::Closed(_)]));
        assert_eq!(goodbyes(&link.hooks()), []);
    }
}

#[test]
fn an_unencodable_goodbye_is_dropped_and_the_close_goes_on() {
    // rule: HOOK-6, FRAME-6
    let protocol = Correlated {
        goodbye: Some(Frame::new(Kind::Flawed, [])),
        ..Correlated::default()
    };
    let mut link = Link::new(config(), protocol);
    link.receive(&[Frame::new(Kind::Flawed, [])]);
    link.events();
    assert_eq!(link.sent(), []);
    assert!(link.connection.wants().half_close);
}
