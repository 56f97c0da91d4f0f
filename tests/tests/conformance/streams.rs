//! Streamed answers, and readers that are slow to take them.

use wireframe::{
    Envelope, EnvelopeProtocol, Response, State, TaskTracker, WireframeApp, rt::Runtime,
};
use wireframe_tests::{Line, Lines, Oops, Outsider, Serving, line};

use crate::support::{Count, echo, pattern};

scenarios! {
    a_streamed_answer_comes_whole_and_ends
    an_answer_that_another_task_sends_comes_whole_and_ends
    the_protocol_marks_the_end_of_a_stream
    a_slow_reader_stops_the_stream_and_nobody_else
}

fn protocol() -> WireframeApp {
    WireframeApp::with_protocol(EnvelopeProtocol::default().with_stream_end(0))
}

const FRAMES: u32 = 2000;

fn frame(n: u32) -> Envelope {
    Envelope::new(1, n.to_be_bytes().to_vec())
}

async fn takes_all_frames_from<R: Runtime>(app: WireframeApp) {
    let server = Serving::start::<R, _>(app).await;
    let client = wireframe::connect::<R, _>(server.address, protocol()).await;
    let client = client.expect("a server listens");
    let mut replies = client.call_streaming(Envelope::new(1, ""));
    for n in 0..FRAMES {
        let next = replies.next().await.expect("more frames");
        let next = next.expect("a live connection");
        assert_eq!(next.payload, frame(n).payload);
    }
    assert_eq!(replies.next().await, None);
    drop((client, replies));
    server.end().await;
}

async fn a_streamed_answer_comes_whole_and_ends<R: Runtime>() {
    // rule: RESP-1, CLI-1
    let stream = async || {
        Response::frames(async_stream::stream! {
            for n in 0..FRAMES {
                yield frame(n);
            }
        })
    };
    takes_all_frames_from::<R>(protocol().route(1, stream)).await;
}

async fn an_answer_that_another_task_sends_comes_whole_and_ends<R: Runtime>() {
    // rule: RESP-1
    let channel = async |tasks: TaskTracker| {
        let (sender, answer) = Response::channel(4);
        tasks.spawn(async move {
            for n in 0..FRAMES {
                let sent = sender.send(frame(n)).await;
                sent.expect("the peer is there");
            }
        });
        answer
    };
    takes_all_frames_from::<R>(protocol().route(1, channel)).await;
}

async fn the_protocol_marks_the_end_of_a_stream<R: Runtime>() {
    // rule: RESP-3
    async fn streamed() -> Response<Line, Oops> {
        Response::frames(async_stream::stream! {
            yield line("one");
            yield line("two");
        })
    }
    async fn breaks_off() -> Response<Line, Oops> {
        Response::stream(async_stream::try_stream! {
            yield line("one");
            Err(Oops("no more"))?;
        })
    }
    let app = WireframeApp::with_protocol(Lines::new())
        .route(1, streamed)
        .route(2, breaks_off);
    let server = Serving::start::<R, _>(app).await;
    let peer = Outsider::connect(server.address).await;
    peer.send_line("1").await;
    peer.send_line("2").await;
    for expected in ["hello", "one", "two", "end", "one", "error: no more"] {
        assert_eq!(peer.next_line().await.as_deref(), Some(expected));
    }
    drop(peer);
    server.end().await;
}

async fn a_slow_reader_stops_the_stream_and_nobody_else<R: Runtime>() {
    // rule: RESP-5
    const LEN: usize = 64 * 1024;
    const FRAMES: usize = 1024;
    // What the kernels at both ends may hold, and more than the library does.
    const HELD: usize = 16 * 1024 * 1024;
    async fn stream(State(pulled): State<Count>) -> Response {
        Response::frames(async_stream::stream! {
            for n in 0..FRAMES {
                pulled.add();
                yield Envelope::new(1, pattern(n, LEN));
            }
        })
    }
    let pulled = Count::default();
    let app = WireframeApp::new()
        .route(1, stream)
        .route(2, echo)
        .state(pulled.clone());
    let server = Serving::start::<R, _>(app).await;
    let slow = Outsider::connect_narrow(server.address).await;
    slow.send_envelope(&Envelope::new(1, "")).await;
    let other = server.client::<R>().await;
    for n in 0..FRAMES {
        // Time enough to pull the whole stream, if nothing stopped it.
        let reply = other.call(Envelope::new(2, pattern(n, 32))).await;
        assert_eq!(reply.expect("an echo").payload, pattern(n, 32));
        let produced = pulled.now() * LEN;
        let most = n * LEN + HELD;
        assert!(
            produced <= most,
            "{produced} bytes produced, {n} frames read"
        );
        let next = slow.next_envelope().await.expect("all of them");
        assert!(next.payload == pattern(n, LEN), "frame {n} is another");
    }
    assert_eq!(pulled.now(), FRAMES);
    drop((slow, other));
    server.end().await;
}
