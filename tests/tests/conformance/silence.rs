//! Peers that say nothing: times are the protocol's own, and only too early is too wrong.

use std::time::Duration;

use wireframe::{Config, Heartbeat, WireframeApp, rt::Runtime};
use wireframe_tests::{Lines, Outsider, Serving};

use crate::support::{Count, never, patient};

scenarios! {
    a_silent_peer_is_given_up_after_its_time
    a_silent_peer_is_asked_again_and_again_while_it_answers
    an_idle_connection_is_closed_after_its_time
    a_peer_that_does_not_complete_a_frame_is_given_up_after_its_time
}

const LIMIT: Duration = Duration::from_millis(60);

/// Serves a peer that says `said` and then nothing, until the server gives it up.
async fn gives_up<R: Runtime>(config: Config, said: &str, reason: &str) {
    let protocol = Lines::new();
    let (notes, running) = (protocol.notes.clone(), Count::default());
    let app = WireframeApp::with_protocol(protocol)
        .config(config)
        .route(1, never)
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let clock = R::environment().clock;
    let began = clock.now();
    let peer = Outsider::connect(server.address).await;
    assert_eq!(peer.next_line().await.as_deref(), Some("hello"));
    peer.send(said).await;
    let goodbye = format!("goodbye: {reason}");
    assert_eq!(peer.next_line().await, Some(goodbye));
    peer.expect_end().await;
    assert!(clock.now() >= began + LIMIT, "too early");
    drop(peer);
    let ended = notes.find("disconnect").await;
    assert_eq!(ended, format!("disconnect {reason}"));
    running.reaches(0).await;
    server.end().await;
}

async fn a_silent_peer_is_given_up_after_its_time<R: Runtime>() {
    // rule: HB-1
    let mut config = patient();
    config.heartbeat = Some(Heartbeat::expecting(LIMIT));
    // Also while a handler is at work.
    gives_up::<R>(config.clone(), "\0\0\0\x011", "the peer is silent").await;
    gives_up::<R>(config, "", "the peer is silent").await;
}

async fn a_silent_peer_is_asked_again_and_again_while_it_answers<R: Runtime>() {
    // rule: HB-1
    let mut config = patient();
    config.heartbeat = Some(Heartbeat::pinging(LIMIT / 3, Duration::from_secs(3600)));
    let app = WireframeApp::with_protocol(Lines::new()).config(config);
    let server = Serving::start::<R, _>(app).await;
    let clock = R::environment().clock;
    let began = clock.now();
    let peer = Outsider::connect(server.address).await;
    assert_eq!(peer.next_line().await.as_deref(), Some("hello"));
    for _ in 0..3 {
        assert_eq!(peer.next_line().await.as_deref(), Some("~ping"));
        // No answer is expected to that.
        peer.send_line("pong").await;
    }
    assert!(clock.now() >= began + LIMIT, "too early");
    drop(peer);
    server.end().await;
}

async fn an_idle_connection_is_closed_after_its_time<R: Runtime>() {
    // rule: LIM-3
    let mut config = patient();
    config.timeouts.idle = Some(LIMIT);
    gives_up::<R>(config, "", "idle").await;
}

async fn a_peer_that_does_not_complete_a_frame_is_given_up_after_its_time<R: Runtime>() {
    // rule: LIM-3
    let mut config = patient();
    config.timeouts.frame_completion = LIMIT;
    let reason = "a frame was not completed in time";
    gives_up::<R>(config, "\0\0", reason).await;
}
