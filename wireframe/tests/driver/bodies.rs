//! Bodies of requests, as their handlers read them.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_io::{AsyncBufRead, AsyncRead};
use wireframe::{
    BodyError, BuildError, Clock, Conversation, Inbound, Place, Priority, RequestBody, Response,
    State, TaskTracker, WireframeApp, WireframeError,
};

use crate::rig::{Line, Oops, Record, Rig, Text, config, line, nonzero, secs, text, wire};

type Answer = Response<Line, Oops>;

/// Reads its body to the end, and two times more, and answers with all of that.
async fn collect(mut body: RequestBody<Line>) -> Result<String, BodyError> {
    let mut parts = Vec::new();
    while let Some(Line(part)) = body.next().await? {
        parts.push(part);
    }
    assert_eq!((body.next().await?, body.next().await?), (None, None));
    Ok(parts.join(" "))
}

async fn collected(body: RequestBody<Line>) -> Result<String, WireframeError<Oops>> {
    Ok(collect(body).await?)
}

fn request(head: &str, body: &[&str]) -> Vec<u8> {
    let frames = [&[head], body].concat();
    frames.into_iter().flat_map(wire).collect()
}

#[test]
fn a_handler_reads_its_body_in_order_the_last_frame_too_and_then_none() {
    // rule: REQ-2
    for most in [1, 2, 3, 5, 1000] {
        let mut rig = Rig::new(text(&Text::default()).route(1, collected));
        rig.script.read_sizes([most]);
        for _ in 0..3 {
            rig.peer.send(&request("1", &["+a", "+b", "+c", "+."]));
            assert_eq!(rig.heard(), ["1:+a +b +c +."], "{most} at a time");
        }
        // And as they come.
        rig.peer.send(&wire("1"));
        for part in ["+a", "+b"] {
            assert_eq!(rig.exchange(part), [""; 0]);
        }
        assert_eq!(rig.exchange("+."), ["1:+a +b +."]);
    }
}

#[test]
fn a_handler_that_takes_a_conversation_reads_the_same_body() {
    // rule: REQ-2
    async fn handler(peer: Conversation<Line>) -> Result<String, WireframeError<Oops>> {
        Ok(collect(peer.split().1).await?)
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, handler));
    rig.peer.send(&request("1", &["+a", "+."]));
    assert_eq!(rig.heard(), ["1:+a +."]);
}

#[test]
fn a_body_longer_than_all_bounds_passes_through() {
    // rule: REQ-2, REQ-3
    async fn count(mut body: RequestBody<Line>) -> Result<String, WireframeError<Oops>> {
        let mut frames = 0;
        while body.next().await?.is_some() {
            frames += 1;
        }
        Ok(frames.to_string())
    }
    for head in ["1", "^1"] {
        let mut rig = Rig::new(text(&Text::default()).route(1, count));
        let mut body = vec!["+part"; 5000];
        body.push("+.");
        rig.peer.send(&request(head, &body));
        assert_eq!(rig.heard(), ["1:5001"], "{head}");
    }
}

#[test]
fn a_full_body_makes_the_peer_wait_until_its_handler_takes_a_frame() {
    // rule: REQ-3
    async fn late(
        clock: Clock,
        mut body: RequestBody<Line>,
    ) -> Result<&'static str, WireframeError<Oops>> {
        for _ in 0..3 {
            clock.sleep(secs(60)).await;
            body.next().await?;
        }
        Ok("done")
    }
    for limits in [
        config(|c| c.limits.max_body_frames = nonzero(2)),
        config(|c| c.limits.max_body_bytes = Some(nonzero(4))),
    ] {
        let mut rig = Rig::new(text(&Text::default()).config(limits).route(1, late));
        rig.peer
            .send(&request("1", &["+a", "~early", "+b", "~late", "+."]));
        assert_eq!(
            rig.heard(),
            ["~early"],
            "behind a full body nothing is decoded"
        );
        rig.push.try_push(Priority::Low, line("!push")).unwrap();
        assert_eq!(rig.heard(), ["!push"], "but output goes on");
        rig.advance(secs(59));
        assert_eq!(rig.heard(), [""; 0]);
        rig.advance(secs(1));
        assert_eq!(rig.heard(), ["~late"]);
        rig.advance(secs(120));
        assert_eq!(rig.heard(), ["1:done"]);
    }
}

