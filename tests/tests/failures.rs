//! Ends that come as a surprise: a handler that panics, a call that is dropped, a server that dies.

use bytes::Bytes;
use tokio::{net::TcpListener, sync::watch};
use wireframe::{
    CallError, CloseReason, Envelope, Priority, PushHandle, PushPolicy, State, WireframeApp,
};
use wireframe_tests::{Raw, on_each_runtime, soon, start};
use wireframe_tokio::connect;

type Gate = watch::Receiver<bool>;

async fn echo(body: Bytes) -> Bytes {
    body
}

/// Answers once the gate is open.
async fn wait(body: Bytes, State(mut gate): State<Gate>) -> Bytes {
    let _open = gate.wait_for(|open| *open).await;
    body
}

#[test]
fn a_handler_that_panics_takes_down_only_its_connection() {
    // rule: RESP-8
    on_each_runtime(|| async {
        async fn panics(State(mut gate): State<Gate>) -> &'static str {
            let _open = gate.wait_for(|open| *open).await;
            panic!("the test wants it so")
        }
        let (open, gate) = watch::channel(false);
        let app = WireframeApp::new()
            .state(gate)
            .route(1, echo)
            .route(2, panics)
            .route(3, wait);
        let server = start(app).await;
        let unlucky = connect(server.address).await.expect("it listens");
        let others = [
            connect(server.address).await.expect("it listens"),
            connect(server.address).await.expect("it listens"),
        ];
        let fatal = tokio::spawn({
            let unlucky = unlucky.clone();
            async move { unlucky.call(Envelope::new(2, "")).await }
        });
        // In flight on the same connection, and on others.
        let beside = tokio::spawn({
            let unlucky = unlucky.clone();
            async move { unlucky.call(Envelope::new(3, "")).await }
        });
        let elsewhere = others.clone().map(|client| {
            tokio::spawn(async move { client.call(Envelope::new(3, "elsewhere")).await })
        });
        for client in [&unlucky].into_iter().chain(&others) {
            let reply = soon("an echo", client.call(Envelope::new(1, "here"))).await;
            assert_eq!(reply.expect("all serve").payload, "here");
        }
        open.send(true).expect("handlers wait for it");

        for call in [fatal, beside] {
            let ended = soon("the connection ends", call).await.expect("no panic");
            // The one beside may have been answered first.
            if let Err(error) = ended {
                assert_eq!(error, CallError::Closed(CloseReason::PeerClosed));
            }
        }
        for call in elsewhere {
            let reply = soon("a reply", call).await.expect("no panic");
            assert_eq!(reply.expect("another connection").payload, "elsewhere");
        }
        for client in &others {
            let reply = soon("an echo", client.call(Envelope::new(1, "still here"))).await;
            assert_eq!(reply.expect("another connection").payload, "still here");
        }
        let newcomer = connect(server.address).await.expect("it still listens");
        let reply = soon("an echo", newcomer.call(Envelope::new(1, "new here"))).await;
        assert_eq!(reply.expect("a new connection").payload, "new here");
        drop((unlucky, others, newcomer));
        server.end().await;
    });
}

#[test]
fn a_dropped_call_between_pushes_costs_neither_the_other_call_nor_a_push() {
    // rule: CLI-2
    // rule: CLI-4
    on_each_runtime(|| async {
        const PUSHES: u8 = 20;
        async fn push_around(body: Bytes, push: PushHandle, State(gate): State<Gate>) -> Bytes {
            for n in 0..PUSHES / 2 {
                let pushed = push.push_low_priority(Envelope::new(9, vec![body[0], n]));
                pushed.await.expect("the peer is there");
            }
            wait(body, State(gate)).await
        }
        let (open, gate) = watch::channel(false);
        let server = start(WireframeApp::new().state(gate).route(1, push_around)).await;
        let client = connect(server.address).await.expect("it listens");
        let mut pushes = client.pushes();
        let [first, second] = [b'a', b'b'].map(|name| {
            let client = client.clone();
            tokio::spawn(async move { client.call(Envelope::new(1, vec![name])).await })
        });
        // Both are in flight once both have pushed.
        let mut came = Vec::new();
        for _ in 0..PUSHES {
            let push = soon("a push", pushes.next()).await.expect("it is up");
            came.push(push.expect("none is dropped").payload);
        }
        first.abort();
        assert!(first.await.is_err_and(|error| error.is_cancelled()));
        open.send(true).expect("handlers wait for it");
        let reply = soon("the reply", second).await.expect("no panic");
        assert_eq!(reply.expect("an answer").payload, "b");
        came.sort_unstable();
        let expected: Vec<_> = [b'a', b'b']
            .into_iter()
            .flat_map(|name| (0..PUSHES / 2).map(move |n| vec![name, n]))
            .collect();
        assert_eq!(came, expected);
        drop((client, pushes));
        server.end().await;
    });
}

#[test]
fn all_calls_fail_at_once_when_the_server_dies() {
    // rule: CLI-3
    on_each_runtime(|| async {
        const CALLS: usize = 100;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a bound socket");
        let client = connect(address).await.expect("it listens");
        let (stream, _) = soon("a client connects", listener.accept())
            .await
            .expect("it does");
        // Closing it resets the connection, as the death of its process does.
        stream.set_zero_linger().expect("a TCP socket");
        let mut server = Raw::over(stream);
        let calls: Vec<_> = (0..CALLS)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.call(Envelope::new(1, "anyone?")).await })
            })
            .collect();
        for _ in 0..CALLS {
            server.next_envelope().await.expect("a call");
        }
        drop(server);
        for call in calls {
            let failed = soon("a call fails", call).await.expect("no panic");
            let Err(CallError::Closed(CloseReason::Transport(why))) = failed else {
                panic!("expected the reset, got {failed:?}");
            };
            assert!(why.starts_with("read: "), "{why}");
        }
        let late = soon("a call fails", client.call(Envelope::new(1, "anyone?"))).await;
        assert!(matches!(late, Err(CallError::Closed(_))), "{late:?}");
        let push = client.push_handle();
        let pushed =
            push.push_with_policy(Priority::High, Envelope::new(1, ""), PushPolicy::DropIfFull);
        assert!(pushed.is_err_and(|error| error.into_frame().id == 1));
    });
}
