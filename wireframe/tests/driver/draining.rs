//! Servers that shut down: what their connections and tasks still do, and the report.

use std::{sync::Arc, time::Duration};

use wireframe::{
    Clock, Priority::Low, ShutdownToken, TaskTracker, dead_letter_queue, testing::Simulation,
};

use crate::{
    rig::{Line, Text, config, line, nonzero, secs, text, wire},
    serving::{Serving, heard},
};

async fn slow(clock: Clock) -> Line {
    clock.sleep(Duration::from_millis(300)).await;
    line("answer")
}

#[test]
fn a_drain_delivers_all_that_was_under_way_and_says_so() {
    // rule: SHUT-2, SHUT-4, SHUT-5
    let serving = Serving::new(text(&Text::default()).route(1, slow));
    let mut idle: Vec<_> = (0..50).map(|_| serving.connect(1000)).collect();
    let mut busy: Vec<_> = (0..5).map(|_| serving.connect(1000)).collect();
    for peer in &mut busy {
        peer.send(&wire("1"));
    }
    serving.simulation.run();
    for n in 0..3 {
        serving.push(n).try_push(Low, line("!pushed")).unwrap();
    }
    serving.handle.shutdown();
    // Peers close when they see the end.
    for (n, peer) in idle.iter_mut().enumerate() {
        let pushed = if n < 3 { vec!["!pushed"] } else { vec![] };
        assert_eq!(heard(peer, &serving.simulation), pushed);
        assert!(peer.is_at_end());
        peer.finish();
    }
    serving.simulation.advance(Duration::from_millis(299));
    assert_eq!(
        (serving.handle.connections(), serving.served.is_done()),
        (5, false)
    );
    serving.simulation.advance(Duration::from_millis(1));
    for peer in &mut busy {
        assert_eq!(heard(peer, &serving.simulation), ["answer"]);
        peer.finish();
    }
    serving.simulation.run();
    assert_eq!(serving.report(), (55, 0, 0));
}

#[test]
fn what_never_ends_is_aborted_at_the_deadline() {
    // rule: SHUT-3, SHUT-4, DLQ-1
    let (sender, letters) = dead_letter_queue(nonzero(10));
    let app = text(&Text::default())
        .route(1, std::future::pending::<Line>)
        .dead_letters(sender);
    let serving = Serving::new(app);
    let mut peer = serving.connect(10);
    peer.send(&wire("1"));
    serving.simulation.run();
    for n in 0..4 {
        serving
            .push(0)
            .try_push(Low, line(format!("!push {n}")))
            .unwrap();
    }
    serving.simulation.run();
    serving.handle.shutdown();
    serving
        .simulation
        .advance(secs(5) - Duration::from_nanos(1));
    assert!(!serving.served.is_done());
    serving.simulation.advance(Duration::from_nanos(1));
    assert_eq!(serving.report(), (0, 1, 4));
    assert_eq!(std::iter::from_fn(|| letters.try_recv()).count(), 4);
}

#[test]
fn tasks_are_told_of_the_end_and_dropped_at_the_deadline() {
    // rule: SHUT-3, SHUT-5
    struct Alive(#[expect(dead_code, reason = "counts by being there")] Arc<()>);
    let alive = Arc::new(());
    let counted = Arc::clone(&alive);
    let app = text(&Text::default()).route(1, move |tasks: TaskTracker, token: ShutdownToken| {
        let [obedient, deaf] = [(); 2].map(|()| Alive(Arc::clone(&counted)));
        tasks.spawn(async move {
            let _alive = obedient;
            token.triggered().await;
        });
        tasks.spawn(async move {
            let _alive = deaf;
            std::future::pending::<()>().await;
        });
    });
    let serving = Serving::new(app.config(config(|c| c.timeouts.close = secs(2))));
    let mut peer = serving.connect(100);
    peer.send(&wire("1"));
    serving.simulation.run();
    peer.finish();
    serving.simulation.run();
    // Neither ends with its connection. One more is held by the handler.
    assert_eq!(
        (serving.handle.connections(), Arc::strong_count(&alive)),
        (0, 4)
    );
    serving.handle.shutdown();
    serving.simulation.run();
    assert_eq!(Arc::strong_count(&alive), 3);
    serving
        .simulation
        .advance(secs(2) - Duration::from_nanos(1));
    assert!(!serving.served.is_done());
    serving.simulation.advance(Duration::from_nanos(1));
    assert_eq!(serving.report(), (0, 0, 0));
    assert_eq!(Arc::strong_count(&alive), 1, "the app is gone, too");
}

#[test]
fn an_abort_waits_for_nobody_whether_or_not_a_drain_came_before() {
    // rule: SHUT-1, SHUT-4
    for drains in [false, true] {
        async fn deaf(tasks: TaskTracker) -> Line {
            tasks.spawn(std::future::pending());
            std::future::pending().await
        }
        let serving = Serving::new(text(&Text::default()).route(1, deaf));
        let mut peers = [serving.connect(100), serving.connect(100)];
        for peer in &mut peers {
            peer.send(&wire("1"));
        }
        serving.simulation.run();
        if drains {
            serving.handle.shutdown();
            serving.simulation.run();
            assert!(!serving.served.is_done());
        }
        serving.handle.abort();
        serving.handle.shutdown();
        serving.simulation.run();
        assert_eq!(serving.report(), (0, 2, 0));
    }
}

#[test]
fn connections_that_ended_before_are_not_in_the_report() {
    // rule: SHUT-4
    let serving = Serving::new(text(&Text::default()).route(1, slow));
    let [mut early, mut late] = [serving.connect(100), serving.connect(100)];
    early.finish();
    serving.simulation.run();
    assert_eq!(serving.handle.connections(), 1);
    serving.handle.shutdown();
    serving.simulation.run();
    late.finish();
    serving.simulation.run();
    assert_eq!(serving.report(), (1, 0, 0));
}

#[test]
fn a_task_that_is_started_behind_an_abort_does_not_begin() {
    // rule: SHUT-3, SHUT-5
    let simulation = Simulation::new();
    let tasks = simulation.environment().tasks;
    tasks.abort();
    tasks.spawn(async { unreachable!("it was dropped") });
    assert_eq!(tasks.len(), 1);
    simulation.run();
    assert!(tasks.is_empty());
}
