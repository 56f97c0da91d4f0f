//! Random programs of every call there is, in any order.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;

use super::{
    preamble::arrow,
    programs::{Ending, Op, config, heartbeat, op},
    support::{Frame, Hook, Kind, Link, Test},
};
use crate::{
    Accepted, Body, CallId, Config, Context, CorrelationId, Deadline, DeadlineReason, Event,
    Heartbeat, Instant, Priority, PushBound, Reaction, Refusal, RequestInfo, Shutdown, State,
    UnsentPushes,
};

/// What a hook does depends on the frame or error that it is given.
fn reaction(route: u8) -> Reaction<Frame> {
    let frame = Frame::numbered(u32::from(route));
    match route {
        2 | 3 => Reaction::Send(frame),
        4 => Reaction::Send(Frame::new(Kind::Flawed, [])),
        5 => Reaction::Close(None),
        6 => Reaction::Close(Some(frame)),
        _ => Reaction::Continue,
    }
}

fn protocol<const C: bool, const B: bool>(has_preamble: bool) -> Test<C, B> {
    Test {
        preamble: has_preamble.then_some(arrow),
        on_control: |frame| reaction(frame.route),
        on_dropped: |_| Reaction::Continue,
        on_error: |error| match error {
            crate::AnswerError::Protocol(code) => reaction(code),
            crate::AnswerError::Unencodable(error) => {
                reaction(if error.what.len() > 20 { 6 } else { 4 })
            }
            crate::AnswerError::Malformed(_) => reaction(2),
            crate::AnswerError::Other(_) => reaction(5),
        },
        on_unknown_route: |frame| reaction(frame.route),
        stream_end: Some(Frame::numbered(1)),
        drain_notice: Some(Frame::numbered(2)),
        ping: Some(Frame::numbered(6)),
        goodbye: Some(Frame::numbered(3)),
        in_hooks: |hook, ctx: &mut Context<'_, Test<C, B>>| match hook {
            Hook::Control(frame) if frame.route == 8 => {
                let _ = ctx.push(Priority::High, Frame::numbered(4));
            }
            Hook::Control(frame) if frame.route == 10 => {
                ctx.set_heartbeat(Some(Heartbeat::expecting(Duration::from_millis(20))));
            }
            Hook::Ping if ctx.commands_in_flight() > 1 => ctx.set_heartbeat(None),
            Hook::BeforeSend(frame) if frame.route == 9 => ctx.close(),
            Hook::CommandEnd(..) | Hook::Goodbye(_) | Hook::DrainNotice => {
                let _ = ctx.push(Priority::Low, Frame::numbered(5));
            }
            Hook::Disconnect(_) => ctx.close(),
            _ => {}
        },
    }
}

/// A connection, and what has come of it.
struct Run<const C: bool, const B: bool> {
    link: Link<Test<C, B>>,
    wire: VecDeque<u8>,
    clock: u64,
    buffers: Option<(Option<BytesMut>, Option<Vec<u8>>)>,
    commands: Vec<RequestInfo>,
    calls: Vec<CallId>,
    surfaced: Vec<Option<u64>>,
    undelivered: u64,
    released: u64,
    sent: Vec<u8>,
    closed: bool,
}

impl<const C: bool, const B: bool> Run<C, B> {
    /// Of a protocol with a preamble, with which the peer's output begins, or without.
    fn new(config: Config, preamble: Option<&[u8]>) -> Self {
        Self {
            link: Link::new(config, protocol::<C, B>(preamble.is_some())),
            wire: preamble.unwrap_or_default().iter().copied().collect(),
            clock: 0,
            buffers: None,
            commands: vec![],
            calls: vec![],
            surfaced: vec![],
            undelivered: 0,
            released: 0,
            sent: vec![],
            closed: false,
        }
    }

    fn command(&self, n: usize) -> Option<RequestInfo> {
        self.commands.iter().rev().nth(n).copied()
    }

