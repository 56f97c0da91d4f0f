//! A client and a server, joined by pipes, whose drivers act on nothing but `wants`.

use alloc::{collections::VecDeque, vec, vec::Vec};

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    CallId, CloseReason, Config, Connection, ConnectionId, CorrelationId, Envelope,
    EnvelopeProtocol, Event, Instant, Peer, Priority, RequestId, Shutdown, State, config::nonzero,
};

const NOW: Instant = Instant::ZERO;

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    ended: bool,
}

/// One end and its driver.
struct End {
    connection: Connection<EnvelopeProtocol>,
    saw_end: bool,
    closed: Option<CloseReason>,
    replies: Vec<(CallId, Bytes)>,
    pushes: Vec<u8>,
    undelivered: usize,
    /// Requests that are answered one turn later.
    late: VecDeque<(RequestId, Bytes)>,
}

impl End {
    fn new(peer: Peer, high_water: usize) -> Self {
        let mut config = Config::default();
        config.limits.high_water = nonzero(high_water);
        config.limits.read_buffer = nonzero(64);
        config.limits.max_in_flight = Some(nonzero(3));
        config.limits.max_held_back = nonzero(2);
        Self {
            connection: Connection::new(config, EnvelopeProtocol::default(), peer, NOW),
            saw_end: false,
            closed: None,
            replies: vec![],
            pushes: vec![],
            undelivered: 0,
            late: VecDeque::new(),
        }
    }

    /// One turn of its driver; says whether anything came of it.
    fn turn(&mut self, input: &mut Pipe, output: &mut Pipe, cut: usize) -> bool {
        let mut progress = false;
        if let Some((id, payload)) = self.late.pop_front() {
            let _ = self.connection.answer(id, Envelope::new(2, payload));
            progress = true;
        }
        while self.connection.wants().event {
            // Without an event something was done inside, once.
            match self.connection.poll_event(NOW) {
                Some(event) => self.act(event),
                None => assert!(!self.connection.wants().event, "it spins"),
            }
            progress = true;
        }
        let _ = self.connection.fill(NOW);
        if self.connection.wants().write {
            let room = output.capacity - output.bytes.len();
            let transmit = self.connection.transmit().unwrap();
            let written: Vec<u8> = transmit
                .chunks()
                .flatten()
                .take(room.min(cut))
                .copied()
                .collect();
            transmit.advance(written.len());
            progress |= !written.is_empty();
            output.bytes.extend(written);
        }
        if self.connection.wants().half_close {
            output.ended = true;
            self.connection.handle_half_closed(NOW);
            progress = true;
        }
        if self.connection.wants().read {
            let n = cut.min(input.bytes.len());
            if n > 0 {
                let buffer = self.connection.receive_buffer();
                buffer.extend(input.bytes.drain(..n));
                self.connection.handle_received(NOW);
                progress = true;
            } else if input.ended && !self.saw_end {
                self.saw_end = true;
                self.connection.handle_eof(NOW);
                progress = true;
            }
        }
        if self.closed.is_some() {
            output.ended = true;
        }
        progress
    }

