//! Memory after many connections have come and gone. Server and clients share one thread, so
//! every allocation is seen.

use allocation_counter::measure;
use bytes::Bytes;
use tokio::runtime::Builder;
use wireframe::{Envelope, PushHandle, SessionRegistry, WireframeApp};
use wireframe_tests::{Raw, Running, soon, start};

/// Answers, and pushes something that nobody may be there for.
async fn echo(body: Bytes, push: PushHandle) -> Bytes {
    push.push_high_priority(Envelope::new(9, "")).await.ok();
    body
}

/// A client that comes, perhaps says something, and goes.
async fn visit(server: &Running, n: u64) {
    let mut peer = Raw::connect(server.address).await;
    let request = Envelope::new(1, "hello").with_correlation_id(n);
    match n % 4 {
        0 => {}
        // Leaves without its answer.
        1 => peer.send_envelope(&request).await,
        // Leaves inside a frame.
        2 => peer.send(&[0, 0]).await,
        _ => {
            peer.send_envelope(&request).await;
            assert_eq!(peer.next_envelope().await, Some(Envelope::new(9, "")));
            assert_eq!(peer.next_envelope().await, Some(request));
        }
    }
}

async fn visits(server: &Running, count: u64) {
    for n in 0..count {
        visit(server, n).await;
    }
    soon("all connections are gone", async {
        while server.handle.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn ten_thousand_registered_connections_leave_nothing_behind() {
    // rule: REG-2
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let registry = SessionRegistry::new();
    let app = WireframeApp::new().route(1, echo).registry(&registry);
    let server = runtime.block_on(start(app));
    // Tables and buffers that are kept grow to their size.
    runtime.block_on(visits(&server, 200));
    let left = measure(|| runtime.block_on(visits(&server, 10_000)));
    assert!(left.count_total > 10_000, "nothing was measured: {left:?}");
    assert!(registry.is_empty());
    assert!(left.count_current.abs() < 32, "{left:?}");
    assert!(left.bytes_current.abs() < 16 * 1024, "{left:?}");
    runtime.block_on(server.end());
}
