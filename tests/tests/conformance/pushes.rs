//! What a server says of its own accord.

use wireframe::{
    Envelope, Inbound, Priority, PushCapacity, PushHandle, PushLimits, PushPolicy, Response,
    SessionRegistry, State, WireframeApp, rt::Runtime,
};
use wireframe_tests::{Outsider, Serving};

use crate::support::{Count, echo, some};

scenarios! {
    pushes_of_both_priorities_overtake_a_stream
    a_producer_waits_for_room_and_nothing_is_lost
    a_broadcast_reaches_everyone_who_is_registered
    a_client_serves_what_is_pushed_to_it
}

async fn pushes_of_both_priorities_overtake_a_stream<R: Runtime>() {
    // rule: SEL-1, SEL-8
    const LEN: usize = 1024;
    const FRAMES: usize = 1000;
    async fn stream(push: PushHandle) -> Response {
        Response::frames(async_stream::stream! {
            for n in 0..FRAMES {
                if n == FRAMES / 2 {
                    let low = push.push_low_priority(Envelope::new(3, "low")).await;
                    low.expect("room");
                    let high = push.push_high_priority(Envelope::new(2, "high")).await;
                    high.expect("room");
                }
                yield Envelope::new(1, vec![0; LEN]);
            }
        })
    }
    let server = Serving::start::<R, _>(WireframeApp::new().route(1, stream)).await;
    let peer = Outsider::connect(server.address).await;
    peer.send_envelope(&Envelope::new(1, "")).await;
    let (mut streamed, mut pushed) = (0, Vec::new());
    while streamed < FRAMES {
        let frame = peer.next_envelope().await.expect("all of them");
        match frame.id {
            1 => streamed += 1,
            id => pushed.push((id, streamed)),
        }
    }
    let [(2, high), (3, low)] = pushed[..] else {
        panic!("expected a high push and then a low one, got {pushed:?}");
    };
    // What waits for the transport: 64 KiB and the frame that passes that, those in the
    // slot of the answer, and one that had been pulled.
    let most = FRAMES / 2 + 64 + 1 + 2 + 1;
    assert!(high == low && low <= most, "behind {high} and {low} frames");
    drop(peer);
    server.end().await;
}

async fn a_producer_waits_for_room_and_nothing_is_lost<R: Runtime>() {
    // rule: PUSH-1, PUSH-9
    const PUSHES: usize = 5000;
    async fn produce(push: PushHandle, State(most): State<Count>) {
        for n in 0..PUSHES {
            let pushed = push
                .push_low_priority(Envelope::new(1, n.to_string()))
                .await;
            pushed.expect("the peer is there");
            assert!(push.queued(Priority::Low) <= 4, "more than were allowed");
        }
        assert_eq!(push.stats().accepted, PUSHES as u64);
        most.add();
    }
    let done = Count::default();
    let four = PushCapacity::new().with_frames(some(4));
    let app = WireframeApp::new()
        .on_connect(produce)
        .state(done.clone())
        .push_limits(PushLimits::both(four));
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    for n in 0..PUSHES {
        let pushed = peer.next_envelope().await.expect("all of them");
        assert_eq!(pushed.payload, n.to_string());
    }
    done.reaches(1).await;
    drop(peer);
    server.end().await;
}

async fn a_broadcast_reaches_everyone_who_is_registered<R: Runtime>() {
    // rule: REG-2, REG-3
    const CLIENTS: usize = 10;
    let registry = SessionRegistry::new();
    let app = WireframeApp::new().route(1, echo).registry(&registry);
    let server = Serving::start::<R, _>(app).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = server.client::<R>().await;
        let pushes = client.pushes();
        // Served, and so registered.
        client.call(Envelope::new(1, "")).await.expect("an echo");
        clients.push((client, pushes));
    }
    assert_eq!(registry.len(), CLIENTS);
    for n in 0..50 {
        let frame = Envelope::new(9, format!("news {n}"));
        let told = registry.broadcast(frame, Priority::High, PushPolicy::ReturnErrorIfFull);
        assert_eq!(told.queued, CLIENTS, "{told:?}");
    }
    for (_, pushes) in &mut clients {
        for n in 0..50 {
            let news = pushes.next().await.expect("the connection is up");
            assert_eq!(news.expect("in time").payload, format!("news {n}"));
        }
    }
    drop(clients);
    server.end().await;
    assert!(registry.is_empty(), "{registry:?}");
}

async fn a_client_serves_what_is_pushed_to_it<R: Runtime>() {
    // rule: CLI-1
    const PUSHES: usize = 100;
    async fn produce(push: PushHandle) {
        for n in 0..PUSHES {
            let pushed = push
                .push_high_priority(Envelope::new(9, n.to_string()))
                .await;
            pushed.expect("the peer is there");
        }
    }
    let server = Serving::start::<R, _>(WireframeApp::new().on_connect(produce)).await;
    let heard = Count::default();
    let serving = WireframeApp::new().state(heard.clone()).on_push(
        async |Inbound(frame): Inbound<Envelope>, State(heard): State<Count>| {
            assert_eq!(frame.payload, heard.add().to_string());
        },
    );
    let client = wireframe::connect::<R, _>(server.address, serving).await;
    let client = client.expect("a server listens");
    heard.reaches(PUSHES).await;
    drop(client);
    server.end().await;
}
