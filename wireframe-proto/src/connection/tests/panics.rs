//! A protocol that panics.

extern crate std;

use alloc::{vec, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    time::Duration,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::{
    Accepted, AnswerError, Body, CloseReason, Codec, Config, Connection, ConnectionId, Context,
    CorrelationId, End, Event, Filled, FragmentMeta, FragmentStrategy, FrameBuf, Heartbeat,
    Instant, LengthDelimited, Malformed, Outcome, Peer, Preamble, Priority, PushBound, Reaction,
    Refusal, Role, Shutdown, State, Unencodable, View, Wants, WireframeProtocol,
};

std::thread_local! {
    /// Where the next panic is, and how many calls before that one are spared.
    static FUSE: Cell<(&'static str, u32)> = const { Cell::new(("", 0)) };
    /// What of the protocol has been called.
    static CALLED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

fn called(what: &'static str) {
    CALLED.with_borrow_mut(|calls| calls.push(what));
    match FUSE.get() {
        (at, 0) if at == what => {
            FUSE.set(("", 0));
            panic!("{what}");
        }
        (at, spare) if at == what => FUSE.set((at, spare - 1)),
        _ => {}
    }
}

/// Frames are bytes; the first says what they are.
#[derive(Debug)]
struct Fragile;

impl Codec for Fragile {
    type Frame = Bytes;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Bytes, Malformed> {
        called("decode");
        if payload == "?" {
            return Err(Malformed::new("?"));
        }
        Ok(payload)
    }

    fn encode(&mut self, frame: &Bytes, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_slice(b"half of it");
        called("encode");
        dst.put_bytes(frame);
        Ok(())
    }

    fn encoded_len(&self, frame: &Bytes) -> usize {
        called("encoded_len");
        10 + frame.len()
    }
}

impl FragmentStrategy<Bytes> for Fragile {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        called("decode_header");
        FragmentStrategy::<Bytes>::decode_header(&mut LengthDelimited::default(), src)
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &Bytes,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        called("encode_header");
        LengthDelimited::default().encode_header(dst, frame, meta)
    }

    fn unmask(&mut self, _: &FragmentMeta, _: usize, _: &mut [u8]) {
        called("unmask");
    }
}

impl WireframeProtocol for Fragile {
    type Frame = Bytes;
    type Error = ();
    type Codec = Self;
    type Framing = Self;
    type Session = ();

    fn codec(&self) -> Self {
        Self
    }

    fn framing(&self) -> Self {
        Self
    }

    fn classify(&self, frame: &Bytes, _: &View<'_, ()>) -> Role {
        called("classify");
        match &frame[..] {
            b"control" => Role::Control,
            b"body" => Role::Body {
                of: None,
                last: true,
            },
            _ => Role::Request {
                route: 0,
                correlation: Some(CorrelationId(1)),
                exclusive: false,
            },
        }
    }

    fn on_connection_setup(&self, _: &mut Context<'_, Self>) {
        called("on_connection_setup");
    }

    fn preamble(&self, received: &[u8], _: &mut Context<'_, Self>) -> Preamble<Bytes> {
        called("preamble");
        match received.first() {
            None => Preamble::Incomplete,
            Some(_) => Preamble::Absent,
        }
    }

    fn ping(&self, _: &mut Context<'_, Self>) -> Option<Bytes> {
        called("ping");
        Some(Bytes::from_static(b"ping"))
    }

    fn correlate(&self, _: &mut Bytes, _: CorrelationId) {
        called("correlate");
    }

    fn before_send(&self, _: &mut Bytes, _: &mut Context<'_, Self>) {
        called("before_send");
    }

    fn on_control(&self, frame: Bytes, _: &mut Context<'_, Self>) -> Reaction<Bytes> {
        called("on_control");
        Reaction::Send(frame)
    }

    fn handle_error(&self, _: AnswerError<()>, _: &mut Context<'_, Self>) -> Reaction<Bytes> {
        called("handle_error");
        Reaction::Send(Bytes::from_static(b"error"))
    }

    fn unknown_route(&self, frame: Bytes, _: &mut Context<'_, Self>) -> Reaction<Bytes> {
        called("unknown_route");
        Reaction::Send(frame)
    }

    fn stream_end_frame(&self, _: &mut Context<'_, Self>) -> Option<Bytes> {
        called("stream_end_frame");
        None
    }

    fn on_command_end(&self, _: Outcome, _: &mut Context<'_, Self>) {
        called("on_command_end");
    }

    fn drain_notice(&self, _: &mut Context<'_, Self>) -> Option<Bytes> {
        called("drain_notice");
        None
    }

    fn goodbye(&self, _: &CloseReason, _: &mut Context<'_, Self>) -> Option<Bytes> {
        called("goodbye");
        Some(Bytes::from_static(b"goodbye"))
    }

    fn on_disconnect(&self, _: &CloseReason, _: &mut Context<'_, Self>) {
        called("on_disconnect");
    }
}

const NOW: Instant = Instant::ZERO;
const FRAME: Bytes = Bytes::from_static(b"frame");

fn events(connection: &mut Connection<Fragile>) -> Vec<Event<Bytes>> {
    core::iter::from_fn(|| connection.poll_event(NOW)).collect()
}

fn receive(connection: &mut Connection<Fragile>, text: &str) -> Vec<Event<Bytes>> {
    let len = u32::try_from(text.len()).unwrap().to_be_bytes();
    let buffer = connection.receive_buffer();
    buffer.extend_from_slice(&len);
    buffer.extend_from_slice(text.as_bytes());
    connection.handle_received(NOW);
    events(connection)
}

fn send(connection: &mut Connection<Fragile>) {
    let _ = connection.fill(NOW);
    while let Some(transmit) = connection.transmit() {
        let len = transmit.len();
        transmit.advance(len);
    }
}

/// A life in which everything of the protocol is called.
fn live(connection: &mut Connection<Fragile>) {
    receive(connection, "control");
    for round in 0..4 {
        let started = receive(connection, "request");
        let Some(Event::Request { info, .. }) = started.last() else {
            panic!("{started:?}");
        };
        let id = info.id;
        connection.next_body(id, NOW);
        receive(connection, "body");
        connection.respond(id, FRAME).unwrap();
        match round {
            0 => connection.finish(id, End::StreamComplete).unwrap(),
            1 => connection
                .finish(id, End::Failed(AnswerError::Protocol(())))
                .unwrap(),
            2 => connection.finish_unrouted(id, FRAME).unwrap(),
            _ => {}
        }
        connection.push(Priority::High, FRAME).unwrap();
        connection.push(Priority::Low, FRAME).unwrap();
        send(connection);
    }
    assert_eq!(connection.measure(&FRAME), 15);
    connection.set_heartbeat(Some(Heartbeat::pinging(Duration::ZERO, Duration::MAX)), NOW);
    connection.handle_timeout(NOW);
    send(connection);
    let call = connection.call(FRAME, Some(CorrelationId(5)));
    call.unwrap();
    let deadline = Instant::from_millis(1);
    connection.shutdown(NOW, Shutdown::Drain { deadline });
    receive(connection, "?");
    send(connection);
    connection.handle_half_closed(NOW);
    connection.handle_eof(NOW);
    events(connection);
}

const POINTS: [&str; 20] = [
    "decode",
    "encode",
    "encoded_len",
    "decode_header",
    "encode_header",
    "unmask",
    "classify",
    "on_connection_setup",
    "preamble",
    "ping",
    "correlate",
    "before_send",
    "on_control",
    "handle_error",
    "unknown_route",
    "stream_end_frame",
    "on_command_end",
    "drain_notice",
    "goodbye",
    "on_disconnect",
];

/// Lives until the n-th call of that part of the protocol panics.
fn live_until(point: &'static str, n: u32) -> Option<Connection<Fragile>> {
    let peer = Peer::client_of(ConnectionId(1));
    let mut connection = Connection::new(Config::default(), Fragile, peer, NOW);
    FUSE.set((point, n));
    CALLED.take();
    let lived = catch_unwind(AssertUnwindSafe(|| live(&mut connection)));
    FUSE.set(("", 0));
    lived.is_err().then_some(connection)
}

/// Every call there is says that the connection is closed, and does nothing.
fn refuses_everything(connection: &mut Connection<Fragile>) {
    assert_eq!(connection.state(), State::Closed);
    assert!(connection.transmit().is_none(), "sends nothing more");
    assert_eq!(connection.fill(NOW), Filled::Ready);
    assert!(connection.transmit().is_none());
    assert_eq!(connection.measure(&FRAME), 0);
    for priority in Priority::ALL {
        let refused = connection.push(priority, FRAME).unwrap_err();
        assert_eq!(refused.reason, Refusal::Closed);
        let mut batch = [Accepted::new(FRAME, 1)].into();
        connection.accept_pushes(priority, &mut batch);
        assert_eq!(batch.len(), 1);
    }
    assert_eq!(
        connection.call(FRAME, None).unwrap_err().reason,
        Refusal::Closed
    );
    let id = connection.commands.insert(0, None, false).id;
    connection.commands.start(id.index);
    let finished = connection.finish(id, End::StreamComplete);
    assert_eq!(finished.unwrap_err(), Refusal::Closed);
    for refused in [
        connection.respond(id, FRAME),
        connection.answer(id, FRAME),
        connection.finish_unrouted(id, FRAME),
    ] {
        assert_eq!(refused.unwrap_err().reason, Refusal::Closed);
    }
    assert_eq!(connection.next_body(id, NOW), Body::Gone);
    connection.drop_body(id);
    connection.stop_awaiting_body(id);
    connection.commands.remove(id.index);
    assert_eq!(connection.poll_timeout(), None);
    connection.handle_timeout(Instant::MAX);
    connection.hold_input(true, NOW);
    connection.set_heartbeat(Some(Heartbeat::expecting(Duration::ZERO)), NOW);
    connection.handle_eof(NOW);
    connection.handle_half_closed(NOW);
    connection.handle_transport_failed(NOW, "reset");
    connection.handle_panic(NOW);
    connection.shutdown(NOW, Shutdown::Immediate);
    connection
        .receive_buffer()
        .extend_from_slice(b"\0\0\0\x01a");
    connection.handle_received(NOW);
    connection.end_pushes();
    connection.shrink();
}

#[test]
fn after_a_panic_anywhere_only_on_disconnect_runs_and_only_once() {
    // rule: HOOK-7, HOOK-2, LIM-10
    for point in POINTS {
        let mut panics = 0;
        while let Some(mut connection) = live_until(point, panics) {
            panics += 1;
            let before = CALLED.take();
            let disconnected = before.contains(&"on_disconnect");
            refuses_everything(&mut connection);
            assert_eq!(CALLED.take(), [""; 0], "{point}");

            let wants = Wants {
                event: true,
                ..Wants::default()
            };
            assert_eq!(connection.wants(), wants, "{point}");
            let events = events(&mut connection);
            let closed = Event::Closed(CloseReason::ProtocolPanicked);
            assert_eq!(events.last(), Some(&closed), "{point}");
            let expected = if disconnected {
                vec![]
            } else {
                vec!["on_disconnect"]
            };
            assert_eq!(CALLED.take(), expected, "{point}");
            refuses_everything(&mut connection);
            assert_eq!(connection.wants(), Wants::default());
            assert_eq!(connection.poll_event(NOW), None);
            assert_eq!(CALLED.take(), [""; 0], "{point}");
            every_push_is_accounted_for(&mut connection);
            assert_eq!(connection.commands_in_flight(), 0);
        }
        assert!(panics > 0, "{point} is never called");
    }
}

fn every_push_is_accounted_for(connection: &mut Connection<Fragile>) {
    // rule: PUSH-9
    let stats = connection.stats();
    for push in [stats.high, stats.low] {
        assert_eq!(push.queued, 0);
        assert_eq!(push.accepted, push.sent + push.connection_ended);
    }
    let released = Priority::ALL.map(|priority| connection.take_released(priority).frames());
    assert_eq!(
        released.iter().sum::<u64>(),
        stats.high.accepted + stats.low.accepted
    );
}

#[test]
fn a_panic_in_on_disconnect_after_another_panic_is_the_end_too() {
    // rule: HOOK-7
    let mut connection = live_until("before_send", 2).unwrap();
    CALLED.take();
    FUSE.set(("on_disconnect", 0));
    let panicked = catch_unwind(AssertUnwindSafe(|| connection.poll_event(NOW)));
    assert!(panicked.is_err());
    assert!(connection.wants().event);
    let closed = Event::Closed(CloseReason::ProtocolPanicked);
    assert_eq!(events(&mut connection).last(), Some(&closed));
    assert_eq!(CALLED.take(), ["on_disconnect"]);
    refuses_everything(&mut connection);
    every_push_is_accounted_for(&mut connection);
}

#[test]
fn pushes_of_a_caller_who_bounds_them_are_accounted_for_too() {
    // rule: HOOK-7, PUSH-9
    let config = Config {
        push_bound: PushBound::Caller,
        ..Config::default()
    };
    let peer = Peer::client_of(ConnectionId(1));
    let mut connection = Connection::new(config, Fragile, peer, NOW);
    let mut batch = [Accepted::new(FRAME, 1), Accepted::new(FRAME, 2)].into();
    connection.accept_pushes(Priority::Low, &mut batch);
    FUSE.set(("encode", 0));
    let panicked = catch_unwind(AssertUnwindSafe(|| connection.fill(NOW)));
    assert!(panicked.is_err());
    let undelivered = events(&mut connection);
    assert!(matches!(
        undelivered[..],
        [Event::Undelivered(_), Event::Closed(_)]
    ));
    every_push_is_accounted_for(&mut connection);
}

#[test]
fn after_a_panic_no_peer_waits_any_more() {
    // rule: OBS-3, HOOK-7
    let peer = Peer::client_of(ConnectionId(1));
    let mut connection = Connection::new(Config::default(), Fragile, peer, NOW);
    events(&mut connection);
    connection.pause_reading(true, NOW);
    assert!(connection.pressure.is_some());
    FUSE.set(("drain_notice", 0));
    let how = Shutdown::Drain {
        deadline: Instant::MAX,
    };
    let drained = catch_unwind(AssertUnwindSafe(|| connection.shutdown(NOW, how)));
    assert!(drained.is_err());
    events(&mut connection);
    assert_eq!(connection.pressure, None);
}
