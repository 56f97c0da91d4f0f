//! The hooks of a protocol: their order, their session, and what runs behind them.

use wireframe::{
    Clock, Context, Driver, FragmentMeta, FragmentStrategy, Inbound, Malformed,
    Priority::{High, Low},
    PushHandle, Response, Role, Session, Unencodable, View, WireframeApp, WireframeProtocol,
    testing::{Simulation, link},
};

use crate::rig::{Line, Notes, Oops, Rig, Text, TextCodec, line, secs, text, wire};

#[test]
fn hooks_run_in_the_order_of_a_connections_life() {
    // rule: HOOK-2
    let protocol = Text {
        greeting: Some("!welcome"),
        has_goodbye: true,
        ..Text::default()
    };
    let record = protocol.record.clone();
    let app = text(&protocol)
        .on_connect(move |push: PushHandle<Line>| {
            record.note("on_connect");
            async move { push.push_low_priority(line("!news")).await.unwrap() }
        })
        .route(1, async || line("answer"));
    let app = app.build().unwrap();
    let mut rig = Rig::idle(&app, &Simulation::new(), 1000);
    // It is there before the setup has run, and read only after it.
    rig.peer.send(&wire("1"));
    assert_eq!(rig.heard(), ["!welcome", "!news", "answer"]);
    rig.push.connection().close();
    assert_eq!(rig.heard(), ["goodbye"]);
    rig.reason();
    let record = protocol.record.take();
    assert_eq!(
        record,
        [
            "setup",
            "on_connect",
            "send !welcome",
            "send !news",
            "send answer",
            "command_end Done",
            "goodbye",
            "send goodbye",
            "disconnect drained",
        ]
    );
}

#[test]
fn before_send_sees_every_frame_of_every_source_in_wire_order() {
    // rule: HOOK-2
    let protocol = Text {
        stream_end: true,
        ..Text::default()
    };
    let app = text(&protocol).route(1, async || {
        Response::<Line, Oops>::frames(async_stream::stream! {
            for n in 0..20 {
                yield line(format!("frame {n}"));
            }
        })
    });
    let mut rig = Rig::with_capacity(app, 64);
    rig.peer.send(&wire("1"));
    for n in 0..10 {
        rig.push
            .try_push(if n % 3 == 0 { Low } else { High }, line(format!("!{n}")))
            .unwrap();
        rig.peer.send(&wire("~ping"));
    }
    let heard = rig.heard();
    assert_eq!(heard.len(), 20 + 1 + 10 + 10);
    let record = protocol.record.take().into_iter();
    let seen: Vec<_> = record
        .filter_map(|hook| hook.strip_prefix("send ").map(String::from))
        .collect();
    assert_eq!(seen, heard);
}

#[test]
fn the_answer_to_a_control_frame_goes_before_a_flaw_that_came_with_it() {
    // rule: FRAME-5
    for at_once in [false, true] {
        let protocol = Text {
            has_goodbye: true,
            ..Text::default()
        };
        let mut rig = Rig::new(text(&protocol));
        rig.peer.send(&wire("~x"));
        if !at_once {
            rig.simulation.run();
        }
        rig.peer.send(&[0, 0, 0, 1, 0xff]);
        assert_eq!(rig.heard(), ["~x", "goodbye"], "at once: {at_once}");
    }
}

#[test]
fn the_answer_to_a_control_frame_goes_before_a_close_on_one_that_came_with_it() {
    // rule: FRAME-5, HOOK-6
    for at_once in [false, true] {
        let mut rig = Rig::new(text(&Text::default()));
        rig.peer.send(&wire("~x"));
        if !at_once {
            rig.simulation.run();
        }
        rig.peer.send(&wire("~bye"));
        assert_eq!(rig.heard(), ["~x", "~bye"], "at once: {at_once}");
    }
}

#[test]
fn on_connect_runs_beside_the_connection_and_is_dropped_with_it() {
    // rule: HOOK-2
    struct Guard(crate::rig::Record);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let protocol = Text::default();
    let record = protocol.record.clone();
    let app = text(&protocol)
        .on_connect(move |push: PushHandle<Line>, clock: Clock| {
            let guard = Guard(record.clone());
            async move {
                loop {
                    clock.sleep(secs(1)).await;
                    if push.push_low_priority(line("!tick")).await.is_err() {
                        break;
                    }
                }
                drop(guard);
            }
        })
        .route(1, async || line("answer"));
    let mut rig = Rig::new(app);
    assert_eq!(rig.exchange("1"), ["answer"], "reading does not wait");
    for _ in 0..3 {
        rig.advance(secs(1));
        assert_eq!(rig.heard(), ["!tick"]);
    }
    assert_eq!(protocol.record.count("dropped"), 0);
    assert!(rig.reason().is_some());
    assert_eq!(protocol.record.count("dropped"), 1);
    assert_eq!(rig.simulation.clock().armed(), 0);
}

#[test]
fn a_dropped_driver_says_goodbye_to_its_hooks_once() {
    // rule: HOOK-2
    let protocol = Text::default();
    let app = text(&protocol).route(1, async || std::future::pending::<()>().await);
    let mut rig = Rig::new(app);
    rig.ask("1");
    rig.driver.cancel();
    let record = protocol.record.take();
    assert_eq!(
        record,
        ["setup", "command_end Disconnected", "disconnect aborted"]
    );
}

