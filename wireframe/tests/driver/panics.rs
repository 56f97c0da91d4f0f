//! Panics of handlers, streams, hooks and codecs: each ends its connection, and no other.

use std::{pin::pin, sync::Arc, task::Context};

use wireframe::{
    Client, CloseReason, Driver, Heartbeat, Inbound,
    Priority::High,
    PushCapacity, PushError, PushHandle, PushLimits, Response, SessionRegistry, WireframeApp,
    testing::{Fault, Simulation, link},
};

use crate::{
    foreign::{Tell, Told, telling, telling_waker},
    rig::{Line, Oops, Rig, Text, line, nonzero, text},
};

fn call_panics() -> std::future::Ready<()> {
    panic!("when it is called")
}

async fn first_poll_panics() {
    panic!("at its first poll")
}

async fn panics_later(clock: wireframe::Clock) {
    clock.sleep(crate::rig::secs(1)).await;
    panic!("later")
}

async fn stream_panics() -> Response<Line, Oops> {
    Response::frames(async_stream::stream! {
        yield line("first");
        panic!("in a stream");
    })
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "when it is dropped");
    }
}

async fn drop_panics() {
    let guard = PanicsOnDrop;
    std::future::pending::<()>().await;
    drop(guard);
}

fn panicky(protocol: &Text) -> WireframeApp<Text> {
    text(protocol)
        .route(1, call_panics)
        .route(2, first_poll_panics)
        .route(3, panics_later)
        .route(4, stream_panics)
        .route(5, async || "fine")
        .route(6, drop_panics)
}

#[test]
fn a_handler_that_panics_ends_its_connection_and_no_other() {
    // rule: RESP-8
    for (route, said) in [("1", &[][..]), ("2", &[]), ("3", &[]), ("4", &["first"])] {
        let protocol = Text {
            has_goodbye: true,
            ..Text::default()
        };
        let simulation = Simulation::new();
        let app = panicky(&protocol).build().unwrap();
        let mut rig = Rig::idle(&app, &simulation, 1000);
        let mut other = Rig::idle(&app, &simulation, 1000);
        rig.ask(route);
        rig.advance(crate::rig::secs(1));
        let said = [said, &["goodbye"]].concat();
        assert_eq!(rig.heard(), said, "route {route}");
        assert_eq!(rig.reason(), Some(CloseReason::HandlerPanicked));
        assert_eq!(protocol.record.count("command_end Panicked"), 1);
        assert_eq!(protocol.record.count("disconnect a handler panicked"), 1);

        assert_eq!(other.exchange("5"), ["5:fine"]);
        assert!(!other.driver.is_done());
    }
}

#[test]
fn what_panics_when_it_is_dropped_harms_nobody() {
    // rule: RESP-8
    type End = fn(&Rig);
    let ends: [End; 2] = [
        |rig| rig.push.connection().abort(),
        |rig| rig.driver.cancel(),
    ];
    for end in ends {
        let protocol = Text::default();
        let mut rig = Rig::new(panicky(&protocol));
        rig.ask("6");
        end(&rig);
        rig.simulation.run();
        assert_eq!(protocol.record.count("disconnect aborted"), 1);
    }
}

#[test]
fn handlers_of_connections_and_pushes_may_panic_too() {
    // rule: RESP-8
    let apps: [fn(WireframeApp<Text>) -> WireframeApp<Text>; 4] = [
        |app| app.on_connect(first_poll_panics),
        |app| app.on_connect(call_panics),
        |app| app.on_push(first_poll_panics),
        |app| app.on_push(call_panics),
    ];
    for app in apps {
        let protocol = Text::default();
        let mut rig = Rig::new(app(panicky(&protocol)));
        rig.ask("!push");
        assert_eq!(rig.reason(), Some(CloseReason::HandlerPanicked));
        assert_eq!(protocol.record.count("goodbye"), 1);
        assert_eq!(protocol.record.count("disconnect a handler panicked"), 1);
    }
}

/// Every hook that can be reached by [`provoke`].
const HOOKS: [&str; 13] = [
    "setup",
    "preamble",
    "ping",
    "classify",
    "send",
    "control",
    "error",
    "unknown",
    "stream_end",
    "command_end",
    "goodbye",
    "disconnect",
    "none",
];

/// Makes the hook run.
fn provoke(rig: &mut Rig, hook: &str) {
    match hook {
        "control" => rig.ask("~"),
        "error" => rig.ask("8"),
        "unknown" => rig.ask("9"),
        "stream_end" => rig.ask("7"),
        "goodbye" => rig.push.connection().close(),
        "disconnect" => rig.push.connection().abort(),
        "ping" => {
            let second = crate::rig::secs(1);
            let heartbeat = Heartbeat::pinging(second, second);
            rig.push.connection().set_heartbeat(Some(heartbeat));
            rig.advance(second);
        }
        "none" => rig.ask("!codec panics"[1..].as_ref()),
        _ => rig.ask("5"),
    }
}

fn hooked(protocol: &Text) -> WireframeApp<Text> {
    panicky(protocol)
        .route(7, async || {
            Response::<Line, Oops>::Stream(Box::pin(async_stream::stream! {
                yield Ok(line("one"));
            }))
        })
        .route(8, async || Err::<(), _>(Oops("oops")))
}

