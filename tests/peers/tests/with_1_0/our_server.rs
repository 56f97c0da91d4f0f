//! Our server, and clients of 0.3.0.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::task::JoinHandle;
use wireframe::{
    BuildError, WireframeApp,
    server::{ServerHandle, ShutdownReport},
};
use wireframe_0_3::{app::Envelope, correlation::CorrelatableFrame};
use wireframe_tokio::Server;

use crate::{
    CORRELATION_IDS, LENGTHS, REQUEST_42, payload,
    peer::{ECHO, Raw, old_client, soon},
};

/// A running server of ours that echoes on route [`ECHO`].
struct OurServer {
    addr: SocketAddr,
    handle: ServerHandle,
    run: JoinHandle<Result<ShutdownReport, BuildError>>,
}

impl OurServer {
    async fn shut_down(self) {
        self.handle.shutdown();
        soon("our server shuts down", self.run)
            .await
            .expect("the server task panicked")
            .expect("one route cannot clash");
    }
}

async fn our_server() -> OurServer {
    async fn echo(body: Bytes) -> Bytes {
        body
    }
    let server = Server::bind("127.0.0.1:0")
        .await
        .expect("a free loopback port");
    OurServer {
        addr: server.local_addr().expect("a bound socket"),
        handle: server.handle(),
        run: tokio::spawn(server.serve(WireframeApp::new().route(ECHO, echo))),
    }
}

#[tokio::test]
async fn old_client_gets_its_payload_back_from_our_server_at_every_length() {
    // rule: WIRE-1
    let server = our_server().await;
    let mut client = old_client(server.addr).await;
    for (len, correlation_id) in LENGTHS.into_iter().zip(100..) {
        let request = Envelope::new(ECHO, Some(correlation_id), payload(len));
        let reply = client.call(request.clone()).await.expect("an echo");
        assert!(
            reply == request,
            "a payload of {len} bytes came back changed"
        );
    }
    client.close().await;
    server.shut_down().await;
}

#[tokio::test]
async fn old_client_gets_every_correlation_id_back_from_our_server() {
    // rule: WIRE-1
    let server = our_server().await;
    let mut client = old_client(server.addr).await;
    for correlation_id in CORRELATION_IDS {
        let request = Envelope::new(ECHO, Some(correlation_id), vec![7]);
        let reply = client.call(request.clone()).await.expect("an echo");
        assert_eq!(reply, request);
    }
    client.close().await;
    server.shut_down().await;
}

#[tokio::test]
async fn old_client_gets_the_ids_that_it_picks_itself_back_from_our_server() {
    // rule: WIRE-1
    let server = our_server().await;
    let mut client = old_client(server.addr).await;
    // Beyond the first step of the varint.
    for correlation_id in 1..=300 {
        let reply = client.call(Envelope::new(ECHO, None, vec![5])).await;
        let expected = Envelope::new(ECHO, Some(correlation_id), vec![5]);
        assert_eq!(reply.expect("an echo"), expected);
    }
    client.close().await;
    server.shut_down().await;
}

#[tokio::test]
async fn old_client_that_pipelines_gets_every_answer_from_our_server() {
    // rule: WIRE-1
    let server = our_server().await;
    let mut client = old_client(server.addr).await;
    for correlation_id in CORRELATION_IDS {
        let request = Envelope::new(ECHO, Some(correlation_id), vec![]);
        client.send(request).await.expect("the server reads");
    }
    let mut answered = Vec::new();
    for _ in CORRELATION_IDS {
        let reply = client.receive().await.expect("an echo");
        answered.extend(reply.correlation_id());
    }
    answered.sort_unstable();
    assert_eq!(answered, CORRELATION_IDS);
    client.close().await;
    server.shut_down().await;
}

#[tokio::test]
async fn old_client_without_correlation_ids_is_answered_by_our_server_without_one_and_in_order() {
    // rule: WIRE-1
    let server = our_server().await;
    let mut client = old_client(server.addr).await;
    for n in 0..100 {
        let request = Envelope::new(ECHO, None, vec![n]);
        client.send_as_is(&request).await.expect("the server reads");
    }
    for n in 0..100 {
        let reply = client.receive().await.expect("an echo");
        assert_eq!(reply, Envelope::new(ECHO, None, vec![n]));
    }
    client.close().await;
    server.shut_down().await;
}

#[tokio::test]
async fn our_server_sends_the_bytes_that_the_old_one_does() {
    // rule: WIRE-1
    let server = our_server().await;
    let mut raw = Raw::connect(server.addr).await;
    raw.write(REQUEST_42).await;
    assert_eq!(raw.finish().await, REQUEST_42);
    server.shut_down().await;
}
