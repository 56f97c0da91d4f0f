//! Any conversation, over any transport: every frame of a body is delivered once, in
//! order, or discarded, and everything sent goes before what is answered.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use wireframe::{
    Clock, CloseReason, Conversation, Inbound, RequestBody, Response, ResponseSender, State,
    WireframeApp, testing::Fault,
};

use crate::rig::{Line, Oops, Rig, Text, config, line, lines, nonzero, secs, text, wire};

/// One step of a handler.
#[derive(Clone, Copy, Debug)]
enum Act {
    Next,
    /// Gives up after so many milliseconds.
    TryNext(u64),
    Send,
    TrySend(u64),
    Drop,
    Sleep(u64),
    /// In a stream; else the same as `Send`.
    Yield,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Next),
        2 => (0..5u64).prop_map(Act::TryNext),
        4 => Just(Act::Send),
        2 => (0..5u64).prop_map(Act::TrySend),
        1 => Just(Act::Drop),
        1 => (0..5u64).prop_map(Act::Sleep),
        2 => Just(Act::Yield),
    ]
}

/// One command: what its handler does, and how long its body is.
#[derive(Clone, Debug)]
struct Command {
    exclusive: bool,
    /// The acts take place in the stream that the handler returns.
    streams: bool,
    acts: Vec<Act>,
    body: usize,
}

fn command() -> impl Strategy<Value = Command> {
    let acts = prop::collection::vec(act(), 0..20);
    (any::<bool>(), any::<bool>(), acts, 1..12usize).prop_map(|(exclusive, streams, acts, body)| {
        Command {
            exclusive,
            streams,
            acts,
            body,
        }
    })
}

impl Command {
    /// The frames of its body, if it is the n-th.
    fn body(&self, n: usize) -> Vec<String> {
        (1..=self.body)
            .map(|at| format!("+{}{n}/{at}", if at == self.body { "." } else { "" }))
            .collect()
    }
}

/// What came of a command.
#[derive(Clone, Debug, Default)]
struct Log {
    received: Vec<String>,
    /// The body was read to its end.
    ended: bool,
    sent: Vec<String>,
}

type Logs = Arc<Mutex<Vec<Log>>>;

/// A handler at work.
struct Work {
    n: usize,
    sender: ResponseSender<Line>,
    body: Option<RequestBody<Line>>,
    clock: Clock,
    logs: Logs,
    frames: usize,
}

impl Work {
    fn log<R>(&self, f: impl FnOnce(&mut Log) -> R) -> R {
        f(&mut self.logs.lock().unwrap()[self.n])
    }

    fn frame(&mut self) -> String {
        self.frames += 1;
        format!("!{}/{}", self.n, self.frames)
    }

    fn commit(&self, frame: String) -> Line {
        self.log(|log| log.sent.push(frame.clone()));
        line(frame)
    }

    /// Does one thing; false if the command has ended.
    async fn act(&mut self, act: Act) -> bool {
        let millis = Duration::from_millis;
        match act {
            Act::Sleep(ms) => self.clock.sleep(millis(ms)).await,
            Act::Drop => self.body = None,
            Act::Next | Act::TryNext(_) => {
                let Some(body) = &mut self.body else {
                    return true;
                };
                let next = match act {
                    Act::TryNext(ms) => match self.clock.timeout(millis(ms), body.next()).await {
                        Ok(next) => next,
                        Err(_) => return true,
                    },
                    _ => body.next().await,
                };
                match next {
                    Ok(Some(Line(part))) => self.log(|log| {
                        assert!(!log.ended, "a frame behind the end");
                        log.received.push(part);
                    }),
                    Ok(None) => self.log(|log| log.ended = true),
                    Err(_) => return false,
                }
            }
            Act::Send | Act::Yield | Act::TrySend(_) => {
                let frame = self.frame();
                let send = self.sender.send(line(frame.clone()));
                let sent = match act {
                    Act::TrySend(ms) => match self.clock.timeout(millis(ms), send).await {
                        Ok(sent) => sent,
                        Err(_) => return true,
                    },
                    _ => send.await,
                };
                match sent {
                    Ok(()) => drop(self.commit(frame)),
                    Err(refused) => {
                        assert_eq!(refused.into_frame().0, frame);
                        return false;
                    }
                }
            }
        }
        true
    }
}