    fn act(&mut self, event: Event<Envelope>) {
        match event {
            Event::Request { info, frame } if frame.payload.len() % 2 == 0 => {
                let answer = Envelope::new(2, frame.payload);
                self.connection.answer(info.id, answer).unwrap();
            }
            Event::Request { info, frame } => self.late.push_back((info.id, frame.payload)),
            Event::Reply { call, frame, last } => {
                assert!(last);
                self.replies.push((call, frame.payload));
            }
            Event::Push(frame) => self.pushes.push(frame.payload[0]),
            Event::Undelivered(_) => self.undelivered += 1,
            Event::Closed(reason) => self.closed = Some(reason),
            Event::HeldBack(_) | Event::Closing(_) | Event::Discarded(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// What the application does in one turn.
#[derive(Clone, Debug)]
enum Act {
    Call(u8),
    /// Forgets the latest call.
    Forget,
    Push(Priority),
    Nothing,
}

#[derive(Clone, Debug)]
struct Scenario {
    acts: Vec<Act>,
    cuts: Vec<usize>,
    capacity: usize,
    high_water: usize,
    client_drains: bool,
    /// Whether both ends drain at once.
    both: bool,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let act = prop_oneof![
        4 => any::<u8>().prop_map(Act::Call),
        1 => Just(Act::Forget),
        2 => Just(Act::Push(Priority::High)),
        2 => Just(Act::Push(Priority::Low)),
        2 => Just(Act::Nothing),
    ];
    (
        proptest::collection::vec(act, 0..60),
        proptest::collection::vec(1usize..50, 1..20),
        1usize..80,
        1usize..200,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(acts, cuts, capacity, high_water, client_drains, both)| Scenario {
                acts,
                cuts,
                capacity,
                high_water,
                client_drains,
                both,
            },
        )
}

fn run(scenario: &Scenario) {
    let mut client = End::new(Peer::server_of(ConnectionId(1)), scenario.high_water);
    let mut server = End::new(Peer::client_of(ConnectionId(2)), scenario.high_water);
    let pipe = || Pipe {
        capacity: scenario.capacity,
        ..Pipe::default()
    };
    let (mut up, mut down) = (pipe(), pipe());
    let mut cuts = scenario.cuts.iter().copied().cycle();
    let mut step = |client: &mut End, server: &mut End| {
        let cut = cuts.next().unwrap();
        let progress = client.turn(&mut down, &mut up, cut);
        server.turn(&mut up, &mut down, cut) || progress
    };

    let (mut calls, mut forgotten) = (vec![], vec![]);
    let (mut pushed, mut bytes) = (0u8, 0);
    for act in &scenario.acts {
        match act {
            Act::Call(len) => {
                let id = CorrelationId(calls.len() as u64 + 1);
                let payload =
                    Bytes::from(vec![u8::try_from(calls.len()).unwrap(); usize::from(*len)]);
                let call = Envelope::new(1, payload.clone());
                let call = client.connection.call(call, Some(id)).unwrap();
                bytes += 4 * payload.len() + 100;
                calls.push((call, payload));
            }
            Act::Forget => {
                let latest = calls.last().map(|(call, _)| *call);
                forgotten.extend(latest.filter(|&call| client.connection.forget(call)));
            }
            Act::Push(priority) => {
                let frame = Envelope::new(3, vec![pushed]);
                server.connection.push(*priority, frame).unwrap();
                pushed += 1;
                bytes += 100;
            }
            Act::Nothing => {}
        }
        step(&mut client, &mut server);
    }

    let deadline = Instant::from_millis(1);
    let drain = Shutdown::Drain { deadline };
    let first = if scenario.client_drains {
        &mut client
    } else {
        &mut server
    };
    first.connection.shutdown(NOW, drain);
    if scenario.both {
        client.connection.shutdown(NOW, drain);
        server.connection.shutdown(NOW, drain);
    }
    let mut steps = 0;
    while step(&mut client, &mut server) {
        steps += 1;
        assert!(steps < 2_000 + 20 * bytes, "the drivers spin");
    }

    // No deadline had to help.
    for end in [&client, &server] {
        assert!(end.closed.is_some(), "{:?}", end.connection);
        assert_eq!(end.connection.state(), State::Closed);
    }
    every_call_got_its_own_reply_at_most_once(&client, &calls, &forgotten);
    every_push_arrived(&client, &server, pushed);
    if scenario.client_drains && !scenario.both {
        // Who drains awaits its calls first.
        let undone = client.undelivered;
        assert_eq!(undone, 0);
        assert_eq!(client.replies.len() + forgotten.len(), calls.len());
    }
}

fn every_call_got_its_own_reply_at_most_once(
    client: &End,
    calls: &[(CallId, Bytes)],
    forgotten: &[CallId],
) {
    // rule: CLI-1, CLI-2
    let mut answered = vec![];
    for reply in &client.replies {
        assert!(calls.contains(reply), "a reply to another call");
        assert!(!forgotten.contains(&reply.0));
        assert!(!answered.contains(&reply.0), "a second reply");
        answered.push(reply.0);
    }
}

fn every_push_arrived(client: &End, server: &End, pushed: u8) {
    // rule: SHUT-2, SHUT-6, PUSH-9
    let stats = server.connection.stats();
    assert_eq!(stats.high.sent + stats.low.sent, u64::from(pushed));
    let mut arrived = client.pushes.clone();
    arrived.sort_unstable();
    // A client that has closed reads and drops what still comes.
    match client.closed {
        Some(CloseReason::PeerClosed) => assert_eq!(arrived, (0..pushed).collect::<Vec<_>>()),
        _ => assert!(arrived.len() <= usize::from(pushed)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_ends_serve_each_other_and_close_in_good_order(scenario in scenario()) {
        // rule: SHUT-2, SHUT-6, RESP-7, CLI-2, LIM-10
        run(&scenario);
    }
}
