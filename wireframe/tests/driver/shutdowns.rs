//! Shutdowns of servers at any moment: every push that was accepted is accounted for.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use proptest::prelude::*;
use wireframe::{
    ConnectionId, DeadLetters, Priority, PushCapacity, PushHandle, PushLimits, PushPolicy,
    SessionRegistry, WireframeApp, dead_letter_queue,
    testing::{Link, Spawned},
};

use crate::{
    rig::{Line, Text, config, line, lines, nonzero, secs, text, wire},
    serving::Serving,
};

/// What happens on one of the connections, or to the server. An index that nobody has is
/// that of the first connection.
#[derive(Clone, Debug)]
enum Step {
    Connect {
        capacity: usize,
    },
    /// Without waiting; with a policy that drops it if there is no room, or without.
    Push(usize, Priority, bool),
    /// With as much patience as it takes.
    Wait(usize, Priority),
    GiveUp(usize),
    Unencodable(usize),
    Ask(usize),
    Take(usize, usize),
    /// The peer sends no more.
    Finish(usize),
    /// The peer is gone.
    Leave(usize),
    Close(usize),
    Pass(u64),
    /// One task runs once.
    One,
    All,
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0..6usize;
    let priority = || prop_oneof![Just(Priority::High), Just(Priority::Low)];
    prop_oneof![
        2 => (1..200usize).prop_map(|capacity| Step::Connect { capacity }),
        8 => (which(), priority(), any::<bool>()).prop_map(|(n, p, drops)| Step::Push(n, p, drops)),
        4 => (which(), priority()).prop_map(|(n, p)| Step::Wait(n, p)),
        1 => which().prop_map(Step::GiveUp),
        1 => which().prop_map(Step::Unencodable),
        2 => which().prop_map(Step::Ask),
        4 => (which(), 1..100usize).prop_map(|(n, most)| Step::Take(n, most)),
        1 => which().prop_map(Step::Finish),
        1 => which().prop_map(Step::Leave),
        1 => which().prop_map(Step::Close),
        1 => (1..300u64).prop_map(Step::Pass),
        6 => Just(Step::One),
        2 => Just(Step::All),
    ]
}

type Waiting = (usize, Spawned<bool>);

/// A connection as its peer and its producers know it.
struct Known {
    peer: Option<Link>,
    received: Vec<u8>,
    /// Pushes that were accepted as far as their producers know, but for those that wait.
    accepted: u64,
    /// Numbers of all pushes, accepted or not.
    pushed: HashSet<String>,
}

impl Known {
    fn take(&mut self, most: usize) {
        if let Some(peer) = &mut self.peer {
            self.received.extend(peer.receive_at_most(most));
        }
    }

    /// The pushes that have come whole.
    fn came(&self) -> Vec<String> {
        let mut whole = 0;
        while let Some(length) = self.received[whole..].first_chunk() {
            let end = whole + 4 + u32::from_be_bytes(*length) as usize;
            if end > self.received.len() {
                break;
            }
            whole = end;
        }
        let mut came = lines(&self.received[..whole]);
        came.retain(|line| line.starts_with('!'));
        came
    }
}

struct Run {
    serving: Serving,
    letters: Option<DeadLetters<Line>>,
    known: Vec<Known>,
    waiting: Vec<Waiting>,
    /// Numbers of pushes.
    pushed: u64,
    registry: SessionRegistry<Line>,
}

fn app(slots: usize, letters: Option<usize>) -> (WireframeApp<Text>, Option<DeadLetters<Line>>) {
    let capacity = PushCapacity::new().with_frames(nonzero(slots));
    let app = text(&Text::default())
        .push_limits(PushLimits::both(capacity))
        .config(config(|c| {
            c.timeouts.close = secs(1);
            c.limits.high_water = nonzero(64);
        }))
        .route(1, || "answer")
        .route(2, std::future::pending::<Line>);
    let Some(letters) = letters else {
        return (app, None);
    };
    let (sender, receiver) = dead_letter_queue(nonzero(letters));
    (app.dead_letters(sender), Some(receiver))
}

impl Run {
    fn new(slots: usize, letters: Option<usize>) -> Self {
        let (app, letters) = app(slots, letters);
        let registry = SessionRegistry::new();
        let mut run = Self {
            serving: Serving::new(app.registry(&registry)),
            letters,
            known: Vec::new(),
            waiting: Vec::new(),
            pushed: 0,
            registry,
        };
        run.connect(100);
        run
    }

    fn connect(&mut self, capacity: usize) {
        self.known.push(Known {
            peer: Some(self.serving.connect(capacity)),
            received: Vec::new(),
            accepted: 0,
            pushed: HashSet::new(),
        });
    }

    /// A frame for that connection that no other is like.
    fn frame(&mut self, n: usize, end: &str) -> Line {
        self.pushed += 1;
        let text = format!("!{}{end}", self.pushed);
        self.known[n].pushed.insert(text.clone());
        line(text)
    }

