//! Bodies that end before their time: dropped, late, cut off, closed.

use std::sync::{Arc, Mutex};

use wireframe::{
    BodyError, Clock, CloseReason, Conversation, HalfClose, RequestBody, Response, State,
    TaskTracker, WireframeApp, WireframeError,
};

use crate::rig::{Line, Oops, Record, Rig, Text, config, line, secs, text, wire};

type Failing<T> = Result<T, WireframeError<Oops>>;

/// Notes what comes of a body, until that is an error of the last kind or its end.
async fn note_all(body: &mut RequestBody<Line>, record: &Record) {
    loop {
        let next = body.next().await;
        record.note(match &next {
            Ok(Some(Line(part))) => part.clone(),
            Ok(None) => "none".into(),
            Err(error) => format!("{error:?}"),
        });
        if !matches!(next, Ok(Some(_)) | Err(BodyError::TimedOut)) {
            return;
        }
    }
}

async fn noting(mut body: RequestBody<Line>, State(record): State<Record>) -> &'static str {
    note_all(&mut body, &record).await;
    "noted"
}

fn recording(record: &Record) -> WireframeApp<Text> {
    text(&Text::default()).state(record.clone())
}

#[test]
fn a_handler_that_awaits_a_frame_is_told_when_none_comes_in_time_and_may_ask_again() {
    // rule: LIM-3
    let record = Record::default();
    let mut rig = Rig::new(recording(&record).route(1, noting));
    rig.ask("1");
    rig.advance(secs(29));
    assert_eq!(record.take(), [""; 0]);
    rig.advance(secs(1));
    assert_eq!(record.take(), ["TimedOut"]);
    rig.advance(secs(29));
    rig.ask("+a");
    rig.advance(secs(29));
    assert_eq!(record.take(), ["+a"], "each wait has its own time");
    rig.advance(secs(1));
    assert_eq!(record.take(), ["TimedOut"]);
    assert_eq!(rig.exchange("+."), ["1:noted"], "the connection goes on");
    assert_eq!(record.take(), ["+.", "none"]);
}

#[test]
fn the_body_clock_stands_still_while_nobody_awaits_a_frame() {
    // rule: LIM-3
    async fn now_and_then(
        mut body: RequestBody<Line>,
        clock: Clock,
        State(record): State<Record>,
    ) -> &'static str {
        for _ in 0..3 {
            assert!(clock.timeout(secs(20), body.next()).await.is_err());
            clock.sleep(secs(20)).await;
        }
        note_all(&mut body, &record).await;
        "noted"
    }
    let record = Record::default();
    let mut rig = Rig::new(recording(&record).route(1, now_and_then));
    rig.ask("1");
    rig.advance(secs(120));
    assert_eq!(record.take(), [""; 0]);
    rig.advance(secs(30));
    assert_eq!(record.take(), ["TimedOut"]);
}

#[test]
fn a_wait_given_up_when_its_time_is_over_leaves_nothing_to_the_next() {
    // rule: LIM-3
    async fn thirty(
        mut body: RequestBody<Line>,
        clock: Clock,
        State(record): State<Record>,
    ) -> &'static str {
        // Both are over at once.
        let first = clock.timeout(secs(30), body.next()).await;
        record.note(format!("{first:?}"));
        note_all(&mut body, &record).await;
        "noted"
    }
    let record = Record::default();
    let mut rig = Rig::new(recording(&record).route(1, thirty));
    rig.ask("1");
    rig.advance(secs(30));
    let first = record.take();
    assert_eq!(first.len(), 1, "{first:?}");
    rig.advance(secs(29));
    assert_eq!(
        record.take(),
        [""; 0],
        "asked again, it waits for as long again"
    );
    rig.advance(secs(1));
    assert_eq!(record.take(), ["TimedOut"]);
}

#[test]
fn a_body_that_times_out_with_a_question_mark_ends_the_connection() {
    // rule: LIM-3, RESP-6
    async fn strict(mut body: RequestBody<Line>) -> Failing<()> {
        while body.next().await?.is_some() {}
        Ok(())
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, strict));
    rig.ask("1");
    rig.advance(secs(30));
    let reason = rig.reason().unwrap();
    let what = "no frame of the body came in time";
    assert_eq!(reason, CloseReason::HandlerFailed(what.into()));
}

