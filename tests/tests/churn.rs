//! Many connections that come and go.

use bytes::Bytes;
use tokio::task::JoinSet;
use wireframe::{Envelope, WireframeApp, server::ServerHandle};
use wireframe_tests::{Raw, on_each_runtime, soon, start};
use wireframe_tokio::connect;

async fn echo(body: Bytes) -> Bytes {
    body
}

async fn all_are_gone(server: &ServerHandle) {
    soon("all connections are gone", async {
        while server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn a_thousand_connections_come_and_go_and_none_stays() {
    on_each_runtime(|| async {
        const WAVES: usize = 10;
        const EACH: usize = 100;
        let server = start(WireframeApp::new().route(1, echo)).await;
        for _ in 0..WAVES {
            let mut peers = JoinSet::new();
            for n in 0..EACH {
                let address = server.address;
                peers.spawn(async move {
                    let request = Envelope::new(1, vec![1; n]).with_correlation_id(n as u64);
                    let mut peer = Raw::connect(address).await;
                    match n % 4 {
                        // Says nothing.
                        0 => {}
                        // Leaves without its answer.
                        1 => peer.send_envelope(&request).await,
                        // Leaves inside a frame.
                        2 => peer.send(&[0, 0]).await,
                        _ => {
                            peer.send_envelope(&request).await;
                            assert_eq!(peer.next_envelope().await, Some(request));
                        }
                    }
                    peer
                });
            }
            let peers = soon("a wave", peers.join_all()).await;
            drop(peers);
        }
        all_are_gone(&server.handle).await;
        server.end().await;
    });
}

#[test]
fn clients_that_are_dropped_leave_no_connection_behind() {
    on_each_runtime(|| async {
        let server = start(WireframeApp::new().route(1, echo)).await;
        let mut clients = JoinSet::new();
        for n in 0..100u8 {
            let address = server.address;
            clients.spawn(async move {
                let client = connect(address).await.expect("the server listens");
                let reply = client.call(Envelope::new(1, vec![n])).await;
                assert_eq!(reply.expect("an echo").payload, vec![n]);
                client
            });
        }
        let clients = soon("all calls return", clients.join_all()).await;
        assert_eq!(server.handle.connections(), 100);
        drop(clients);
        all_are_gone(&server.handle).await;
        server.end().await;
    });
}
