//! What the peer pushes: who gets it, and what becomes of it if nobody does.

use std::sync::{Arc, Mutex};

use wireframe::{
    Client, CloseReason, Conversation, Inbound, Lagged,
    testing::{Simulation, link},
};

use crate::rig::{Line, Record, Rig, Text, config, line, lines, nonzero, secs, text, wire};

/// A handler of pushed frames that notes each and then never ends.
fn endless(record: &Record) -> wireframe::WireframeApp<Text> {
    let record = record.clone();
    text(&Text::default()).on_push(move |Inbound(Line(text)): Inbound<Line>| {
        record.note(text);
        std::future::pending::<()>()
    })
}

fn pushes(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| wire(&format!("!{n}"))).collect()
}

#[test]
fn handlers_of_pushes_that_await_calls_all_finish_and_start_in_order() {
    // rule: RESP-7, SHUT-6
    let simulation = Simulation::new();
    let (mut server, far) = link(1 << 20);
    let caller: Arc<Mutex<Option<Client<Text>>>> = Arc::default();
    let (started, finished) = (Record::default(), Record::default());
    let handler = {
        let (caller, started, finished) = (caller.clone(), started.clone(), finished.clone());
        move |Inbound(Line(text)): Inbound<Line>| {
            let client = caller.lock().unwrap().clone().unwrap();
            let finished = finished.clone();
            started.note(text.clone());
            async move {
                client.call(line(text.replace('!', "1"))).await.unwrap();
                finished.note(text);
            }
        }
    };
    let app = text(&Text::default()).on_push(handler).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    let handle = client.connection();
    *caller.lock().unwrap() = Some(client);
    let driver = simulation.spawn(driver);
    server.send(&pushes(200));
    simulation.run();
    assert_eq!(started.take().len(), 64);
    for _ in 0..10 {
        for _ in lines(&server.receive()) {
            server.send(&wire("<reply"));
        }
        simulation.run();
    }
    let numbers = |from: usize| (from..200).map(|n| format!("!{n}")).collect::<Vec<_>>();
    assert_eq!(started.take(), numbers(64));
    assert_eq!(finished.take(), numbers(0));
    assert_eq!(handle.unhandled_pushes(), 0);
    server.finish();
    simulation.run();
    assert_eq!(driver.take(), Some(CloseReason::PeerClosed));
    caller.lock().unwrap().take();
}

#[test]
fn a_connection_ends_although_handlers_of_pushes_do_not() {
    // rule: SHUT-6, REQ-1
    let record = Record::default();
    let mut rig = Rig::new(endless(&record));
    rig.peer.send(&pushes(100));
    rig.simulation.run();
    assert_eq!(record.take().len(), 64);
    assert_eq!(rig.reason(), Some(CloseReason::PeerClosed));
    assert_eq!(rig.push.connection().unhandled_pushes(), 36);
}

#[test]
fn pushes_beyond_those_that_may_wait_are_dropped_and_counted() {
    // rule: REQ-1, RESP-7
    let record = Record::default();
    let mut rig = Rig::new(endless(&record).route(1, async || "served"));
    rig.peer.send(&pushes(64 + 256));
    rig.simulation.run();
    assert_eq!(rig.push.connection().unhandled_pushes(), 0);
    rig.peer.send(&pushes(5));
    assert_eq!(rig.exchange("1"), ["1:served"], "nothing else is held up");
    assert_eq!(record.take().len(), 64);
    assert_eq!(rig.push.connection().unhandled_pushes(), 5);
}

#[test]
fn pushes_that_wait_are_bounded_in_bytes_too() {
    // rule: REQ-1, CLI-4
    let small = || config(|c| c.limits.max_body_bytes = Some(nonzero(1_000)));
    let large = wire(&format!("!{}", "x".repeat(299)));
    let app = endless(&Record::default()).config(small());
    let mut rig = Rig::new(app.route(1, async || "served"));
    rig.peer.send(&pushes(64));
    rig.simulation.run();
    // The fourth of them crosses the bound.
    for (sent, dropped) in [(4, 0), (1, 1), (1, 2)] {
        rig.peer.send(&large.repeat(sent));
        rig.simulation.run();
        assert_eq!(rig.push.connection().unhandled_pushes(), dropped);
    }
    assert_eq!(rig.exchange("1"), ["1:served"], "nothing else is held up");

    let simulation = Simulation::new();
    let (mut server, far) = link(1 << 20);
    let app = text(&Text::default()).config(small()).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    let _driver = simulation.spawn(driver);
    let mut listener = client.pushes();
    server.send(&pushes(9));
    server.send(&large.repeat(4));
    simulation.run();
    assert_eq!(client.connection().unhandled_pushes(), 0);
    // It takes the place of all that is older than what is within the bound.
    server.send(&large);
    simulation.run();
    assert_eq!(client.connection().unhandled_pushes(), 10);
    let lagged = simulation.spawn(async move { listener.next().await });
    simulation.run();
    assert_eq!(lagged.take(), Some(Some(Err(Lagged(10)))));
}

