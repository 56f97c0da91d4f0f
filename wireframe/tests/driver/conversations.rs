//! What handlers send while they are at work.

use wireframe::{
    Clock, CloseReason, Conversation, Driver, Envelope, Inbound, PushHandle, Response, SendError,
    State, TaskTracker, WireframeApp, WireframeError,
    testing::{Simulation, link},
};

use crate::rig::{Line, Oops, Record, Rig, Text, config, line, nonzero, secs, text};

type Answer = Response<Line, Oops>;
type Failing<T> = Result<T, WireframeError<Oops>>;

/// Sends more than may wait.
async fn send_five(peer: &mut Conversation<Line>) -> Result<(), SendError<Line>> {
    for n in 0..5 {
        peer.send(line(format!("sent {n}"))).await?;
    }
    Ok(())
}

fn two() -> [Line; 2] {
    [line("a"), line("b")]
}

/// An app with a route for each way to answer, which sends before.
fn outcomes(protocol: &Text) -> WireframeApp<Text> {
    text(protocol)
        .route(1, async |mut peer: Conversation<Line>| -> Failing<_> {
            send_five(&mut peer).await?;
            Ok("one")
        })
        .route(2, async |mut peer: Conversation<Line>| -> Failing<_> {
            send_five(&mut peer).await?;
            Ok(Answer::Vec(two().into()))
        })
        .route(3, async |mut peer: Conversation<Line>| -> Failing<_> {
            send_five(&mut peer).await?;
            Ok(Answer::frames(async_stream::stream! {
                for frame in two() {
                    yield frame;
                }
            }))
        })
        .route(4, async |mut peer: Conversation<Line>| -> Failing<_> {
            send_five(&mut peer).await?;
            let (sender, response) = Answer::channel(2);
            for frame in two() {
                sender.try_send(frame).unwrap();
            }
            Ok(response)
        })
        .route(5, async |mut peer: Conversation<Line>| -> Failing<()> {
            send_five(&mut peer).await?;
            Ok(())
        })
        .route(6, async |mut peer: Conversation<Line>| -> Failing<()> {
            send_five(&mut peer).await?;
            Err(Oops("sorry"))?
        })
        .route(7, async |mut peer: Conversation<Line>| {
            // In the stream, before and between its frames and before its end.
            Answer::stream(async_stream::try_stream! {
                for frame in two() {
                    send_five(&mut peer).await?;
                    yield frame;
                }
                send_five(&mut peer).await?;
                Err(Oops("sorry"))?;
            })
        })
        .route(8, async |mut peer: Conversation<Line>| {
            // At once, so that all of it happens in one poll.
            peer.send(line("sent 0")).await.unwrap();
            peer.send(line("sent 1")).await.unwrap();
            "one"
        })
}

const SENT: [&str; 5] = ["sent 0", "sent 1", "sent 2", "sent 3", "sent 4"];

#[test]
fn what_a_handler_sent_precedes_what_it_answers_whatever_that_is() {
    // rule: REQ-2, RESP-3, RESP-4, RESP-6
    let cases = [
        ("1", [&SENT[..], &["1:one"]].concat()),
        ("2", [&SENT[..], &["a", "b"]].concat()),
        ("3", [&SENT[..], &["a", "b", "end"]].concat()),
        ("4", [&SENT[..], &["a", "b", "end"]].concat()),
        ("5", SENT.to_vec()),
        ("6", [&SENT[..], &["error: sorry"]].concat()),
        (
            "7",
            [&SENT[..], &["a"], &SENT, &["b"], &SENT, &["error: sorry"]].concat(),
        ),
        ("8", vec!["sent 0", "sent 1", "8:one"]),
    ];
    for (capacity, high_water) in [(1 << 20, 1 << 16), (1, 1), (7, 40)] {
        let protocol = Text {
            stream_end: true,
            ..Text::default()
        };
        let limits = config(|c| c.limits.high_water = nonzero(high_water));
        let mut rig = Rig::with_capacity(outcomes(&protocol).config(limits), capacity);
        for (route, answer) in &cases {
            assert_eq!(rig.exchange(route), *answer, "route {route}");
            let record = protocol.record.take();
            let ends = record.iter().filter(|hook| hook.starts_with("command_end"));
            assert_eq!(ends.count(), 1, "route {route}");
            assert!(
                record
                    .last()
                    .is_some_and(|hook| hook.starts_with("command_end"))
            );
        }
    }
}