async fn serve(
    peer: Conversation<Line>,
    Inbound(Line(request)): Inbound<Line>,
    clock: Clock,
    State(commands): State<Arc<Vec<Command>>>,
    State(logs): State<Logs>,
) -> Response<Line, Oops> {
    let (_, n) = request.split_once(' ').unwrap();
    let n = n.parse().unwrap();
    let (sender, body) = peer.split();
    let mut work = Work {
        n,
        sender,
        body: Some(body),
        clock,
        logs,
        frames: 0,
    };
    work.logs.lock().unwrap().push(Log::default());
    let Command { streams, acts, .. } = commands[n].clone();
    if streams {
        return Response::frames(async_stream::stream! {
            for act in acts {
                if matches!(act, Act::Yield) {
                    let frame = work.frame();
                    yield work.commit(frame);
                } else if !work.act(act).await {
                    return;
                }
            }
        });
    }
    for act in acts {
        if !work.act(act).await {
            return Response::Empty;
        }
    }
    let frame = work.frame();
    Response::Single(work.commit(frame))
}

fn app(protocol: &Text, commands: &Arc<Vec<Command>>, logs: &Logs) -> WireframeApp<Text> {
    text(protocol)
        .state(Arc::clone(commands))
        .state(Arc::clone(logs))
        .config(config(|c| {
            c.limits.high_water = nonzero(64);
            c.limits.max_body_frames = nonzero(3);
        }))
        .route(1, serve)
}

/// One step of the peer and its transport.
#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Take(usize),
    Wait(u64),
    ReadSizes(Vec<usize>),
    WriteSizes(Vec<usize>),
    Stall(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = || prop::collection::vec(1..20usize, 0..4);
    prop_oneof![
        6 => (1..60usize).prop_map(Step::Send),
        4 => (1..60usize).prop_map(Step::Take),
        3 => (0..8u64).prop_map(Step::Wait),
        1 => sizes().prop_map(Step::ReadSizes),
        1 => sizes().prop_map(Step::WriteSizes),
        1 => (0..40usize).prop_map(Step::Stall),
        2 => Just(Step::Release),
    ]
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The peer says and takes everything.
    Finish,
    Abort,
    PeerGone,
    ReadError,
    DropDriver,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Finish),
        1 => Just(End::Abort),
        1 => Just(End::PeerGone),
        1 => Just(End::ReadError),
        1 => Just(End::DropDriver),
    ]
}

/// What the peer says of the n-th command: all of it.
fn bytes_of(commands: &[Command], n: usize) -> Vec<u8> {
    let Some(command) = commands.get(n) else {
        return Vec::new();
    };
    let head = if command.exclusive { "^1" } else { "1" };
    let mut bytes = wire(&format!("{head} {n}"));
    bytes.extend(command.body(n).iter().flat_map(|part| wire(part)));
    bytes
}

struct Run {
    rig: Rig,
    protocol: Text,
    commands: Arc<Vec<Command>>,
    /// The command that the peer is saying, and what is unsent of it.
    saying: usize,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

impl Run {
    /// Sends some of what the peer has to say. A body belongs to the oldest command, so
    /// that the next may come before this one has ended only if this is exclusive.
    fn send(&mut self, n: usize) {
        let rest = self.unsent.split_off(n.min(self.unsent.len()));
        let now = std::mem::replace(&mut self.unsent, rest);
        self.rig.peer.send(&now);
        let ended = self.protocol.record.count("command_end Done");
        let may_go_on = |command: &Command| command.exclusive || ended > self.saying;
        if self.unsent.is_empty() && self.commands.get(self.saying).is_some_and(may_go_on) {
            self.saying += 1;
            self.unsent = bytes_of(&self.commands, self.saying);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Send(n) => self.send(*n),
            Step::Take(n) => self.received.extend(self.rig.peer.receive_at_most(*n)),
            Step::Wait(ms) => self.rig.advance(Duration::from_millis(*ms)),
            Step::ReadSizes(sizes) => self.rig.script.read_sizes(sizes.clone()),
            Step::WriteSizes(sizes) => self.rig.script.write_sizes(sizes.clone()),
            Step::Stall(after) => self.rig.script.write_fault(*after, Fault::Stall),
            Step::Release => self.rig.script.release(),
        }
        self.settle();
    }

