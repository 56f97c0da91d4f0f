//! How to test a protocol of one's own: no socket, no runtime, no clock.
//!
//! The protocol here is a small line protocol. Lines end with `\n`; `SET key value` and
//! `GET key` are commands, which are answered in order; `PING` is answered at once. The
//! server speaks first. The protocol comes first below, as its author would write it;
//! then a bench of a few lines, which stands for driver and application; then the tests.
#![expect(
    clippy::unwrap_used,
    reason = "in the tests' own bench, where nobody else's input comes"
)]

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use wireframe_proto::{
    AnswerError, CloseReason, Codec, Config, Connection, ConnectionId, Context, End, Event,
    FragmentMeta, FragmentStrategy, FrameBuf, Instant, Malformed, Outcome, Peer, Priority,
    Reaction, Refusal, Role, Unencodable, View, WireframeProtocol,
};

// The protocol.

/// One line, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Set {
        key: String,
        value: String,
    },
    Get {
        key: String,
    },
    Ping,
    /// What the server says, as it stands on the wire.
    Say(String),
}

// ANCHOR: framing
/// A framing without headers: a unit is what ends with a line feed.
struct Lines;

impl FragmentStrategy<Line> for Lines {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        let Some(end) = src.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        Ok(Some((FragmentMeta::whole(end as u64 + 1), 0)))
    }

    fn encode_header(
        &mut self,
        _: &mut Vec<u8>,
        _: &Line,
        _: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        Ok(())
    }
}
// ANCHOR_END: framing

/// What a line says.
struct LineCodec;

impl Codec for LineCodec {
    type Frame = Line;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Line, Malformed> {
        let line = str::from_utf8(&payload).map_err(|_| Malformed::with_code(1, "not UTF-8"))?;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["SET", key, value] => Ok(Line::Set {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            ["GET", key] => Ok(Line::Get {
                key: key.to_owned(),
            }),
            ["PING"] => Ok(Line::Ping),
            _ => Err(Malformed::with_code(2, "expected SET, GET or PING")),
        }
    }

    fn encode(&mut self, frame: &Line, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        match frame {
            Line::Say(text) if text.contains('\n') => {
                Err(Unencodable::new("a line feed inside a line"))
            }
            Line::Say(text) => {
                dst.put_slice(text.as_bytes());
                dst.put_slice(b"\n");
                Ok(())
            }
            _ => Err(Unencodable::new("a server sends no commands")),
        }
    }

    fn encoded_len(&self, frame: &Line) -> usize {
        match frame {
            Line::Say(text) => text.len() + 1,
            _ => 0,
        }
    }
}

const SET: u32 = 1;
const GET: u32 = 2;

struct NoSuchKey;

/// What the protocol remembers of one connection.
#[derive(Default)]
struct Seen {
    lines_sent: usize,
    commands_failed: usize,
}

struct KeyValue;

impl WireframeProtocol for KeyValue {
    type Frame = Line;
    type Error = NoSuchKey;
    type Codec = LineCodec;
    type Framing = Lines;
    type Session = Seen;

    fn codec(&self) -> LineCodec {
        LineCodec
    }

    fn framing(&self) -> Lines {
        Lines
    }

    fn classify(&self, frame: &Line, _: &View<'_, Seen>) -> Role {
        let command = |route| Role::Request {
            route,
            correlation: None,
            exclusive: false,
        };
        match frame {
            Line::Set { .. } => command(SET),
            Line::Get { .. } => command(GET),
            Line::Ping => Role::Control,
            Line::Say(_) => Role::Push,
        }
    }

    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        // A fresh queue has room.
        let _ = ctx.push(Priority::High, say("READY"));
    }

    fn on_control(&self, _: Line, _: &mut Context<'_, Self>) -> Reaction<Line> {
        Reaction::Send(say("PONG"))
    }

    fn before_send(&self, _: &mut Line, ctx: &mut Context<'_, Self>) {
        ctx.session().lines_sent += 1;
    }

