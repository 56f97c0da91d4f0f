//! What a peer gets that sends what nobody can take, and what others notice of it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use wireframe::{
    AnswerOrder, CorrelationId, Envelope, EnvelopeProtocol, LengthDelimited, Role, View,
    WireframeApp, WireframeProtocol, proto::EnvelopeCodec,
};
use wireframe_tests::{
    ANSWER, ERROR, GOODBYE, InOrderRecords, Raw, Record, on_each_runtime, start,
};

const ECHO: u32 = 1;

/// The default `max_frame_len`.
const LIMIT: usize = 1024 * 1024;

async fn echo(body: Bytes) -> Bytes {
    body
}

async fn panics() {
    panic!("the test wants it so");
}

fn own() -> WireframeApp<InOrderRecords> {
    WireframeApp::with_protocol(InOrderRecords::default())
        .route(ECHO, echo)
        .route(2, panics)
        .route(3, async || vec![0; LIMIT])
}

fn default() -> WireframeApp {
    WireframeApp::new()
        .route(ECHO, echo)
        .route(2, panics)
        .route(3, async || vec![0; LIMIT])
}

/// Whether a connection of our own protocol is served.
async fn is_served(peer: &mut Raw) {
    peer.send_record(&Record::new(ECHO, "hello")).await;
    let reply = peer.next_record().await;
    assert_eq!(reply, Some(Record::new(ECHO | ANSWER, "hello")));
}

/// Whether a connection of the default protocol is served.
async fn is_served_by_default(peer: &mut Raw) {
    let request = Envelope::new(ECHO, "hello").with_correlation_id(3);
    peer.send_envelope(&request).await;
    assert_eq!(peer.next_envelope().await, Some(request));
}

/// Sends those bytes on a connection of our own protocol, and takes the server's last word.
async fn last_word(address: SocketAddr, offence: &[u8]) -> String {
    let mut peer = Raw::connect(address).await;
    is_served(&mut peer).await;
    peer.send(offence).await;
    let last = peer.next_record().await.expect("a last word");
    assert_eq!(last.route, GOODBYE, "{last:?}");
    peer.expect_end().await;
    last.text()
}

/// Our own protocol: each offence has its last word, and other connections go on.
fn ends_its_connection_with(offence: &[u8], word: &str) {
    on_each_runtime(|| async {
        let server = start(own()).await;
        let mut bystander = Raw::connect(server.address).await;
        is_served(&mut bystander).await;
        assert_eq!(last_word(server.address, offence).await, word);
        is_served(&mut bystander).await;
        is_served(&mut Raw::connect(server.address).await).await;
        drop(bystander);
        server.end().await;
    });
}

/// The default protocol has no last word: it closes, and other connections go on.
fn closes_its_connection_by_default(offence: &[u8]) {
    on_each_runtime(|| async {
        let server = start(default()).await;
        let mut bystander = Raw::connect(server.address).await;
        is_served_by_default(&mut bystander).await;
        let mut peer = Raw::connect(server.address).await;
        is_served_by_default(&mut peer).await;
        peer.send(offence).await;
        peer.expect_end().await;
        is_served_by_default(&mut bystander).await;
        is_served_by_default(&mut Raw::connect(server.address).await).await;
        drop((bystander, peer));
        server.end().await;
    });
}

#[test]
fn a_frame_over_the_limit_is_refused_at_its_header_by_name_and_value() {
    // rule: LIM-1
    // rule: HOOK-6
    let header = 1_048_577u32.to_be_bytes();
    ends_its_connection_with(&header, "max_frame_len is 1048576, got 1048577");
    closes_its_connection_by_default(&header);
}

#[test]
fn a_frame_of_exactly_the_limit_is_served() {
    // rule: LIM-1
    on_each_runtime(|| async {
        let server = start(own()).await;
        let mut peer = Raw::connect(server.address).await;
        let request = Record::new(ECHO, vec![7; LIMIT - 12]);
        peer.send_record(&request).await;
        let reply = peer.next_record().await.expect("an echo");
        assert!(reply.payload == request.payload, "it came back changed");
        drop(peer);
        server.end().await;
    });
}

#[test]
fn malformed_bytes_end_their_connection_and_say_what_was_expected() {
    // rule: HOOK-6
    // rule: FRAME-5
    let short = [0, 0, 0, 3, 1, 2, 3];
    let word = "malformed input: a record has 12 bytes or more, this one 3";
    ends_its_connection_with(&short, word);
    // What follows them is not read, though it would be a good request.
    let request = Record::new(ECHO, "").to_body();
    let followed = [&short[..], &[0, 0, 0, 12], &request].concat();
    ends_its_connection_with(&followed, word);
    // No such option.
    closes_its_connection_by_default(&[0, 0, 0, 3, 1, 2, 0]);
}

