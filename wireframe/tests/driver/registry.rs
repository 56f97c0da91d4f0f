//! The registry of connections: who is in it, and when.

use std::io;

use wireframe::{
    App, ConnectionId,
    Priority::High,
    PushHandle, SessionRegistry, State,
    testing::{Fault, Simulation},
};

use crate::rig::{Line, Rig, Text, line, secs, text};

fn registered(protocol: &Text) -> (App<Text>, SessionRegistry<Line>) {
    let registry = SessionRegistry::new();
    let app = text(protocol)
        .registry(&registry)
        .route(1, async || -> Line { panic!("told to") });
    (app.build().unwrap(), registry)
}

fn id(rig: &Rig) -> ConnectionId {
    rig.push.connection().id()
}

#[test]
fn a_connection_is_found_from_before_its_beginning_is_served() {
    // rule: REG-2, HOOK-2
    async fn look(me: PushHandle<Line>, State(registry): State<SessionRegistry<Line>>) {
        let found = registry.get(me.connection().id()).expect("not entered yet");
        found.try_push(High, line("!found")).unwrap();
    }
    let registry = SessionRegistry::new();
    let app = text(&Text::default())
        .on_connect(look)
        .state(registry.clone())
        .registry(&registry)
        .build()
        .unwrap();
    let mut rig = Rig::idle(&app, &Simulation::new(), 1000);
    assert!(registry.is_empty(), "its setup has not run");
    assert_eq!(rig.heard(), ["!found"]);
    assert_eq!(registry.active_ids(), [id(&rig)]);
    assert_eq!(registry.active_handles().len(), 1);
    assert!(registry.get(ConnectionId(u64::MAX)).is_none());
}

#[test]
fn however_it_ends_its_entry_goes_whatever_handles_are_left() {
    // rule: REG-2
    type End = fn(&mut Rig);
    let ends: [(&str, End); 6] = [
        ("abort", |rig| rig.push.connection().abort()),
        ("a dropped driver", |rig| rig.driver.cancel()),
        ("a hook that panics", |rig| rig.ask("~")),
        ("a handler that panics", |rig| rig.ask("1")),
        ("a drain", |rig| rig.push.connection().close()),
        ("a transport that fails", |rig| {
            let reset = Fault::Error(io::ErrorKind::ConnectionReset);
            rig.script.read_fault(0, reset);
        }),
    ];
    for (what, end) in ends {
        let (app, registry) = registered(&Text {
            panics_in: "control",
            ..Text::default()
        });
        let mut rig = Rig::idle(&app, &Simulation::new(), 1000);
        rig.simulation.run();
        let mut other = rig.beside(&app);
        let kept = registry.get(id(&rig)).unwrap();
        assert_eq!(registry.len(), 2);
        end(&mut rig);
        rig.simulation.run();
        rig.peer.finish();
        rig.advance(secs(10));
        assert!(rig.driver.is_done(), "{what}");
        assert_eq!(registry.active_ids(), [id(&other)], "{what}");
        assert!(registry.get(id(&rig)).is_none(), "{what}");
        assert!(kept.is_closed());
        assert_eq!(other.exchange("~"), [""; 0], "panics, too");
    }
}

#[test]
fn dropping_handles_takes_nobody_out() {
    // rule: REG-2, PUSH-7
    let (app, registry) = registered(&Text::default());
    let mut rig = Rig::idle(&app, &Simulation::new(), 1000);
    let other = Rig::new(text(&Text::default()));
    let id = id(&rig);
    rig.push = other.push.clone();
    rig.simulation.run();
    drop(registry.active_handles());
    registry
        .get(id)
        .unwrap()
        .try_push(High, line("!still"))
        .unwrap();
    assert_eq!(rig.heard(), ["!still"]);
}

#[test]
fn after_ten_thousand_connections_it_is_empty() {
    // rule: REG-1, REG-2
    let (app, registry) = registered(&Text::default());
    let simulation = Simulation::new();
    let mut live = Vec::new();
    for n in 1..=10_000 {
        let rig = Rig::idle(&app, &simulation, 100);
        simulation.run();
        live.push(rig);
        assert_eq!(registry.len(), live.len());
        if n % 3 == 0 {
            let rig = live.swap_remove(n % live.len());
            rig.driver.cancel();
            assert!(registry.get(id(&rig)).is_none());
        }
        if n % 1_000 == 0 {
            for rig in live.drain(..) {
                rig.push.connection().abort();
            }
            simulation.run();
            assert!(registry.is_empty());
        }
    }
    assert_eq!(registry.prune(), 0);
}

#[test]
fn a_weak_handle_keeps_nothing_alive() {
    // rule: REG-1
    let rig = Rig::new(text(&Text::default()));
    let weak = rig.push.downgrade();
    assert!(weak.clone().upgrade().is_some());
    let Rig { push, driver, .. } = rig;
    drop(push);
    assert!(weak.upgrade().is_some(), "the connection is there");
    driver.cancel();
    assert!(weak.upgrade().is_none());
}