    fn note(&mut self, event: &Event<Frame>) {
        assert!(!self.closed, "{event:?} after the last event");
        match event {
            Event::Request { info, .. } => {
                self.surfaced.push(info.correlation.map(|id| id.0));
                if !self.commands.contains(info) {
                    self.commands.push(*info);
                }
            }
            // A misuse: the application acts on what has not begun.
            Event::HeldBack(info) => self.commands.push(*info),
            Event::Undelivered(_) => self.undelivered += 1,
            Event::Closed(_) => self.closed = true,
            _ => {}
        }
    }

    fn apply(&mut self, op: Op) {
        let now = Instant::from_millis(self.clock);
        self.link.now = now;
        let engine = &mut self.link.connection;
        match op {
            Op::Write(frame) => self.wire.extend(frame.wire()),
            Op::WriteGarbage(bytes) => self.wire.extend(bytes),
            Op::Deliver(n) => {
                let n = n.min(self.wire.len());
                let bytes: Vec<u8> = self.wire.drain(..n).collect();
                self.link.receive_bytes(&bytes);
            }
            Op::Hold(held) => engine.hold_input(held, now),
            Op::SetHeartbeat(heartbeat) => engine.set_heartbeat(heartbeat, now),
            Op::Eof => engine.handle_eof(now),
            Op::TransportFailed => engine.handle_transport_failed(now, "reset"),
            Op::HalfClosed => engine.handle_half_closed(now),
            Op::Advance(ms) => self.clock += ms,
            Op::GoBack(ms) => self.clock = self.clock.saturating_sub(ms),
            Op::Timeout => engine.handle_timeout(now),
            Op::Poll => {
                if let Some(event) = engine.poll_event(now) {
                    self.note(&event);
                }
            }
            Op::Fill => drop(engine.fill(now)),
            Op::Take(n) => {
                let bytes = self.link.take_bytes(n);
                self.sent.extend(bytes);
            }
            Op::Push(priority, frame) => drop(engine.push(priority, frame)),
            Op::Accept(priority, frames) => {
                if engine.config.push_bound == PushBound::Caller {
                    let mut batch: VecDeque<_> =
                        frames.into_iter().map(|f| Accepted::new(f, 4)).collect();
                    engine.accept_pushes(priority, &mut batch);
                }
            }
            Op::EndPushes => engine.end_pushes(),
            Op::Call(id, frame) => {
                if let Ok(call) = engine.call(frame, id.map(CorrelationId)) {
                    self.calls.push(call);
                }
            }
            Op::CallStreaming(id, frame) => {
                if let Ok(call) = engine.call_streaming(frame, id.map(CorrelationId)) {
                    self.calls.push(call);
                }
            }
            Op::Forget(n) => {
                if let Some(&call) = self.calls.iter().rev().nth(n) {
                    engine.forget(call);
                }
            }
            _ => self.apply_to_command(op, now),
        }
    }

    fn apply_to_command(&mut self, op: Op, now: Instant) {
        let id = match &op {
            Op::Respond(n, _) | Op::Answer(n, _) | Op::Finish(n, _) | Op::Unrouted(n, _) => *n,
            Op::NextBody(n) | Op::StopAwaiting(n) | Op::DropBody(n) => *n,
            _ => 0,
        };
        let info = self.command(id);
        let engine = &mut self.link.connection;
        match (op, info) {
            (Op::Respond(_, frame), Some(info)) => {
                let capacity = engine.response_capacity(info.id);
                if let Err(refused) = engine.respond(info.id, frame) {
                    assert_eq!(capacity, 0);
                    let running = engine.is_running(info.id);
                    let accepted = engine.accept_response(info.id, refused.frame);
                    assert_eq!(accepted.is_ok(), running);
                }
            }
            (Op::Answer(_, frame), Some(info)) => drop(engine.answer(info.id, frame)),
            (Op::Finish(_, end), Some(info)) => drop(engine.finish(info.id, end.into())),
            (Op::Unrouted(_, frame), Some(info)) => drop(engine.finish_unrouted(info.id, frame)),
            (Op::NextBody(_), Some(info)) => drop(engine.next_body(info.id, now)),
            (Op::StopAwaiting(_), Some(info)) => engine.stop_awaiting_body(info.id),
            (Op::DropBody(_), Some(info)) => engine.drop_body(info.id),
            (Op::Drain(ms), _) => {
                let deadline = now + Duration::from_millis(ms);
                engine.shutdown(now, Shutdown::Drain { deadline });
            }
            (Op::Abort, _) => engine.shutdown(now, Shutdown::Immediate),
            (Op::SwapBuffers, _) => match self.buffers.take() {
                None => {
                    let receive = engine.take_receive_buffer();
                    self.buffers = Some((receive, engine.take_transmit_buffer()));
                }
                Some((receive, transmit)) => {
                    if let Some(buffer) = receive {
                        engine.give_receive_buffer(buffer);
                    }
                    if let Some(buffer) = transmit {
                        engine.give_transmit_buffer(buffer);
                    }
                }
            },
            (Op::Shrink, _) => engine.shrink(),
            _ => {}
        }
    }