    fn handle_error(
        &self,
        error: AnswerError<NoSuchKey>,
        _: &mut Context<'_, Self>,
    ) -> Reaction<Line> {
        Reaction::Send(match error {
            AnswerError::Protocol(NoSuchKey) => say("NO SUCH KEY"),
            _ => say("CANNOT SAY"),
        })
    }

    fn on_command_end(&self, outcome: Outcome, ctx: &mut Context<'_, Self>) {
        ctx.session().commands_failed += usize::from(outcome == Outcome::Failed);
    }

    fn goodbye(&self, reason: &CloseReason, _: &mut Context<'_, Self>) -> Option<Line> {
        match reason {
            CloseReason::Malformed(error) => Some(say(&format!("ERROR {}", error.code))),
            _ => Some(say("BYE")),
        }
    }
}

fn say(text: &str) -> Line {
    Line::Say(text.to_owned())
}

// The bench: what a driver and an application do, in memory and by hand.

struct Bench {
    connection: Connection<KeyValue>,
    store: BTreeMap<String, String>,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        let peer = Peer::client_of(ConnectionId(1));
        Self {
            connection: Connection::new(config, KeyValue, peer, Instant::ZERO),
            store: BTreeMap::new(),
            now: Instant::ZERO,
        }
    }

    /// The peer sends bytes.
    fn receive(&mut self, bytes: &str) {
        let buffer = self.connection.receive_buffer();
        buffer.extend_from_slice(bytes.as_bytes());
        self.connection.handle_received(self.now);
    }

    /// Time passes. The engine learns of it as it would from a driver's timer.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_timeout(self.now);
    }

    /// Takes the events there are and serves the requests among them.
    fn serve(&mut self) -> Vec<Event<Line>> {
        let mut others = Vec::new();
        while self.connection.wants().event {
            // Behind flawed input this says once that it is time to answer what came before.
            while let Some(event) = self.connection.poll_event(self.now) {
                match event {
                    Event::Request { info, frame } => match self.answer(frame) {
                        Ok(line) => self.connection.answer(info.id, line).unwrap(),
                        Err(error) => {
                            let end = End::Failed(AnswerError::Protocol(error));
                            self.connection.finish(info.id, end).unwrap();
                        }
                    },
                    event => others.push(event),
                }
            }
        }
        others
    }

    fn answer(&mut self, command: Line) -> Result<Line, NoSuchKey> {
        match command {
            Line::Set { key, value } => {
                self.store.insert(key, value);
                Ok(say("STORED"))
            }
            Line::Get { key } => {
                let value = self.store.get(&key).ok_or(NoSuchKey)?;
                Ok(say(value))
            }
            Line::Ping | Line::Say(_) => Ok(say("not a command")),
        }
    }

    /// What the peer hears now.
    fn said(&mut self) -> String {
        let _ = self.connection.fill(self.now);
        let Some(transmit) = self.connection.transmit() else {
            return String::new();
        };
        let bytes: Vec<u8> = transmit.chunks().flatten().copied().collect();
        transmit.advance(bytes.len());
        String::from_utf8(bytes).unwrap()
    }

    /// What the peer hears after it sent these bytes.
    fn hears_after(&mut self, bytes: &str) -> String {
        self.receive(bytes);
        self.serve();
        self.said()
    }
}

/// A bench whose greeting has been heard.
fn greeted() -> Bench {
    let mut bench = Bench::new(Config::default());
    assert_eq!(bench.said(), "READY\n");
    bench
}

// The tests.

#[test]
fn the_server_speaks_first() {
    // rule: HOOK-2
    let mut bench = Bench::new(Config::default());
    assert_eq!(bench.said(), "READY\n");
    assert_eq!(bench.said(), "", "once");
}

#[test]
fn commands_are_answered_in_order() {
    // rule: SEL-6
    let mut bench = greeted();
    let heard = bench.hears_after("SET a 1\nSET b 2\nGET a\nGET b\n");
    assert_eq!(heard, "STORED\nSTORED\n1\n2\n");
}

