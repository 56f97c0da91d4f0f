//! Our client, and the server of 0.3.0.

use tokio::task::JoinSet;
use wireframe::{Client, Envelope, Pushes};
use wireframe_tokio::connect;

use crate::{
    CORRELATION_IDS, LENGTHS, REQUEST_42, payload,
    peer::{ECHO, OldServer, RawListener, old_server, soon},
};

async fn our_client(server: &OldServer) -> Client {
    soon("our client connects", connect(server.addr()))
        .await
        .expect("the server listens")
}

#[tokio::test]
async fn our_client_gets_its_payload_back_from_the_old_server_at_every_length() {
    // rule: WIRE-1
    let server = old_server();
    let client = our_client(&server).await;
    for len in LENGTHS {
        let request = Envelope::new(ECHO, payload(len));
        let reply = soon("a reply", client.call(request))
            .await
            .expect("an echo");
        assert_eq!(reply.id, ECHO);
        assert!(
            reply.payload == payload(len),
            "a payload of {len} bytes came back changed"
        );
    }
    drop(client);
    server.shut_down().await;
}

#[tokio::test]
async fn our_client_that_calls_many_times_at_once_gets_each_reply_from_the_old_server() {
    // rule: WIRE-1
    let server = old_server();
    let client = our_client(&server).await;
    let mut calls = JoinSet::new();
    // Its ids count from 1, beyond the first step of the varint.
    for n in 0..300u32 {
        let client = client.clone();
        calls.spawn(async move {
            let request = Envelope::new(ECHO, n.to_string());
            let reply = client.call(request).await.expect("an echo");
            assert_eq!(reply.payload, n.to_string());
        });
    }
    soon("all calls return", calls.join_all()).await;
    drop(client);
    server.shut_down().await;
}

#[tokio::test]
async fn our_client_gets_every_correlation_id_back_from_the_old_server() {
    // rule: WIRE-1
    let server = old_server();
    let client = our_client(&server).await;
    // A call has an id of the client's own; with any other, what comes back is no reply.
    let mut echoes = client.pushes();
    for correlation_id in CORRELATION_IDS {
        let request = Envelope::new(ECHO, vec![7]).with_correlation_id(correlation_id);
        assert_eq!(echo(&client, &mut echoes, request.clone()).await, request);
    }
    let request = Envelope::new(ECHO, vec![7]);
    assert_eq!(echo(&client, &mut echoes, request.clone()).await, request);
    drop((client, echoes));
    server.shut_down().await;
}

async fn echo(client: &Client, echoes: &mut Pushes<Envelope>, request: Envelope) -> Envelope {
    let push = client.push_handle();
    push.push_low_priority(request)
        .await
        .expect("the server is there");
    let echo = soon("an echo", echoes.next()).await;
    echo.expect("the connection is up")
        .expect("few enough to keep")
}

#[tokio::test]
async fn our_client_sends_the_bytes_that_the_old_one_does() {
    // rule: WIRE-1
    let listener = RawListener::bind().await;
    let client = soon("our client connects", connect(listener.addr()))
        .await
        .expect("the socket listens");
    let mut raw = listener.accept().await;
    let request = Envelope::new(ECHO, vec![1, 2, 3]).with_correlation_id(42);
    let push = client.push_handle();
    push.push_low_priority(request).await.expect("it is there");
    raw.expect(REQUEST_42).await;
    drop(client);
    assert_eq!(raw.finish().await, [], "nothing follows the one request");
}
