//! Clients that call, push, and serve.

use bytes::Bytes;
use tokio::sync::mpsc;
use wireframe::{
    CallError, Client, Config, Envelope, Inbound, Lagged, PushHandle, RequestInfo, State,
    WireframeApp, proto::FairnessConfig,
};
use wireframe_tests::{
    ANSWER, CorrelatedRecords, NOTICE, Raw, Record, Running, handing_out, on_each_runtime, soon,
    start,
};
use wireframe_tokio::{connect, connect_with};

const ECHO: u32 = 1;

async fn echo(body: Bytes) -> Bytes {
    body
}

/// What frames reach an app, as they come.
type Seen = mpsc::UnboundedSender<Record>;

async fn see(Inbound(record): Inbound<Record>, State(seen): State<Seen>) {
    // Refused only if the test does not look.
    let _ = seen.send(record);
}

fn records() -> WireframeApp<CorrelatedRecords> {
    WireframeApp::with_protocol(CorrelatedRecords::default())
}

async fn next(seen: &mut mpsc::UnboundedReceiver<Record>) -> Record {
    soon("a frame is seen", seen.recv()).await.expect("it is")
}

async fn client_of(server: &Running) -> Client {
    let connecting = soon("a client connects", connect(server.address));
    connecting.await.expect("the server listens")
}

#[test]
fn a_thousand_calls_at_once_get_each_its_own_reply() {
    // rule: CLI-1
    on_each_runtime(|| async {
        let server = start(WireframeApp::new().route(ECHO, echo)).await;
        let client = client_of(&server).await;
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..1_000u32 {
            let client = client.clone();
            calls.spawn(async move {
                let reply = client.call(Envelope::new(ECHO, n.to_string())).await;
                assert_eq!(reply.expect("an echo").payload, n.to_string());
            });
        }
        soon("all calls return", calls.join_all()).await;
        drop(client);
        server.end().await;
    });
}

#[test]
fn a_client_pushes_and_the_servers_on_push_handler_gets_it() {
    // rule: REQ-1
    // rule: PUSH-8
    on_each_runtime(|| async {
        let (seen, mut at_server) = mpsc::unbounded_channel();
        let server = start(records().route(ECHO, echo).on_push(see).state(seen)).await;
        let client = connect_with(server.address, records()).await;
        let client = client.expect("the server listens");
        let push = client.push_handle().clone();
        for n in 0..100u8 {
            let pushed = push.push_high_priority(Record::new(NOTICE, vec![n])).await;
            pushed.expect("the server is there");
        }
        for n in 0..100u8 {
            assert_eq!(next(&mut at_server).await, Record::new(NOTICE, vec![n]));
        }
        // Pushes and calls do not disturb each other.
        let reply = client.call(Record::new(ECHO, "hello")).await;
        assert_eq!(reply.expect("an echo").text(), "hello");
        drop(client);
        server.end().await;
    });
}

#[test]
fn a_client_serves_what_the_server_asks_while_it_calls() {
    // rule: CLI-1
    // rule: PUSH-8
    on_each_runtime(|| async {
        /// Asks the client, under an id of the server's own, before it answers.
        async fn ask_back(body: Bytes, push: PushHandle<Record>, info: RequestInfo) -> Bytes {
            let id = info.correlation.expect("calls have one").0;
            let question = Record::new(ECHO, "and you?").with_correlation(1_000 + id);
            push.push_high_priority(question)
                .await
                .expect("the client is there");
            body
        }
        let (seen, mut at_server) = mpsc::unbounded_channel();
        let server = start(records().route(2, ask_back).on_push(see).state(seen)).await;
        let client = connect_with(server.address, records().route(ECHO, echo)).await;
        let client = client.expect("the server listens");
        for n in 1..=20 {
            let reply = soon("a reply", client.call(Record::new(2, "hello"))).await;
            assert_eq!(reply.expect("an answer").text(), "hello");
            let answer = Record::new(ECHO | ANSWER, "and you?").with_correlation(1_000 + n);
            assert_eq!(next(&mut at_server).await, answer);
        }
        drop(client);
        server.end().await;
    });
}