#[test]
fn a_half_close_inside_a_body_ends_it_with_an_error_and_answers_go_on() {
    // rule: RESP-10, SHUT-6
    for (head, awaits) in [("1", true), ("1", false), ("^1", true)] {
        let record = Record::default();
        let handler = async |clock: Clock, body: RequestBody<Line>, state: State<Record>| {
            clock.sleep(secs(1)).await;
            noting(body, state).await
        };
        let mut rig = Rig::new(recording(&record).route(1, handler));
        rig.ask(head);
        rig.ask("+a");
        if awaits {
            rig.advance(secs(1));
        }
        rig.peer.finish();
        rig.advance(secs(1));
        assert_eq!(rig.heard(), ["1:noted"]);
        assert_eq!(record.take(), ["+a", "UnexpectedEof"], "{head} {awaits}");
        assert_eq!(rig.reason(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn a_drain_waits_for_the_body_of_a_command_under_way() {
    // rule: SHUT-2
    let record = Record::default();
    let mut rig = Rig::new(recording(&record).route(1, noting));
    rig.ask("1");
    rig.push.connection().close();
    assert_eq!(rig.exchange("+a"), [""; 0]);
    assert_eq!(rig.exchange("+."), ["1:noted"]);
    assert_eq!(record.take(), ["+a", "+.", "none"]);
    assert_eq!(rig.reason(), Some(CloseReason::Drained));
}

#[test]
fn a_handler_is_dropped_inside_its_body_when_the_end_means_that_the_peer_is_gone() {
    // rule: RESP-10, RESP-4
    let protocol = Text::default();
    let ends = config(|c| c.half_close = HalfClose::Ends);
    let app = text(&protocol).config(ends).state(Record::default());
    let mut rig = Rig::new(app.route(1, noting));
    rig.ask("1");
    rig.ask("+a");
    assert_eq!(rig.reason(), Some(CloseReason::PeerClosed));
    assert_eq!(protocol.record.count("command_end Disconnected"), 1);
}

#[test]
fn what_a_handler_leaves_of_its_body_is_discarded_before_the_rest_of_its_answer_goes() {
    // rule: REQ-4, REQ-2
    async fn reads_one(mut peer: Conversation<Line>) -> Failing<&'static str> {
        peer.send(line("send it")).await?;
        peer.next().await?;
        for n in 0..5 {
            peer.send(line(format!("before {n}"))).await?;
        }
        Ok("enough")
    }
    async fn drops_early(peer: Conversation<Line>, clock: Clock) -> Failing<&'static str> {
        let (mut sender, mut body) = peer.split();
        sender.send(line("send it")).await?;
        body.next().await?;
        for n in 0..5 {
            sender.send(line(format!("before {n}"))).await?;
        }
        drop(body);
        clock.sleep(secs(1)).await;
        Ok("enough")
    }
    for handler in [1, 2] {
        let app = text(&Text::default())
            .route(1, reads_one)
            .route(2, drops_early);
        let mut rig = Rig::new(app);
        let before: Vec<_> = (0..5).map(|n| format!("before {n}")).collect();
        assert_eq!(rig.exchange(&handler.to_string()), ["send it"]);
        assert_eq!(rig.exchange("+a"), before, "sent before it was dropped");
        rig.advance(secs(1));
        assert_eq!(rig.heard(), [""; 0]);
        for _ in 0..100 {
            assert_eq!(rig.exchange("+more"), [""; 0]);
        }
        assert_eq!(rig.exchange("+."), [format!("{handler}:enough")]);
    }
}

#[test]
fn an_answer_waits_for_the_rest_of_a_body_that_outlives_its_handler() {
    // rule: REQ-4
    type Kept = Arc<Mutex<Vec<RequestBody<Line>>>>;
    async fn keeps(mut body: RequestBody<Line>, State(kept): State<Kept>) -> Failing<()> {
        body.next().await?;
        kept.lock().unwrap().push(body);
        Ok(())
    }
    let app = text(&Text::default())
        .state(Kept::default())
        .route(1, async |body: RequestBody<Line>, kept: State<Kept>| {
            keeps(body, kept).await.map(|()| "one")
        })
        .route(2, async |body: RequestBody<Line>, kept: State<Kept>| {
            let frames = vec![line("a"), line("b")];
            keeps(body, kept).await.map(|()| frames)
        });
    let mut rig = Rig::new(app);
    for (request, answer) in [("1", &["1:one"][..]), ("2", &["a", "b"])] {
        for part in [request, "+a", "+more"] {
            assert_eq!(rig.exchange(part), [""; 0]);
        }
        assert_eq!(rig.exchange("+."), answer);
    }
}

#[test]
fn frames_sent_before_a_body_is_dropped_do_not_wait_for_it_even_to_a_slow_peer() {
    // rule: REQ-4, REQ-2
    async fn eager(mut peer: Conversation<Line>) -> Failing<&'static str> {
        peer.next().await?;
        for n in 0..4 {
            peer.send(line(format!("before {n}"))).await?;
        }
        Ok("enough")
    }
    // Nothing fits: what is sent waits here and there, and the rest of the body comes
    // before any of it is read.
    let limits = config(|c| c.limits.high_water = crate::rig::nonzero(1));
    let app = text(&Text::default()).config(limits).route(1, eager);
    let mut rig = Rig::with_capacity(app, 1);
    rig.peer.send(&[wire("1"), wire("+a")].concat());
    rig.simulation.run();
    for _ in 0..100 {
        rig.ask("+more");
    }
    let before = ["before 0", "before 1", "before 2", "before 3"];
    assert_eq!(rig.heard(), before);
    assert_eq!(rig.exchange("+."), ["1:enough"]);
}

#[test]
fn a_body_dropped_by_a_handler_at_work_is_discarded_behind_what_was_sent_before() {
    // rule: REQ-4, REQ-2, REQ-3
    async fn goes_on(peer: Conversation<Line>, clock: Clock) -> Failing<&'static str> {
        let (mut sender, mut body) = peer.split();
        body.next().await?;
        for n in 0..3 {
            sender.send(line(format!("before {n}"))).await?;
        }
        drop(body);
        sender.send(line("after")).await?;
        clock.sleep(secs(10)).await;
        Ok("done")
    }
    let limits = config(|c| c.limits.high_water = crate::rig::nonzero(1));
    let app = text(&Text::default()).config(limits).route(1, goes_on);
    let mut rig = Rig::with_capacity(app, 1);
    rig.peer.send(&[wire("1"), wire("+a")].concat());
    rig.simulation.run();
    for _ in 0..100 {
        rig.ask("+more");
    }
    rig.ask("~now");
    let mut heard = rig.heard();
    assert!(heard.contains(&"~now".into()), "it is not kept: {heard:?}");
    heard.retain(|frame| frame != "~now");
    assert_eq!(heard, ["before 0", "before 1", "before 2"]);
    assert_eq!(rig.exchange("+."), ["after"]);
    rig.advance(secs(10));
    assert_eq!(rig.heard(), ["1:done"]);
}

