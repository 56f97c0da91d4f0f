//! What is ready together leaves together.

use std::num::NonZeroUsize;

use bytes::Bytes;
use tokio::sync::watch;
use wireframe::{Config, Envelope, State, WireframeApp};
use wireframe_tests::{ended, envelope, on_each_runtime, on_one_thread, single, soon};

const REQUESTS: usize = 100;

/// Pipelined requests, as they stand on the wire.
fn requests() -> Vec<u8> {
    (0..REQUESTS)
        .flat_map(|n| {
            let frame = Envelope::new(1, vec![b'x'; 20]).with_correlation_id(n as u64);
            let body = envelope(&frame);
            let length = u32::try_from(body.len()).expect("short").to_be_bytes();
            [&length[..], &body].concat()
        })
        .collect()
}

#[test]
fn a_hundred_replies_that_are_ready_together_leave_in_at_most_two_writes() {
    on_each_runtime(|| async {
        let echo = |body: Bytes| async { body };
        let mut lone = single(WireframeApp::new().route(1, echo)).await;
        lone.peer.send(&requests()).await;
        let driver = tokio::spawn(lone.driver);
        for n in 0..REQUESTS {
            let reply = lone.peer.next_envelope().await.expect("all of them");
            assert_eq!(reply.correlation_id, Some(n as u64));
        }
        drop(lone.peer);
        ended(driver).await;
        let writes = lone.gauge.borrow().writes;
        assert!((1..=2).contains(&writes), "{writes} writes");
    });
}

#[test]
fn a_hundred_handlers_that_are_woken_together_answer_in_at_most_two_writes() {
    on_one_thread(async {
        type Gate = (watch::Sender<usize>, watch::Receiver<bool>);
        async fn wait(body: Bytes, State((begun, mut open)): State<Gate>) -> Bytes {
            begun.send_modify(|begun| *begun += 1);
            open.wait_for(|open| *open)
                .await
                .expect("the gate is there");
            body
        }
        let (begun, mut all_begun) = watch::channel(0);
        let (gate, open) = watch::channel(false);
        let mut config = Config::default();
        config.limits.max_in_flight = NonZeroUsize::new(REQUESTS);
        let app = WireframeApp::new()
            .route(1, wait)
            .state((begun, open))
            .config(config);
        let mut lone = single(app).await;
        lone.peer.send(&requests()).await;
        let driver = tokio::spawn(lone.driver);
        soon("all begin", all_begun.wait_for(|begun| *begun == REQUESTS))
            .await
            .expect("they run");
        assert_eq!(lone.gauge.borrow().writes, 0);
        gate.send_replace(true);
        for _ in 0..REQUESTS {
            lone.peer.next_envelope().await.expect("all of them");
        }
        drop(lone.peer);
        ended(driver).await;
        let writes = lone.gauge.borrow().writes;
        assert!((1..=2).contains(&writes), "{writes} writes");
    });
}

#[test]
fn a_burst_of_pushes_is_not_cut_up() {
    // rule: PUSH-10
    on_one_thread(async {
        // More than a task of tokio may do before it yields, fewer than fill the queue.
        const BURST: usize = 250;
        let mut lone = single(WireframeApp::new()).await;
        let push = lone.driver.push_handle();
        let driver = tokio::spawn(lone.driver);
        // The driver has run, and waits.
        push.push_low_priority(Envelope::new(9, "first"))
            .await
            .expect("room");
        lone.peer.next_envelope().await.expect("the first");
        let before = lone.gauge.borrow().writes;
        for _ in 0..BURST {
            push.push_low_priority(Envelope::new(9, "burst"))
                .await
                .expect("room");
        }
        assert_eq!(
            lone.gauge.borrow().writes,
            before,
            "the producer was interrupted"
        );
        for _ in 0..BURST {
            lone.peer.next_envelope().await.expect("all of them");
        }
        assert_eq!(lone.gauge.borrow().writes, before + 1);
        drop(lone.peer);
        ended(driver).await;
    });
}
