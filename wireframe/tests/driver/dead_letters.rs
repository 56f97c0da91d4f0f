//! Frames that were accepted and cannot be sent, and the queue that gets them.

use std::{cell::Cell, io, num::NonZeroU64, sync::Once};

use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};
use wireframe::{
    CallError, Client, ConnectionId, DeadLetter, DeadLetterLog, DeadLetterReason, DeadLetters,
    Priority::{self, High, Low},
    PushCapacity, PushLimits, PushPolicy, Pushed, WireframeApp, dead_letter_queue,
    testing::{Fault, Simulation, link},
};

use crate::rig::{Line, Rig, Text, config, line, nonzero, secs, text};

thread_local! {
    static WARNINGS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the warnings of each thread, and so of each test. There is one for the whole
/// process, because `tracing` remembers what the first thread that came by had said to
/// an event.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        WARNINGS.set(WARNINGS.get() + 1);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Counts from here.
fn count_warnings() {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Counter).unwrap());
    tracing::callsite::rebuild_interest_cache();
    WARNINGS.set(0);
}

/// The app with a queue for so many dead letters.
fn with_queue(app: WireframeApp<Text>, capacity: usize) -> (WireframeApp<Text>, DeadLetters<Line>) {
    let (sender, letters) = dead_letter_queue(nonzero(capacity));
    (app.dead_letters(sender), letters)
}

fn taken(letters: &DeadLetters<Line>) -> Vec<DeadLetter<Line>> {
    std::iter::from_fn(|| letters.try_recv()).collect()
}

/// The frames of letters, each with its priority, which must have that reason.
fn because(letters: &DeadLetters<Line>, reason: &DeadLetterReason) -> Vec<(Priority, String)> {
    let letters = taken(letters).into_iter();
    letters
        .map(|letter| {
            assert_eq!(letter.reason, *reason);
            (letter.priority, letter.frame.0)
        })
        .collect()
}

#[test]
fn a_policy_drop_is_a_dead_letter_and_the_next_is_lost_with_one_warning() {
    // rule: DLQ-1, DLQ-2, DLQ-3, PUSH-4, PUSH-9
    for policy in [PushPolicy::DropIfFull, PushPolicy::WarnAndDropIfFull] {
        count_warnings();
        let one = PushLimits::both(PushCapacity::new().with_frames(nonzero(1)));
        let (app, letters) = with_queue(text(&Text::default()).push_limits(one), 1);
        let rig = Rig::new(app);
        let push = |text: &str| rig.push.push_with_policy(High, line(text), policy);
        assert_eq!(push("!queued"), Ok(Pushed::Queued));
        assert_eq!(push("!buried"), Ok(Pushed::DeadLettered));
        rig.check_account();
        assert_eq!(WARNINGS.get(), 0);
        for _ in 0..3 {
            assert_eq!(push("!lost"), Ok(Pushed::Dropped));
            rig.check_account();
            assert_eq!(WARNINGS.get(), 1, "throttled");
        }
        let stats = rig.push.stats();
        assert_eq!((stats.dead_lettered, stats.lost_policy), (1, 3));
        assert_eq!(letters.lost(), 3);
        let letters = taken(&letters);
        let [letter] = &letters[..] else {
            panic!("{letters:?}");
        };
        assert_eq!(letter.connection, rig.push.connection().id());
        assert_eq!((letter.priority, &letter.frame), (High, &line("!buried")));
        assert_eq!(letter.reason, DeadLetterReason::Policy);
    }
}

#[test]
fn which_losses_are_logged_can_be_set() {
    // rule: DLQ-3
    count_warnings();
    let (sender, letters) = dead_letter_queue(nonzero(1));
    let second = DeadLetterLog::EveryNth(NonZeroU64::new(2).unwrap());
    let mut rig = Rig::new(text(&Text::default()).dead_letters(sender.with_log(second)));
    for _ in 0..6 {
        rig.push.try_push(High, line("!why?")).unwrap();
    }
    assert_eq!(rig.heard(), [""; 0]);
    assert_eq!((letters.lost(), WARNINGS.get()), (5, 3));
    assert_eq!(rig.push.stats().lost_unencodable, 5);
}

