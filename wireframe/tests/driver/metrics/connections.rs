//! Connections and their frames, and that a client's are not among them.

use metrics::Unit;
use wireframe::{
    Client, CloseReason, Envelope, Inbound, WireframeApp,
    testing::{Simulation, link},
};

use super::{measured, rig};
use crate::rig::{Line, Rig, Text, text};

const LARGE: usize = 1 << 16;

#[test]
fn every_name_is_there_from_the_beginning_with_its_unit() {
    // rule: OBS-2
    let (app, recorder) = measured(text(&Text::default()));
    let mut names = recorder.names();
    names.dedup_by(|a, b| a.split('{').next() == b.split('{').next());
    let names: Vec<_> = names.iter().map(|n| n.split('{').next().unwrap()).collect();
    let units = [
        ("wireframe_connections_active", Unit::Count),
        ("wireframe_errors_total", Unit::Count),
        ("wireframe_frames_processed_total", Unit::Count),
        ("wireframe_handler_panics_total", Unit::Count),
        ("wireframe_messages_assembled_total", Unit::Count),
        ("wireframe_push_queue_depth", Unit::Count),
        ("wireframe_pushes_dropped_total", Unit::Count),
        ("wireframe_pushes_total", Unit::Count),
        ("wireframe_reassembly_errors_total", Unit::Count),
        ("wireframe_request_latency_seconds", Unit::Seconds),
    ];
    assert_eq!(names, units.map(|(name, _)| name));
    let described = units.map(|(name, unit)| (name.to_owned(), unit));
    assert_eq!(recorder.described(), described);
    drop(app);
}

#[test]
fn frames_are_counted_in_both_directions() {
    // rule: OBS-2
    let echo = |Inbound(frame): Inbound<Line>| frame;
    let (mut rig, recorder) = rig(text(&Text::default()).route(1, echo), LARGE);
    for frames in ["1", "~control"] {
        assert_eq!(rig.exchange(frames), [frames]);
    }
    rig.ask("nobody takes this");
    let moved = [
        "frames_processed_total{direction=inbound} +3",
        "frames_processed_total{direction=outbound} +2",
        "request_latency_seconds [0.0]",
    ];
    assert_eq!(recorder.moved(), moved);
}

#[test]
fn a_connection_counts_until_it_ends_however_it_does() {
    // rule: OBS-2
    type End = fn(&mut Rig);
    let ends: [(End, &[&str]); 4] = [
        (|rig| rig.peer.finish(), &[]),
        (|rig| rig.push.connection().abort(), &[]),
        (|rig| rig.driver.cancel(), &[]),
        (
            |rig| rig.peer.send(b"\0\0\0\x0ccodec panics"),
            &["errors_total{kind=protocol_panicked} +1"],
        ),
    ];
    for (end, errors) in ends {
        let (mut rig, recorder) = rig(text(&Text::default()), LARGE);
        end(&mut rig);
        rig.simulation.run();
        assert!(rig.driver.is_done());
        let mut moved = vec!["connections_active -1"];
        moved.extend(errors);
        assert_eq!(recorder.moved(), moved);
        assert!(recorder.standing().is_empty());
    }
}

#[test]
fn a_connection_that_never_ran_has_been_one() {
    // rule: OBS-2
    let (app, recorder) = measured(text(&Text::default()));
    let rig = Rig::idle(&app, &Simulation::new(), LARGE);
    assert_eq!(recorder.moved(), ["connections_active +1"]);
    rig.driver.cancel();
    assert_eq!(recorder.moved(), ["connections_active -1"]);
}

#[test]
fn a_clients_connections_are_not_counted() {
    // rule: OBS-2
    let (app, recorder) = measured(WireframeApp::new());
    let simulation = Simulation::new();
    let environment = simulation.environment();
    let (near, mut far) = link(LARGE);
    let (client, driver) = Client::new(&app, near, None, &environment);
    let driver = simulation.spawn(driver);
    let call = simulation.spawn(async move { client.call(Envelope::new(1, "ask")).await });
    simulation.run();
    assert!(!far.receive().is_empty());
    far.finish();
    simulation.run();
    assert!(call.take().unwrap().is_err());
    assert_eq!(driver.take(), Some(CloseReason::PeerClosed));
    assert!(recorder.moved().is_empty());
}
