//! Random programs of requests, pushes, errors, panics, cancellations and disconnects:
//! each command that was begun ends once, and each push that was accepted is accounted for.

mod handlers;
mod protocol;
mod steps;

use std::{collections::VecDeque, io, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use wireframe::{
    CloseReason, Codec, DeadLetters, Driver, Envelope, Outcome, Permit, Priority, PushError,
    PushHandle, PushPolicy, RateLimit, SessionRegistry, WireframeApp, dead_letter_queue,
    proto::{EncodeBuffer, EnvelopeCodec},
    testing::{Fault, Link, Script, Simulation, Spawned, link},
};

use self::{
    handlers::app,
    protocol::{BODY, CONTROL, Log, PEER_PUSH, PUSH, Panics, Program, UNENCODABLE},
    steps::{End, Extras, Step, end, extras, step},
};
use crate::rig::{nonzero, secs};

type Waiting = Spawned<Result<(), PushError<Envelope>>>;

/// A connection, and what its producers and its peer have done.
struct Run {
    simulation: Simulation,
    driver: Spawned<CloseReason>,
    push: PushHandle,
    peer: Option<Link>,
    script: Script,
    waiting: VecDeque<Waiting>,
    permits: Vec<Permit<Envelope>>,
    received: Vec<u8>,
    registry: SessionRegistry,
    dead_letters: Option<DeadLetters<Envelope>>,
    /// Pushes that a call took, or a policy dropped, as the callers know it.
    accepted: u64,
}

impl Run {
    fn new<const CORRELATED: bool>(
        mut app: WireframeApp<Program<CORRELATED>>,
        extras: &Extras,
        capacity: usize,
        vectored: bool,
    ) -> Self {
        let registry = SessionRegistry::new();
        app = app.registry(&registry);
        if let Some((rate, burst)) = extras.rate {
            let [rate, burst] = [rate, burst].map(|n| NonZeroU32::new(n).unwrap());
            app = app.rate_limit(RateLimit::per_second(rate).with_burst(burst));
        }
        let dead_letters = extras
            .dead_letters
            .map(|letters| dead_letter_queue(nonzero(letters)));
        let (sender, dead_letters) = dead_letters.unzip();
        if let Some(sender) = sender {
            app = app.dead_letters(sender);
        }
        let simulation = Simulation::new();
        let (near, peer) = link(capacity);
        let script = near.script();
        script.set_vectored(vectored);
        let app = app.build().unwrap();
        let driver = Driver::server(&app, near, None, &simulation.environment());
        let push = driver.push_handle();
        let driver = simulation.spawn(driver);
        // From the setup on there is a last hook.
        simulation.run();
        Self {
            push,
            driver,
            simulation,
            peer: Some(peer),
            script,
            waiting: VecDeque::new(),
            permits: Vec::new(),
            received: Vec::new(),
            registry,
            dead_letters,
            accepted: 0,
        }
    }

    fn send(&mut self, frame: &Envelope) {
        let mut buffer = EncodeBuffer::default();
        EnvelopeCodec
            .encode(frame, &mut buffer.frame_buf())
            .unwrap();
        let body: Vec<u8> = buffer.chunks().flatten().copied().collect();
        if let Some(peer) = &mut self.peer {
            peer.send(&u32::try_from(body.len()).unwrap().to_be_bytes());
            peer.send(&body);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Request {
                route,
                id,
                exclusive,
            } => {
                let body = if exclusive { "exclusive" } else { "body" };
                let frame = Envelope::new(route, body);
                self.send(&match id {
                    Some(id) => frame.with_correlation_id(id),
                    None => frame,
                });
            }
            Step::Body { of, last } => {
                let frame = Envelope::new(BODY, if last { "" } else { "part" });
                self.send(&match of {
                    Some(of) => frame.with_correlation_id(of),
                    None => frame,
                });
            }
            Step::Control => self.send(&Envelope::new(CONTROL, "")),
            Step::PeerPush => self.send(&Envelope::new(PEER_PUSH, "")),
            Step::TryPush(priority, id) => {
                let pushed = self.push.try_push(priority, Envelope::new(id, "tried"));
                self.accepted += u64::from(pushed.is_ok());
            }
            Step::PushOrDrop(priority, id) => {
                let frame = Envelope::new(id, "perhaps");
                let pushed = self
                    .push
                    .push_with_policy(priority, frame, PushPolicy::DropIfFull);
                self.accepted += u64::from(pushed.is_ok());
            }
            Step::Push(priority, id) => {
                let push = self.push.clone();
                let frame = Envelope::new(id, "patient");
                let waiting = async move { push.push(priority, frame).await };
                self.waiting.push_back(self.simulation.spawn(waiting));
            }
            Step::CancelPush(n) => {
                if let Some(waiting) = self.waiting.get(n) {
                    waiting.cancel();
                }
            }
            Step::Reserve(priority) => {
                let push = self.push.clone();
                let reserved = async move { push.reserve(priority).await.ok() };
                let reserved = self.simulation.spawn(reserved);
                self.simulation.run();
                self.permits.extend(reserved.take().flatten());
                reserved.cancel();
            }
            Step::UsePermit(id) => {
                if let Some(permit) = self.permits.pop() {
                    let sent = permit.send(Envelope::new(id, "reserved"));
                    self.accepted += u64::from(sent.is_ok());
                }
            }
            Step::DropPermit => drop(self.permits.pop()),
            Step::Take(n) => self.receive(n),
            Step::Wait(millis) => self.simulation.advance(Duration::from_millis(millis)),
            Step::WriteSizes(sizes) => self.script.write_sizes(sizes),
            Step::ReadSizes(sizes) => self.script.read_sizes(sizes),
            Step::Stall(after) => self.script.write_fault(after, Fault::Stall),
            Step::Release => self.script.release(),
        }
        self.settle();
    }

    fn receive(&mut self, n: usize) {
        if let Some(peer) = &mut self.peer {
            self.received.extend(peer.receive_at_most(n));
        }
    }

    /// Lets everybody work. Then the account of pushes is right.
    fn settle(&mut self) {
        let polls = self.simulation.run();
        assert!(polls <= 300, "{polls} polls");
        self.waiting.retain(|waiting| {
            if !waiting.is_done() {
                return true;
            }
            self.accepted += u64::from(matches!(waiting.take(), Some(Ok(()))));
            false
        });
        let s = self.push.stats();
        let lost = s.lost_policy + s.lost_unencodable + s.lost_closed;
        let sum = s.sent + s.dead_lettered + lost + s.queued;
        assert_eq!(s.accepted, sum, "{s:?}");
        let connected = usize::from(!self.driver.is_done());
        assert_eq!(self.registry.len(), connected);
    }

    /// The peer takes what there is, for so long.
    fn listen(&mut self, time: Duration) {
        self.script.release();
        for _ in 0..20 {
            for _ in 0..200 {
                let before = self.received.len();
                self.receive(usize::MAX);
                self.settle();
                if before == self.received.len() {
                    break;
                }
            }
            self.simulation.advance(time / 20);
        }
    }

    fn end(&mut self, end: End) {
        match end {
            End::Drain => {
                self.push.connection().close();
                self.listen(secs(10));
            }
            End::PeerFinishes => {
                self.peer.iter_mut().for_each(Link::finish);
                self.listen(secs(10));
            }
            End::Reset => {
                let reset = Fault::Error(io::ErrorKind::ConnectionReset);
                self.script.read_fault(0, reset);
            }
            End::PeerGone => self.peer = None,
            End::Abort => self.push.connection().abort(),
            End::DropDriver => self.driver.cancel(),
            End::Silence => self.simulation.advance(secs(100)),
        }
        self.settle();
        if !self.driver.is_done() {
            // Whatever it still waits for.
            self.push.connection().abort();
            self.settle();
        }
    }
}

/// Whole pushes among the frames that the peer has got.
fn pushes_in(mut received: &[u8]) -> u64 {
    let mut pushes = 0;
    while let Some((len, rest)) = received.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        let Some((body, rest)) = rest.split_at_checked(len) else {
            break;
        };
        let meta = wireframe::FragmentMeta::whole(len as u64);
        let frame = EnvelopeCodec.decode(&meta, Bytes::copy_from_slice(body));
        pushes += u64::from(frame.unwrap().id == PUSH);
        received = rest;
    }
    pushes
}

