//! Requests and their answers, and conversations.

use std::time::Duration;

use wireframe::{CallError, Conversation, Envelope, WireframeApp, WireframeError, rt::Runtime};
use wireframe_tests::{
    ANSWER, InOrderRecords, Line, Lines, Oops, Outsider, Record, Serving, line, spawn,
};

use crate::support::{Count, Gate, echo, wait};

scenarios! {
    a_call_gets_its_reply
    pipelined_calls_each_get_their_own_reply
    pipelined_requests_are_answered_in_order
    a_handler_converses_with_its_peer
    a_call_times_out_and_its_connection_goes_on
    two_hundred_connections_are_served_at_once
}

async fn a_call_gets_its_reply<R: Runtime>() {
    // rule: CLI-1
    let server = Serving::start::<R, _>(WireframeApp::new().route(1, echo)).await;
    let client = server.client::<R>().await;
    for n in 0..20u8 {
        let reply = client.call(Envelope::new(1, vec![n])).await;
        assert_eq!(reply.expect("an echo").payload, [n][..]);
    }
    drop(client);
    server.end().await;
}

async fn pipelined_calls_each_get_their_own_reply<R: Runtime>() {
    // rule: CLI-1
    let server = Serving::start::<R, _>(WireframeApp::new().route(1, echo)).await;
    let client = server.client::<R>().await;
    let calls: Vec<_> = (0..500)
        .map(|n| {
            let client = client.clone();
            spawn::<R, _>(async move {
                let reply = client.call(Envelope::new(1, format!("call {n}"))).await;
                assert_eq!(reply.expect("an echo").payload, format!("call {n}"));
            })
        })
        .collect();
    for call in calls {
        call.join().await;
    }
    drop(client);
    server.end().await;
}

async fn pipelined_requests_are_answered_in_order<R: Runtime>() {
    // rule: SEL-6
    let app = WireframeApp::with_protocol(InOrderRecords::default()).route(1, echo);
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    // More than are held back.
    for n in 0..100u8 {
        peer.send_record(&Record::new(1, vec![n])).await;
    }
    for n in 0..100u8 {
        let answer = Record::new(1 | ANSWER, vec![n]);
        assert_eq!(peer.next_record().await, Some(answer));
    }
    drop(peer);
    server.end().await;
}

/// Asks for more until the body has ended, and answers with what it was.
async fn load(mut peer: Conversation<Line>) -> Result<String, WireframeError<Oops>> {
    let mut body = String::new();
    while let Some(Line(part)) = peer.next().await? {
        body.push_str(&part);
        peer.send(line(format!("after {part}"))).await?;
    }
    Ok(body)
}

async fn a_handler_converses_with_its_peer<R: Runtime>() {
    // rule: REQ-2
    let protocol = Lines::new();
    let notes = protocol.notes.clone();
    let app = WireframeApp::with_protocol(protocol).route(1, load);
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    assert_eq!(peer.next_line().await.as_deref(), Some("hello"));
    peer.send_line("1").await;
    let parts = ["+a", "+b", "+c", "+.d"];
    for part in parts {
        peer.send_line(part).await;
        assert_eq!(peer.next_line().await, Some(format!("after {part}")));
    }
    let whole = format!("1={}", parts.concat());
    assert_eq!(peer.next_line().await, Some(whole));
    assert_eq!(notes.find("command_end").await, "command_end Done");
    drop(peer);
    server.end().await;
}

async fn a_call_times_out_and_its_connection_goes_on<R: Runtime>() {
    // rule: CLI-3
    let (gate, running) = (Gate::default(), Count::default());
    let app = WireframeApp::new()
        .route(1, echo)
        .route(2, wait)
        .state(gate.clone())
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let client = server.client::<R>().await;
    let clock = R::environment().clock;
    let (began, limit) = (clock.now(), Duration::from_millis(30));
    let call = client.call(Envelope::new(2, "")).timeout(limit);
    assert_eq!(call.await, Err(CallError::TimedOut { limit }));
    assert!(clock.now() >= began + limit, "too early");
    let reply = client.call(Envelope::new(1, "still here")).await;
    assert_eq!(reply.expect("an echo").payload, "still here");
    gate.open();
    running.reaches(0).await;
    let reply = client.call(Envelope::new(1, "and now")).await;
    assert_eq!(reply.expect("not the late one").payload, "and now");
    drop(client);
    server.end().await;
}

async fn two_hundred_connections_are_served_at_once<R: Runtime>() {
    // rule: APP-2
    // Descriptors are few: one runtime after the other.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    const CONNECTIONS: usize = 200;
    let _alone = ALONE.lock().await;
    let (gate, running) = (Gate::default(), Count::default());
    let app = WireframeApp::new()
        .route(1, wait)
        .state(gate.clone())
        .state(running.clone());
    let server = Serving::start::<R, _>(app).await;
    let address = server.address;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            spawn::<R, _>(async move {
                let client = wireframe::connect::<R, _>(address, WireframeApp::new()).await;
                let client = client.expect("a server listens");
                let reply = client.call(Envelope::new(1, n.to_string())).await;
                assert_eq!(reply.expect("an echo").payload, n.to_string());
            })
        })
        .collect();
    running.reaches(CONNECTIONS).await;
    assert_eq!(server.handle.connections(), CONNECTIONS);
    gate.open();
    for client in clients {
        client.join().await;
    }
    server.end().await;
}
