//! Streams other than sockets.

use bytes::Bytes;
use wireframe::{Client, CloseReason, Driver, Envelope, WireframeApp};
use wireframe_tests::{ended, on_each_runtime, soon};
use wireframe_tokio::{Tokio, environment};

async fn echo(body: Bytes) -> Bytes {
    body
}

/// Serves a client over a pipe that holds so many bytes.
async fn echo_through_a_pipe_of(bytes: usize) {
    // ANCHOR: pipe
    let (here, there) = tokio::io::duplex(bytes);
    let app = WireframeApp::new().route(1, echo).build().expect("fit");
    let environment = environment();
    let server = Driver::server(&app, Tokio(there), None, &environment);
    let server = tokio::spawn(server);
    let app = WireframeApp::new().build().expect("fit");
    let (client, driver) = Client::new(&app, Tokio(here), None, &environment);
    let driver = tokio::spawn(driver);
    // ANCHOR_END: pipe
    for len in [0, 1, 100, 5_000, 200_000] {
        let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
        let reply = soon("a reply", client.call(Envelope::new(1, payload.clone()))).await;
        let reply = reply.expect("an echo");
        assert!(reply.payload == payload, "{len} bytes came back changed");
    }
    drop(client);
    assert_eq!(ended(driver).await, CloseReason::Drained);
    assert_eq!(ended(server).await, CloseReason::PeerClosed);
}

#[test]
fn any_stream_of_tokio_is_a_transport_however_few_bytes_it_takes() {
    on_each_runtime(|| echo_through_a_pipe_of(64));
    on_each_runtime(|| echo_through_a_pipe_of(64 * 1024));
}