#[test]
fn what_waited_is_handled_when_handlers_before_it_end() {
    // rule: RESP-7
    let record = Record::default();
    let noted = record.clone();
    let app = text(&Text::default()).on_push(
        move |Inbound(Line(text)): Inbound<Line>, clock: wireframe::Clock| {
            noted.note(text);
            async move { clock.sleep(secs(1)).await }
        },
    );
    let mut rig = Rig::new(app);
    rig.peer.send(&pushes(130));
    rig.simulation.run();
    for expected in [64, 64, 2] {
        assert_eq!(record.take().len(), expected);
        rig.advance(secs(1));
    }
    assert_eq!(rig.push.connection().unhandled_pushes(), 0);
}

#[test]
fn what_waited_is_handled_when_handlers_before_it_end_by_what_another_does_and_sends() {
    // rule: RESP-7
    let record = Record::default();
    let noted = record.clone();
    let (opener, gate) = async_channel::bounded::<()>(1);
    let opener = Mutex::new(Some(opener));
    let app = text(&Text::default())
        .on_push(move |Inbound(Line(text)): Inbound<Line>| {
            noted.note(text);
            let gate = gate.clone();
            async move {
                let _closed = gate.recv().await;
            }
        })
        .route(1, move |mut peer: Conversation<Line>| {
            // All that wait at the gate end, after the driver has begun its turn.
            drop(opener.lock().unwrap().take());
            async move {
                peer.send(line("open")).await.unwrap();
                "done"
            }
        });
    let mut rig = Rig::new(app);
    rig.peer.send(&pushes(100));
    rig.simulation.run();
    assert_eq!(record.take().len(), 64);
    assert_eq!(rig.exchange("1"), ["open", "1:done"]);
    assert_eq!(
        record.take().len(),
        36,
        "they need nothing more of the peer"
    );
}

#[test]
fn pushes_that_nobody_takes_are_counted() {
    // rule: REQ-1, CLI-4
    let mut rig = Rig::new(text(&Text::default()));
    rig.ask("!to a server without a handler");
    assert_eq!(rig.push.connection().unhandled_pushes(), 1);

    let simulation = Simulation::new();
    let (mut server, far) = link(1 << 20);
    let app = text(&Text::default()).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    let _driver = simulation.spawn(driver);
    server.send(&pushes(3));
    simulation.run();
    assert_eq!(client.connection().unhandled_pushes(), 3, "nobody listens");
    let _listener = client.pushes();
    server.send(&pushes(256 + 4));
    simulation.run();
    assert_eq!(
        client.connection().unhandled_pushes(),
        7,
        "at most 256 wait"
    );
}

#[test]
fn frames_are_kept_only_while_somebody_listens() {
    // rule: REQ-1, CLI-4
    let simulation = Simulation::new();
    let (mut server, far) = link(1 << 20);
    let app = text(&Text::default()).build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &simulation.environment());
    let _driver = simulation.spawn(driver);
    let unhandled = || client.connection().unhandled_pushes();
    let (first, second) = (client.pushes(), client.pushes());
    server.send(&pushes(256 + 2));
    simulation.run();
    drop(first);
    assert_eq!(unhandled(), 2, "one still listens");
    drop(second);
    assert_eq!(unhandled(), 2 + 256);
    server.send(&wire("!nobody listens"));
    simulation.run();
    assert_eq!(unhandled(), 2 + 256 + 1);

    let mut later = client.pushes();
    server.send(&wire("!new"));
    let heard = simulation.spawn(async move { later.next().await });
    simulation.run();
    assert_eq!(heard.take(), Some(Some(Ok(line("!new")))));
    assert_eq!(unhandled(), 2 + 256 + 1);
}