type Kept = Arc<Mutex<Option<Conversation<Line>>>>;

#[test]
fn a_conversation_that_outlives_its_command_is_closed() {
    // rule: REQ-2
    async fn keep(peer: Conversation<Line>, State(kept): State<Kept>) -> &'static str {
        *kept.lock().unwrap() = Some(peer);
        "gone"
    }
    let kept = Kept::default();
    let app = text(&Text::default())
        .state(Arc::clone(&kept))
        .route(1, keep);
    let mut rig = Rig::new(app);
    assert_eq!(rig.exchange("1"), ["1:gone"]);
    for _ in 0..2 {
        let mut peer = kept.lock().unwrap().take().unwrap();
        let told = rig.simulation.spawn(async move {
            let late = peer.send(line("late")).await;
            let frame = late.unwrap_err().into_frame();
            (peer.next().await, frame, peer)
        });
        rig.simulation.run();
        let (next, frame, peer) = told.take().unwrap();
        assert_eq!((next, frame), (Err(BodyError::Closed), line("late")));
        *kept.lock().unwrap() = Some(peer);
        // The same after the connection has ended.
        rig.push.connection().abort();
        rig.simulation.run();
    }
    assert_eq!(rig.heard(), [""; 0]);
}

#[test]
fn whoever_waits_is_told_when_the_command_or_the_connection_ends() {
    // rule: REQ-2
    async fn spread(
        peer: Conversation<Line>,
        tasks: TaskTracker,
        clock: Clock,
        State(record): State<Record>,
    ) -> Response<Line, Oops> {
        let (mut sender, mut body) = peer.split();
        let reader = record.clone();
        tasks.spawn(async move { note_all(&mut body, &reader).await });
        tasks.spawn(async move {
            // Until there is no room.
            while let Ok(()) = sender.send(line("x".repeat(100))).await {}
            record.note("refused");
        });
        let (frames, response) = Response::channel(1);
        tasks.spawn(async move {
            clock.sleep(secs(1)).await;
            // The end of the answer is that of the command.
            drop(frames);
        });
        response
    }
    for abort in [true, false] {
        let record = Record::default();
        let limits = config(|c| c.limits.high_water = crate::rig::nonzero(300));
        let app = recording(&record).config(limits).route(1, spread);
        let mut rig = Rig::with_capacity(app, 1);
        rig.ask("1");
        assert_eq!(record.take(), [""; 0]);
        if abort {
            rig.push.connection().abort();
            rig.simulation.run();
        } else {
            rig.advance(secs(1));
            // The end is not seen before there is room.
            rig.heard();
        }
        let mut told = record.take();
        told.sort();
        assert_eq!(told, ["Closed", "refused"]);
    }
}
