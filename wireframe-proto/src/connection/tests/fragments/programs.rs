//! Random programs over framings that split.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, TestCodec},
    Framed, events, feed, multiplexed, raw, split,
};
use crate::{
    CloseReason, Config, End, Event, FragmentStrategy, Instant, LenFlag32K, Multiplexed, Priority,
    Reaction, RequestInfo, Shutdown, State, UnsentPushes, WireframeProtocol, config::nonzero,
};

#[derive(Clone, Debug)]
enum Op {
    Push(Priority, usize),
    Request,
    Respond(usize, usize),
    Finish(usize),
    Control(usize),
    Fill,
    Take(usize),
    /// Time passes, and what is due then is done.
    Pass(u64),
    End(Ending),
}

/// How it may come to an end.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The peer ends its output.
    Eof,
    /// A drain of so many milliseconds.
    Drain(u64),
    Abort,
    TransportFailed,
}

fn op() -> impl Strategy<Value = Op> {
    let priority = proptest::sample::select(vec![Priority::High, Priority::Low]);
    let len = 0usize..50;
    let ending = prop_oneof![
        2 => Just(Ending::Eof),
        4 => (0u64..30_000).prop_map(Ending::Drain),
        1 => Just(Ending::Abort),
        1 => Just(Ending::TransportFailed),
    ];
    prop_oneof![
        20 => (priority, len.clone()).prop_map(|(priority, len)| Op::Push(priority, len)),
        20 => Just(Op::Request),
        30 => (any::<usize>(), len.clone()).prop_map(|(which, len)| Op::Respond(which, len)),
        10 => any::<usize>().prop_map(Op::Finish),
        10 => len.prop_map(Op::Control),
        30 => Just(Op::Fill),
        40 => (1usize..40).prop_map(Op::Take),
        4 => (0u64..10_000).prop_map(Op::Pass),
        1 => ending.prop_map(Op::End),
    ]
}

/// Sources whose frames stay in order; the route of a frame names its source.
const CONTROL: u8 = 200;
const HIGH: u8 = 201;
const LOW: u8 = 202;

struct Run<P, S>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + Clone,
{
    link: Link<Framed<P, S>>,
    framing: S,
    commands: Vec<RequestInfo>,
    requests: u16,
    /// Frames so far, which are numbered.
    frames: u32,
    /// Frames that were accepted, in order.
    accepted: Vec<Frame>,
    /// Control frames that were received, and are accepted when their hook has run.
    controls: VecDeque<Frame>,
    sent: Vec<u8>,
    undelivered: Vec<Frame>,
    /// It closes, and not in good order: what was accepted need not have gone.
    is_cut: bool,
    /// Its output has ended.
    has_ended: bool,
}

impl<P, S> Run<P, S>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + FragmentStrategy<Bytes> + Clone,
{
    fn frame(&mut self, source: u8, len: usize) -> Frame {
        self.frames += 1;
        let body = [&self.frames.to_be_bytes()[..], &vec![source; len]].concat();
        Frame::new(Kind::Push, body).with_route(source)
    }

    fn receive(&mut self, frame: &Frame) {
        // The framing without ids gets units that are short enough to be whole.
        let wire = frame.wire();
        let mut header = vec![];
        let meta = crate::FragmentMeta::whole((wire.len() - 4) as u64);
        let mut framing = self.framing.clone();
        FragmentStrategy::<Frame>::encode_header(&mut framing, &mut header, frame, &meta).unwrap();
        self.link.receive_bytes(&[&header, &wire[4..]].concat());
        self.take_events();
    }