#[test]
fn what_a_server_pushes_reaches_the_clients_on_push_handler() {
    // rule: REQ-1
    on_each_runtime(|| async {
        let (app, mut handles) = handing_out(records());
        let server = start(app).await;
        let (seen, mut at_client) = mpsc::unbounded_channel();
        let client = connect_with(server.address, records().on_push(see).state(seen)).await;
        let client = client.expect("the server listens");
        let push = handles.next().await;
        for n in 0..1_000u32 {
            let pushed = push
                .push_low_priority(Record::new(NOTICE, n.to_string()))
                .await;
            pushed.expect("the client is there");
        }
        for n in 0..1_000u32 {
            assert_eq!(next(&mut at_client).await.text(), n.to_string());
        }
        drop(client);
        server.end().await;
    });
}

/// Pushes 300 numbered frames, then answers.
async fn flood(push: PushHandle) -> &'static str {
    for n in 0..300u32 {
        let pushed = push.push_low_priority(Envelope::new(9, n.to_string()));
        pushed.await.expect("the client is there");
    }
    "done"
}

#[test]
fn replies_do_not_wait_for_pushes_that_nobody_takes_and_the_oldest_are_dropped() {
    // rule: CLI-4
    on_each_runtime(|| async {
        // Else an answer may pass some of the pushes that were accepted before it.
        let mut config = Config::default();
        config.fairness = FairnessConfig::strict();
        let server = start(WireframeApp::new().route(ECHO, flood).config(config)).await;
        let client = client_of(&server).await;
        // Nobody has asked for these.
        let reply = soon("a reply", client.call(Envelope::new(ECHO, ""))).await;
        assert_eq!(reply.expect("an answer").payload, "done");

        let mut pushes = client.pushes();
        let reply = soon("a reply", client.call(Envelope::new(ECHO, ""))).await;
        assert_eq!(reply.expect("an answer").payload, "done");
        assert_eq!(pushes.next().await, Some(Err(Lagged(300 - 256))));
        for n in 44..300 {
            let push = soon("a push", pushes.next()).await;
            let push = push
                .expect("the connection is up")
                .expect("no more were dropped");
            assert_eq!(push.payload, n.to_string());
        }
        client.connection().close();
        assert_eq!(soon("the end", pushes.next()).await, None);
        drop((client, pushes));
        server.end().await;
    });
}

#[test]
fn no_other_call_gets_the_late_answer_to_one_that_was_dropped() {
    // rule: CLI-2
    on_each_runtime(|| async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("a bound socket");
        let client = connect(address).await.expect("it listens");
        let (stream, _) = soon("a client connects", listener.accept())
            .await
            .expect("it does");
        let mut server = Raw::over(stream);

        let dropped = {
            let client = client.clone();
            tokio::spawn(async move { client.call(Envelope::new(ECHO, "first")).await })
        };
        let first = server.next_envelope().await.expect("the first call");
        dropped.abort();
        assert!(dropped.await.is_err_and(|error| error.is_cancelled()));
        let call = tokio::spawn(async move { client.call(Envelope::new(ECHO, "second")).await });
        let second = server.next_envelope().await.expect("the second call");
        assert_ne!(first.correlation_id, second.correlation_id);
        server.send_envelope(&first).await;
        server.send_envelope(&second).await;
        let reply = soon("the reply", call).await.expect("no panic");
        assert_eq!(reply.expect("an answer").payload, "second");
    });
}

#[test]
fn a_call_that_cannot_be_encoded_fails_alone() {
    // rule: FRAME-6
    on_each_runtime(|| async {
        let server = start(WireframeApp::new().route(ECHO, echo)).await;
        let client = client_of(&server).await;
        let large = soon(
            "a call",
            client.call(Envelope::new(ECHO, vec![0; 1024 * 1024])),
        )
        .await;
        let Err(CallError::Unsent(why)) = large else {
            panic!("expected a refusal, got {large:?}");
        };
        assert!(why.contains("max_frame_len is 1048576, got 10485"), "{why}");
        let reply = soon("a reply", client.call(Envelope::new(ECHO, "small"))).await;
        assert_eq!(reply.expect("an echo").payload, "small");
        drop(client);
        server.end().await;
    });
}
