//! A peer that does not read stops what is produced for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use wireframe::{Envelope, Priority, Response, State, TryPushError, WireframeApp};
use wireframe_tests::{Gauge, ended, narrow, on_each_runtime};

const STREAM: u32 = 1;
const PUSH: u32 = 2;
const PROBE: u32 = 3;

/// 32 MiB of either.
const FRAME: usize = 64 * 1024;
const FRAMES: usize = 512;
const PUSHED: usize = 32 * 1024;
const PUSHES: usize = 1024;

#[derive(Clone, Default)]
struct Pulled(Arc<AtomicUsize>);

/// A frame that no other frame is like.
fn frame(id: u32, n: usize, len: usize) -> Envelope {
    let mut payload = vec![n.to_le_bytes()[0]; len];
    payload[..8].copy_from_slice(&(n as u64).to_be_bytes());
    Envelope::new(id, payload)
}

async fn stream(State(Pulled(pulled)): State<Pulled>) -> Response {
    Response::frames(async_stream::stream! {
        for n in 0..FRAMES {
            pulled.fetch_add(1, Ordering::SeqCst);
            yield frame(STREAM, n, FRAME);
        }
    })
}

#[test]
fn a_slow_reader_bounds_what_is_pulled_and_accepted_and_loses_nothing() {
    // rule: RESP-5
    // rule: PUSH-1
    // rule: SEL-2
    // rule: SEL-8
    on_each_runtime(|| async {
        let pulled = Pulled::default();
        let app = WireframeApp::new()
            .route(STREAM, stream)
            .state(pulled.clone());
        let mut lone = narrow(app).await;
        let push = lone.driver.push_handle();
        let driver = tokio::spawn(lone.driver);
        let request = Envelope::new(STREAM, Bytes::new()).with_correlation_id(7);
        lone.peer.send_envelope(&request).await;

        let accepted = Arc::new(AtomicUsize::new(0));
        let producer = {
            let (push, accepted) = (push.clone(), Arc::clone(&accepted));
            tokio::spawn(async move {
                for n in 0..PUSHES {
                    let pushed = push.push_low_priority(frame(PUSH, n, PUSHED)).await;
                    pushed.expect("the peer is there");
                    accepted.fetch_add(1, Ordering::SeqCst);
                }
            })
        };

        // Quiet: the transport takes nothing, and there is no room for a push.
        let mut probes = 0;
        loop {
            Gauge::blocked(&mut lone.gauge).await;
            match push.try_push(Priority::Low, frame(PROBE, probes, 8)) {
                Ok(()) => probes += 1,
                Err(TryPushError::Full(_)) => break,
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        }
        let produced =
            pulled.0.load(Ordering::SeqCst) * FRAME + accepted.load(Ordering::SeqCst) * PUSHED;
        let taken = lone.gauge.borrow().written;
        // What the peer's and our kernel hold, the push queue, the high-water mark with the
        // unit that crosses it, the response slot and the frame on its way into it.
        let bound = taken + 1024 * 1024 + 64 * 1024 + FRAME + 2 * FRAME + FRAME;
        assert!(
            produced <= bound,
            "{produced} bytes produced, at most {bound} expected"
        );
        assert!(produced < 16 * 1024 * 1024, "{produced} of 64 MiB produced");

        let (mut streamed, mut pushed, mut probed) = (0, 0, 0);
        while (streamed, pushed, probed) != (FRAMES, PUSHES, probes) {
            let got = lone.peer.next_envelope().await.expect("all of them");
            let (n, len) = match got.id {
                STREAM => (&mut streamed, FRAME),
                PUSH => (&mut pushed, PUSHED),
                _ => (&mut probed, 8),
            };
            let expected = Envelope {
                correlation_id: (got.id == STREAM).then_some(7),
                ..frame(got.id, *n, len)
            };
            assert!(got == expected, "frame {n} of {} is another", got.id);
            *n += 1;
        }
        producer.await.expect("all were taken");
        drop(lone.peer);
        ended(driver).await;
        let stats = push.stats();
        assert_eq!(stats.sent, (PUSHES + probes) as u64);
        assert_eq!(stats.sent, stats.accepted);
    });
}