#[test]
fn only_the_frame_that_is_asked_for_leaves_the_engine() {
    // rule: REQ-3
    async fn one(mut body: RequestBody<Line>) -> Result<(), WireframeError<Oops>> {
        body.next().await?;
        std::future::pending().await
    }
    let limits = config(|c| c.limits.max_body_frames = nonzero(1));
    let mut rig = Rig::new(text(&Text::default()).config(limits).route(1, one));
    rig.peer.send(&request("1", &["+a", "~one", "+b", "~two"]));
    assert_eq!(rig.heard(), ["~one"]);
}

#[test]
fn a_dropped_next_loses_no_frame() {
    // rule: REQ-2
    async fn impatient(
        clock: Clock,
        mut body: RequestBody<Line>,
    ) -> Result<String, WireframeError<Oops>> {
        let (mut parts, mut given_up) = (Vec::new(), 0);
        loop {
            match clock.timeout(secs(1), body.next()).await {
                Err(_) => {
                    given_up += 1;
                    // A frame comes while nobody awaits one, and while the next future is
                    // there but not polled.
                    clock.sleep(secs(1)).await;
                }
                Ok(next) => match next? {
                    Some(Line(part)) => parts.push(part),
                    None => return Ok(format!("{} {given_up}", parts.join(" "))),
                },
            }
        }
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, impatient));
    rig.ask("1");
    rig.advance(secs(1));
    rig.ask("+a");
    rig.advance(secs(2));
    rig.ask("+b");
    rig.ask("+c");
    rig.advance(secs(5));
    assert_eq!(rig.exchange("+."), ["1:+a +b +c +. 4"]);
}

#[test]
fn nothing_behind_an_exclusive_request_is_decoded_but_what_its_handler_awaits() {
    // rule: FRAME-4, REQ-2
    async fn two(
        mut body: RequestBody<Line>,
        clock: Clock,
    ) -> Result<&'static str, WireframeError<Oops>> {
        body.next().await?;
        clock.sleep(secs(1)).await;
        while body.next().await?.is_some() {}
        Ok("read")
    }
    for most in [1, 1000] {
        let mut rig = Rig::new(
            text(&Text::default())
                .route(1, two)
                .route(2, async || "two"),
        );
        rig.script.read_sizes([most]);
        rig.peer
            .send(&request("^1", &["+a", "~b", "+c", "+.", "~d", "2", "^2"]));
        assert_eq!(
            rig.heard(),
            [""; 0],
            "nobody awaits what is behind the first frame"
        );
        rig.advance(secs(1));
        assert_eq!(rig.heard(), ["~b", "1:read", "~d", "2:two", "2:two"]);
    }
}

#[test]
fn a_body_is_read_in_the_stream_that_is_the_answer() {
    // rule: REQ-2
    async fn echo(mut body: RequestBody<Line>) -> Answer {
        Response::stream(async_stream::try_stream! {
            while let Some(Line(part)) = body.next().await? {
                yield line(format!("echo {part}"));
            }
        })
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, echo));
    rig.ask("1");
    for part in ["+a", "+b", "+."] {
        assert_eq!(rig.exchange(part), [format!("echo {part}")]);
    }
    rig.peer.send(&request("1", &["+a", "+."]));
    assert_eq!(rig.heard(), ["echo +a", "echo +."], "the command had ended");
}

#[test]
fn a_body_is_read_by_another_task() {
    // rule: REQ-2
    async fn handler(body: RequestBody<Line>, tasks: TaskTracker) -> Answer {
        let (sender, response) = Response::channel(1);
        tasks.spawn(async move {
            let parts = collect(body).await.unwrap();
            sender.send(line(parts)).await.unwrap();
        });
        response
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, handler));
    rig.ask("1");
    for part in ["+a", "+b"] {
        assert_eq!(rig.exchange(part), [""; 0]);
    }
    assert_eq!(rig.exchange("+."), ["+a +b +."]);
}

