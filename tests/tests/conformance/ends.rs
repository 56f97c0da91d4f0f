//! Peers that end their output, or everything.

use wireframe::{CallError, CloseReason, ConnectionHandle, Envelope, WireframeApp, rt::Runtime};
use wireframe_tests::{ANSWER, InOrderRecords, Lines, Outsider, Record, Serving, spawn};

use crate::support::{Count, Gate, never, patient, wait};

scenarios! {
    answers_come_after_a_half_close_and_then_the_end
    an_end_inside_a_frame_is_told_from_one_between_two
    a_reset_inside_a_frame_ends_the_connection_and_its_handlers
    all_calls_fail_when_the_server_is_gone
}

async fn answers_come_after_a_half_close_and_then_the_end<R: Runtime>() {
    // rule: SHUT-6
    let (gate, running) = (Gate::default(), Count::default());
    let app = WireframeApp::with_protocol(InOrderRecords::default())
        .config(patient())
        .route(1, wait)
        .state(gate.clone())
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    for n in 0..10u8 {
        peer.send_record(&Record::new(1, vec![n])).await;
    }
    peer.end_output();
    running.reaches(1).await;
    gate.open();
    for n in 0..10u8 {
        let answer = Record::new(1 | ANSWER, vec![n]);
        assert_eq!(peer.next_record().await, Some(answer));
    }
    peer.expect_end().await;
    server.end().await;
}

async fn an_end_inside_a_frame_is_told_from_one_between_two<R: Runtime>() {
    // rule: SHUT-6
    for (bytes, reason) in [
        (&b""[..], "closed by the peer"),
        (&b"\0\0"[..], "peer closed inside a header, after 2 bytes"),
        (
            &b"\0\0\0\x051hi"[..],
            "peer closed inside a frame: 2 of 5 payload bytes missing",
        ),
    ] {
        let protocol = Lines::new();
        let notes = protocol.notes.clone();
        let server = Serving::start::<R, _>(WireframeApp::with_protocol(protocol)).await;
        let peer = Outsider::connect(server.address).await;
        assert_eq!(peer.next_line().await.as_deref(), Some("hello"));
        peer.send(bytes).await;
        peer.end_output();
        if !bytes.is_empty() {
            let goodbye = format!("goodbye: {reason}");
            assert_eq!(peer.next_line().await, Some(goodbye));
        }
        peer.expect_end().await;
        let ended = notes.find("disconnect").await;
        assert_eq!(ended, format!("disconnect {reason}"));
        server.end().await;
    }
}

async fn a_reset_inside_a_frame_ends_the_connection_and_its_handlers<R: Runtime>() {
    // rule: RESP-10, HOOK-2
    let protocol = Lines::new();
    let (notes, running) = (protocol.notes.clone(), Count::default());
    let app = WireframeApp::with_protocol(protocol)
        .route(1, never)
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    peer.send_line("1").await;
    running.reaches(1).await;
    peer.send(&b"\0\0\0\x051hi"[..]).await;
    peer.reset();
    let ended = notes.find("disconnect").await;
    let reset = "disconnect transport failed: read: ";
    assert!(ended.starts_with(reset), "{ended}");
    assert!(ended.contains("reset by peer"), "{ended}");
    running.reaches(0).await;
    server.end().await;
    let ends: Vec<_> = notes.all().into_iter().skip(2).collect();
    assert_eq!(ends, ["command_end Disconnected".to_owned(), ended]);
}

async fn all_calls_fail_when_the_server_is_gone<R: Runtime>() {
    // rule: CLI-3
    const CALLS: usize = 50;
    let running = Count::default();
    let app = WireframeApp::new()
        .route(1, never)
        .route(2, async |connection: ConnectionHandle| connection.abort())
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let client = server.client::<R>().await;
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let client = client.clone();
            spawn::<R, _>(async move { client.call(Envelope::new(1, "anyone?")).await })
        })
        .collect();
    running.reaches(CALLS).await;
    let last = client.call(Envelope::new(2, "")).await;
    let reason = CallError::Closed(CloseReason::PeerClosed);
    assert_eq!(last, Err(reason.clone()));
    for call in calls {
        assert_eq!(call.join().await, Err(reason.clone()));
    }
    running.reaches(0).await;
    server.end().await;
}