#[test]
fn a_hook_or_codec_that_panics_ends_its_connection_and_no_other() {
    // rule: HOOK-7
    for hook in HOOKS {
        let protocol = Text {
            panics_in: hook,
            preamble: (hook == "preamble").then_some(""),
            ..Text::default()
        };
        let simulation = Simulation::new();
        let calm = Text::default();
        let mut other = Rig::idle(&hooked(&calm).build().unwrap(), &simulation, 1000);
        let app = hooked(&protocol).build().unwrap();
        let mut rig = Rig::idle(&app, &simulation, 1000);
        rig.simulation.run();
        provoke(&mut rig, hook);
        rig.simulation.run();
        assert!(rig.driver.is_done(), "{hook}");
        let reason = rig.driver.take().unwrap();
        if hook != "disconnect" {
            assert_eq!(reason, CloseReason::ProtocolPanicked, "{hook}");
        }
        let record = protocol.record.take();
        let ends = record.iter().filter(|hook| hook.starts_with("disconnect"));
        assert_eq!(ends.count(), 1, "{hook}: {record:?}");
        assert!(
            record.last().unwrap().starts_with("disconnect"),
            "{record:?}"
        );
        assert!(rig.push.try_push(High, line("!")).is_err());
        rig.check_account();
        assert_eq!(rig.push.stats().queued, 0);

        assert_eq!(other.exchange("5"), ["5:fine"]);
    }
}

#[test]
fn a_hook_that_panics_while_its_driver_is_dropped_harms_nobody() {
    // rule: HOOK-7, HOOK-2
    for hook in ["command_end", "disconnect"] {
        let protocol = Text {
            panics_in: hook,
            ..Text::default()
        };
        let mut rig = Rig::new(hooked(&protocol));
        rig.ask("3");
        rig.driver.cancel();
        let record = protocol.record.take();
        let ends = record.iter().filter(|hook| hook.starts_with("disconnect"));
        assert_eq!(ends.count(), 1, "{hook}: {record:?}");
        rig.check_account();
    }
}

#[test]
fn a_hook_that_panics_while_its_connection_is_aborted_harms_nobody() {
    // rule: HOOK-7, HOOK-2
    let protocol = Text {
        panics_in: "command_end",
        ..Text::default()
    };
    let mut rig = Rig::new(hooked(&protocol));
    rig.ask("3");
    rig.push.connection().abort();
    rig.simulation.run();
    assert!(rig.driver.is_done());
    assert_eq!(protocol.record.count("disconnect the protocol panicked"), 1);
}

#[test]
fn a_client_whose_protocol_panics_fails_its_calls() {
    // rule: HOOK-7, CLI-3
    use wireframe::CallError;
    let simulation = Simulation::new();
    let environment = simulation.environment();
    let (near, far) = link(1000);
    let server = text(&Text::default()).fallback(async |Inbound(frame): Inbound<Line>| frame);
    simulation.spawn(Driver::server(
        &server.build().unwrap(),
        near,
        None,
        &environment,
    ));
    let protocol = Text {
        panics_in: "classify",
        ..Text::default()
    };
    let (client, driver) = Client::new(&text(&protocol).build().unwrap(), far, None, &environment);
    simulation.spawn(driver);
    let _push: &PushHandle<Line> = client.push_handle();
    let call = simulation.spawn({
        let client = client.clone();
        async move { client.call(line("1")).await }
    });
    simulation.run();
    let failed = Some(Err(CallError::Closed(CloseReason::ProtocolPanicked)));
    assert_eq!(call.take(), failed);
}

#[test]
fn what_panics_at_the_end_of_a_connection_keeps_nothing_else_from_ending() {
    // rule: PUSH-6, PUSH-9, REG-2
    for cancels in [true, false] {
        let tell: Tell = Arc::new(|what, text| {
            let panics = what == "wake" || (what, text) == ("drop", "brittle");
            assert!(!panics || std::thread::panicking(), "told to");
        });
        let waker = telling_waker(&tell);
        let mut panics = Context::from_waker(&waker);
        let frame = |text| Told::new(text, &tell);
        let (simulation, registry) = (Simulation::new(), SessionRegistry::new());
        let two = PushLimits::both(PushCapacity::new().with_frames(nonzero(2)));
        let app = telling(&tell).push_limits(two).registry(&registry);
        let (_server, far) = link(1000);
        let script = far.script();
        let environment = simulation.environment();
        let (client, driver) = Client::new(&app.build().unwrap(), far, None, &environment);
        let driver = simulation.spawn(driver);

        // One call is under way, one push is with the engine, and one in the mailbox.
        let mut call = pin!(client.call(frame("call")));
        assert!(call.as_mut().poll(&mut panics).is_pending());
        simulation.run();
        assert_eq!(registry.len(), 1);
        script.write_fault(0, Fault::Stall);
        let push = client.push_handle().clone();
        push.try_push(High, frame("stalls")).ok().unwrap();
        simulation.run();
        push.try_push(High, frame("brittle")).ok().unwrap();
        let mut first = pin!(push.push(High, frame("waits")));
        assert!(first.as_mut().poll(&mut panics).is_pending());
        let second = simulation.spawn({
            let push = push.clone();
            async move { push.push(High, Told::new("waits", &tell)).await }
        });
        assert!(second.poll().is_pending());

        if cancels {
            driver.cancel();
        } else {
            client.connection().abort();
        }
        simulation.run();
        assert!(driver.is_done() && registry.is_empty());
        assert!(matches!(second.take(), Some(Err(PushError::Closed(_)))));
        let stats = push.stats();
        assert_eq!((stats.accepted, stats.sent, stats.lost_closed), (3, 1, 2));
        assert_eq!(stats.queued, 0);
    }
}
