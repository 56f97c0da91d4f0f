//! Servers and connections that are told to end.

use std::{future::poll_fn, io, net::TcpStream, pin::pin, task::Poll, time::Duration};

use wireframe::{
    Config, ConnectionHandle, PushHandle, State, TaskTracker, WireframeApp, rt::Runtime,
};
use wireframe_tests::{
    ANSWER, GOODBYE, InOrderRecords, Lines, NOTICE, Outsider, Record, Serving, spawn,
};

use crate::support::{Count, Gate, never, patient, some};

scenarios! {
    a_drain_finishes_what_is_in_flight_and_sends_what_was_accepted
    a_drain_ends_at_its_deadline
    an_abort_ends_a_connection_at_once
    a_server_that_ends_takes_no_more_connections_and_leaves_no_task
}

async fn a_drain_finishes_what_is_in_flight_and_sends_what_was_accepted<R: Runtime>() {
    // rule: SHUT-2
    const IDLE: usize = 20;
    async fn push_late(
        push: PushHandle<Record>,
        State(gate): State<Gate>,
        State(begun): State<Count>,
    ) -> &'static str {
        begun.add();
        gate.pass().await;
        for n in 0..10u8 {
            let pushed = push.push_low_priority(Record::new(NOTICE, vec![n])).await;
            pushed.expect("a request is in flight");
        }
        "in flight"
    }
    let (gate, begun) = (Gate::default(), Count::default());
    let app = WireframeApp::with_protocol(InOrderRecords::default())
        .config(patient())
        .on_connect(async |State(begun): State<Count>| {
            begun.add();
        })
        .route(1, push_late)
        .state(gate.clone())
        .state(begun.clone());
    let server = Serving::start::<R, _>(app).await;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(Outsider::connect(server.address).await);
    }
    let peer = Outsider::connect(server.address).await;
    begun.reaches(IDLE + 1).await;
    peer.send_record(&Record::new(1, "")).await;
    begun.reaches(IDLE + 2).await;
    server.handle.shutdown();
    let goodbye = Record::new(GOODBYE, "drained");
    for peer in idle {
        assert_eq!(peer.next_record().await.as_ref(), Some(&goodbye));
        peer.expect_end().await;
    }
    gate.open();
    peer.send_record(&Record::new(1, "too late")).await;
    let mut heard = Vec::new();
    while let Some(record) = peer.next_record().await {
        heard.push(record);
    }
    drop(peer);
    server.ended().await;
    let mut expected: Vec<_> = (0..10u8).map(|n| Record::new(NOTICE, vec![n])).collect();
    expected.push(Record::new(1 | ANSWER, "in flight"));
    expected.push(goodbye);
    assert_eq!(heard, expected);
}

async fn a_drain_ends_at_its_deadline<R: Runtime>() {
    // rule: SHUT-3
    let limit = Duration::from_millis(60);
    let mut config = Config::default();
    config.timeouts.close = limit;
    let (protocol, running) = (Lines::new(), Count::default());
    let notes = protocol.notes.clone();
    let app = WireframeApp::with_protocol(protocol)
        .config(config)
        .route(1, never)
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    peer.send_line("1").await;
    running.reaches(1).await;
    let clock = R::environment().clock;
    let began = clock.now();
    server.end().await;
    assert!(clock.now() >= began + limit, "too early");
    assert_eq!(running.now(), 0, "a handler outlives the server");
    let ended = notes.find("disconnect").await;
    assert_eq!(ended, "disconnect drain deadline passed");
}

async fn an_abort_ends_a_connection_at_once<R: Runtime>() {
    // rule: PUSH-11, SHUT-1
    let mut config = patient();
    config.limits.max_in_flight = Some(some(2));
    let (protocol, running) = (Lines::new(), Count::default());
    let notes = protocol.notes.clone();
    let app = WireframeApp::with_protocol(protocol)
        .route(1, never)
        .route(2, async |connection: ConnectionHandle| connection.abort())
        .config(config)
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    assert_eq!(peer.next_line().await.as_deref(), Some("hello"));
    peer.send_line("1").await;
    running.reaches(1).await;
    peer.send_line("2").await;
    peer.expect_end().await;
    assert_eq!(notes.find("disconnect").await, "disconnect aborted");
    running.reaches(0).await;
    server.end().await;
}

async fn a_server_that_ends_takes_no_more_connections_and_leaves_no_task<R: Runtime>() {
    // rule: SHUT-2, SHUT-5
    async fn beside(tasks: TaskTracker, State(gate): State<Gate>, State(running): State<Count>) {
        let entered = running.enter();
        tasks.spawn(async move {
            let _entered = entered;
            gate.pass().await;
        });
    }
    let (gate, running) = (Gate::default(), Count::default());
    let app = WireframeApp::new()
        .on_connect(beside)
        .state(gate.clone())
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let address = server.address;
    let client = server.client::<R>().await;
    running.reaches(1).await;
    drop(client);
    server.handle.shutdown();
    let mut ending = pin!(server.ended());
    let refused = |attempt: io::Result<_>| {
        attempt.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    // Until the listener is gone the backlog takes connections, and its end resets them.
    while !refused(TcpStream::connect(address)) {
        spawn::<R, _>(async {}).join().await;
    }
    let goes_on = poll_fn(|cx| Poll::Ready(ending.as_mut().poll(cx).is_pending())).await;
    assert!(goes_on, "a task outlives the server");
    gate.open();
    ending.await;
    assert_eq!(running.now(), 0);
}
