//! Clients that connect again.

use std::time::Duration;

use wireframe::{Backoff, CallError, CloseReason, Envelope, WireframeApp, rt::Runtime};
use wireframe_tests::{Serving, spawn};

use crate::support::{Count, echo, never};

scenarios! {
    a_client_connects_again_when_its_connection_has_died
    who_waits_for_a_server_that_is_gone_is_told_in_time
    a_client_that_is_closed_refuses_who_waits
}

fn soon() -> Backoff {
    Backoff::new()
        .with_first(Duration::from_millis(1))
        .with_max(Duration::from_millis(20))
}

async fn a_client_connects_again_when_its_connection_has_died<R: Runtime>() {
    // rule: CLI-6
    let server = Serving::start::<R, _>(WireframeApp::new().route(1, echo)).await;
    let client = wireframe::reconnecting::<R, _>(server.address, WireframeApp::new());
    let client = client.expect("fit to serve").with_backoff(soon());
    let mut ids = Vec::new();
    for n in 0..5u8 {
        let mut reply = client.call(Envelope::new(1, vec![n])).await;
        // Some may still meet the dead connection.
        while reply == Err(CallError::Closed(CloseReason::Aborted)) {
            reply = client.call(Envelope::new(1, vec![n])).await;
        }
        assert_eq!(reply.expect("an echo").payload, [n][..]);
        let live = client.client().await.expect("it is not closed");
        ids.push(live.connection().id());
        live.connection().abort();
    }
    ids.dedup();
    assert_eq!(ids.len(), 5, "{ids:?}");
    client.close();
    server.end().await;
}

async fn who_waits_for_a_server_that_is_gone_is_told_in_time<R: Runtime>() {
    // rule: CLI-3, CLI-6
    let server = Serving::start::<R, _>(WireframeApp::new()).await;
    let address = server.address;
    server.end().await;
    let limit = Duration::from_millis(60);
    let client = wireframe::reconnecting::<R, _>(address, WireframeApp::new());
    let client = client.expect("fit to serve").with_backoff(soon());
    let client = client.with_timeout(limit);
    let call = client.call(Envelope::new(1, ""));
    // Refused many times over by then.
    assert_eq!(call.await, Err(CallError::TimedOut { limit }));
}

async fn a_client_that_is_closed_refuses_who_waits<R: Runtime>() {
    // rule: CLI-6
    let running = Count::default();
    let app = WireframeApp::new().route(1, never).state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let client = wireframe::reconnecting::<R, _>(server.address, WireframeApp::new());
    let client = client.expect("fit to serve");
    let waiting = spawn::<R, _>({
        let client = client.clone();
        async move { client.call(Envelope::new(1, "")).await }
    });
    running.reaches(1).await;
    client.close();
    let refused = client.call(Envelope::new(1, "")).await;
    assert!(matches!(refused, Err(CallError::Closed(_))), "{refused:?}");
    drop((client, waiting));
    server.handle.shutdown();
}
