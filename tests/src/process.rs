//! Processes that a test starts, and what the system says of them.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long a line may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process, which does not outlive its test.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts a process.
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let input = child.stdin.take();
        let lines = lines_of(child.stdout.take().expect("a pipe"));
        Self {
            child,
            input,
            lines,
        }
    }

    /// The next line that begins so, without its beginning. Those before it are skipped.
    pub fn line_with(&self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with {start:?}"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// All lines up to the one that begins so, and that one.
    pub fn lines_to(&self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            lines.push(line.unwrap_or_else(|_| panic!("no line with {start:?}")));
            if lines.last().is_some_and(|line| line.starts_with(start)) {
                return lines;
            }
        }
    }

    /// Gives it a line to read.
    pub fn say(&mut self, line: &str) {
        let mut input = self.input.as_ref().expect("its input is open");
        writeln!(input, "{line}").expect("it reads");
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Ends it at once, with SIGKILL where there are signals.
    pub fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }

    /// The process itself.
    pub const fn child(&self) -> &Child {
        &self.child
    }

    /// How many descriptors it has open. Only on Linux.
    pub fn descriptors(&self) -> usize {
        let open = fs::read_dir(self.proc("fd")).expect("it is there");
        open.count()
    }

    /// Bytes of its memory that are resident. Only on Linux.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("it is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.expect("a number") * 1024
    }

    /// What its threads have done so far. Only on Linux.
    pub fn work(&self) -> Work {
        let mut work = Work::default();
        for thread in fs::read_dir(self.proc("task")).expect("it is there") {
            let thread = thread.expect("a thread").path();
            // Nanoseconds on a processor, and two numbers more.
            let Ok(times) = fs::read_to_string(thread.join("schedstat")) else {
                // It has ended meanwhile.
                continue;
            };
            let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
            let time = times.split(' ').next().and_then(|time| time.parse().ok());
            work.time += Duration::from_nanos(time.expect("a number"));
            let waits = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            work.waits += waits.map_or(0, |waits| waits.trim().parse().expect("a number"));
        }
        work
    }

    fn proc(&self, what: &str) -> String {
        format!("/proc/{}/{what}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the threads of a process have done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Time on a processor.
    pub time: Duration,
    /// How often one has gone to sleep.
    pub waits: u64,
}

impl Work {
    /// What was done since then.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            time: self.time.saturating_sub(before.time),
            waits: self.waits.saturating_sub(before.waits),
        }
    }
}

/// Lets this process open so many files, or as many as it may, and says how many that is.
pub fn allow_open_files(most: Option<u64>) -> u64 {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let allowed = getrlimit(Resource::Nofile).maximum;
        let current = most.or(allowed);
        let limit = Rlimit {
            current,
            maximum: allowed,
        };
        setrlimit(Resource::Nofile, limit).expect("no more than is allowed");
        current.unwrap_or(u64::MAX)
    }
    #[cfg(not(unix))]
    most.unwrap_or(u64::MAX)
}

fn lines_of(output: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
