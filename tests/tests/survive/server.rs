//! The server, and clients that are blocking sockets.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use wireframe::Envelope;
use wireframe_tests::{Process, Work, envelope, open_envelope};

/// How long anything may take before its test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether there is time for more of everything.
pub(crate) fn is_long() -> bool {
    std::env::var("SURVIVE").is_ok_and(|mode| mode == "long")
}

/// Those that use many descriptors or measure run one at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the server has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Connections that it has.
    pub(crate) connections: usize,
    /// Those in its registry.
    pub(crate) registered: usize,
    /// How often the first hook has run.
    pub(crate) begun: usize,
    /// How often the last hook has run.
    pub(crate) ended: usize,
}

/// A server in a process of its own.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Server {
    /// Starts it on that runtime, with these options.
    pub(crate) fn start(runtime: &str, options: &[(&str, u64)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_survive-server"));
        command.arg(format!("runtime={runtime}"));
        command.args(
            options
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        let process = Process::start(&mut command);
        let port = process.line_with("port ").parse().expect("a number");
        Self { process, port }
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a server listens");
        Client::over(stream)
    }

    pub(crate) fn seen(&mut self) -> Seen {
        self.process.say("state");
        let line = self.process.line_with("state ");
        let mut numbers = line.split(' ').map(|n| n.parse().expect("a number"));
        let mut next = || numbers.next().expect("four numbers");
        Seen {
            connections: next(),
            registered: next(),
            begun: next(),
            ended: next(),
        }
    }

    /// Waits until it has seen that.
    pub(crate) fn sees(&mut self, what: &str, is_so: impl Fn(&Seen) -> bool) -> Seen {
        let began = Instant::now();
        loop {
            let seen = self.seen();
            if is_so(&seen) {
                return seen;
            }
            assert!(began.elapsed() < PATIENCE, "never {what}: {seen:?}");
            // The processor is the server's meanwhile.
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What it does in so much time.
    pub(crate) fn work_within(&self, time: Duration) -> Work {
        let before = self.process.work();
        thread::sleep(time);
        self.process.work().since(before)
    }

    /// Shuts it down. Says how many connections were drained and aborted, and how many pushes
    /// are undelivered.
    pub(crate) fn end(mut self) -> [u64; 3] {
        self.process.end_input();
        let line = self.process.line_with("ended ");
        assert!(self.process.wait().success(), "it has failed");
        let mut numbers = line.split(' ').map(|n| n.parse().expect("a number"));
        [(); 3].map(|()| numbers.next().expect("three numbers"))
    }
}

/// A client.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        let patience = Some(PATIENCE);
        stream.set_read_timeout(patience).expect("a TCP socket");
        stream.set_write_timeout(patience).expect("a TCP socket");
        Self(stream)
    }

    /// Sends a request that is echoed.
    pub(crate) fn ask(&mut self, payload: &[u8]) -> io::Result<()> {
        let body = envelope(&Envelope::new(1, payload.to_vec()));
        let length = u32::try_from(body.len()).expect("a short payload");
        self.0
            .write_all(&[&length.to_be_bytes()[..], &body].concat())
    }

    /// The next frame; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Envelope>> {
        let mut length = [0; 4];
        let [first, rest @ ..] = &mut length;
        if self.0.read(std::slice::from_mut(first))? == 0 {
            return Ok(None);
        }
        self.0.read_exact(rest)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body)?;
        Ok(Some(open_envelope(&body)))
    }

    /// Asks, and expects the echo.
    pub(crate) fn is_answered(&mut self) {
        self.ask(b"still there?").expect("it takes requests");
        self.hears(b"still there?");
    }

    pub(crate) fn hears(&mut self, payload: &[u8]) {
        let answer = self.next().expect("an answer").expect("no end");
        assert_eq!(answer, Envelope::new(1, payload.to_vec()));
    }
}