#[test]
fn a_body_is_a_stream() {
    // rule: REQ-2
    async fn handler(mut body: RequestBody<Line>) -> Result<String, WireframeError<Oops>> {
        let mut parts = Vec::new();
        while let Some(part) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            parts.push(part?.0);
        }
        Ok(parts.join(" "))
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, handler));
    rig.ask("1");
    rig.ask("+a");
    assert_eq!(rig.exchange("+."), ["1:+a +."]);
}

#[test]
fn a_body_of_payloads_is_a_reader_of_bytes() {
    // rule: REQ-2
    async fn by_three(mut body: RequestBody<Line>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let mut buffer = [0; 3];
            let n = poll_fn(|cx| Pin::new(&mut body).poll_read(cx, &mut buffer)).await?;
            if n == 0 {
                return Ok(bytes);
            }
            bytes.extend(&buffer[..n]);
            bytes.push(b'|');
        }
    }
    async fn buffered(mut body: RequestBody<Line>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let n = poll_fn(|cx| {
                let filled = ready!(Pin::new(&mut body).poll_fill_buf(cx))?;
                bytes.extend(filled);
                Poll::Ready(Ok::<_, io::Error>(filled.len()))
            })
            .await?;
            if n == 0 {
                return Ok(bytes);
            }
            Pin::new(&mut body).consume(n);
            bytes.push(b'|');
        }
    }
    let app = text(&Text::default())
        .route(1, async |body| {
            Ok::<_, WireframeError<Oops>>(by_three(body).await?)
        })
        .route(2, async |body| {
            Ok::<_, WireframeError<Oops>>(buffered(body).await?)
        });
    let mut rig = Rig::new(app);
    for (head, bytes) in [("1", "1:+ab|cd|+ef|+.|"), ("2", "2:+abcd|+ef|+.|")] {
        rig.peer.send(&request(head, &["+abcd", "+ef", "+."]));
        assert_eq!(rig.heard(), [bytes]);
    }
}

#[test]
fn a_handler_takes_one_body_at_most_and_where_there_is_a_request() {
    // rule: APP-2
    type Refused = Option<BuildError>;
    let refused = |app: WireframeApp<Text>| app.build().err();
    let of = |place, taken, there| -> Refused {
        Some(BuildError::Body {
            place,
            taken,
            there,
        })
    };
    let app = || text(&Text::default());
    let twice = async |_: Conversation<Line>, _: RequestBody<Line>| ();
    let once = async |_: Inbound<Line>, _: RequestBody<Line>| ();
    assert_eq!(refused(app().route(1, twice)), of(Place::Route(1), 2, 1));
    let body = async |_: RequestBody<Line>| ();
    assert_eq!(refused(app().on_push(body)), of(Place::OnPush, 1, 0));
    let connected = async |_: Conversation<Line>| ();
    assert_eq!(
        refused(app().on_connect(connected)),
        of(Place::OnConnect, 1, 0)
    );
    assert_eq!(refused(app().route(1, once).fallback(body)), None);
}

#[test]
fn body_frames_for_a_handler_that_takes_none_are_discarded() {
    // rule: REQ-4
    let app = text(&Text::default())
        .route(1, async |clock: Clock, body: Bytes| {
            clock.sleep(secs(1)).await;
            body
        })
        .state(Record::default())
        .route(2, async |State(_): State<Record>| "two");
    let mut rig = Rig::new(app);
    rig.peer.send(&request("1", &["+a"; 100]));
    assert_eq!(rig.exchange("~now"), ["~now"], "they are not kept");
    rig.advance(secs(1));
    assert_eq!(
        rig.heard(),
        [""; 0],
        "in order the answer waits for the last frame"
    );
    rig.peer.send(&request("+.", &["2"]));
    assert_eq!(rig.heard(), ["1:1", "2:two"]);
}
