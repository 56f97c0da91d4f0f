//! A peer that has said all and still listens.

use std::num::NonZeroUsize;

use bytes::Bytes;
use tokio::sync::watch;
use wireframe::{
    CloseReason, Config, Envelope, HalfClose, PayloadFrame, Protocol, PushHandle, State,
    WireframeApp,
};
use wireframe_tests::{
    ANSWER, Gauge, InOrderRecords, NOTICE, Record, ended, on_each_runtime, single, soon,
};

/// Some run, the rest is held back.
const REQUESTS: u8 = 30;

type Gate = watch::Receiver<bool>;

/// Answers once the gate is open.
async fn wait(body: Bytes, State(mut gate): State<Gate>) -> Bytes {
    gate.wait_for(|open| *open)
        .await
        .expect("the gate is there");
    body
}

fn gated<P: Protocol<Frame: PayloadFrame>>(
    app: WireframeApp<P>,
) -> (WireframeApp<P>, watch::Sender<bool>) {
    let (gate, open) = watch::channel(false);
    let mut config = Config::default();
    config.limits.max_in_flight = NonZeroUsize::new(8);
    (app.route(1, wait).state(open).config(config), gate)
}

#[test]
fn all_answers_arrive_after_the_client_has_ended_its_output_and_then_the_end() {
    // rule: SHUT-6
    // rule: RESP-10
    on_each_runtime(|| async {
        let (app, gate) = gated(WireframeApp::new());
        let mut lone = single(app).await;
        let driver = tokio::spawn(lone.driver);
        let request = |n| Envelope::new(1, vec![n]).with_correlation_id(u64::from(n));
        for n in 0..REQUESTS {
            lone.peer.send_envelope(&request(n)).await;
        }
        lone.peer.end_output().await;
        Gauge::peer_ended(&mut lone.gauge).await;
        gate.send_replace(true);
        let mut replies = Vec::new();
        while let Some(reply) = lone.peer.next_envelope().await {
            replies.push(reply);
        }
        replies.sort_by_key(|reply| reply.correlation_id);
        assert_eq!(replies, (0..REQUESTS).map(request).collect::<Vec<_>>());
        assert_eq!(ended(driver).await, CloseReason::PeerClosed);
    });
}

#[test]
fn answers_in_order_and_accepted_pushes_arrive_after_a_half_close() {
    // rule: SHUT-6
    on_each_runtime(|| async {
        async fn push_late(push: PushHandle<Record>, State(mut gate): State<Gate>) {
            gate.wait_for(|open| *open)
                .await
                .expect("the gate is there");
            for n in 0..10 {
                push.push_low_priority(Record::new(NOTICE, vec![n]))
                    .await
                    .expect("answers are pending");
            }
        }
        let protocol = InOrderRecords::default();
        let (app, gate) = gated(WireframeApp::with_protocol(protocol));
        let mut lone = single(app.on_connect(push_late)).await;
        let driver = tokio::spawn(lone.driver);
        for n in 0..REQUESTS {
            lone.peer.send_record(&Record::new(1, vec![n])).await;
        }
        lone.peer.end_output().await;
        Gauge::peer_ended(&mut lone.gauge).await;
        gate.send_replace(true);
        let (mut answers, mut pushes) = (Vec::new(), Vec::new());
        while let Some(record) = lone.peer.next_record().await {
            match record.route {
                NOTICE => pushes.push(record),
                _ => answers.push(record),
            }
        }
        let answer = |n| Record::new(1 | ANSWER, vec![n]);
        assert_eq!(answers, (0..REQUESTS).map(answer).collect::<Vec<_>>());
        let push = |n| Record::new(NOTICE, vec![n]);
        assert_eq!(pushes, (0..10).map(push).collect::<Vec<_>>());
        assert_eq!(ended(driver).await, CloseReason::PeerClosed);
    });
}

#[test]
fn a_half_close_ends_everything_at_once_where_that_is_set() {
    // rule: RESP-10
    on_each_runtime(|| async {
        async fn never(State(alive): State<watch::Sender<usize>>) {
            let _alive = Counted::new(alive);
            std::future::pending::<()>().await;
        }
        let (alive, mut counted) = watch::channel(0usize);
        let mut config = Config::default();
        config.half_close = HalfClose::Ends;
        let app = WireframeApp::new()
            .route(1, never)
            .state(alive)
            .config(config);
        let mut lone = single(app).await;
        let driver = tokio::spawn(lone.driver);
        for n in 0..10 {
            let request = Envelope::new(1, "").with_correlation_id(n);
            lone.peer.send_envelope(&request).await;
        }
        let begun = counted.wait_for(|alive| *alive == 10);
        soon("all handlers begin", begun).await.expect("they run");
        lone.peer.end_output().await;
        assert_eq!(ended(driver).await, CloseReason::PeerClosed);
        assert_eq!(*counted.borrow(), 0, "handlers outlive their connection");
        lone.peer.expect_end().await;
    });
}

/// Counts itself while it lives.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