    /// What holds after every call.
    fn check(&mut self) {
        let engine = &mut self.link.connection;
        let stats = engine.stats();
        for push in [stats.high, stats.low] {
            let accounted = push.sent + push.unencodable + push.connection_ended + push.queued;
            assert_eq!(push.accepted, accounted);
        }
        for priority in Priority::ALL {
            self.released += engine.take_released(priority).frames();
        }
        let held = [stats.high.accepted, stats.low.accepted]
            .iter()
            .sum::<u64>()
            - self.released;
        if engine.config.push_bound != PushBound::Caller {
            assert!(held <= 6, "{held} slots are in use");
        }
        let limits = &engine.config.limits;
        let in_flight = engine.max_in_flight + limits.max_held_back.get();
        assert!(engine.commands_in_flight() <= in_flight);
        assert!(engine.commands_held_back() <= limits.max_held_back.get());
        assert!(engine.control.len() <= limits.max_control.get() + 1);
        let body_bytes = engine.commands.body_bytes();
        assert_eq!(body_bytes, engine.commands.count_body_bytes());
        let most = engine.config.body_bytes() - 1 + limits.max_frame_len.get();
        assert!(body_bytes <= most, "{body_bytes} bytes of bodies");
        assert!(engine.events.len() <= 8 + in_flight, "events pile up");
        // A unit that crosses the mark, and a last word.
        assert!(engine.transmit.len() <= limits.high_water.get() + 4 * 64);
    }

