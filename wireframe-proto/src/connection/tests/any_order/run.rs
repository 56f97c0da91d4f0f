//! A connection on which a random program runs, and what holds meanwhile and at its end.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::time::Duration;

use bytes::BytesMut;

use super::{
    super::{
        fragments::{Framed, events, feed, raw},
        programs::{Ending, Op},
        support::{Frame, Hook, Link, Test},
    },
    protocol,
    wire::Wire,
};
use crate::{
    Accepted, Body, CallId, CloseReason, Config, CorrelationId, Deadline, DeadlineReason, Event,
    FragmentStrategy, HeldOutput, Instant, LimitExceeded, Priority, PushBound, Refusal,
    RequestInfo, Shutdown, State, UnsentPushes, connection::Phase,
};

/// A connection, and what has come of it.
pub(super) struct Run<const C: bool, const B: bool, S: Wire> {
    link: Link<Framed<Test<C, B>, S>>,
    framing: S,
    wire: VecDeque<u8>,
    /// Units of a message that others may come before.
    begun: Vec<Vec<u8>>,
    written: u32,
    clock: u64,
    buffers: Option<(Option<BytesMut>, Option<Vec<u8>>)>,
    commands: Vec<RequestInfo>,
    calls: Vec<CallId>,
    surfaced: Vec<Option<u64>>,
    undelivered: u64,
    released: u64,
    sent: Vec<u8>,
    /// What may have been encoded and not sent after the call that is made now.
    most: usize,
    closed: bool,
}

impl<const C: bool, const B: bool, S: Wire> Run<C, B, S> {
    /// Of a protocol with a preamble, with which the peer's output begins, or without.
    pub(super) fn new(config: Config, framing: S, preamble: Option<&[u8]>) -> Self {
        let inner = protocol::<C, B>(preamble.is_some());
        let link = Link::new(
            config,
            Framed {
                inner,
                framing: framing.clone(),
            },
        );
        Self {
            link,
            framing,
            begun: vec![],
            written: 0,
            wire: preamble.unwrap_or_default().iter().copied().collect(),
            clock: 0,
            buffers: None,
            commands: vec![],
            calls: vec![],
            surfaced: vec![],
            undelivered: 0,
            released: 0,
            sent: vec![],
            most: 0,
            closed: false,
        }
    }

    fn command(&self, n: usize) -> Option<RequestInfo> {
        self.commands.iter().rev().nth(n).copied()
    }

    /// The peer writes a frame. Where messages may be interleaved its first unit comes
    /// before those that are left of the one before.
    fn write(&mut self, frame: &Frame) {
        self.written += 1;
        let mut units = S::units(frame, self.written);
        if FragmentStrategy::<Frame>::max_message_id(&self.framing).is_some() {
            let rest = units.split_off(units.len().min(1));
            let others = core::mem::replace(&mut self.begun, rest);
            units.extend(others);
        }
        self.wire.extend(units.into_iter().flatten());
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

    pub(super) fn apply(&mut self, op: Op) {
        let now = Instant::from_millis(self.clock);
        self.link.now = now;
        self.most = self.most_encoded(&op);
        let engine = &mut self.link.connection;
        match op {
            Op::Write(frame) => self.write(&frame),
            Op::WriteGarbage(bytes) => self.wire.extend(bytes),
            Op::Deliver(n) => {
                if self.wire.is_empty() {
                    self.wire.extend(self.begun.drain(..).flatten());
                }
                let n = n.min(self.wire.len());
                let bytes: Vec<u8> = self.wire.drain(..n).collect();
                self.link.receive_bytes(&bytes);
            }
            Op::Hold(held) => engine.hold_input(held, now),
            Op::Pause(paused) => engine.pause_reading(paused, now),
            Op::Held(held) => engine.handle_held(now, held),
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

    /// A poll may come to a flaw, before which all goes that is ready: what is answered so far
    /// and how those commands end, pushes with what hooks push at these ends, and control.
    fn most_encoded(&self, op: &Op) -> usize {
        let engine = &self.link.connection;
        let frames = match op {
            Op::Poll => {
                let (stats, live) = (engine.stats(), engine.commands.live());
                let pushes = stats.high.queued + stats.low.queued;
                let pushes = usize::try_from(pushes).unwrap() + live;
                engine.commands.count_answers() + live + pushes + engine.control.len() + 2
            }
            // One crosses the mark.
            _ => 1,
        };
        let mark = engine.config.limits.high_water.get();
        engine.transmit.len().max(mark) + frames * S::LARGEST
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
            (Op::CloseOverLimit, _) => {
                let (limit, value, got) = ("memory", 1, 2);
                engine.close_over_limit(now, LimitExceeded { limit, value, got });
                assert_eq!(engine.receive.capacity(), 0);
            }
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
    pub(super) fn check(&mut self) {
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
        // A unit that crosses the mark, and a last word. Before a flaw all goes that is ready.
        let is_flawed = engine.flaw.is_some() || closes_over_a_flaw(&engine.phase);
        let encoded = engine.transmit.len();
        assert!(is_flawed || encoded <= limits.high_water.get() + 4 * 64);
        assert!(encoded <= self.most, "{encoded} of {}", self.most);
    }

    /// A driver that acts on `wants` alone brings it to its end in a few steps.
    pub(super) fn settle(&mut self) {
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
    pub(super) fn settle_at_once(&mut self) {
        self.apply(Op::Hold(false));
        self.apply(Op::Pause(false));
        self.apply(Op::Held(HeldOutput::default()));
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
    pub(super) fn check_end(&mut self) {
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
        assert_eq!(engine.commands.waiting_bytes(), 0);
        assert_eq!(self.released, stats.high.accepted + stats.low.accepted);
        let ended = stats.high.connection_ended + stats.low.connection_ended;
        let unencodable = stats.high.unencodable + stats.low.unencodable;
        assert!((unencodable..=unencodable + ended).contains(&self.undelivered));
        if self.link.connection.config.unsent_pushes == UnsentPushes::Returned {
            assert_eq!(self.undelivered, unencodable + ended);
        }
        assert_eq!(stats.requests, self.surfaced.len() as u64);
        assert_eq!(stats.bytes_sent, self.sent.len() as u64);
        self.check_sent();

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

    /// The peer can read what it was sent, but for the end of it.
    fn check_sent(&self) {
        let mut receiver = raw(self.framing.clone(), Config::default());
        feed(&mut receiver, &self.sent);
        for event in events(&mut receiver) {
            let Event::Push(payload) = event else {
                panic!("{event:?}");
            };
            let len = u32::try_from(payload.len()).unwrap();
            Frame::parse_all(&[&len.to_be_bytes()[..], &payload].concat());
        }
        assert_eq!(receiver.stats().fragments.gaps, 0);
    }
}

fn closes_over_a_flaw<F>(phase: &Phase<F>) -> bool {
    let Phase::Closing(closing) = phase else {
        return false;
    };
    matches!(
        closing.reason,
        CloseReason::Malformed(_)
            | CloseReason::Limit(_)
            | CloseReason::UnexpectedEof(_)
            | CloseReason::MessageEof { .. }
            | CloseReason::PreambleEof { .. }
    )
}
