//! The rate limit of pushes, through the driver and its one timer.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use wireframe::{
    Client, CloseReason, Driver,
    Priority::{self, High, Low},
    RateLimit, TryPushError, WireframeApp,
    proto::Instant,
    rt::Timer,
    testing::{Fault, Simulation, link},
};

use crate::rig::{Rig, Text, config, line, secs, text};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An app with so many pushes per second, and as many at once.
fn limited(rate: u32) -> WireframeApp<Text> {
    let rate = NonZeroU32::new(rate).unwrap();
    text(&Text::default()).rate_limit(RateLimit::per_second(rate))
}

/// When pushes were accepted.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<Vec<Instant>>>);

impl Times {
    fn note(&self, now: Instant) {
        self.0.lock().unwrap().push(now);
    }

    fn millis(&self) -> Vec<u64> {
        let times = self.0.lock().unwrap();
        times.iter().map(|at| at.as_nanos() / 1_000_000).collect()
    }
}

/// Starts a producer that pushes as fast as it may.
fn produce(rig: &Rig, priority: Priority, times: &Times) {
    let (push, times) = (rig.push.clone(), times.clone());
    let clock = rig.simulation.clock().clone();
    rig.simulation.spawn(async move {
        while push.push(priority, line("!p")).await.is_ok() {
            times.note(clock.now());
        }
    });
}

#[test]
fn whoever_pushes_and_however_the_rate_is_kept_and_used() {
    // rule: RATE-1, RATE-2, PUSH-2
    let mut rig = Rig::new(limited(4));
    let times = Times::default();
    produce(&rig, High, &times);
    produce(&rig, Low, &times);
    // Ten seconds, in which somebody tries all the time as well.
    for tick in 0..=1_000 {
        if tick > 0 {
            rig.advance(ms(10));
        }
        if rig.push.try_push([High, Low][tick % 2], line("!t")).is_ok() {
            times.note(rig.simulation.clock().now());
        }
        rig.simulation.run();
        rig.check_account();
    }
    let times = times.millis();
    assert_eq!(times.len(), 4 + 4 * 10);
    for (first, &from) in times.iter().enumerate() {
        let window = times
            .iter()
            .skip(first)
            .take_while(|at| **at <= from + 1_000);
        assert!(window.count() <= 8, "too many in the second from {from} ms");
    }
    assert_eq!(rig.heard().len(), times.len());
}

#[test]
fn a_push_that_waits_goes_at_the_very_time_of_its_token_on_the_drivers_timer() {
    // rule: RATE-2
    let rig = Rig::new(limited(4));
    let clock = rig.simulation.clock();
    for _ in 0..4 {
        rig.push.try_push(Low, line("!burst")).unwrap();
    }
    rig.simulation.run();
    assert_eq!(clock.armed(), 0, "nobody waits");
    let times = Times::default();
    for _ in 0..3 {
        let (push, times) = (rig.push.clone(), times.clone());
        let clock = clock.clone();
        rig.simulation.spawn(async move {
            push.push_low_priority(line("!later")).await.unwrap();
            times.note(clock.now());
        });
    }
    rig.simulation.run();
    assert_eq!(clock.armed(), 1, "one timer for all");
    rig.advance(secs(10));
    assert_eq!(times.millis(), [250, 500, 750]);
    assert_eq!(clock.armed(), 0);
    assert_eq!(clock.wake_ups(), 3);
}

#[test]
fn an_idle_connection_with_a_limit_costs_no_timer() {
    // rule: LIM-5, RATE-2
    let mut rig = Rig::new(limited(1));
    rig.push.try_push(High, line("!a")).unwrap();
    assert_eq!(rig.heard(), ["!a"]);
    assert!(rig.push.try_push(High, line("!b")).is_err());
    rig.advance(secs(100));
    assert_eq!(rig.simulation.clock().wake_ups(), 0);
}

#[test]
fn a_waiter_that_gives_up_takes_no_token_with_it() {
    // rule: PUSH-2, RATE-2
    let mut rig = Rig::new(limited(1));
    rig.push.try_push(High, line("!first")).unwrap();
    let push = rig.push.clone();
    let given_up = rig
        .simulation
        .spawn(async move { push.push(High, line("!no")).await });
    rig.advance(ms(999));
    given_up.cancel();
    rig.advance(ms(1));
    rig.push.try_push(Low, line("!second")).unwrap();
    assert_eq!(rig.heard(), ["!first", "!second"]);
    rig.advance(secs(10));
    assert_eq!(rig.simulation.clock().armed(), 0);
}