#[test]
fn without_a_queue_a_policy_warns_for_itself() {
    // rule: DLQ-2, PUSH-4
    count_warnings();
    let one = PushLimits::both(PushCapacity::new().with_frames(nonzero(1)));
    let rig = Rig::new(text(&Text::default()).push_limits(one));
    let policy = PushPolicy::WarnAndDropIfFull;
    for expected in [Pushed::Queued, Pushed::Dropped] {
        let pushed = rig.push.push_with_policy(High, line("!"), policy);
        assert_eq!(pushed, Ok(expected));
    }
    assert_eq!(WARNINGS.get(), 1);
}

/// A way for a connection to end.
type End = fn(&mut Rig);

#[test]
fn however_a_connection_ends_what_it_had_not_sent_becomes_dead_letters() {
    // rule: DLQ-2, SHUT-3, PUSH-9
    let ends: [(&str, End); 6] = [
        ("abort", |rig| rig.push.connection().abort()),
        ("a dropped driver", |rig| rig.driver.cancel()),
        ("a hook that panics", |rig| rig.ask("~")),
        ("a handler that panics", |rig| {
            rig.ask("1");
            rig.advance(secs(10));
        }),
        ("a drain that takes too long", |rig| {
            rig.push.connection().close();
            rig.simulation.run();
            rig.advance(secs(5));
        }),
        ("a transport that fails", |rig| {
            let reset = Fault::Error(io::ErrorKind::ConnectionReset);
            rig.script.read_fault(0, reset);
        }),
    ];
    for (what, end) in ends {
        let protocol = Text {
            panics_in: "control",
            ..Text::default()
        };
        let app = text(&protocol)
            .config(config(|c| c.limits.high_water = nonzero(20)))
            .route(1, async || -> Line { panic!("told to") });
        let (app, letters) = with_queue(app, 100);
        let mut rig = Rig::new(app);
        // Of the first frame a part has gone, the second is encoded, the others queued.
        rig.script.write_fault(5, Fault::Stall);
        for text in ["!sent in part", "!encoded", "!queued", "!last"] {
            rig.push.try_push(Low, line(text)).unwrap();
        }
        rig.simulation.run();
        rig.push.try_push(High, line("!high")).unwrap();
        rig.check_account();
        end(&mut rig);
        rig.simulation.run();
        rig.check_account();
        assert!(rig.driver.is_done(), "{what}");
        // Where a last word may still be said, the encoded ones have until then.
        let mut frames = because(&letters, &DeadLetterReason::ConnectionClosed);
        frames.sort_by(|(_, a), (_, b)| a.cmp(b));
        let low = ["!encoded", "!last", "!queued", "!sent in part"].map(|text| (Low, text.into()));
        assert_eq!(frames.remove(1), (High, "!high".into()), "{what}");
        assert_eq!(frames, low, "{what}");
        let stats = rig.push.stats();
        assert_eq!((stats.dead_lettered, stats.accepted), (5, 5), "{what}");
    }
}

#[test]
fn what_a_connection_that_never_began_was_given_becomes_dead_letters() {
    // rule: DLQ-2, PUSH-9
    let (app, letters) = with_queue(text(&Text::default()), 100);
    let rig = Rig::idle(&app.build().unwrap(), &Simulation::new(), 1000);
    rig.push.try_push(High, line("!a")).unwrap();
    rig.push.try_push(Low, line("!b")).unwrap();
    rig.driver.cancel();
    rig.check_account();
    let expected = [(High, "!a".into()), (Low, "!b".into())];
    assert_eq!(
        because(&letters, &DeadLetterReason::ConnectionClosed),
        expected
    );
    assert_eq!(rig.push.stats().dead_lettered, 2);
}

#[test]
fn what_cannot_be_encoded_becomes_a_dead_letter_that_says_why() {
    // rule: DLQ-2, FRAME-6
    let (app, letters) = with_queue(text(&Text::default()), 1);
    let mut rig = Rig::new(app);
    for text in ["!why?", "!fine", "!what?"] {
        rig.push.try_push(High, line(text)).unwrap();
    }
    assert_eq!(rig.heard(), ["!fine"]);
    rig.check_account();
    let letters = taken(&letters);
    let [letter] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(letter.frame, line("!why?"));
    assert!(
        matches!(&letter.reason, DeadLetterReason::Unencodable(why) if why.what == "a question")
    );
    let stats = rig.push.stats();
    assert_eq!((stats.dead_lettered, stats.lost_unencodable), (1, 1));
}