#[test]
fn however_a_line_is_cut_into_reads_it_is_one_line() {
    // rule: FRAME-5
    let mut bench = greeted();
    for part in ["S", "ET a", " 1"] {
        assert_eq!(bench.hears_after(part), "");
    }
    assert_eq!(bench.hears_after("\nGET "), "STORED\n");
    assert_eq!(bench.hears_after("a\n"), "1\n");
}

#[test]
fn a_ping_does_not_wait_for_the_command_before_it() {
    // rule: SEL-1
    let mut bench = greeted();
    bench.receive("GET a\nPING\n");
    let Some(Event::Request { info, .. }) = bench.connection.poll_event(bench.now) else {
        panic!("expected the command");
    };
    // Its handler is still at work.
    bench.serve();
    assert_eq!(bench.said(), "PONG\n");
    bench.connection.answer(info.id, say("late")).unwrap();
    assert_eq!(bench.said(), "late\n");
}

#[test]
fn a_failed_command_is_answered_and_the_connection_goes_on() {
    // rule: RESP-6
    let mut bench = greeted();
    assert_eq!(bench.hears_after("GET a\n"), "NO SUCH KEY\n");
    assert_eq!(bench.connection.session().commands_failed, 1);
    assert_eq!(bench.hears_after("SET a 1\n"), "STORED\n");
}

#[test]
fn an_answer_that_cannot_be_said_leaves_no_byte_on_the_wire() {
    // rule: FRAME-6
    let mut bench = greeted();
    bench.receive("GET a\n");
    let Some(Event::Request { info, .. }) = bench.connection.poll_event(bench.now) else {
        panic!("expected the command");
    };
    bench.connection.answer(info.id, say("two\nlines")).unwrap();
    assert_eq!(bench.said(), "CANNOT SAY\n");
}

// ANCHOR: malformed
#[test]
fn malformed_input_gets_a_last_word_with_its_code() {
    // rule: HOOK-6
    let mut bench = greeted();
    bench.receive("SET a 1\nDANCE\nGET a\n");
    let events = bench.serve();
    assert!(
        matches!(&events[..], [Event::Closing(CloseReason::Malformed(error))] if error.code == 2),
        "{events:?}"
    );
    assert_eq!(bench.said(), "STORED\nERROR 2\n", "and no answer to GET");
    assert!(bench.connection.wants().half_close);
}
// ANCHOR_END: malformed

#[test]
fn the_session_counts_what_was_said() {
    // rule: HOOK-2
    let mut bench = greeted();
    bench.hears_after("SET a 1\nPING\n");
    assert_eq!(bench.connection.session().lines_sent, 3);
}

// ANCHOR: time
#[test]
fn an_idle_peer_is_told_goodbye_when_its_time_is_over() {
    // rule: LIM-3
    let mut config = Config::default();
    config.timeouts.idle = Some(Duration::from_secs(60));
    let mut bench = Bench::new(config);
    assert_eq!(bench.said(), "READY\n");

    bench.wait(Duration::from_millis(59_999));
    assert_eq!(bench.said(), "");
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.said(), "BYE\n");
}
// ANCHOR_END: time

#[test]
fn a_drained_connection_answers_what_is_under_way_and_takes_nothing_new() {
    // rule: SHUT-2
    let mut bench = greeted();
    bench.receive("GET a\n");
    let Some(Event::Request { info, .. }) = bench.connection.poll_event(bench.now) else {
        panic!("expected the command");
    };
    let deadline = bench.now + Duration::from_secs(5);
    let drain = wireframe_proto::Shutdown::Drain { deadline };
    bench.connection.shutdown(bench.now, drain);
    bench.receive("GET b\n");
    bench.serve();
    bench.connection.answer(info.id, say("1")).unwrap();
    assert_eq!(bench.said(), "1\nBYE\n");

    let refused = bench.connection.push(Priority::High, say("news"));
    assert_eq!(refused.unwrap_err().reason, Refusal::Closed);
}