    /// Lets everybody work, and asserts that there is nothing more to do then.
    fn settle(&mut self) {
        let polls = self.rig.simulation.run();
        assert!(polls <= 200, "{polls} polls");
        let writes = self.rig.script.writes().len();
        let _ = self.rig.driver.poll();
        self.rig.simulation.run();
        assert_eq!(writes, self.rig.script.writes().len(), "slept beside work");
    }

    fn end(&mut self, end: End) {
        match end {
            End::Finish => {
                self.rig.script.release();
                for _ in 0..200 {
                    self.take(&Step::Send(usize::MAX));
                    while !self.rig.driver.is_done() {
                        let before = self.received.len();
                        self.take(&Step::Take(usize::MAX));
                        if self.received.len() == before {
                            break;
                        }
                    }
                    self.rig.advance(Duration::from_millis(5));
                }
                self.rig.peer.finish();
            }
            End::Abort => self.rig.push.connection().abort(),
            End::PeerGone => {
                self.received.extend(self.rig.peer.receive());
                self.rig.peer = wireframe::testing::link(1).0;
            }
            End::ReadError => {
                let reset = Fault::Error(io::ErrorKind::ConnectionReset);
                self.rig.script.read_fault(0, reset);
                self.rig.peer.send(b"x");
            }
            End::DropDriver => self.rig.driver.cancel(),
        }
        self.settle();
        self.received.extend(self.rig.peer.receive());
    }
}

/// The whole frames at the front of these bytes.
fn whole(bytes: &[u8]) -> Vec<String> {
    let mut end = 0;
    while let Some((len, _)) = bytes[end..].split_first_chunk::<4>() {
        let next = end + 4 + u32::from_be_bytes(*len) as usize;
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    lines(&bytes[..end])
}

proptest! {
    #[test]
    fn bodies_come_once_and_in_order_and_answers_go_whole_and_in_order(
        commands in prop::collection::vec(command(), 1..4),
        steps in prop::collection::vec(step(), 0..60),
        end in end(),
        capacity in 1..100usize,
    ) {
        // rule: REQ-2, REQ-3, REQ-4, RESP-4
        let (protocol, logs) = (Text::default(), Logs::default());
        let commands = Arc::new(commands);
        let mut run = Run {
            rig: Rig::with_capacity(app(&protocol, &commands, &logs), capacity),
            unsent: bytes_of(&commands, 0),
            saying: 0,
            received: Vec::new(),
            commands,
            protocol,
        };
        for step in &steps {
            run.take(step);
        }
        run.end(end);
        if !run.rig.driver.is_done() {
            // A peer that is gone shows when something is written to it, or awaited.
            run.rig.simulation.advance(secs(40));
            run.rig.push.connection().abort();
            run.settle();
        }
        prop_assert!(run.rig.driver.is_done());
        let logs = logs.lock().unwrap().clone();
        for (n, log) in logs.iter().enumerate() {
            let body = run.commands[n].body(n);
            prop_assert!(body.starts_with(&log.received), "{:?}", log);
            prop_assert!(!log.ended || body == log.received);
        }
        let sent: Vec<_> = logs.iter().flat_map(|log| log.sent.clone()).collect();
        let heard = whole(&run.received);
        prop_assert!(sent.starts_with(&heard), "{:?} {:?}", sent, heard);
        if let End::Finish = end {
            prop_assert_eq!(&sent, &heard);
            prop_assert_eq!(logs.len(), run.commands.len());
            prop_assert_eq!(run.rig.driver.take(), Some(CloseReason::PeerClosed));
            prop_assert_eq!(run.protocol.record.count("command_end Done"), logs.len());
        }
        let record = run.protocol.record.take();
        let ends = record.iter().filter(|hook| hook.starts_with("command_end"));
        prop_assert_eq!(ends.count(), logs.len());
        prop_assert_eq!(run.rig.simulation.clock().armed(), 0);
    }
}