#[test]
fn a_refused_push_may_come_again_just_when_it_is_told_to() {
    // rule: PUSH-3
    let rig = Rig::new(limited(3));
    for _ in 0..3 {
        rig.push.try_push(Low, line("!burst")).unwrap();
    }
    for _ in 0..5 {
        let Err(TryPushError::RateLimited { retry_after, .. }) = rig.push.try_push(Low, line("!"))
        else {
            panic!("there was a token");
        };
        rig.advance(retry_after - Duration::from_nanos(1));
        assert!(rig.push.try_push(Low, line("!early")).is_err());
        rig.advance(Duration::from_nanos(1));
        rig.push.try_push(Low, line("!now")).unwrap();
    }
}

#[test]
fn what_a_hook_pushes_takes_no_token() {
    // rule: HOOK-4
    let protocol = Text {
        greeting: Some("!welcome"),
        ..Text::default()
    };
    let limit = RateLimit::per_second(NonZeroU32::MIN);
    let mut rig = Rig::new(text(&protocol).rate_limit(limit));
    rig.push.try_push(High, line("!mine")).unwrap();
    assert!(rig.push.try_push(High, line("!more")).is_err());
    assert_eq!(rig.heard(), ["!welcome", "!mine"]);
}

#[test]
fn a_clients_calls_take_tokens() {
    // rule: RATE-1
    let simulation = Simulation::new();
    let environment = simulation.environment();
    let (near, far) = link(1000);
    let server = text(&Text::default()).route(1, async || line("<reply"));
    let driver = Driver::server(&server.build().unwrap(), near, None, &environment);
    simulation.spawn(driver);
    let (client, driver) = Client::new(&limited(1).build().unwrap(), far, None, &environment);
    simulation.spawn(driver);
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            simulation.spawn(async move { client.call(line("1")).await.unwrap() })
        })
        .collect();
    simulation.run();
    for answered in 1..=3 {
        assert_eq!(calls.iter().filter(|call| call.is_done()).count(), answered);
        simulation.advance(secs(1));
    }
}

#[test]
fn a_deadline_of_the_connection_and_a_token_share_the_timer() {
    // rule: RATE-2, LIM-3
    for (stall, stalls_first) in [(ms(300), true), (secs(2), false)] {
        for deadline_is_set_first in [true, false] {
            let app = limited(1).config(config(|c| c.timeouts.write_stall = stall));
            let rig = Rig::new(app);
            rig.script.write_fault(0, Fault::Stall);
            let push = rig.push.clone();
            let permit = rig
                .simulation
                .spawn(async move { push.reserve(High).await });
            rig.simulation.run();
            let mut permit = permit.take();
            // What is sent, and stalls, is what the connection has a deadline for.
            let mut send = || permit.take().unwrap().unwrap().send(line("!first"));
            if deadline_is_set_first {
                send().unwrap();
                rig.simulation.run();
            }
            let push = rig.push.clone();
            let second = async move { push.push(High, line("!second")).await };
            let waiting = rig.simulation.spawn(second);
            rig.simulation.run();
            if !deadline_is_set_first {
                send().unwrap();
            }
            rig.advance(ms(300));
            assert_eq!(waiting.is_done(), stalls_first);
            rig.advance(ms(700));
            assert_eq!(waiting.take().unwrap().is_err(), stalls_first);
            rig.advance(stall + stall);
            assert_eq!(rig.driver.take(), Some(CloseReason::WriteStalled));
        }
    }
}

#[test]
fn the_end_of_the_connection_wakes_who_waits_for_a_token() {
    // rule: PUSH-6
    let rig = Rig::new(limited(1));
    rig.push.try_push(High, line("!first")).unwrap();
    let push = rig.push.clone();
    let waiting = rig
        .simulation
        .spawn(async move { push.push(Low, line("!no")).await });
    rig.simulation.run();
    rig.push.connection().abort();
    rig.simulation.run();
    assert!(waiting.take().unwrap().is_err());
    assert_eq!(rig.simulation.clock().armed(), 0);
}
