//! Pushes over sockets: their order, and what becomes of them at the end.

use std::io;

use wireframe::{Envelope, Priority, PushError, PushHandle, Response, TryPushError, WireframeApp};
use wireframe_tests::{
    Gauge, Raw, ended, handing_out, narrow, on_each_runtime, on_many_threads, single, soon, start,
};

/// The id of everything that is pushed here.
const NOTICE: u32 = 9;

fn numbered(n: u32) -> Envelope {
    Envelope::new(NOTICE, n.to_be_bytes().to_vec())
}

fn number(frame: &Envelope) -> u32 {
    u32::from_be_bytes(frame.payload[..].try_into().expect("four bytes"))
}

#[test]
fn ten_thousand_pushes_arrive_in_order() {
    // rule: PUSH-2
    // rule: SEL-2
    on_each_runtime(|| async {
        const PUSHES: u32 = 10_000;
        let (app, mut handles) = handing_out(WireframeApp::new());
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        let push = handles.next().await;
        let producer = tokio::spawn(async move {
            for n in 0..PUSHES {
                push.push_low_priority(numbered(n)).await?;
            }
            Ok::<_, PushError<Envelope>>(())
        });
        for n in 0..PUSHES {
            let frame = peer.next_envelope().await.expect("all of them");
            assert_eq!((frame.id, number(&frame)), (NOTICE, n));
        }
        producer.await.expect("no panic").expect("all were taken");
        drop(peer);
        server.end().await;
    });
}

#[test]
fn four_producers_each_keep_their_own_order() {
    // rule: PUSH-2
    // rule: PUSH-8
    // rule: SEL-2
    const EACH: u32 = 2_500;
    on_many_threads(async {
        let (app, mut handles) = handing_out(WireframeApp::new());
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        let push = handles.next().await;
        let mut producers = tokio::task::JoinSet::new();
        for producer in 0..4u32 {
            let push = push.clone();
            let priority = Priority::ALL[producer as usize % 2];
            producers.spawn(async move {
                for n in 0..EACH {
                    let frame = Envelope::new(producer, n.to_be_bytes().to_vec());
                    push.push(priority, frame).await.expect("the peer is there");
                }
            });
        }
        let mut next = [0; 4];
        for _ in 0..4 * EACH {
            let frame = peer.next_envelope().await.expect("all of them");
            let next = &mut next[frame.id as usize];
            assert_eq!(number(&frame), *next, "producer {}", frame.id);
            *next += 1;
        }
        assert_eq!(next, [EACH; 4]);
        soon("all producers end", producers.join_all()).await;
        drop(peer);
        server.end().await;
    });
}

#[test]
fn what_was_pushed_before_the_driver_runs_leaves_high_before_low() {
    // rule: SEL-1
    on_each_runtime(|| async {
        let mut lone = single(WireframeApp::new()).await;
        let push = lone.driver.push_handle();
        for n in 0..5 {
            push.try_push(Priority::Low, numbered(100 + n))
                .expect("room");
            push.try_push(Priority::High, numbered(n)).expect("room");
        }
        let driver = tokio::spawn(lone.driver);
        for n in [0, 1, 2, 3, 4, 100, 101, 102, 103, 104] {
            let frame = lone.peer.next_envelope().await.expect("all of them");
            assert_eq!(number(&frame), n);
        }
        drop(lone.peer);
        ended(driver).await;
    });
}

#[test]
fn what_a_handler_pushes_leaves_before_its_answer() {
    // rule: SEL-1
    on_each_runtime(|| async {
        async fn push_then_answer(push: PushHandle) -> &'static str {
            for n in 0..10 {
                push.push_low_priority(numbered(n)).await.expect("room");
            }
            "answer"
        }
        let server = start(WireframeApp::new().route(1, push_then_answer)).await;
        let mut peer = Raw::connect(server.address).await;
        for _ in 0..10 {
            peer.send_envelope(&Envelope::new(1, "")).await;
            for n in 0..10 {
                let frame = peer.next_envelope().await.expect("all of them");
                assert_eq!((frame.id, number(&frame)), (NOTICE, n));
            }
            let answer = peer.next_envelope().await.expect("an answer");
            assert_eq!(answer.payload, "answer");
        }
        drop(peer);
        server.end().await;
    });
}

#[test]
fn what_a_stream_pushes_leaves_before_what_it_yields_next() {
    // rule: SEL-1
    on_each_runtime(|| async {
        const FRAMES: u32 = 100;
        async fn push_and_yield(push: PushHandle) -> Response {
            Response::frames(async_stream::stream! {
                for n in 0..FRAMES {
                    push.push_low_priority(numbered(n)).await.expect("the peer is there");
                    yield Envelope::new(1, n.to_be_bytes().to_vec());
                }
            })
        }
        let server = start(WireframeApp::new().route(1, push_and_yield)).await;
        let mut peer = Raw::connect(server.address).await;
        peer.send_envelope(&Envelope::new(1, "")).await;
        let (mut pushed, mut yielded) = (0, 0);
        while yielded < FRAMES {
            let frame = peer.next_envelope().await.expect("all of them");
            let next = match frame.id {
                NOTICE => &mut pushed,
                _ => &mut yielded,
            };
            assert_eq!(number(&frame), *next);
            *next += 1;
            assert!(
                yielded <= pushed,
                "frame {yielded} went before the push that preceded it"
            );
        }
        drop(peer);
        server.end().await;
    });
}

#[test]
fn dropping_every_handle_leaves_the_connection_open() {
    // rule: PUSH-7
    on_each_runtime(|| async {
        let echo = |frame: bytes::Bytes| async { frame };
        let (app, mut handles) = handing_out(WireframeApp::new().route(1, echo));
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        drop(handles.next().await);
        let request = Envelope::new(1, "still there").with_correlation_id(1);
        peer.send_envelope(&request).await;
        assert_eq!(peer.next_envelope().await, Some(request));
        drop(peer);
        server.end().await;
    });
}

#[test]
fn a_push_that_waits_gets_its_frame_back_when_the_connection_ends() {
    // rule: PUSH-3
    // rule: PUSH-6
    // rule: PUSH-9
    on_each_runtime(|| async {
        let mut lone = narrow(WireframeApp::new()).await;
        let push = lone.driver.push_handle();
        let driver = tokio::spawn(lone.driver);
        let large = |n: u8| Envelope::new(NOTICE, vec![n; 32 * 1024]);
        let waiting = {
            let push = push.clone();
            tokio::spawn(async move {
                loop {
                    if let Err(refused) = push.push_low_priority(large(1)).await {
                        break refused;
                    }
                }
            })
        };
        Gauge::blocked(&mut lone.gauge).await;
        let refused = loop {
            match push.try_push(Priority::Low, large(2)) {
                Ok(()) => tokio::task::yield_now().await,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, TryPushError::Full(large(2)));
        push.connection().abort();

        let refused = soon("the push is refused", waiting)
            .await
            .expect("no panic");
        assert_eq!(refused, PushError::Closed(large(1)));
        assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::BrokenPipe);
        ended(driver).await;
        let refused = push.try_push(Priority::High, large(3));
        assert_eq!(refused, Err(TryPushError::Closed(large(3))));

        let stats = push.stats();
        assert!(stats.lost_closed > 0, "{stats:?}");
        assert_eq!(stats.queued, 0, "{stats:?}");
        assert_eq!(stats.accepted, stats.sent + stats.lost_closed, "{stats:?}");
        drop(lone.peer);
    });
}