#[test]
fn an_end_inside_a_frame_names_how_much_was_missing() {
    // rule: SHUT-6
    on_each_runtime(|| async {
        let server = start(own()).await;
        for (bytes, word) in [
            (
                &[0, 0, 0, 20, 1, 2, 3][..],
                "peer closed inside a frame: 17 of 20 payload bytes missing",
            ),
            (&[0, 0], "peer closed inside a header, after 2 bytes"),
        ] {
            let mut peer = Raw::connect(server.address).await;
            peer.send(bytes).await;
            peer.end_output().await;
            let last = peer.next_record().await.expect("a last word");
            assert_eq!(last.text(), word);
            peer.expect_end().await;
        }
        server.end().await;
    });
}

#[test]
fn an_unknown_route_is_answered_by_name_and_the_connection_goes_on() {
    // rule: RESP-9
    on_each_runtime(|| async {
        let server = start(own()).await;
        let mut peer = Raw::connect(server.address).await;
        peer.send_record(&Record::new(77, "anyone?")).await;
        assert_eq!(
            peer.next_record().await,
            Some(Record::new(ERROR, "no route 77"))
        );
        is_served(&mut peer).await;
        drop(peer);
        server.end().await;
    });
}

#[test]
fn an_unknown_route_of_the_default_protocol_closes_its_connection() {
    // rule: RESP-9
    closes_its_connection_by_default(&[0, 0, 0, 4, 77, 1, 5, 0]);
}

#[test]
fn a_fallback_serves_what_no_route_does() {
    // rule: RESP-9
    on_each_runtime(|| async {
        let server = start(own().fallback(async || "anybody")).await;
        let mut peer = Raw::connect(server.address).await;
        peer.send_record(&Record::new(77, "anyone?")).await;
        let reply = peer.next_record().await;
        assert_eq!(reply, Some(Record::new(77 | ANSWER, "anybody")));
        drop(peer);
        server.end().await;
    });
}

#[test]
fn an_answer_over_the_limit_leaves_no_byte_and_ends_as_an_error() {
    // rule: FRAME-6
    // rule: RESP-6
    on_each_runtime(|| async {
        let server = start(own()).await;
        let mut peer = Raw::connect(server.address).await;
        peer.send_record(&Record::new(3, "")).await;
        let reply = peer.next_record().await.expect("an answer");
        assert_eq!(reply.route, ERROR);
        let text = "frame cannot be encoded: max_frame_len is 1048576, got 1048588";
        assert_eq!(reply.text(), text);
        is_served(&mut peer).await;
        drop(peer);
        server.end().await;
    });
}

#[test]
fn a_handler_that_panics_ends_its_own_connection_alone() {
    // rule: RESP-8
    let request = Record::new(2, "").to_body();
    let request = [&[0, 0, 0, 12], &request[..]].concat();
    ends_its_connection_with(&request, "a handler panicked");
    closes_its_connection_by_default(&[0, 0, 0, 3, 2, 0, 0]);
}

/// The default protocol, whose framing panics for the first connection.
struct Shy(AtomicBool);

impl WireframeProtocol for Shy {
    type Frame = Envelope;
    type Error = Infallible;
    type Codec = EnvelopeCodec;
    type Framing = LengthDelimited;
    type Session = ();

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec
    }

    fn framing(&self) -> LengthDelimited {
        assert!(self.0.swap(true, Ordering::Relaxed), "the test wants it so");
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Envelope, view: &View<'_, ()>) -> Role {
        EnvelopeProtocol::default().classify(frame, view)
    }

    fn correlate(&self, frame: &mut Envelope, id: CorrelationId) {
        frame.correlation_id = Some(id.0);
    }
}

#[test]
fn a_protocol_that_panics_over_a_new_connection_loses_that_one_alone() {
    // rule: HOOK-7
    on_each_runtime(|| async {
        let shy = Shy(AtomicBool::new(false));
        let server = start(WireframeApp::with_protocol(shy).route(ECHO, echo)).await;
        let mut first = Raw::connect(server.address).await;
        first.expect_end().await;
        let mut second = Raw::connect(server.address).await;
        is_served_by_default(&mut second).await;
        drop(second);
        server.end().await;
    });
}