#[test]
fn what_a_handler_sent_before_it_panicked_or_failed_goes_before_the_goodbye() {
    // rule: REQ-2, RESP-4, RESP-8
    async fn panics(mut peer: Conversation<Line>) {
        send_five(&mut peer).await.unwrap();
        panic!("told to");
    }
    async fn fails(mut peer: Conversation<Line>) -> Failing<()> {
        send_five(&mut peer).await?;
        Err(std::io::Error::other("disk on fire").into())
    }
    for route in ["1", "2"] {
        let protocol = Text {
            has_goodbye: true,
            ..Text::default()
        };
        let mut rig = Rig::new(text(&protocol).route(1, panics).route(2, fails));
        let answer = [&SENT[..], &["goodbye"]].concat();
        assert_eq!(rig.exchange(route), answer);
        assert!(rig.reason().is_some());
        let ended = |outcome: &str| protocol.record.count(&format!("command_end {outcome}"));
        assert_eq!(ended("Panicked") + ended("Failed"), 1);
    }
}

#[test]
fn what_a_handler_pushed_goes_before_what_it_sends_after_that() {
    // rule: SEL-1, REQ-2
    async fn both(
        mut peer: Conversation<Line>,
        push: PushHandle<Line>,
        clock: Clock,
    ) -> Failing<&'static str> {
        for n in 0..2 {
            push.push_low_priority(line(format!("!{n}"))).await.ok();
            peer.send(line(format!("sent {n}"))).await?;
            clock.sleep(secs(1)).await;
        }
        Ok("done")
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, both));
    assert_eq!(rig.exchange("1"), ["!0", "sent 0"]);
    rig.advance(secs(1));
    assert_eq!(rig.heard(), ["!1", "sent 1"]);
}

/// Sends without an end, and counts.
async fn flood(mut peer: Conversation<Line>, State(record): State<Record>) -> Failing<()> {
    loop {
        peer.send(line("x".repeat(96))).await?;
        record.note("sent");
    }
}

#[test]
fn a_slow_peer_stops_a_handler_that_sends() {
    // rule: RESP-5
    let record = Record::default();
    let limits = config(|c| c.limits.high_water = nonzero(1000));
    let app = text(&Text::default()).config(limits).state(record.clone());
    let mut rig = Rig::with_capacity(app.route(1, flood), 1000);
    rig.ask("1");
    // On the link, up to the high-water mark, and where they wait for room.
    assert_eq!(record.take().len(), 10 + 10 + 2);
    rig.advance(secs(20));
    assert_eq!(record.take(), [""; 0]);
    rig.peer.receive_at_most(500);
    rig.simulation.run();
    assert_eq!(record.take().len(), 5);
    // And when the peer is gone, so is the handler.
    let polls = rig.driver.polls();
    rig.push.connection().abort();
    rig.simulation.run();
    assert!(rig.driver.is_done() && rig.driver.polls() <= polls + 2);
    assert_eq!(record.take(), [""; 0]);
}

#[test]
fn a_dropped_send_has_sent_nothing() {
    // rule: REQ-2
    async fn impatient(mut peer: Conversation<Line>, clock: Clock) -> Failing<String> {
        let (mut n, mut dropped) = (0, Vec::new());
        while dropped.len() < 2 {
            let send = peer.send(line(format!("{n:0>60}")));
            match clock.timeout(secs(1), send).await {
                Ok(sent) => sent?,
                Err(_) => dropped.push(n),
            }
            n += 1;
        }
        Ok(format!("{dropped:?}"))
    }
    let limits = config(|c| c.limits.high_water = nonzero(1));
    let app = text(&Text::default()).config(limits).route(1, impatient);
    let mut rig = Rig::with_capacity(app, 1);
    rig.ask("1");
    rig.advance(secs(2));
    let heard: Vec<_> = rig.heard();
    let (answer, sent) = heard.split_last().unwrap();
    let numbers: Vec<u32> = sent.iter().map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(answer, "1:[3, 4]");
}

