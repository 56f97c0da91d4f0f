//! Pushes: how many, where they wait, and why some are not sent.

use std::num::NonZeroU32;

use wireframe::{
    Priority::{High, Low},
    PushCapacity, PushLimits, PushPolicy, Pushed, RateLimit, SessionRegistry, WireframeApp,
    dead_letter_queue,
};

use super::rig;
use crate::rig::{Text, config, line, nonzero, text, wire};

/// So many frames of each priority, and at most one of them encoded.
fn app(frames: usize) -> WireframeApp<Text> {
    let capacity = PushCapacity {
        frames: nonzero(frames),
        ..PushCapacity::new()
    };
    text(&Text::default()).push_limits(PushLimits::both(capacity))
}

#[test]
fn pushes_stand_in_the_depth_until_the_transport_has_them() {
    // rule: OBS-2
    let (mut rig, recorder) = rig(app(10), 1);
    for _ in 0..2 {
        rig.push.try_push(High, line("high")).unwrap();
    }
    for _ in 0..3 {
        rig.push.try_push(Low, line("low")).unwrap();
    }
    rig.simulation.run();
    let moved = [
        "frames_processed_total{direction=outbound} +5",
        "push_queue_depth{priority=high} +2",
        "push_queue_depth{priority=low} +3",
        "pushes_total{priority=high} +2",
        "pushes_total{priority=low} +3",
    ];
    assert_eq!(recorder.moved(), moved);
    assert_eq!(rig.heard().len(), 5);
    let moved = [
        "push_queue_depth{priority=high} -2",
        "push_queue_depth{priority=low} -3",
    ];
    assert_eq!(recorder.moved(), moved);
    let standing = ["wireframe_connections_active"];
    assert_eq!(recorder.standing(), standing);
}

#[test]
fn what_is_left_when_a_connection_ends_is_dropped_and_no_depth_is_left() {
    // rule: OBS-2
    for has_dead_letters in [false, true] {
        let (sender, _letters) = dead_letter_queue(nonzero(10));
        let app = match has_dead_letters {
            true => app(10).dead_letters(sender),
            false => app(10),
        };
        let (rig, recorder) = rig(app, 1);
        rig.push.try_push(High, line("under way")).unwrap();
        rig.simulation.run();
        recorder.moved();
        // These are in the mailbox when the driver is dropped.
        rig.push.try_push(High, line("high")).unwrap();
        rig.push.try_push(Low, line("low")).unwrap();
        rig.driver.cancel();
        let moved = [
            "connections_active -1",
            "push_queue_depth{priority=high} -1",
            "pushes_dropped_total{reason=connection_closed} +3",
            "pushes_total{priority=high} +1",
            "pushes_total{priority=low} +1",
        ];
        assert_eq!(recorder.moved(), moved);
        assert!(recorder.standing().is_empty());
        rig.check_account();
        assert!(rig.push.try_push(High, line("late")).is_err());
        assert!(recorder.moved().is_empty(), "the connection was not full");
    }
}

#[test]
fn no_depth_is_left_by_a_connection_whose_protocol_panics() {
    // rule: OBS-2
    for panics_in in ["send", "disconnect"] {
        let protocol = Text {
            panics_in,
            ..Text::default()
        };
        let high_water = config(|c| c.limits.high_water = nonzero(1));
        let (mut rig, recorder) = rig(text(&protocol).config(high_water), 1);
        for priority in [High, Low] {
            rig.push.try_push(priority, line("a")).unwrap();
            rig.push.try_push(priority, line("b")).unwrap();
        }
        rig.simulation.run();
        rig.peer.send(&wire("codec panics"));
        rig.simulation.run();
        assert!(rig.driver.is_done());
        let moved = [
            "connections_active -1",
            "errors_total{kind=protocol_panicked} +1",
            "pushes_dropped_total{reason=connection_closed} +4",
            "pushes_total{priority=high} +2",
            "pushes_total{priority=low} +2",
        ];
        let mut all = recorder.moved();
        all.retain(|name| !name.starts_with("frames_processed"));
        assert_eq!(all, moved, "{panics_in}");
        assert!(recorder.standing().is_empty());
        rig.check_account();
    }
}

#[test]
fn what_cannot_be_encoded_is_dropped() {
    // rule: OBS-2
    let (rig, recorder) = rig(app(10), 1000);
    rig.push.try_push(High, line("?")).unwrap();
    rig.simulation.run();
    let moved = [
        "pushes_dropped_total{reason=unencodable} +1",
        "pushes_total{priority=high} +1",
    ];
    assert_eq!(recorder.moved(), moved);
}

#[test]
fn a_frame_that_a_policy_drops_is_told_from_one_that_is_refused() {
    // rule: OBS-2
    let registry = SessionRegistry::new();
    let (rig, recorder) = rig(app(1).registry(&registry), 1000);
    rig.push.try_push(Low, line("only")).unwrap();
    for policy in [PushPolicy::DropIfFull, PushPolicy::WarnAndDropIfFull] {
        let dropped = rig.push.push_with_policy(Low, line("more"), policy);
        assert_eq!(dropped.unwrap(), Pushed::Dropped);
        assert_eq!(recorder.moved(), ["pushes_dropped_total{reason=policy} +1"]);
    }
    let refused = ["pushes_dropped_total{reason=full} +1"];
    rig.push.try_push(Low, line("more")).unwrap_err();
    assert_eq!(recorder.moved(), refused);
    let returned = PushPolicy::ReturnErrorIfFull;
    let error = rig.push.push_with_policy(Low, line("more"), returned);
    error.unwrap_err();
    assert_eq!(recorder.moved(), refused);
    registry.broadcast(line("more"), Low, returned);
    assert_eq!(recorder.moved(), refused);
}

#[test]
fn a_push_without_a_token_is_told_from_one_without_room() {
    // rule: OBS-2
    let app = app(10).rate_limit(RateLimit::per_second(NonZeroU32::MIN));
    let (rig, recorder) = rig(app, 1000);
    rig.push.try_push(Low, line("only")).unwrap();
    rig.push.try_push(Low, line("more")).unwrap_err();
    assert_eq!(
        recorder.moved(),
        ["pushes_dropped_total{reason=rate_limited} +1"]
    );
}
