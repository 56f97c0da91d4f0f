//! Random programs over framings that split.

use alloc::{vec, vec::Vec};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    super::support::{Correlated, Frame, Hook, InOrder, Kind, Link, TestCodec},
    Framed, events, feed, multiplexed, raw, split,
};
use crate::{
    Config, End, Event, FragmentStrategy, Instant, LenFlag32K, Multiplexed, Priority, Reaction,
    RequestInfo, Shutdown, State, WireframeProtocol, config::nonzero,
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
}

fn op() -> impl Strategy<Value = Op> {
    let priority = proptest::sample::select(vec![Priority::High, Priority::Low]);
    let len = 0usize..50;
    prop_oneof![
        2 => (priority, len.clone()).prop_map(|(priority, len)| Op::Push(priority, len)),
        2 => Just(Op::Request),
        3 => (any::<usize>(), len.clone()).prop_map(|(which, len)| Op::Respond(which, len)),
        1 => any::<usize>().prop_map(Op::Finish),
        1 => len.prop_map(Op::Control),
        3 => Just(Op::Fill),
        4 => (1usize..40).prop_map(Op::Take),
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
    /// Frames that were accepted, in order.
    accepted: Vec<Frame>,
    sent: Vec<u8>,
}

impl<P, S> Run<P, S>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + FragmentStrategy<Bytes> + Clone,
{
    fn frame(&self, source: u8, len: usize) -> Frame {
        let n = u32::try_from(self.accepted.len()).unwrap();
        let body = [&n.to_be_bytes()[..], &vec![source; len]].concat();
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
        self.commands.extend(self.link.started());
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
                    ..frame.clone()
                };
                // Ids that no message has.
                let id = 1_000_000 + u32::try_from(self.accepted.len()).unwrap();
                if FragmentStrategy::<Frame>::max_message_id(&self.framing).is_some() {
                    let units = split(id, &control.wire()[4..], 7);
                    self.link.receive_bytes(&units.concat());
                    self.commands.extend(self.link.started());
                } else {
                    self.receive(&control);
                }
                self.accepted.push(control);
            }
            Op::Fill => {
                let _ = self.link.fill();
                let waiting = self.link.connection.transmit().map_or(0, |t| t.len());
                assert!(waiting < 30 + 10 + 21, "{waiting}");
            }
            Op::Take(n) => self.sent.extend(self.link.take_bytes(n)),
            _ => {}
        }
    }

    /// Everything that was accepted has gone, whole, once, and in the order of its source.
    fn check(mut self) {
        loop {
            self.sent.extend(self.link.sent_bytes());
            self.commands.extend(self.link.started());
            if self.commands.is_empty() {
                break;
            }
            for command in core::mem::take(&mut self.commands) {
                let _ = self.link.connection.finish(command.id, End::Complete);
            }
        }
        self.sent.extend(self.link.sent_bytes());
        let mut receiver = raw(self.framing.clone(), config());
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
        assert_eq!(receiver.poll_timeout(), None, "all messages are whole");
        // Of one source in their order, sources in any order.
        arrived.sort_by_key(|frame| frame.route);
        self.accepted.sort_by_key(|frame| frame.route);
        assert_eq!(arrived, self.accepted);
        let stats = self.link.connection.stats();
        assert_eq!((stats.high.queued, stats.low.queued), (0, 0));
        assert_eq!(stats.frames_sent, arrived.len() as u64);
        let ends = |hook: &&Hook| matches!(hook, Hook::CommandEnd(..));
        let ended = self.link.hooks().iter().filter(ends).count();
        assert_eq!(ended as u64, stats.requests);
        let deadline = Instant::MAX;
        self.link
            .connection
            .shutdown(self.link.now, Shutdown::Drain { deadline });
        self.link.wind_up();
        self.link.eof();
        self.link.events();
        assert_eq!(self.link.connection.state(), State::Closed);
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.high_water = nonzero(30);
    config.fragments.max_message_size = Some(nonzero(1_000));
    config
}

fn runs<P, S>(inner: P, framing: S, max_frame_len: usize, ops: &[Op])
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + FragmentStrategy<Bytes> + Clone,
{
    let mut run = Run {
        link: Link::new(
            config(),
            Framed {
                inner,
                framing: framing.clone(),
            },
        ),
        framing,
        commands: vec![],
        requests: 0,
        accepted: vec![],
        sent: vec![],
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
    fn any_program_sends_all_of_every_message(ops in proptest::collection::vec(op(), 0..120)) {
        // rule: SEL-2, SEL-7, SEL-8, RESP-4, PUSH-9
        let correlated = || Correlated {
            on_control: Reaction::Send,
            ..Correlated::default()
        };
        let in_order = || InOrder {
            on_control: Reaction::Send,
            ..InOrder::default()
        };
        runs(correlated(), multiplexed(10), 1_000, &ops);
        runs::<_, Multiplexed>(in_order(), multiplexed(10), 1_000, &ops);
        // Fragments without ids, of 10 bytes, and nothing between them.
        let short = |op: &Op| match *op {
            Op::Control(len) => Op::Control(len % 3),
            ref other => other.clone(),
        };
        let ops: Vec<_> = ops.iter().map(short).collect();
        runs(correlated(), LenFlag32K, 10, &ops);
        runs(in_order(), LenFlag32K, 10, &ops);
    }
}
