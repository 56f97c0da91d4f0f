//! Layers that work in tasks of their own.

use std::time::Duration;

use bytes::Bytes;
use tower::{ServiceBuilder, buffer::BufferLayer};
use wireframe::{Clock, Envelope, WireframeApp};
use wireframe_tokio::{Server, connect};

async fn echo(body: Bytes, clock: Clock) -> Bytes {
    clock.sleep(Duration::from_millis(1)).await;
    body
}

#[tokio::test]
async fn a_service_that_cannot_be_cloned_goes_behind_a_buffer() {
    // rule: APP-3
    let layers = ServiceBuilder::new()
        .layer(BufferLayer::new(4))
        .rate_limit(1000, Duration::from_millis(1));
    let app = WireframeApp::new().route(1, echo).layer(layers);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    let served = tokio::spawn(server.serve(app));
    let client = connect(address).await.unwrap();
    let calls: Vec<_> = (0..20_u8)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.call(Envelope::new(1, vec![n])).await })
        })
        .collect();
    for (n, call) in (0..).zip(calls) {
        assert_eq!(call.await.unwrap().unwrap().payload, [n][..]);
    }
    drop(client);
    handle.shutdown();
    served.await.unwrap().unwrap();
}
