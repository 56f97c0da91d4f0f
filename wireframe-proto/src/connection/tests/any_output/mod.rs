//! Any program of pushes, answers, fills and partial writes, against a simple model.

mod model;

use alloc::vec::Vec;

use proptest::prelude::*;

use super::support::{Frame, Kind, Link, Test};
use crate::{
    Config, End, Event, FairnessConfig, Filled, Limits, Priority, PushBound, PushCapacity,
    Reaction, RequestInfo, UndeliveredReason, config::nonzero,
};
use model::Model;

const HIGH_WATER: usize = 60;
const SLOT: usize = 2;
const FRAMES: usize = 4;
const BYTES: usize = 50;

/// One call of a driver or an application.
#[derive(Clone, Copy, Debug)]
enum Step {
    Request,
    Control,
    Events,
    Push {
        high: bool,
        len: usize,
        flawed: bool,
    },
    Respond {
        command: usize,
    },
    Answer {
        command: usize,
    },
    Finish {
        command: usize,
        stream: bool,
    },
    Fill,
    Advance {
        bytes: usize,
    },
    TakeReleased,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = (any::<bool>(), 0usize..60, 0u8..12);
    let step = prop_oneof![
        2 => Just(Step::Request),
        1 => Just(Step::Control),
        3 => Just(Step::Events),
        6 => push.prop_map(|(high, len, flaw)| Step::Push { high, len, flawed: flaw == 0 }),
        4 => (0usize..4).prop_map(|command| Step::Respond { command }),
        2 => (0usize..4).prop_map(|command| Step::Answer { command }),
        1 => (0usize..4, any::<bool>())
            .prop_map(|(command, stream)| Step::Finish { command, stream }),
        4 => Just(Step::Fill),
        4 => (0usize..80).prop_map(|bytes| Step::Advance { bytes }),
        1 => Just(Step::TakeReleased),
    ];
    proptest::collection::vec(step, 1..120)
}

fn fairness() -> impl Strategy<Value = FairnessConfig> {
    prop_oneof![
        1 => Just(FairnessConfig::strict()),
        3 => (1u32..4, 1u32..6).prop_map(|(highs, pushes)| FairnessConfig {
            max_high_before_low: highs,
            max_push_before_response: pushes,
            time_slice: None,
        }),
    ]
}

/// A connection and what is known about it.
struct Run<const CORRELATED: bool> {
    link: Link<Test<CORRELATED>>,
    model: Model,
    running: Vec<RequestInfo>,
    requests: u16,
    numbered: u32,
}

impl<const CORRELATED: bool> Run<CORRELATED> {
    fn new(fairness: FairnessConfig) -> Self {
        let config = Config {
            limits: Limits {
                high_water: nonzero(HIGH_WATER),
                response_slot: nonzero(SLOT),
                max_in_flight: Some(nonzero(3)),
                ..Limits::default()
            },
            fairness,
            push_bound: PushBound::Engine(PushCapacity {
                frames: nonzero(FRAMES),
                bytes: nonzero(BYTES),
            }),
            ..Config::default()
        };
        let protocol = Test::<CORRELATED> {
            on_control: |frame| Reaction::Send(frame),
            stream_end: Some(Frame::numbered(u32::MAX)),
            ..Test::default()
        };
        Self {
            link: Link::new(config, protocol),
            model: Model::new(CORRELATED, fairness),
            running: Vec::new(),
            requests: 0,
            numbered: 0,
        }
    }