/// How a command can end, besides that its connection ends first.
fn may_end(route: u32, outcome: Outcome) -> bool {
    let expected: &[_] = match route {
        1..=3 | 8 => &[Outcome::Done],
        // Its push may be refused, or its body fail.
        7 | 20..=22 => &[Outcome::Done, Outcome::Failed],
        9 => &[],
        11..=13 => &[Outcome::Panicked],
        _ => &[Outcome::Failed],
    };
    outcome == Outcome::Disconnected || expected.contains(&outcome)
}

/// What holds once the connection has ended.
fn check_end(run: &mut Run, log: &Log, panics: Panics, extras: &Extras) {
    assert!(run.driver.is_done());
    run.permits.clear();
    run.simulation.advance(secs(1));
    run.settle();
    assert_eq!(run.simulation.clock().armed(), 0);
    assert!(run.waiting.is_empty(), "a producer waits for ever");

    let stats = run.push.stats();
    assert_eq!(stats.queued, 0);
    let mut letters = 0;
    while let Some(letter) = run.dead_letters.as_ref().and_then(DeadLetters::try_recv) {
        assert!(letter.frame.id == PUSH || letter.frame.id == UNENCODABLE);
        letters += 1;
    }
    assert_eq!(stats.dead_lettered, letters);
    if extras.dead_letters == Some(1000) {
        let lost = stats.lost_policy + stats.lost_unencodable + stats.lost_closed;
        // Only what the protocol panicked over.
        assert!(lost <= u64::from(panics != Panics::Nowhere), "{stats:?}");
    }
    let handlers = log.lock().unwrap().pushed;
    assert_eq!(stats.accepted, run.accepted + handlers);
    run.receive(usize::MAX);
    if run.peer.is_some() {
        assert_eq!(stats.sent, pushes_in(&run.received));
    }
    let refused = run
        .push
        .try_push(Priority::High, Envelope::new(PUSH, "late"));
    assert!(refused.is_err());

    let log = log.lock().unwrap();
    assert_eq!(log.disconnects, 1);
    assert!(!log.late, "a hook ran after the last one");
    assert!(
        !log.sent_late,
        "a frame was encoded after its command had ended"
    );
    for (id, outcome) in &log.ended {
        let (_, route) = log.begun.iter().find(|(begun, _)| begun == id).unwrap();
        assert!(may_end(*route, *outcome), "route {route}: {outcome:?}");
    }
    let mut ended: Vec<_> = log.ended.iter().map(|(id, _)| id.to_string()).collect();
    let mut begun: Vec<_> = log.begun.iter().map(|(id, _)| id.to_string()).collect();
    ended.sort_unstable();
    begun.sort_unstable();
    if matches!(panics, Panics::Nowhere | Panics::OnDisconnect) {
        assert_eq!(begun, ended, "each command ends once");
    } else {
        // A protocol that has panicked is asked for its last hook alone.
        ended.dedup();
        assert_eq!(ended.len(), log.ended.len(), "a command ended twice");
        assert!(ended.iter().all(|id| begun.contains(id)));
    }
}

