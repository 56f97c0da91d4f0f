//! How servers and connections end, and what ends with them.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use wireframe::{
    CallError, CloseReason, Config, ConnectionHandle, Envelope, PushError, PushHandle, State,
    TaskTracker, TryPushError, WireframeApp,
};
use wireframe_tests::{
    ANSWER, GOODBYE, InOrderRecords, NOTICE, Raw, Record, ended, handing_out, on_each_runtime,
    single, soon, start,
};
use wireframe_tokio::connect;

/// Something that handlers wait for.
type Gate = watch::Receiver<bool>;
/// How many of something there are.
type Count = watch::Sender<usize>;

/// Counts itself while it lives.
struct Counted(Count);

impl Counted {
    fn new(count: &Count) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn reaches(count: &Count, n: usize) {
    let mut counted = count.subscribe();
    soon("all have begun", counted.wait_for(|count| *count == n))
        .await
        .expect("we hold it");
}

async fn wait(body: Bytes, State(mut gate): State<Gate>, State(running): State<Count>) -> Bytes {
    let _running = Counted::new(&running);
    gate.wait_for(|open| *open)
        .await
        .expect("the gate is there");
    body
}

async fn never(State(running): State<Count>) {
    let _running = Counted::new(&running);
    std::future::pending::<()>().await;
}

#[test]
fn a_shut_down_server_finishes_what_is_in_flight_and_sends_what_was_accepted() {
    // rule: SHUT-2
    on_each_runtime(|| async {
        let (gate, open) = watch::channel(false);
        let running = Count::default();
        let app = WireframeApp::with_protocol(InOrderRecords::default())
            .route(1, wait)
            .state(open)
            .state(running.clone());
        let (app, mut handles) = handing_out(app);
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        let push = handles.next().await;
        peer.send_record(&Record::new(1, "in flight")).await;
        reaches(&running, 1).await;
        peer.send_record(&Record::new(1, "held back")).await;

        // Accepted in the same breath as the end is asked for.
        for n in 0..100u8 {
            let accepted = push.push_low_priority(Record::new(NOTICE, vec![n])).await;
            accepted.expect("the connection serves");
        }
        server.handle.shutdown();
        for n in 0..100u8 {
            let pushed = peer.next_record().await;
            assert_eq!(pushed, Some(Record::new(NOTICE, vec![n])));
        }
        peer.send_record(&Record::new(1, "too late")).await;
        gate.send_replace(true);
        let answer = Record::new(1 | ANSWER, "in flight");
        assert_eq!(peer.next_record().await, Some(answer));
        assert_eq!(
            peer.next_record().await,
            Some(Record::new(GOODBYE, "drained"))
        );
        peer.expect_end().await;
        let refused = push.try_push(wireframe::Priority::High, Record::new(NOTICE, ""));
        assert!(
            matches!(refused, Err(TryPushError::Closed(_))),
            "{refused:?}"
        );
        drop(peer);
        server.ended().await;
    });
}

#[test]
fn a_shut_down_server_takes_no_more_connections() {
    // rule: SHUT-2
    on_each_runtime(|| async {
        let server = start(WireframeApp::new()).await;
        let address = server.address;
        server.end().await;
        let error = soon("connecting", TcpStream::connect(address)).await;
        let error = error.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn every_task_has_ended_when_the_server_has() {
    // rule: SHUT-5
    on_each_runtime(|| async {
        async fn produce(push: PushHandle, tasks: TaskTracker, State(running): State<Count>) {
            let counted = Counted::new(&running);
            tasks.spawn(async move {
                let _counted = counted;
                while push
                    .push_low_priority(Envelope::new(9, "tick"))
                    .await
                    .is_ok()
                {}
                // Some more work after the end.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            });
        }
        async fn beside(
            tasks: TaskTracker,
            State(running): State<Count>,
            State(mut gate): State<Gate>,
        ) {
            let counted = Counted::new(&running);
            tasks.spawn(async move {
                let _counted = counted;
                gate.wait_for(|open| *open)
                    .await
                    .expect("the gate is there");
            });
        }
        let (gate, open) = watch::channel(false);
        let running = Count::default();
        let app = WireframeApp::new()
            .on_connect(produce)
            .route(1, beside)
            .state(open)
            .state(running.clone());
        let server = start(app).await;
        let mut peers = Vec::new();
        for n in 1..=10 {
            let mut peer = Raw::connect(server.address).await;
            peer.send_envelope(&Envelope::new(1, "")).await;
            peers.push(peer);
            reaches(&running, 2 * n).await;
        }
        drop(peers);
        server.handle.shutdown();
        // The producers end with their connections, the others with the gate.
        reaches(&running, 10).await;
        assert!(!server.served.is_finished(), "tasks outlive the server");
        gate.send_replace(true);
        server.ended().await;
        assert_eq!(*running.borrow(), 0, "tasks outlive the server");
    });
}

#[test]
fn a_drain_ends_at_its_deadline_in_any_case() {
    // rule: SHUT-3
    on_each_runtime(|| async {
        let running = Count::default();
        let mut config = Config::default();
        config.timeouts.close = Duration::from_millis(50);
        let app = WireframeApp::new()
            .route(1, never)
            .state(running.clone())
            .config(config);
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        peer.send_envelope(&Envelope::new(1, "")).await;
        reaches(&running, 1).await;
        server.end().await;
        assert_eq!(*running.borrow(), 0, "a handler outlives the server");
        peer.expect_broken().await;
    });
}

#[test]
fn a_connection_that_is_closed_finishes_its_request_and_no_other_notices() {
    // rule: PUSH-11
    // rule: SHUT-2
    on_each_runtime(|| async {
        async fn close(connection: ConnectionHandle) -> String {
            connection.close();
            connection.close();
            connection.id().to_string()
        }
        let app = WireframeApp::with_protocol(InOrderRecords::default()).route(1, close);
        let (app, mut handles) = handing_out(app);
        let server = start(app).await;
        let mut other = Raw::connect(server.address).await;
        handles.next().await;
        let mut peer = Raw::connect(server.address).await;
        let connection = handles.next().await.connection();
        peer.send_record(&Record::new(1, "")).await;
        let answer = Record::new(1 | ANSWER, connection.id().to_string());
        assert_eq!(peer.next_record().await, Some(answer));
        assert_eq!(
            peer.next_record().await,
            Some(Record::new(GOODBYE, "drained"))
        );
        peer.expect_end().await;
        drop(peer);
        while server.handle.connections() > 1 {
            tokio::task::yield_now().await;
        }
        connection.close();
        connection.abort();
        other.send_record(&Record::new(77, "")).await;
        other.next_record().await.expect("an answer");
        drop(other);
        server.end().await;
    });
}

#[test]
fn a_connection_that_is_aborted_ends_at_once_with_its_handlers() {
    // rule: PUSH-11
    on_each_runtime(|| async {
        let running = Count::default();
        let app = WireframeApp::with_protocol(InOrderRecords::default())
            .route(1, never)
            .state(running.clone());
        let mut lone = single(app).await;
        let push = lone.driver.push_handle();
        let driver = tokio::spawn(lone.driver);
        lone.peer.send_record(&Record::new(1, "")).await;
        reaches(&running, 1).await;
        push.connection().abort();
        assert_eq!(ended(driver).await, CloseReason::Aborted);
        assert_eq!(*running.borrow(), 0, "a handler outlives its connection");
        lone.peer.expect_broken().await;
        push.connection().abort();
        let refused = push.push_high_priority(Record::new(NOTICE, "late")).await;
        assert_eq!(refused, Err(PushError::Closed(Record::new(NOTICE, "late"))));
    });
}

/// Makes a hundred calls; once `all_are_sent` has come, every one of them must fail.
async fn all_calls_fail(client: wireframe::Client, all_are_sent: impl Future) -> CloseReason {
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        calls.spawn(async move { client.call(Envelope::new(1, "anyone?")).await });
    }
    all_are_sent.await;
    let mut reasons = soon("all calls fail", calls.join_all()).await.into_iter();
    let first = reasons.next().expect("a hundred");
    assert!(reasons.all(|reason| reason == first), "reasons differ");
    match first {
        Err(CallError::Closed(reason)) => {
            let late = soon("a late call fails", client.call(Envelope::new(1, "still?"))).await;
            assert_eq!(late, Err(CallError::Closed(reason.clone())));
            reason
        }
        other => panic!("expected the end, got {other:?}"),
    }
}

#[test]
fn all_calls_fail_when_the_server_dies() {
    // rule: CLI-3
    on_each_runtime(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a bound socket");
        let client = connect(address).await.expect("it listens");
        let (stream, _) = soon("a client connects", listener.accept())
            .await
            .expect("it does");
        let mut server = Raw::over(stream);
        let reason = all_calls_fail(client, async {
            for _ in 0..100 {
                server.next_envelope().await.expect("a call");
            }
            drop(server);
        })
        .await;
        assert_eq!(reason, CloseReason::PeerClosed);
    });
}

#[test]
fn all_calls_fail_when_the_server_aborts_their_connection() {
    // rule: CLI-3
    on_each_runtime(|| async {
        let running = Count::default();
        let app = WireframeApp::new().route(1, never).state(running.clone());
        let (app, mut handles) = handing_out(app);
        let server = start(app).await;
        let client = connect(server.address).await.expect("it listens");
        let push = handles.next().await;
        all_calls_fail(client, async {
            // The default `max_in_flight`; the others are held back.
            reaches(&running, 64).await;
            push.connection().abort();
        })
        .await;
        server.end().await;
        assert_eq!(*running.borrow(), 0, "handlers outlive their connection");
    });
}

#[test]
fn a_call_in_flight_is_answered_by_a_server_that_drains_and_later_ones_fail() {
    // rule: SHUT-2
    // rule: CLI-3
    on_each_runtime(|| async {
        let (gate, open) = watch::channel(false);
        let running = Count::default();
        let app = WireframeApp::new()
            .route(1, wait)
            .state(open)
            .state(running.clone());
        let server = start(app).await;
        let client = connect(server.address).await.expect("it listens");
        let call = {
            let client = client.clone();
            tokio::spawn(async move { client.call(Envelope::new(1, "in flight")).await })
        };
        reaches(&running, 1).await;
        server.handle.shutdown();
        gate.send_replace(true);
        let reply = soon("the reply", call).await.expect("no panic");
        assert_eq!(reply.expect("an answer").payload, "in flight");
        server.ended().await;
        let late = soon("a late call", client.call(Envelope::new(1, ""))).await;
        assert!(matches!(late, Err(CallError::Closed(_))), "{late:?}");
    });
}