    fn take(&mut self, step: &Step) {
        let count = self.known.len();
        let which = |n: &usize| if *n < count { *n } else { 0 };
        match step {
            Step::Connect { capacity } => {
                if self.known.len() < 6 {
                    self.connect(*capacity);
                }
            }
            Step::Push(n, priority, drops) => self.push(which(n), *priority, *drops, ""),
            Step::Unencodable(n) => self.push(which(n), Priority::Low, true, "?"),
            Step::Wait(n, priority) => {
                let (n, priority) = (which(n), *priority);
                let (push, frame) = (self.serving.push(n), self.frame(n, ""));
                let pushing = async move { push.push(priority, frame).await.is_ok() };
                self.waiting
                    .push((n, self.serving.simulation.spawn(pushing)));
            }
            Step::GiveUp(n) => {
                if let Some((_, waiting)) = self.waiting.get(*n) {
                    waiting.cancel();
                }
            }
            Step::Ask(n) => {
                if let Some(peer) = &mut self.known[which(n)].peer {
                    peer.send(&wire(if n % 2 == 0 { "1" } else { "2" }));
                }
            }
            Step::Take(n, most) => self.known[which(n)].take(*most),
            Step::Finish(n) => {
                if let Some(peer) = &mut self.known[which(n)].peer {
                    peer.finish();
                }
            }
            Step::Leave(n) => self.known[which(n)].peer = None,
            Step::Close(n) => self.serving.push(which(n)).connection().close(),
            Step::Pass(millis) => self
                .serving
                .simulation
                .advance(Duration::from_millis(*millis)),
            Step::One => {
                self.serving.simulation.step();
            }
            Step::All => {
                self.serving.simulation.run();
            }
        }
        self.check();
    }

    fn push(&mut self, n: usize, priority: Priority, drops: bool, end: &str) {
        let (push, frame) = (self.serving.push(n), self.frame(n, end));
        let accepted = match drops {
            true => push
                .push_with_policy(priority, frame, PushPolicy::DropIfFull)
                .is_ok(),
            false => push.try_push(priority, frame).is_ok(),
        };
        self.known[n].accepted += u64::from(accepted);
    }

    /// Each push that was accepted stands under one term.
    #[track_caller]
    fn check(&mut self) {
        self.waiting.retain(|(n, waiting)| {
            self.known[*n].accepted += u64::from(waiting.take() == Some(true));
            !waiting.is_done()
        });
        for (n, known) in self.known.iter().enumerate() {
            let s = self.serving.push(n).stats();
            let lost = s.lost_policy + s.lost_unencodable + s.lost_closed;
            assert_eq!(
                s.accepted,
                s.sent + s.dead_lettered + lost + s.queued,
                "{s:?}"
            );
            assert_eq!(s.accepted, known.accepted, "{s:?}");
        }
    }

    /// The server shuts down, and has ended at its deadline whatever the peers do.
    fn shut_down(&mut self, aborts: bool, behind: &[Step]) {
        let handle = self.serving.handle.clone();
        let found = self.registry.active_ids();
        assert_eq!(found.len(), handle.connections());
        match aborts {
            true => handle.abort(),
            false => handle.shutdown(),
        }
        for step in behind {
            if !matches!(step, Step::Connect { .. }) {
                self.take(step);
            }
        }
        self.serving.simulation.advance(secs(1));
        self.check();
        assert!(
            self.waiting.is_empty(),
            "producers wait for a server that has ended"
        );
        assert!(self.registry.is_empty());
        let (drained, aborted, undelivered) = self.serving.report();
        assert_eq!(drained + aborted, found.len());
        let unsent = |push: &PushHandle<Line>| {
            let is_found = found.contains(&push.connection().id());
            if is_found {
                push.stats().unsent_at_end
            } else {
                0
            }
        };
        let pushes = (0..self.known.len()).map(|n| self.serving.push(n));
        assert_eq!(undelivered, pushes.map(|push| unsent(&push)).sum::<u64>());
    }

    /// What peers and the dead letter queue have is what the accounts say.
    fn check_end(mut self) {
        let mut letters: HashMap<ConnectionId, HashSet<String>> = HashMap::new();
        while let Some(letter) = self.letters.as_ref().and_then(DeadLetters::try_recv) {
            let is_new = letters
                .entry(letter.connection)
                .or_default()
                .insert(letter.frame.0);
            assert!(is_new, "a dead letter came twice");
        }
        for (n, known) in self.known.iter_mut().enumerate() {
            let push = self.serving.push(n);
            let (id, stats) = (push.connection().id(), push.stats());
            let letters = letters.remove(&id).unwrap_or_default();
            assert_eq!(
                (stats.queued, stats.dead_lettered),
                (0, letters.len() as u64)
            );
            assert!(
                letters.is_subset(&known.pushed),
                "a dead letter of another connection"
            );
            known.take(usize::MAX);
            let came = known.came();
            let numbers: HashSet<_> = came.iter().cloned().collect();
            assert_eq!(numbers.len(), came.len(), "a push came twice");
            assert!(
                numbers.is_subset(&known.pushed),
                "a push of another connection"
            );
            assert!(numbers.is_disjoint(&letters), "a dead letter came, too");
            match known.peer {
                Some(_) => assert_eq!(stats.sent, came.len() as u64),
                None => assert!(stats.sent >= came.len() as u64),
            }
        }
        assert!(letters.is_empty(), "dead letters of nobody");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1_000),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_shutdown_at_any_moment_loses_no_push_uncounted(
        steps in prop::collection::vec(step(), 0..80),
        behind in prop::collection::vec(step(), 0..20),
        slots in 1..8usize,
        letters in prop::option::of(1..60usize),
        aborts in prop::bool::weighted(0.2),
    ) {
        // rule: PUSH-9, SHUT-3, SHUT-4, SHUT-5, DLQ-2
        let mut run = Run::new(slots, letters);
        for step in &steps {
            run.take(step);
        }
        run.shut_down(aborts, &behind);
        run.check_end();
    }
}
