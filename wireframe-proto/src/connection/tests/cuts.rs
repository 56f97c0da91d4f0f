//! The same bytes mean the same, however they are cut into reads.

use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::{
    fragments::{self, Framed},
    preamble::arrow,
    support::{Correlated, Frame, Hook, InOrder, Kind, Link, Test},
    upgrade,
};
use crate::{
    Body, Config, Connection, ConnectionId, End, Event, Instant, Peer, Reaction, RequestId,
    Shutdown, WireframeProtocol, config::nonzero,
};

/// What an application does that acts on nothing but events.
struct App<P: WireframeProtocol> {
    connection: Connection<P>,
    frame: fn(u32) -> P::Frame,
    /// Commands that are answered at the next control frame.
    open: Vec<RequestId>,
    answers: u32,
    events: Vec<Event<P::Frame>>,
    output: Vec<u8>,
}

type Seen<F> = (Vec<Event<F>>, Vec<u8>);

impl<P: WireframeProtocol> App<P>
where
    P::Frame: Clone + PartialEq + core::fmt::Debug,
{
    fn new(connection: Connection<P>, frame: fn(u32) -> P::Frame) -> Self {
        Self {
            connection,
            frame,
            open: vec![],
            answers: 0,
            events: vec![],
            output: vec![],
        }
    }

    fn seen(mut self, chunks: &[&[u8]]) -> Seen<P::Frame> {
        self.turn();
        for chunk in chunks {
            self.connection.receive_buffer().extend_from_slice(chunk);
            self.connection.handle_received(Instant::ZERO);
            self.turn();
        }
        self.connection.handle_eof(Instant::ZERO);
        self.turn();
        while let Some(id) = self.open.pop() {
            self.answer(id);
            self.turn();
        }
        self.connection.handle_half_closed(Instant::ZERO);
        self.turn();
        // A body that nobody sends to its end may still be awaited.
        self.connection.shutdown(Instant::ZERO, Shutdown::Immediate);
        self.turn();
        assert_eq!(self.connection.state(), crate::State::Closed);
        (self.events, self.output)
    }

    fn turn(&mut self) {
        self.send();
        while let Some(event) = self.connection.poll_event(Instant::ZERO) {
            self.act(&event);
            self.events.push(event);
            self.send();
        }
    }

    fn send(&mut self) {
        let _ = self.connection.fill(Instant::ZERO);
        while let Some(transmit) = self.connection.transmit() {
            let before = self.output.len();
            self.output.extend(transmit.chunks().flatten());
            transmit.advance(self.output.len() - before);
            let _ = self.connection.fill(Instant::ZERO);
        }
    }

    fn act(&mut self, event: &Event<P::Frame>) {
        match event {
            Event::Request { info, .. } => match info.route {
                0 => self.answer(info.id),
                1 => self.open.push(info.id),
                _ => self.read_body(info.id),
            },
            Event::Body(info) if info.route == 2 => self.read_body(info.id),
            Event::Control if !self.open.is_empty() => {
                let id = self.open.remove(0);
                self.answer(id);
            }
            _ => {}
        }
    }

    fn read_body(&mut self, id: RequestId) {
        loop {
            match self.connection.next_body(id, Instant::ZERO) {
                Body::Frame(_) => {}
                Body::Pending => return,
                _ => return self.answer(id),
            }
        }
    }

    fn answer(&mut self, id: RequestId) {
        for _ in 0..2 {
            self.answers += 1;
            let frame = (self.frame)(self.answers);
            let _ = self.connection.respond(id, frame);
        }
        let _ = self.connection.finish(id, End::StreamComplete);
    }
}

fn tight() -> Config {
    let mut config = Config::default();
    config.limits.max_held_back = nonzero(2);
    config.limits.max_body_frames = nonzero(2);
    config.limits.max_body_bytes = Some(nonzero(12));
    config.limits.max_control = nonzero(2);
    config.limits.max_frame_len = nonzero(40);
    config
}

fn run<P>(protocol: P, chunks: &[&[u8]]) -> Seen<Frame>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Session = Vec<Hook>>,
{
    let link = Link::new(tight(), protocol);
    App::new(link.connection, Frame::numbered).seen(chunks)
}

fn in_order(chunks: &[&[u8]]) -> Seen<Frame> {
    run(
        InOrder {
            on_control: Reaction::Send,
            stream_end: Some(Frame::numbered(1_000)),
            goodbye: Some(Frame::numbered(2_000)),
            ..InOrder::default()
        },
        chunks,
    )
}