    fn number(&mut self) -> u32 {
        self.numbered += 1;
        self.numbered
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Request => {
                self.requests += 1;
                self.link.receive(&[Frame::request(self.requests)]);
            }
            Step::Control => {
                let n = self.number();
                let frame = Frame::new(Kind::Control, n.to_be_bytes());
                self.link.receive(&[frame]);
            }
            Step::Events => self.take_events(),
            Step::Push { high, len, flawed } => self.push(high, len, flawed),
            Step::Respond { command } => self.respond(command, false),
            Step::Answer { command } => self.respond(command, true),
            Step::Finish { command, stream } => self.finish(command, stream),
            Step::Fill => self.fill(),
            Step::Advance { bytes } => {
                let taken = self.link.take_bytes(bytes);
                self.model.taken(&taken);
            }
            Step::TakeReleased => self.take_released(),
        }
        self.look();
    }

    /// Compares what can be seen without changing anything.
    fn look(&mut self) {
        let lent = self.link.connection.transmit();
        let lent: Vec<u8> = lent.map_or(Vec::new(), |t| t.chunks().flatten().copied().collect());
        self.model.encoded(&lent);
        let stats = self.link.connection.stats();
        self.model.check_stats(Priority::High, stats.high);
        self.model.check_stats(Priority::Low, stats.low);
    }

    fn take_events(&mut self) {
        while let Some(event) = self.link.connection.poll_event(self.link.now) {
            match event {
                Event::Request { info, .. } => {
                    self.model.begin(info.correlation);
                    self.running.push(info);
                }
                Event::Control => self.model.control(),
                Event::Undelivered(undelivered) => {
                    assert!(matches!(undelivered.why, UndeliveredReason::Unencodable(_)));
                    self.model
                        .came_back(undelivered.priority, &undelivered.frame);
                }
                Event::HeldBack(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn push(&mut self, high: bool, len: usize, flawed: bool) {
        let priority = if high { Priority::High } else { Priority::Low };
        let mut body = self.number().to_be_bytes().to_vec();
        body.resize(4 + len, 0);
        let kind = if flawed { Kind::Flawed } else { Kind::Push };
        let frame = Frame::new(kind, body);
        let expected = self.model.has_room(priority, &frame);
        let pushed = self.link.connection.push(priority, frame.clone());
        assert_eq!(pushed.is_ok(), expected, "{:?}", self.model);
        if expected {
            self.model.pushed(priority, frame);
        }
    }

    fn respond(&mut self, command: usize, whole: bool) {
        let Some(&info) = self.running.get(command) else {
            return;
        };
        let frame = Frame::numbered(self.number());
        let has_room = self.link.connection.response_capacity(info.id) > 0;
        let taken = match whole {
            false => self.link.connection.respond(info.id, frame.clone()),
            true => self.link.connection.answer(info.id, frame.clone()),
        };
        assert!(taken.is_ok() || !has_room);
        if taken.is_ok() {
            self.model.responded(info.correlation, frame);
            if whole {
                self.finished(command);
            }
        }
    }

    fn finish(&mut self, command: usize, stream: bool) {
        let Some(&info) = self.running.get(command) else {
            return;
        };
        let end = match stream {
            true => End::StreamComplete,
            false => End::Complete,
        };
        self.link.connection.finish(info.id, end).unwrap();
        if stream {
            let frame = Frame::numbered(u32::MAX);
            self.model.responded(info.correlation, frame);
        }
        self.finished(command);
    }

    fn finished(&mut self, command: usize) {
        let info = self.running.remove(command);
        self.model.finished(info.correlation);
    }

    fn fill(&mut self) {
        let filled = self.link.fill();
        self.look();
        match filled {
            Filled::Ready => self.model.check_nothing_ready(),
            Filled::HighWater => self.model.check_lent_at_least(HIGH_WATER),
        }
    }

    fn take_released(&mut self) {
        for priority in Priority::ALL {
            let released = self.link.connection.take_released(priority);
            self.model.check_released(priority, released);
        }
    }

    /// Everything that was accepted gets out in the end.
    fn finish_all(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "no end: {:?}", self.model);
            self.run(Step::Events);
            self.run(Step::Finish {
                command: 0,
                stream: round % 2 == 0,
            });
            self.run(Step::Fill);
            self.run(Step::Advance { bytes: 17 });
            if self.model.is_empty() && self.link.connection.commands_in_flight() == 0 {
                break;
            }
        }
        self.run(Step::Events);
        self.run(Step::TakeReleased);
        self.model.check_nothing_outstanding();
    }
}

fn any_program<const CORRELATED: bool>(fairness: FairnessConfig, flaws: bool, steps: Vec<Step>) {
    let mut run = Run::<CORRELATED>::new(fairness);
    for mut step in steps {
        if let Step::Push { flawed, .. } = &mut step {
            *flawed &= flaws;
        }
        run.run(step);
    }
    run.finish_all();
}

proptest! {
    #[test]
    fn any_program_of_correlated_answers_and_pushes_keeps_the_rules(
        fairness in fairness(),
        flaws: bool,
        steps in steps(),
    ) {
        // rule: SEL-1, SEL-2, SEL-3, SEL-5, SEL-8, PUSH-1, PUSH-9
        any_program::<true>(fairness, flaws, steps);
    }

    #[test]
    fn any_program_of_answers_in_order_and_pushes_keeps_the_rules(
        fairness in fairness(),
        flaws: bool,
        steps in steps(),
    ) {
        // rule: SEL-1, SEL-2, SEL-3, SEL-5, SEL-6, SEL-8, PUSH-1, PUSH-9
        any_program::<false>(fairness, flaws, steps);
    }
}