/// Notes that whoever holds it is gone.
struct NoteOfDrop(Record);

impl Drop for NoteOfDrop {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

#[test]
fn a_frame_that_cannot_be_encoded_fails_the_command_and_ends_its_handler() {
    // rule: RESP-6, REQ-2
    async fn asks(
        mut peer: Conversation<Line>,
        Inbound(head): Inbound<Line>,
        clock: Clock,
        State(record): State<Record>,
    ) -> &'static str {
        let _dropped = NoteOfDrop(record.clone());
        if head == line("1 queued") {
            peer.send(line("fine")).await.unwrap();
        }
        peer.send(line("why?")).await.unwrap();
        record.note(format!("{:?}", peer.next().await));
        let refused = peer.send(line("late")).await.unwrap_err();
        record.note(refused.into_frame().0);
        clock.sleep(secs(1)).await;
        record.note("not so long");
        "too late"
    }
    for head in ["1", "1 queued"] {
        let record = Record::default();
        let protocol = Text::default();
        let limits = config(|c| c.limits.high_water = nonzero(1));
        let app = text(&protocol).config(limits).state(record.clone());
        let app = app.route(1, asks).route(2, async || "two");
        let mut rig = Rig::with_capacity(app, 1);
        rig.ask(head);
        if head == "1" {
            assert_eq!(rig.heard(), ["error: unencodable"]);
        } else {
            // It awaits its body by then, of which the rest has to be discarded.
            assert_eq!(rig.heard(), ["fine"]);
            assert_eq!(rig.exchange("+."), ["error: unencodable"]);
        }
        // It learns of it, and has the rest of that poll.
        assert_eq!(record.take(), ["Err(Closed)", "late", "dropped"]);
        assert_eq!(rig.exchange("2"), ["2:two"], "the connection goes on");
        rig.advance(secs(1));
        assert_eq!(record.take(), [""; 0]);
        assert_eq!(rig.heard(), [""; 0]);
        assert_eq!(protocol.record.count("command_end Failed"), 1);
    }
}

#[test]
fn a_handler_that_waits_is_told_of_a_failure_while_others_are_at_work() {
    // rule: RESP-6, REQ-2
    async fn awaits(mut peer: Conversation<Line>, State(record): State<Record>) {
        peer.send(line("why?")).await.unwrap();
        record.note(format!("{:?}", peer.next().await));
    }
    async fn sends(mut peer: Conversation<Line>, State(record): State<Record>) {
        // More than may wait, in the engine and before it.
        let mut frames = ["why?", "a", "b", "c", "d"].into_iter().map(line);
        let refused = loop {
            if let Err(refused) = peer.send(frames.next().unwrap()).await {
                break refused.into_frame().0;
            }
        };
        record.note(refused);
    }
    for (route, told) in [("2", "Err(Closed)"), ("3", "d")] {
        let record = Record::default();
        let app = text(&Text::default())
            .config(config(|c| c.limits.max_in_flight = Some(nonzero(3))))
            .state(record.clone())
            .route(1, async |clock: Clock| {
                clock.sleep(secs(1)).await;
                "one"
            })
            .route(2, awaits)
            .route(3, sends)
            .route(4, std::future::pending::<()>);
        let mut rig = Rig::new(app);
        for request in ["1", route, "4"] {
            rig.ask(request);
        }
        assert_eq!(record.take(), [""; 0], "it is not its turn");
        rig.advance(secs(1));
        assert_eq!(record.take(), [told]);
        let mut heard = rig.heard();
        heard.extend(rig.exchange("+."));
        assert_eq!(heard, ["1:one", "error: unencodable"]);
    }
}