fn run<const CORRELATED: bool>(
    program: Vec<Step>,
    ending: End,
    panics: Panics,
    numbers: (usize, usize, usize),
    extras: &Extras,
    vectored: bool,
) {
    let (capacity, slots, in_flight) = numbers;
    let log = Log::default();
    let protocol = Program::<CORRELATED> {
        log: Arc::clone(&log),
        panics,
    };
    let app = app(protocol, slots, in_flight, extras.heartbeat);
    let mut run = Run::new(app, extras, capacity, vectored);
    for step in program {
        run.take(step);
    }
    run.end(ending);
    check_end(&mut run, &log, panics, extras);
}

proptest! {
    #[test]
    fn each_command_ends_once_and_each_push_is_accounted_for(
        program in prop::collection::vec(step(), 0..80),
        ending in end(),
        panics in prop_oneof![
            12 => Just(Panics::Nowhere),
            1 => Just(Panics::OnControl),
            1 => Just(Panics::OnCommandEnd),
            1 => Just(Panics::OnDisconnect),
        ],
        numbers in (1..200usize, 1..5usize, 1..4usize),
        extras in extras(),
        correlated: bool,
        vectored: bool,
    ) {
        // rule: RESP-4, PUSH-9, DLQ-2, REG-2, HOOK-2, RESP-8, HOOK-7
        if correlated {
            run::<true>(program, ending, panics, numbers, &extras, vectored);
        } else {
            run::<false>(program, ending, panics, numbers, &extras, vectored);
        }
    }
}