    /// A driver that acts on `wants` alone brings it to its end in a few steps.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.turn();
            self.check();
            if self.closed {
                return;
            }
            let engine = &mut self.link.connection;
            let next = engine.poll_timeout().expect("nothing would ever happen").at;
            self.clock = next.as_nanos().div_ceil(1_000_000).max(self.clock + 1);
        }
        panic!("still {:?}", self.link.connection.state());
    }

    /// When the peer has ended and the handlers too, so does the connection. No deadline
    /// has to help, but for a body whose rest, if any, stands behind the bound of what is
    /// held back.
    fn settle_at_once(&mut self) {
        self.apply(Op::Hold(false));
        self.apply(Op::Eof);
        for _ in 0..100 {
            self.turn();
            self.check();
            if self.closed {
                return;
            }
            for n in 0..self.commands.len() {
                self.apply(Op::Finish(n, Ending::Complete));
            }
            let engine = &self.link.connection;
            if let Some(Deadline { at, reason }) = engine.poll_timeout()
                && reason == DeadlineReason::Body
                && !engine.may_decode()
                && !engine.receive.is_empty()
            {
                self.clock = at.as_nanos().div_ceil(1_000_000).max(self.clock);
            }
        }
        panic!("still {:?}", self.link.connection);
    }

    fn turn(&mut self) {
        self.apply(Op::Timeout);
        for _ in 0..500 {
            let now = Instant::from_millis(self.clock);
            let wants = self.link.connection.wants();
            if wants.event {
                self.apply(Op::Poll);
                continue;
            }
            if let Some(event) = self.link.connection.poll_event(now) {
                panic!("unannounced {event:?}");
            }
            self.apply(Op::Fill);
            let wants = self.link.connection.wants();
            if wants.write {
                self.apply(Op::Take(usize::MAX));
            } else if wants.half_close {
                self.apply(Op::HalfClosed);
            } else if wants.end_of_pushes {
                self.apply(Op::EndPushes);
            } else if !wants.event {
                return;
            }
        }
        panic!("the driver spins: {:?}", self.link.connection.wants());
    }

    /// What holds once it has ended.
    fn check_end(&mut self) {
        let now = Instant::from_millis(self.clock);
        let engine = &mut self.link.connection;
        assert_eq!(engine.state(), State::Closed);
        assert_eq!(engine.wants(), crate::Wants::default());
        assert_eq!(engine.poll_timeout(), None);
        assert_eq!(engine.poll_event(now), None);
        assert_eq!(engine.commands.body_bytes(), 0);
        let refused = engine.push(Priority::High, Frame::numbered(1)).unwrap_err();
        assert_eq!(refused.reason, Refusal::Closed);
        for info in &self.commands {
            assert_eq!(engine.next_body(info.id, now), Body::Gone);
        }

        let stats = engine.stats();
        assert_eq!(stats.high.queued + stats.low.queued, 0);
        assert_eq!(self.released, stats.high.accepted + stats.low.accepted);
        let ended = stats.high.connection_ended + stats.low.connection_ended;
        let unencodable = stats.high.unencodable + stats.low.unencodable;
        assert!((unencodable..=unencodable + ended).contains(&self.undelivered));
        if self.link.connection.config.unsent_pushes == UnsentPushes::Returned {
            assert_eq!(self.undelivered, unencodable + ended);
        }
        assert_eq!(stats.requests, self.surfaced.len() as u64);
        assert_eq!(stats.bytes_sent, self.sent.len() as u64);
        Frame::parse_prefix(&self.sent);

        let hooks = self.link.hooks();
        let count = |wanted: fn(&Hook) -> bool| hooks.iter().filter(|h| wanted(h)).count();
        let setups = count(|h| matches!(h, Hook::Setup));
        assert!(setups <= 1);
        if setups == 1 {
            assert_eq!(hooks.first(), Some(&Hook::Setup));
            assert!(matches!(hooks.last(), Some(Hook::Disconnect(_))));
        } else {
            assert_eq!(hooks, [], "nothing runs before the setup");
        }
        assert_eq!(count(|h| matches!(h, Hook::Disconnect(_))), setups);
        assert!(count(|h| matches!(h, Hook::Goodbye(_))) <= 1);
        let mut ended: Vec<_> = hooks
            .iter()
            .filter_map(|hook| match hook {
                Hook::CommandEnd(_, id) => Some(*id),
                _ => None,
            })
            .collect();
        ended.sort_unstable();
        self.surfaced.sort_unstable();
        assert_eq!(ended, self.surfaced, "each command ends once");
    }
}

fn run<const C: bool, const B: bool>(
    config: Config,
    preamble: Option<&[u8]>,
    program: Vec<Op>,
    handlers_end: bool,
) {
    let mut run = Run::<C, B>::new(config, preamble);
    for op in program {
        run.apply(op);
        run.check();
    }
    if handlers_end {
        run.settle_at_once();
    } else {
        // The drain's deadline has to end them.
        run.apply(Op::Drain(100));
        run.settle();
    }
    run.check_end();
}

/// None in most cases; else one that is taken, answered, refused, or never comes.
const PREAMBLES: &[Option<&[u8]>] = &[
    None,
    None,
    None,
    Some(b">>+"),
    Some(b">>!"),
    Some(b">>-"),
    Some(b""),
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_in_any_order_are_harmless(
        order in 0..3,
        caller in any::<bool>(),
        ends in proptest::bool::weighted(0.2),
        tiny in 1usize..4,
        preamble in proptest::sample::select(PREAMBLES),
        heartbeat in heartbeat(),
        handlers_end in any::<bool>(),
        program in proptest::collection::vec(op(), 0..120),
    ) {
        // rule: LIM-10, LIM-8, PUSH-9, RESP-4, HOOK-2, SHUT-3
        let mut config = config(caller, ends, tiny);
        config.heartbeat = heartbeat;
        match order {
            0 => run::<false, false>(config, preamble, program, handlers_end),
            1 => run::<true, false>(config, preamble, program, handlers_end),
            _ => run::<false, true>(config, preamble, program, handlers_end),
        }
    }
}
