//! Handlers that fail or panic, and peers that say what cannot be understood.

use wireframe::{CallError, CloseReason, Envelope, WireframeApp, rt::Runtime};
use wireframe_tests::{Lines, Oops, Outsider, Serving};

use crate::support::{echo, patient};

scenarios! {
    a_handler_that_panics_ends_its_connection_alone
    an_error_is_answered_and_one_that_closes_is_the_last_word
    malformed_input_is_answered_with_a_goodbye_and_the_end
}

async fn a_handler_that_panics_ends_its_connection_alone<R: Runtime>() {
    // rule: RESP-8
    async fn panics() -> &'static str {
        panic!("the test wants it so")
    }
    let app = WireframeApp::new().route(1, echo).route(2, panics);
    let server = Serving::start::<R, _>(app).await;
    let (unlucky, other) = (server.client::<R>().await, server.client::<R>().await);
    for client in [&unlucky, &other] {
        let reply = client.call(Envelope::new(1, "here")).await;
        assert_eq!(reply.expect("an echo").payload, "here");
    }
    let failed = unlucky.call(Envelope::new(2, "")).await;
    assert_eq!(failed, Err(CallError::Closed(CloseReason::PeerClosed)));
    let newcomer = server.client::<R>().await;
    for client in [&other, &newcomer] {
        let reply = client.call(Envelope::new(1, "still here")).await;
        assert_eq!(reply.expect("an echo").payload, "still here");
    }
    drop((unlucky, other, newcomer));
    server.end().await;
}

/// Each of `said` is answered with that of `heard`, the last with the end too.
async fn hears<R: Runtime>(exchange: &[(&[u8], &str)], reason: &str) {
    async fn refuses() -> Result<String, Oops> {
        Err(Oops("refused"))
    }
    async fn closes() -> Result<String, Oops> {
        Err(Oops("close"))
    }
    let protocol = Lines::new();
    let notes = protocol.notes.clone();
    let app = WireframeApp::with_protocol(protocol)
        .config(patient())
        .route(1, refuses)
        .route(2, closes);
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    assert_eq!(peer.next_line().await.as_deref(), Some("hello"));
    for (said, heard) in exchange {
        peer.send(*said).await;
        assert_eq!(peer.next_line().await.as_deref(), Some(*heard));
    }
    // Nobody listens any more.
    peer.send_line("1").await;
    peer.expect_end().await;
    drop(peer);
    let ended = notes.find("disconnect").await;
    assert_eq!(ended, format!("disconnect {reason}"));
    server.end().await;
}

const REFUSED: (&[u8], &str) = (b"\0\0\0\x011", "error: refused");

async fn an_error_is_answered_and_one_that_closes_is_the_last_word<R: Runtime>() {
    // rule: RESP-6, HOOK-6
    let closed: (&[u8], _) = (b"\0\0\0\x012", "error: close");
    hears::<R>(&[REFUSED, REFUSED, closed], "closed by the protocol").await;
}

async fn malformed_input_is_answered_with_a_goodbye_and_the_end<R: Runtime>() {
    // rule: FRAME-5, HOOK-6
    let malformed: (&[u8], _) = (b"\0\0\0\x02\xFF\xFE", "goodbye: malformed input: not text");
    hears::<R>(&[REFUSED, malformed], "malformed input: not text").await;
    let too_long: (&[u8], _) = (
        b"\xFF\xFF\xFF\xFF",
        "goodbye: max_frame_len is 1048576, got 4294967295",
    );
    let reason = "max_frame_len is 1048576, got 4294967295";
    hears::<R>(&[REFUSED, too_long], reason).await;
}
