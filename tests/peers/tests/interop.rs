//! Interoperability with wireframe 0.3.0, the release whose wire format 1.0 keeps.
//!
//! What 0.3.0 does, byte for byte, is the standard 1.0 is held to; the tests of the old peers
//! against each other and against bare sockets say what that is.

mod peer;
mod with_1_0;

use peer::{
    ECHO, Raw, RawListener, frame, old_client, old_client_with_its_defaults, old_server,
    old_server_with_its_defaults,
};
use wireframe_0_3::{app::Envelope, client::ClientError, correlation::CorrelatableFrame};

/// `Envelope(1, Some(42), [1, 2, 3])` with its length prefix.
const REQUEST_42: &[u8] = &[0, 0, 0, 7, 1, 1, 42, 3, 1, 2, 3];

/// Payload lengths on either side of every step of the length varint that fits [`peer::MAX_BODY`].
const LENGTHS: [usize; 8] = [0, 1, 250, 251, 65_535, 65_536, 65_537, 200_000];

/// Correlation ids on either side of every step of the varint.
const CORRELATION_IDS: [u64; 10] = [
    0,
    1,
    250,
    251,
    65_535,
    65_536,
    0xFFFF_FFFF,
    0x1_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

#[tokio::test]
async fn old_client_gets_its_payload_back_at_every_length() {
    let server = old_server();
    let mut client = old_client(server.addr()).await;
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
async fn old_client_gets_every_correlation_id_back() {
    let server = old_server();
    let mut client = old_client(server.addr()).await;
    for correlation_id in CORRELATION_IDS {
        let request = Envelope::new(ECHO, Some(correlation_id), vec![7]);
        assert_eq!(
            client.call(request.clone()).await.expect("an echo"),
            request
        );
    }
    client.close().await;
    server.shut_down().await;
}

#[tokio::test]
async fn old_server_answers_pipelined_requests_in_order() {
    let server = old_server();
    let mut client = old_client(server.addr()).await;
    for correlation_id in CORRELATION_IDS {
        let request = Envelope::new(ECHO, Some(correlation_id), vec![]);
        client.send(request).await.expect("the server reads");
    }
    for correlation_id in CORRELATION_IDS {
        let reply = client.receive().await.expect("an echo");
        assert_eq!(reply.correlation_id(), Some(correlation_id));
    }
    client.close().await;
    server.shut_down().await;
}

#[tokio::test]
async fn old_server_echoes_the_bytes_of_a_request() {
    let server = old_server();
    let mut raw = Raw::connect(server.addr()).await;
    raw.write(REQUEST_42).await;
    raw.expect(REQUEST_42).await;
    assert_eq!(raw.finish().await, [], "nothing follows the one reply");
    server.shut_down().await;
}

#[tokio::test]
async fn old_server_answers_before_it_closes_a_half_closed_connection() {
    let server = old_server();
    let mut raw = Raw::connect(server.addr()).await;
    raw.write(REQUEST_42).await;
    assert_eq!(raw.finish().await, REQUEST_42);
    server.shut_down().await;
}

#[tokio::test]
async fn old_server_answers_a_request_without_correlation_id_with_none() {
    let server = old_server();
    let mut raw = Raw::connect(server.addr()).await;
    let request = frame(&[1, 0, 3, 1, 2, 3]);
    raw.write(&request).await;
    assert_eq!(raw.finish().await, request);
    server.shut_down().await;
}

#[tokio::test]
async fn old_server_says_nothing_to_an_unknown_route() {
    let server = old_server();
    let mut raw = Raw::connect(server.addr()).await;
    raw.write(&frame(&[9, 1, 41, 0])).await;
    raw.write(REQUEST_42).await;
    assert_eq!(
        raw.finish().await,
        REQUEST_42,
        "only the second request has a route"
    );
    server.shut_down().await;
}

#[tokio::test]
async fn old_server_skips_bodies_it_cannot_decode_and_closes_at_the_tenth_in_a_row() {
    // In turn: empty, no such option tag, a length past the end, an id wider than 32 bits.
    // No length near 2^40: 0.3.0 allocates before it reads, and would abort this process.
    let malformed: [&[u8]; 4] = [
        &[],
        &[1, 2, 0],
        &[1, 0, 3, 1],
        &[0xFD, 1, 0, 0, 0, 0, 0, 0, 0],
    ];
    let server = old_server();
    let mut raw = Raw::connect(server.addr()).await;
    for _ in 0..2 {
        for body in malformed.iter().cycle().take(9) {
            raw.write(&frame(body)).await;
        }
        // A good frame sets the count back.
        raw.write(REQUEST_42).await;
        raw.expect(REQUEST_42).await;
    }
    for body in malformed.iter().cycle().take(10) {
        raw.write(&frame(body)).await;
    }
    assert_eq!(raw.read_until_closed().await, []);
    server.shut_down().await;
}

#[tokio::test]
async fn old_server_reads_overlong_integers_and_ignores_bytes_after_the_envelope() {
    let server = old_server();
    let mut raw = Raw::connect(server.addr()).await;
    raw.write(&frame(&[
        0xFB, 1, 0, 1, 0xFD, 42, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 99,
    ]))
    .await;
    assert_eq!(raw.finish().await, REQUEST_42, "the reply is canonical");
    server.shut_down().await;
}

#[tokio::test]
async fn old_server_takes_1_024_bytes_by_default_and_closes_at_one_more() {
    let server = old_server_with_its_defaults();
    let mut raw = Raw::connect(server.addr()).await;
    let longest = frame(&echo_body(1_024));
    raw.write(&longest).await;
    raw.expect(&longest).await;
    raw.write(&frame(&echo_body(1_025))).await;
    assert_eq!(raw.read_until_closed().await, []);
    server.shut_down().await;
}

#[tokio::test]
async fn old_client_sends_1_024_bytes_by_default_and_refuses_one_more() {
    let listener = RawListener::bind().await;
    let mut client = old_client_with_its_defaults(listener.addr()).await;
    let mut raw = listener.accept().await;
    // Id, option tag and correlation id take a byte each, the length of the payload three.
    let refused = Envelope::new(ECHO, Some(42), payload(1_024 - 5));
    let error = client
        .send(refused)
        .await
        .expect_err("one byte over the limit");
    assert!(matches!(error, ClientError::Wireframe(_)), "{error:?}");
    let longest = Envelope::new(ECHO, Some(42), payload(1_024 - 6));
    client.send(longest).await.expect("exactly the limit");
    raw.expect(&frame(&echo_body(1_024))).await;
    client.close().await;
    assert_eq!(
        raw.finish().await,
        [],
        "of the refused frame nothing was sent"
    );
}

#[tokio::test]
async fn old_client_sends_no_preamble_and_numbers_its_requests_from_1() {
    let listener = RawListener::bind().await;
    let mut client = old_client(listener.addr()).await;
    let mut raw = listener.accept().await;
    for correlation_id in [1, 2, 3] {
        let request = Envelope::new(ECHO, None, vec![5]);
        assert_eq!(
            client.send(request).await.expect("sent"),
            u64::from(correlation_id)
        );
        raw.expect(&frame(&[1, 1, correlation_id, 1, 5])).await;
    }
    let bare = Envelope::new(ECHO, None, vec![5]);
    client.send_as_is(&bare).await.expect("sent");
    raw.expect(&frame(&[1, 0, 1, 5])).await;
    client.close().await;
    assert_eq!(raw.finish().await, []);
}

#[tokio::test]
async fn old_client_takes_a_reply_with_another_id_but_the_same_correlation_id() {
    let (reply, _) = answer_to_42(&[7, 1, 42, 1, 5]).await;
    assert_eq!(reply.expect("a reply"), Envelope::new(7, Some(42), vec![5]));
}

#[tokio::test]
async fn old_client_refuses_a_reply_with_another_correlation_id_or_none() {
    for (body, received) in [(&[1, 1, 43, 0][..], Some(43)), (&[1, 0, 0], None)] {
        let (reply, _) = answer_to_42(body).await;
        match reply {
            Err(ClientError::CorrelationMismatch {
                expected,
                received: got,
            }) => {
                assert_eq!((expected, got), (Some(42), received));
            }
            other => panic!("expected a correlation mismatch, got {other:?}"),
        }
    }
}

/// Has an old client call with correlation id 42 and answers with a frame of `body`.
///
/// Also returns the socket, so that the connection is up while the caller looks at the result.
async fn answer_to_42(body: &[u8]) -> (Result<Envelope, ClientError>, Raw) {
    let listener = RawListener::bind().await;
    let mut client = old_client(listener.addr()).await;
    let mut raw = listener.accept().await;
    let request = Envelope::new(ECHO, Some(42), vec![1, 2, 3]);
    let ((), reply) = tokio::join!(
        async {
            raw.expect(REQUEST_42).await;
            raw.write(&frame(body)).await;
        },
        client.call(request),
    );
    (reply, raw)
}

/// A body of `len` bytes, 257 to 65 541, that holds an echo request.
fn echo_body(len: usize) -> Vec<u8> {
    let payload = payload(len - 6);
    let payload_len = u16::try_from(payload.len()).expect("two bytes hold the length");
    [&[1, 1, 42, 0xFB][..], &payload_len.to_le_bytes(), &payload].concat()
}

/// `len` bytes that differ from their neighbours, so that a shift shows.
fn payload(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}