#[test]
fn what_was_sent_is_no_dead_letter() {
    // rule: DLQ-2
    let (app, letters) = with_queue(text(&Text::default()), 100);
    let mut rig = Rig::new(app);
    for n in 0..50 {
        rig.push.try_push([High, Low][n % 2], line("!")).unwrap();
        if n % 7 == 0 {
            rig.simulation.run();
        }
    }
    assert_eq!(rig.heard().len(), 50);
    rig.push.connection().abort();
    rig.simulation.run();
    assert_eq!(taken(&letters), []);
    assert_eq!(rig.push.stats().sent, 50);
}

#[test]
fn a_call_that_was_not_sent_is_a_dead_letter_beside_its_error() {
    // rule: DLQ-2, CLI-3
    let simulation = Simulation::new();
    let (near, _server) = link(4);
    let (app, letters) = with_queue(text(&Text::default()), 100);
    let app = app.build().unwrap();
    let (client, driver) = Client::new(&app, near, None, &simulation.environment());
    simulation.spawn(driver);
    let call = |text: &'static str| {
        let client = client.clone();
        simulation.spawn(async move { client.call(line(text)).await })
    };
    let calls = [call("1 encoded"), call("1?")];
    simulation.run();
    let unsent = calls[1].take().unwrap();
    assert!(matches!(unsent, Err(CallError::Unsent(_))), "{unsent:?}");
    client.connection().abort();
    simulation.run();
    let ended = calls[0].take().unwrap();
    assert!(matches!(ended, Err(CallError::Closed(_))), "{ended:?}");
    let frames: Vec<_> = taken(&letters).into_iter().map(|l| l.frame.0).collect();
    assert_eq!(frames, ["1?", "1 encoded"]);
    let stats = client.push_handle().stats();
    assert_eq!((stats.accepted, stats.dead_lettered), (2, 2));
}

#[test]
fn one_queue_serves_all_connections() {
    // rule: DLQ-1
    let (app, letters) = with_queue(text(&Text::default()), 100);
    let app = app.build().unwrap();
    let first = Rig::idle(&app, &Simulation::new(), 1000);
    let second = first.beside(&app);
    let ids: Vec<ConnectionId> = [&second, &first]
        .map(|rig| rig.push.connection().id())
        .into();
    for rig in [&second, &first] {
        rig.push.try_push(High, line("!why?")).unwrap();
        rig.simulation.run();
    }
    let connections: Vec<_> = taken(&letters).iter().map(|l| l.connection).collect();
    assert_eq!(connections, ids);
}

#[test]
fn every_push_stands_under_one_term_at_every_step_with_a_queue_that_fills_up() {
    // rule: PUSH-9, DLQ-3
    for (capacity, ends) in [(1, true), (7, false), (1_000, true)] {
        let three = PushLimits::both(PushCapacity::new().with_frames(nonzero(3)));
        let (app, letters) = with_queue(text(&Text::default()).push_limits(three), capacity);
        let mut rig = Rig::with_capacity(app, 10);
        let mut received = 0;
        for n in 0..60 {
            let frame = line(if n % 7 == 3 { "!why?" } else { "!because" });
            let priority = if n % 2 == 0 { High } else { Low };
            let policy = PushPolicy::DropIfFull;
            let _ = rig.push.push_with_policy(priority, frame, policy).unwrap();
            rig.check_account();
            if n % 3 == 0 {
                while rig.simulation.step() {
                    rig.check_account();
                }
                rig.peer.receive_at_most(n / 4);
            }
            if n % 20 == 0 {
                received += taken(&letters).len();
            }
        }
        if ends {
            rig.driver.cancel();
        } else {
            rig.push.connection().abort();
            rig.simulation.run();
        }
        rig.check_account();
        received += taken(&letters).len();
        let stats = rig.push.stats();
        assert_eq!((stats.accepted, stats.queued), (60, 0));
        assert_eq!(stats.dead_lettered, received as u64);
        let lost = stats.lost_policy + stats.lost_unencodable + stats.lost_closed;
        assert_eq!(lost, letters.lost());
        assert_eq!(lost == 0, capacity == 1_000);
    }
}
