//! A server process, from `READY` until it is killed.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::options::Pin;
use super::plan::Plan;
use super::{CompareError, NamedServer, pinned};

const READY_WITHIN: Duration = Duration::from_secs(10);

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts the server and waits until it listens.
    pub(crate) fn start(
        named: &NamedServer,
        plan: &Plan,
        pin: Option<Pin>,
    ) -> Result<Self, CompareError> {
        let port = free_port().map_err(CompareError::io("looking for a free port"))?;
        let child = pinned(&named.path, pin.map(|pin| pin.server))
            .args(["--port", &port.to_string()])
            .args(["--mode", plan.workload.name()])
            .args(["--max-frame", &plan.max_frame().to_string()])
            .args(&named.arguments)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(CompareError::io(format!(
                "starting {}",
                named.path.display()
            )))?;
        let mut server = Self { child, port };
        if let Some(stdout) = server.child.stdout.take() {
            wait_until_ready(stdout)?;
        }
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Processor time of all threads so far, as Linux accounts for it.
    pub(crate) fn cpu_nanos(&self) -> Option<u64> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let nanos = |task: io::Result<std::fs::DirEntry>| {
            let schedstat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            schedstat.split_whitespace().next()?.parse::<u64>().ok()
        };
        tasks.map(nanos).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the load generator has noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago. Another process may take it before the server does,
/// but systems hand out ports they gave away recently last.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn wait_until_ready(stdout: ChildStdout) -> Result<(), CompareError> {
    let (line, lines) = mpsc::channel();
    // A thread, since a pipe cannot be read with a deadline. It also keeps the pipe open,
    // so that a server which prints more does not fail for that; it ends with the server.
    thread::spawn(move || {
        for text in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = line.send(text);
        }
    });
    match lines.recv_timeout(READY_WITHIN) {
        Ok(text) if text.trim() == "READY" => Ok(()),
        _ => Err(CompareError::NotReady {
            seconds: READY_WITHIN.as_secs(),
        }),
    }
}