    fn take_events(&mut self) {
        for event in self.link.events() {
            match event {
                Event::Request { info, .. } => self.commands.push(info),
                Event::Control => self.accepted.extend(self.controls.pop_front()),
                Event::Undelivered(undelivered) => self.undelivered.push(undelivered.frame),
                Event::Closing(reason) => {
                    self.commands.clear();
                    let in_good_order = [CloseReason::Drained, CloseReason::PeerClosed];
                    self.is_cut |= !in_good_order.contains(&reason);
                }
                Event::Closed(_) => self.is_cut |= !self.has_ended,
                Event::HeldBack(_) | Event::Discarded(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn act(&mut self, op: &Op) {
        match *op {
            Op::Push(priority, len) => {
                let source = match priority {
                    Priority::High => HIGH,
                    Priority::Low => LOW,
                };
                let frame = self.frame(source, len);
                if self.link.connection.push(priority, frame.clone()).is_ok() {
                    self.accepted.push(frame);
                }
            }
            Op::Request if self.requests < 100 => {
                self.requests += 1;
                let request = Frame::request(self.requests);
                self.receive(&request);
            }
            Op::Respond(which, len) if !self.commands.is_empty() => {
                let command = self.commands[which % self.commands.len()];
                let id = command.correlation.unwrap().0;
                let source = u8::try_from(id).unwrap();
                let frame = self.frame(source, len).with_id(u16::from(source));
                let connection = &mut self.link.connection;
                if connection.respond(command.id, frame.clone()).is_ok() {
                    self.accepted.push(frame);
                }
            }
            Op::Finish(which) if !self.commands.is_empty() => {
                let command = self.commands.remove(which % self.commands.len());
                let finished = self.link.connection.finish(command.id, End::Complete);
                assert_eq!(finished, Ok(()));
            }
            Op::Control(len) => {
                let frame = self.frame(CONTROL, len);
                let control = Frame {
                    kind: Kind::Control,
                    ..frame
                };
                self.controls.push_back(control.clone());
                if FragmentStrategy::<Frame>::max_message_id(&self.framing).is_some() {
                    let units = split(self.frames, &control.wire()[4..], 7);
                    self.link.receive_bytes(&units.concat());
                    self.take_events();
                } else {
                    self.receive(&control);
                }
            }
            Op::Fill => {
                let _ = self.link.fill();
                let waiting = self.link.connection.transmit().map_or(0, |t| t.len());
                assert!(waiting < 30 + 10 + 21, "{waiting}");
            }
            Op::Take(n) => {
                self.sent.extend(self.link.take_bytes(n));
                self.half_close();
            }
            Op::Pass(millis) => {
                self.link.now += Duration::from_millis(millis);
                self.link.connection.handle_timeout(self.link.now);
                self.take_events();
            }
            Op::End(ending) => self.end(ending),
            _ => {}
        }
    }

    fn half_close(&mut self) {
        if self.link.connection.wants().half_close {
            self.link.connection.handle_half_closed(self.link.now);
            self.has_ended = true;
            self.take_events();
        }
    }

    fn end(&mut self, ending: Ending) {
        let (connection, now) = (&mut self.link.connection, self.link.now);
        match ending {
            Ending::Eof => connection.handle_eof(now),
            Ending::Drain(millis) => {
                let deadline = now + Duration::from_millis(millis);
                connection.shutdown(now, Shutdown::Drain { deadline });
            }
            Ending::Abort => connection.shutdown(now, Shutdown::Immediate),
            Ending::TransportFailed => connection.handle_transport_failed(now, "reset"),
        }
        self.take_events();
    }

    /// Handlers end, and the peer takes everything, until there is nothing more.
    fn finish(&mut self) {
        loop {
            self.sent.extend(self.link.sent_bytes());
            self.take_events();
            if self.commands.is_empty() {
                break;
            }
            for command in core::mem::take(&mut self.commands) {
                let _ = self.link.connection.finish(command.id, End::Complete);
            }
        }
        self.sent.extend(self.link.sent_bytes());
        let drain = Shutdown::Drain {
            deadline: Instant::MAX,
        };
        self.link.connection.shutdown(self.link.now, drain);
        self.sent.extend(self.link.sent_bytes());
        self.take_events();
    }

    /// What was accepted has gone, whole, once, and in the order of its source: all of it,
    /// or what came first.
    fn check(mut self) {
        self.finish();
        let mut receiver = raw(self.framing.clone(), config(UnsentPushes::Counted));
        feed(&mut receiver, &self.sent);
        let frames = events(&mut receiver).into_iter().map(|event| match event {
            Event::Push(payload) => {
                let mut wire = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
                wire.extend_from_slice(&payload);
                Frame::parse_all(&wire).remove(0)
            }
            other => panic!("{other:?}"),
        });
        let mut arrived: Vec<_> = frames.collect();
        assert_eq!(receiver.stats().fragments.gaps, 0);
        // Of one source in their order, sources in any order.
        arrived.sort_by_key(|frame| frame.route);
        self.accepted.sort_by_key(|frame| frame.route);
        let stats = self.link.connection.stats();
        if self.is_cut {
            self.check_cut(&arrived);
        } else {
            assert_eq!(receiver.poll_timeout(), None, "all messages are whole");
            assert_eq!(arrived, self.accepted);
            assert_eq!(self.undelivered, []);
            assert_eq!(stats.frames_sent, arrived.len() as u64);
        }
        for (source, stats) in [(HIGH, stats.high), (LOW, stats.low)] {
            let sent = arrived.iter().filter(|frame| frame.route == source).count() as u64;
            assert_eq!((stats.queued, stats.sent), (0, sent));
            assert_eq!(stats.accepted, sent + stats.connection_ended);
        }
        self.link.eof();
        self.half_close();
        self.take_events();
        assert_eq!(self.link.connection.state(), State::Closed);
        let ends = |hook: &&Hook| matches!(hook, Hook::CommandEnd(..));
        let ended = self.link.hooks().iter().filter(ends).count();
        assert_eq!(ended as u64, stats.requests);
    }

    /// Of each source the first ones have gone; pushes that have not come back, or are
    /// counted.
    fn check_cut(&self, arrived: &[Frame]) {
        for source in 0..=LOW {
            let of_it = |frames: &[Frame]| -> Vec<Frame> {
                let frames = frames.iter().filter(|frame| frame.route == source);
                frames.cloned().collect()
            };
            let (accepted, arrived) = (of_it(&self.accepted), of_it(arrived));
            // Those that had not begun come back first: the others may still have gone.
            let mut undelivered = of_it(&self.undelivered);
            undelivered.sort_by(|a, b| a.body.cmp(&b.body));
            let (first, rest) = accepted.split_at(arrived.len());
            assert_eq!(first, arrived);
            match self.link.connection.config.unsent_pushes {
                UnsentPushes::Returned if source == HIGH || source == LOW => {
                    assert_eq!(rest, undelivered);
                }
                // Those that were encoded or under way are only counted.
                _ => assert!(rest.ends_with(&undelivered)),
            }
        }
    }
}

fn config(unsent_pushes: UnsentPushes) -> Config {
    let mut config = Config {
        unsent_pushes,
        ..Config::default()
    };
    config.limits.high_water = nonzero(30);
    config.fragments.max_message_size = Some(nonzero(1_000));
    // Room for two or three at once, at either end.
    config.fragments.max_partial_bytes = Some(nonzero(120));
    config
}

fn runs<P, S>(inner: P, framing: S, max_frame_len: usize, ops: &[Op], unsent: UnsentPushes)
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + FragmentStrategy<Bytes> + Clone,
{
    let mut run = Run {
        link: Link::new(
            config(unsent),
            Framed {
                inner,
                framing: framing.clone(),
            },
        ),
        framing,
        commands: vec![],
        requests: 0,
        frames: 0,
        accepted: vec![],
        controls: VecDeque::new(),
        sent: vec![],
        undelivered: vec![],
        is_cut: false,
        has_ended: false,
    };
    // What goes out is cut by it; what comes in is not longer than it.
    let limits = &mut alloc::sync::Arc::make_mut(&mut run.link.connection.config).limits;
    limits.max_frame_len = nonzero(max_frame_len);
    for op in ops {
        run.act(op);
    }
    run.check();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_program_sends_all_of_every_message(
        returned in any::<bool>(),
        ops in proptest::collection::vec(op(), 0..120),
    ) {
        // rule: SEL-2, SEL-7, SEL-8, RESP-4, PUSH-9, SHUT-2, SHUT-3, SHUT-6
        let unsent = match returned {
            true => UnsentPushes::Returned,
            false => UnsentPushes::Counted,
        };
        let correlated = || Correlated {
            on_control: Reaction::Send,
            ..Correlated::default()
        };
        let in_order = || InOrder {
            on_control: Reaction::Send,
            ..InOrder::default()
        };
        runs(correlated(), multiplexed(10), 1_000, &ops, unsent);
        runs::<_, Multiplexed>(in_order(), multiplexed(10), 1_000, &ops, unsent);
        // Fragments without ids, of 10 bytes, and nothing between them.
        let short = |op: &Op| match *op {
            Op::Control(len) => Op::Control(len % 3),
            ref other => other.clone(),
        };
        let ops: Vec<_> = ops.iter().map(short).collect();
        runs(correlated(), LenFlag32K, 10, &ops, unsent);
        runs(in_order(), LenFlag32K, 10, &ops, unsent);
    }
}
