//! What a server says of its connections while they go on.

use wireframe::{
    Envelope, Priority, PushCapacity, PushHandle, PushLimits, WireframeApp, rt::Runtime,
    server::ConnectionSnapshot,
};
use wireframe_tests::{Outsider, Serving, aside};

use crate::support::{Count, Gate, patient, some, wait};

scenarios! {
    a_snapshot_shows_what_each_connection_is_at
}

/// More than the system keeps for a peer that does not read.
const MUCH: usize = 64 * 1024 * 1024;

/// Pushes as much as there is room for.
async fn flood(push: PushHandle) {
    let part = Envelope::new(9, vec![0; MUCH / 128]);
    while push.try_push(Priority::High, part.clone()).is_ok() {}
}

async fn a_snapshot_shows_what_each_connection_is_at<R: Runtime>() {
    // rule: OBS-4
    let (gate, running) = (Gate::default(), Count::default());
    let capacity = PushCapacity {
        bytes: some(MUCH),
        ..PushCapacity::new()
    };
    let app = WireframeApp::new()
        .config(patient())
        .push_limits(PushLimits::both(capacity))
        .route(1, wait)
        .route(2, flood)
        .state(gate.clone())
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let asking = Outsider::connect(server.address).await;
    asking.send_envelope(&Envelope::new(1, "wait")).await;
    running.reaches(1).await;
    let told = find(&server, |now| now.requests == 1).await;
    let id = told.id;
    // A length of four bytes, an id, no correlation, and the payload with its length.
    assert_eq!((told.bytes_received, told.bytes_sent), (11, 0));
    assert_eq!(told.stalled, None);
    assert!(told.peer.expect("TCP has addresses").ip().is_loopback());

    let silent = Outsider::connect_narrow(server.address).await;
    silent.send_envelope(&Envelope::new(2, "")).await;
    let told = find(&server, |now| now.id != id && now.stalled.is_some()).await;
    assert!(told.queued_high > 0 && told.queued_low == 0, "{told:?}");
    assert!(told.bytes_sent < MUCH as u64, "{told:?}");
    let later = find(&server, |now| now.stalled > told.stalled).await;
    assert!(later.age > told.age, "{told:?}, then {later:?}");

    gate.open();
    let answer = asking.next_envelope().await.expect("an answer");
    assert_eq!(answer.payload, "wait");
    let told = find(&server, |now| now.id == id && now.requests == 0).await;
    assert_eq!((told.bytes_received, told.bytes_sent), (11, 11));
    silent.reset();
    asking.end_output();
    asking.expect_end().await;
    server.end().await;
}

/// Looks until a connection is so.
async fn find(server: &Serving, is_so: impl Fn(&ConnectionSnapshot) -> bool) -> ConnectionSnapshot {
    loop {
        let connections = server.handle.snapshot().connections;
        if let Some(found) = connections.into_iter().find(|now| is_so(now)) {
            return found;
        }
        // Lets others run, on whichever runtime.
        aside(std::thread::yield_now).await;
    }
}
