//! What an idle connection costs.

use wireframe::Inbound;

use crate::rig::{Line, Rig, Text, line, secs, text, wire};

async fn echo(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

#[test]
fn an_idle_connection_arms_no_timer_and_is_not_woken() {
    // rule: LIM-5
    let mut rig = Rig::new(text(&Text::default()).route(1, echo));
    for n in 0..10 {
        assert_eq!(rig.exchange("1x"), ["1x"]);
        rig.push
            .try_push(wireframe::Priority::High, line(format!("!{n}")))
            .unwrap();
        rig.heard();
        assert_eq!(rig.simulation.clock().armed(), 0);
    }
    let polls = rig.driver.polls();
    rig.advance(secs(1_000_000));
    assert_eq!(rig.driver.polls(), polls);
    assert_eq!(rig.simulation.clock().wake_ups(), 0);
}

#[test]
fn a_timer_that_is_needed_no_more_wakes_once_and_is_gone() {
    // rule: LIM-5
    let mut rig = Rig::new(text(&Text::default()).route(1, echo));
    for _ in 0..20 {
        let bytes = wire("1x");
        rig.peer.send(&bytes[..3]);
        rig.simulation.run();
        assert_eq!(rig.simulation.clock().armed(), 1);
        rig.peer.send(&bytes[3..]);
        assert_eq!(rig.heard(), ["1x"]);
    }
    rig.advance(secs(1_000_000));
    assert_eq!(rig.simulation.clock().armed(), 0);
    assert_eq!(rig.simulation.clock().wake_ups(), 1);
}