fn correlated(chunks: &[&[u8]]) -> Seen<Frame> {
    run(
        Correlated {
            on_control: Reaction::Send,
            stream_end: Some(Frame::numbered(1_000)),
            goodbye: Some(Frame::numbered(2_000)),
            ..Correlated::default()
        },
        chunks,
    )
}

/// The same over a framing that splits.
fn in_fragments<const CORRELATED: bool>(chunks: &[&[u8]]) -> Seen<Frame> {
    let inner = Test::<CORRELATED> {
        on_control: Reaction::Send,
        on_dropped: |_| Reaction::Send(Frame::numbered(3_000)),
        stream_end: Some(Frame::numbered(1_000)),
        goodbye: Some(Frame::numbered(2_000)),
        ..Test::default()
    };
    let framing = fragments::multiplexed(5);
    run(Framed { inner, framing }, chunks)
}

fn with_preamble(chunks: &[&[u8]]) -> Seen<Frame> {
    run(
        InOrder {
            preamble: Some(arrow),
            on_control: Reaction::Send,
            stream_end: Some(Frame::numbered(1_000)),
            goodbye: Some(Frame::numbered(2_000)),
            ..InOrder::default()
        },
        chunks,
    )
}

fn upgrading(chunks: &[&[u8]]) -> Seen<upgrade::Frame> {
    let peer = Peer::client_of(ConnectionId(1));
    let connection = Connection::new(Config::default(), upgrade::Upgrade, peer, Instant::ZERO);
    let frame = |n: u32| match n {
        ..=4 => upgrade::Frame::line("200"),
        5 => upgrade::Frame::line("101"),
        n => upgrade::Frame::Binary(n.to_be_bytes().to_vec().into()),
    };
    App::new(connection, frame).seen(chunks)
}