#[test]
fn a_driver_that_was_never_polled_runs_no_hook() {
    // rule: HOOK-2
    let protocol = Text::default();
    let simulation = Simulation::new();
    let rig = Rig::idle(&text(&protocol).build().unwrap(), &simulation, 1000);
    rig.push.try_push(High, line("!x")).unwrap();
    rig.driver.cancel();
    assert_eq!(protocol.record.take(), [""; 0]);
    rig.check_account();
    assert_eq!(rig.push.stats().lost_closed, 1);
}

#[test]
fn hooks_and_handlers_share_the_session() {
    // rule: HOOK-5
    async fn look(session: Session<Notes>) -> String {
        session.with(|notes| {
            notes.0.push("handler".into());
            notes.0.join(",")
        })
    }
    let mut rig = Rig::new(text(&Text::default()).route(1, look));
    assert_eq!(rig.exchange("1"), ["1:setup,handler"]);
    assert_eq!(
        rig.exchange("1"),
        ["1:setup,handler,sent 1:setup,handler,handler"]
    );
    let mut other = Rig::new(text(&Text::default()).route(1, look));
    assert_eq!(other.exchange("1"), ["1:setup,handler"], "each has its own");
}

#[test]
fn a_session_closure_that_panics_leaves_the_session_usable() {
    // rule: HOOK-5, RESP-8
    let protocol = Text {
        has_goodbye: true,
        ..Text::default()
    };
    let app = text(&protocol).route(1, async |session: Session<Notes>| {
        session.with(|_| panic!("in the session"));
    });
    let mut rig = Rig::new(app);
    assert_eq!(rig.exchange("1"), ["goodbye"]);
    assert!(rig.reason().is_some());
}

/// A protocol whose hook appends to every frame, and whose framing numbers the units.
#[derive(Default)]
struct Numbered;

/// A length, a number, and the number that is next.
#[derive(Default)]
struct Numbers {
    next: u8,
}

impl FragmentStrategy<Line> for Numbers {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        Ok(src
            .first_chunk()
            .map(|[len, _]| (FragmentMeta::whole((*len).into()), 2)))
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &Line,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        assert!(frame.0.ends_with('.'), "the hook has run");
        dst.extend([u8::try_from(meta.payload_len).unwrap(), self.next]);
        self.next += 1;
        Ok(())
    }
}

impl WireframeProtocol for Numbered {
    type Frame = Line;
    type Error = Oops;
    type Codec = TextCodec;
    type Framing = Numbers;
    type Session = ();

    fn codec(&self) -> TextCodec {
        TextCodec
    }

    fn framing(&self) -> Numbers {
        Numbers::default()
    }

    fn classify(&self, frame: &Line, _: &View<'_, ()>) -> Role {
        match frame.0.as_str() {
            "~" => Role::Control,
            _ => Role::Request {
                route: 1,
                correlation: None,
                exclusive: false,
            },
        }
    }

    fn on_control(&self, frame: Line, _: &mut Context<'_, Self>) -> wireframe::Reaction<Line> {
        wireframe::Reaction::Send(frame)
    }

    fn before_send(&self, frame: &mut Line, _: &mut Context<'_, Self>) {
        frame.0.push('.');
    }
}

#[test]
fn units_are_numbered_after_the_hook_whatever_their_source() {
    // rule: HOOK-3
    let simulation = Simulation::new();
    let (near, mut peer) = link(1000);
    let app = WireframeApp::with_protocol(Numbered)
        .route(1, async |Inbound(frame): Inbound<Line>| {
            vec![frame, line("refused?"), line("x")]
        })
        .build()
        .unwrap();
    let driver = Driver::server(&app, near, None, &simulation.environment());
    let push = driver.push_handle();
    simulation.spawn(driver);
    push.try_push(Low, line("low")).unwrap();
    push.try_push(Low, line("why?")).unwrap();
    push.try_push(High, line("high")).unwrap();
    peer.send(b"\x01\0~\x03\x01one\x01\x02~");
    simulation.run();
    let bytes = peer.receive();
    let mut rest = &bytes[..];
    let mut frames = Vec::new();
    while let [len, number, tail @ ..] = rest {
        let (text, tail) = tail.split_at(usize::from(*len));
        assert_eq!(
            usize::from(*number),
            frames.len(),
            "refused frames take no number"
        );
        frames.push(String::from_utf8(text.to_vec()).unwrap());
        rest = tail;
    }
    frames.sort();
    assert_eq!(frames, ["high.", "low.", "one.", "~.", "~."]);
}

#[test]
fn what_the_setup_pushes_goes_before_what_was_pushed_low_before_it_ran() {
    // rule: HOOK-2
    let protocol = Text {
        greeting: Some("!hello"),
        ..Text::default()
    };
    let app = text(&protocol).build().unwrap();
    let mut rig = Rig::idle(&app, &Simulation::new(), 1000);
    rig.push.try_push(Low, line("!eager")).unwrap();
    assert_eq!(rig.heard(), ["!hello", "!eager"]);
}
