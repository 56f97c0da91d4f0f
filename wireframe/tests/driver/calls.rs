//! Any calls over any link: each gets its own reply, or its failure, and nothing spins.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use wireframe::{
    CallError, Client, Clock, CloseReason, Config, Driver, Envelope, PushCapacity, PushLimits,
    WireframeApp,
    testing::{Fault, Script, Simulation, Spawned, link},
};

use crate::rig::{nonzero, secs};

/// One step of a program; a `bool` names an end of the link.
#[derive(Clone, Debug)]
enum Step {
    Call { slow: bool },
    GiveUp(prop::sample::Index),
    Wait(u64),
    Sizes(bool, Vec<usize>),
    Stall(bool, usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(|slow| Step::Call { slow }),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
        2 => (0..30u64).prop_map(Step::Wait),
        1 => (any::<bool>(), prop::collection::vec(1..20usize, 0..3)).prop_map(|(end, sizes)| Step::Sizes(end, sizes)),
        1 => (any::<bool>(), 0..40usize).prop_map(|(end, after)| Step::Stall(end, after)),
        2 => Just(Step::Release),
    ]
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
enum End {
    AllAnswered,
    ServerDies,
    ClientAborts,
    ClientDrains,
}

type Call = Spawned<Result<Envelope, CallError>>;

struct World {
    simulation: Simulation,
    client: Client,
    scripts: [Script; 2],
    serving: Spawned<CloseReason>,
    driving: Spawned<CloseReason>,
    calls: Vec<Call>,
    given_up: Vec<bool>,
}

impl World {
    fn new(capacity: usize, slots: usize) -> Self {
        let simulation = Simulation::new();
        let environment = simulation.environment();
        let (near, far) = link(capacity);
        let scripts = [near.script(), far.script()];
        let mut config = Config::default();
        config.limits.max_in_flight = Some(nonzero(3));
        config.limits.max_held_back = nonzero(2);
        let server = WireframeApp::new()
            .config(config)
            .route(1, async |body: Bytes| body)
            .route(2, async |body: Bytes, clock: Clock| {
                clock.sleep(Duration::from_millis(10)).await;
                body
            });
        let server = Driver::server(&server.build().unwrap(), near, None, &environment);
        let limits = PushLimits::both(PushCapacity::new().with_frames(nonzero(slots)));
        let app = WireframeApp::new().push_limits(limits).build().unwrap();
        let (client, driver) = Client::new(&app, far, None, &environment);
        Self {
            serving: simulation.spawn(server),
            driving: simulation.spawn(driver),
            simulation,
            client,
            scripts,
            calls: Vec::new(),
            given_up: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Call { slow } => {
                let client = self.client.clone();
                let body = self.calls.len().to_string();
                let call = Envelope::new(1 + u32::from(*slow), body);
                let call = self
                    .simulation
                    .spawn(async move { client.call(call).await });
                self.calls.push(call);
                self.given_up.push(false);
            }
            Step::GiveUp(index) if !self.calls.is_empty() => {
                let index = index.index(self.calls.len());
                self.calls[index].cancel();
                self.given_up[index] = true;
            }
            Step::GiveUp(_) => {}
            Step::Wait(millis) => self.simulation.advance(Duration::from_millis(*millis)),
            Step::Sizes(end, sizes) => self.script(*end).write_sizes(sizes.clone()),
            Step::Stall(end, after) => self.script(*end).write_fault(*after, Fault::Stall),
            Step::Release => self.scripts.iter().for_each(Script::release),
        }
        let polls = self.simulation.run();
        assert!(polls <= 500, "{polls} polls");
    }

    fn script(&self, near: bool) -> &Script {
        &self.scripts[usize::from(near)]
    }

    /// What each call that was not given up came to.
    fn outcomes(&self) -> impl Iterator<Item = (usize, Result<Envelope, CallError>)> {
        let calls = self.calls.iter().zip(&self.given_up).enumerate();
        calls
            .filter(|(_, (_, given_up))| !**given_up)
            .map(|(n, (call, _))| (n, call.take().expect("a call waits for ever")))
    }
}

proptest! {
    #[test]
    fn every_call_gets_its_own_reply_or_fails(
        steps in prop::collection::vec(step(), 0..60),
        end in prop_oneof![
            Just(End::AllAnswered), Just(End::ServerDies), Just(End::ClientAborts), Just(End::ClientDrains)
        ],
        capacity in 1..100usize,
        slots in 1..6usize,
    ) {
        // rule: CLI-1, CLI-2, CLI-3
        let mut world = World::new(capacity, slots);
        for step in &steps {
            world.take(step);
        }
        let reason = match end {
            End::AllAnswered => {
                world.take(&Step::Release);
                world.simulation.advance(secs(2));
                None
            }
            End::ServerDies => {
                world.serving.cancel();
                world.take(&Step::Release);
                world.simulation.advance(secs(10));
                Some(world.driving.take().unwrap())
            }
            End::ClientAborts => {
                world.client.connection().abort();
                world.simulation.run();
                Some(CloseReason::Aborted)
            }
            End::ClientDrains => {
                world.client.connection().close();
                world.take(&Step::Release);
                world.simulation.advance(secs(10));
                prop_assert_eq!(world.driving.take(), Some(CloseReason::Drained));
                Some(CloseReason::Drained)
            }
        };
        for (n, outcome) in world.outcomes() {
            match (outcome, &reason) {
                (Ok(reply), _) => prop_assert_eq!(reply.payload, n.to_string()),
                (Err(CallError::Closed(why)), Some(reason)) => prop_assert_eq!(&why, reason),
                (Err(error), _) => prop_assert!(false, "{error}"),
            }
        }
        let stats = world.client.push_handle().stats();
        let lost = stats.lost_closed + stats.lost_unencodable + stats.lost_policy;
        prop_assert_eq!(stats.accepted, stats.sent + lost + stats.queued);
        prop_assert_eq!(stats.queued, 0);
        drop(world.client);
        world.simulation.advance(secs(20));
        prop_assert!(world.driving.is_done() && world.serving.is_done());
        prop_assert_eq!(world.simulation.clock().armed(), 0);
    }
}