/// An app whose first two routes fail under a handler, a stream and a channel that have
/// not ended.
fn failing(record: &Record) -> WireframeApp<Text> {
    text(&Text::default())
        .state(record.clone())
        .route(
            1,
            async |mut peer: Conversation<Line>, State(record): State<Record>| {
                let _dropped = NoteOfDrop(record);
                peer.send(line("why?")).await.unwrap();
                // Awaits neither a frame nor room.
                std::future::pending::<()>().await;
            },
        )
        .route(2, |State(record): State<Record>| {
            let dropped = NoteOfDrop(record);
            Answer::frames(async_stream::stream! {
                let _dropped = dropped;
                yield line("why?");
                std::future::pending::<()>().await;
            })
        })
        .route(3, |State(record): State<Record>, tasks: TaskTracker| {
            let (sender, answer) = Answer::channel(2);
            tasks.spawn(async move {
                sender.send(line("why?")).await.unwrap();
                sender.closed().await;
                record.note("dropped");
            });
            answer
        })
        // Always has one more, for which there is no room.
        .route(4, |State(record): State<Record>| {
            let dropped = NoteOfDrop(record);
            Answer::frames(async_stream::stream! {
                let _dropped = dropped;
                yield line("why?");
                loop {
                    yield line("more");
                }
            })
        })
        .route(5, async |clock: Clock| {
            clock.sleep(secs(1)).await;
            "five"
        })
}

#[test]
fn whoever_is_at_work_for_a_command_ends_when_it_fails() {
    // rule: RESP-6, RESP-7
    for route in ["1", "2", "3", "4"] {
        let record = Record::default();
        let mut rig = Rig::new(failing(&record));
        for _ in 0..3 {
            assert_eq!(rig.exchange(route), ["error: unencodable"]);
            assert_eq!(record.take(), ["dropped"], "route {route}");
        }
    }
}

#[test]
fn whoever_is_at_work_for_a_command_ends_when_it_fails_later_in_its_turn() {
    // rule: RESP-6, RESP-7
    for route in ["1", "2", "3", "4"] {
        let record = Record::default();
        let two = config(|c| c.limits.max_in_flight = Some(nonzero(2)));
        let mut rig = Rig::new(failing(&record).config(two));
        for _ in 0..3 {
            rig.ask("5");
            rig.ask(route);
            assert_eq!(record.take(), [""; 0]);
            rig.advance(secs(1));
            assert_eq!(record.take(), ["dropped"], "route {route}");
            assert_eq!(rig.heard(), ["5:five", "error: unencodable"]);
        }
    }
}

/// A frame of the default protocol: route, correlation id, no payload.
fn envelope(route: u8, correlation: u8) -> [u8; 8] {
    [0, 0, 0, 4, route, 1, correlation, 0]
}

#[test]
fn handlers_that_send_take_turns_with_other_answers() {
    // rule: SEL-6, RESP-11
    async fn says(mut peer: Conversation) {
        while let Ok(()) = peer.send(Envelope::new(9, "")).await {}
    }
    let app = WireframeApp::new()
        .route(1, says)
        .route(2, async || {
            Response::frames(async_stream::stream! {
                loop {
                    yield Envelope::new(9, "");
                }
            })
        })
        .route(3, async || "echo")
        .build()
        .unwrap();
    let simulation = Simulation::new();
    let (near, mut peer) = link(4000);
    let driver = simulation.spawn(Driver::server(&app, near, None, &simulation.environment()));
    // Two that send and two streams, none of which ends.
    for (route, id) in [(1, 1), (2, 2), (1, 3), (2, 4)] {
        peer.send(&envelope(route, id));
    }
    simulation.run();
    let mut bytes = Vec::new();
    for _ in 0..100 {
        bytes.extend(peer.receive());
        simulation.run();
    }
    let mut counts = [0; 5];
    for frame in bytes.chunks_exact(8) {
        counts[usize::from(frame[6])] += 1;
    }
    let (least, most) = (
        counts[1..].iter().min().unwrap(),
        counts[1..].iter().max().unwrap(),
    );
    assert!(*least > 1000 && most - least < least / 20, "{counts:?}");
    // Another is answered as soon as what was encoded before has gone.
    peer.send(&envelope(3, 7));
    let mut before = 0;
    'heard: loop {
        simulation.run();
        for frame in peer.receive().chunks_exact(8) {
            if frame[6] == 7 {
                break 'heard;
            }
            before += 8;
        }
    }
    assert!(before < 100_000, "{before} bytes");
    drop(peer);
    simulation.run();
    assert!(matches!(driver.take(), Some(CloseReason::Transport(_))));
}