/// Every two-way split and byte by byte.
fn all_cuts<F: PartialEq + core::fmt::Debug>(wire: &[u8], see: fn(&[&[u8]]) -> Seen<F>) -> Seen<F> {
    let whole = see(&[wire]);
    for at in 0..=wire.len() {
        let (front, back) = wire.split_at(at);
        assert_eq!(see(&[front, back]), whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(see(&bytes), whole, "byte by byte");
    whole
}

fn sample() -> Vec<Frame> {
    let frame = |kind, route, id| Frame::new(kind, [route]).with_route(route).with_id(id);
    vec![
        frame(Kind::Request, 0, 1),
        frame(Kind::Request, 1, 2),
        frame(Kind::Control, 0, 0),
        frame(Kind::Request, 2, 3),
        frame(Kind::Body, 0, 3),
        frame(Kind::Request, 0, 4),
        frame(Kind::LastBody, 0, 3),
        frame(Kind::Exclusive, 2, 5),
        frame(Kind::Body, 0, 5),
        frame(Kind::LastBody, 0, 5),
        frame(Kind::Request, 1, 6),
        frame(Kind::Request, 0, 7),
        frame(Kind::Push, 0, 0),
        frame(Kind::Control, 0, 0),
        frame(Kind::Request, 1, 8),
    ]
}

#[test]
fn a_conversation_is_the_same_for_every_cut() {
    // rule: FRAME-5
    let wire: Vec<u8> = sample().iter().flat_map(Frame::wire).collect();
    for see in [in_order, correlated] {
        let (events, _) = all_cuts(&wire, see);
        let requests = events.iter().filter(|e| matches!(e, Event::Request { .. }));
        assert_eq!(requests.count(), 8);
    }
}

#[test]
fn an_end_inside_a_frame_is_the_same_for_every_cut() {
    // rule: FRAME-5, SHUT-6
    let mut wire: Vec<u8> = sample().iter().flat_map(Frame::wire).collect();
    for _ in 0..5 {
        wire.pop();
        all_cuts(&wire, in_order);
    }
}

#[test]
fn a_change_of_phase_is_the_same_for_every_cut() {
    // rule: FRAME-5, FRAME-4
    let mut wire = b"one\nping\ntwo\nupgrade\n".to_vec();
    for text in ["x", "ping", "", "yz"] {
        wire.extend(upgrade::Frame::masked(text, 0x5a));
    }
    let (events, output) = all_cuts(&wire, upgrading);
    assert!(output.starts_with(b"220\n200\n"));
    let in_new_phase = |e: &&Event<_>| {
        matches!(
            e,
            Event::Request {
                frame: upgrade::Frame::Binary(_),
                ..
            }
        )
    };
    assert_eq!(events.iter().filter(in_new_phase).count(), 3);
}

#[test]
fn a_preamble_is_the_same_for_every_cut() {
    // rule: FRAME-5, REQ-5
    let frames: Vec<u8> = sample().iter().flat_map(Frame::wire).collect();
    let endless = [b'>'; 20];
    for (preamble, requests) in [
        (&b">>+"[..], 8),
        (b">>!", 8),
        (b">>-", 0),
        (b">x", 0),
        (&endless, 0),
    ] {
        let wire = [preamble, &frames].concat();
        let (events, output) = all_cuts(&wire, with_preamble);
        let begun = events.iter().filter(|e| matches!(e, Event::Request { .. }));
        assert_eq!(begun.count(), requests, "{preamble:?}");
        assert!(!output.is_empty());
    }
    for len in 0..3 {
        let (events, _) = all_cuts(&b">>+"[..len], with_preamble);
        assert_eq!(events.len(), 2, "{events:?}");
    }
}

#[test]
fn the_first_fatal_error_is_terminal() {
    // rule: FRAME-5
    let mut frames = sample();
    frames.truncate(2);
    frames.push(Frame::new(Kind::Flawed, []));
    frames.extend(sample());
    let wire: Vec<u8> = frames.iter().flat_map(Frame::wire).collect();
    let (events, _) = all_cuts(&wire, in_order);
    let requests = events.iter().filter(|e| matches!(e, Event::Request { .. }));
    assert_eq!(requests.count(), 2);
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let kind = proptest::sample::select(vec![
        Kind::Request,
        Kind::Request,
        Kind::Exclusive,
        Kind::Body,
        Kind::Body,
        Kind::LastBody,
        Kind::Control,
        Kind::Push,
        Kind::LastReply,
        Kind::Flawed,
    ]);
    (kind, 0u8..3, 0u16..4, 0usize..38).prop_map(|(kind, route, id, len)| {
        let frame = Frame::new(kind, vec![1; len]);
        frame
            .with_route(route)
            .with_id(Some(id).filter(|&id| id > 0))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_conversation_is_the_same_for_any_cuts(
        frames in proptest::collection::vec(any_frame(), 0..24),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        missing in 0usize..12,
    ) {
        // rule: FRAME-5
        let mut wire: Vec<u8> = frames.iter().flat_map(Frame::wire).collect();
        wire.truncate(wire.len().saturating_sub(missing / 2));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
        prop_assert_eq!(in_order(&chunks), in_order(&[&wire]));
        prop_assert_eq!(correlated(&chunks), correlated(&[&wire]));
    }

    #[test]
    fn any_fragments_are_the_same_for_any_cuts(
        frames in proptest::collection::vec((any_frame(), 0usize..30), 0..16),
        mangled in proptest::collection::vec((any::<proptest::sample::Index>(), 0u8..6), 0..12),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        // rule: FRAME-5
        let mut units: Vec<Vec<u8>> = vec![];
        for (id, (frame, piece)) in (0..).zip(&frames) {
            let wire = frame.wire();
            units.extend(fragments::split(id, &wire[4..], *piece));
        }
        for (at, how) in mangled {
            if units.len() < 2 {
                break;
            }
            let at = at.index(units.len() - 1);
            match how {
                0 => drop(units.remove(at)),
                1 => units.insert(at, units[at].clone()),
                _ => units.swap(at, at + 1),
            }
        }
        let wire = units.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        for run in [in_fragments::<true>, in_fragments::<false>] {
            prop_assert_eq!(run(&chunks), run(&[&wire]));
            prop_assert_eq!(run(&bytes), run(&[&wire]));
        }
    }

    #[test]
    fn any_bytes_are_the_same_preamble_for_any_cuts(
        bytes in proptest::collection::vec(proptest::sample::select(b">>>>+!-\0".to_vec()), 0..16),
        cuts in proptest::collection::vec(0usize..16, 0..4),
    ) {
        // rule: FRAME-5, REQ-5
        let mut cuts: Vec<_> = cuts.iter().map(|cut| *cut.min(&bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(with_preamble(&chunks), with_preamble(&[&bytes]));
    }
}
