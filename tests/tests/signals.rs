//! SIGINT and SIGTERM, to a server in a process of its own.
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use wireframe::WireframeApp;
use wireframe_tests::on_many_threads;
use wireframe_tokio::Server;

/// The server. It is a test only so that it can be started from here.
#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn serve_until_told() {
    on_many_threads(async {
        let server = Server::bind("127.0.0.1:0").await.expect("a port");
        server
            .handle()
            .shutdown_on_signals()
            .expect("it can listen");
        let port = server.local_addr().expect("it listens").port();
        println!("\nport {port}");
        let app = WireframeApp::new()
            .on_connect(|| async { println!("connected") })
            .route(1, || async {
                println!("asked");
                std::future::pending::<Vec<u8>>().await
            });
        let report = server.serve(app).await.expect("a fit app");
        println!("drained {}, aborted {}", report.drained, report.aborted);
        // Until the other side has seen enough.
        std::io::stdin()
            .read_to_end(&mut Vec::new())
            .expect("a pipe");
    });
}

/// The process of the server.
struct Served {
    child: Child,
    lines: mpsc::Receiver<String>,
    port: u16,
}

impl Served {
    fn new() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "serve_until_told", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = lines_of(child.stdout.take().expect("a pipe"));
        let mut served = Self {
            child,
            lines,
            port: 0,
        };
        let port = served.line_with("port ");
        served.port = port.parse().expect("a number");
        served
    }

    /// What comes behind that text in the next line that begins with it.
    fn line_with(&self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("no line with {start:?}"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        self.line_with("connected");
        stream
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it is there");
    }

    /// Which signal has ended the process, or its code.
    fn end(mut self) -> (Option<i32>, Option<i32>) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it ends");
        (status.signal(), status.code())
    }
}

/// Does not outlive a test that fails.
impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

#[test]
fn the_first_signal_drains() {
    // rule: SHUT-4
    for signal in [Signal::INT, Signal::TERM] {
        let served = Served::new();
        let idle = served.connect();
        served.signal(signal);
        // It says that it will send no more, and waits for the peer.
        assert_eq!((&idle).read(&mut [0; 9]).expect("the end"), 0);
        drop(idle);
        assert_eq!(served.line_with("drained "), "1, aborted 0");
        assert_eq!(served.end(), (None, Some(0)));
    }
}

#[test]
fn the_second_signal_aborts_and_one_after_the_end_kills() {
    // rule: SHUT-4
    let mut served = Served::new();
    let mut busy = served.connect();
    // A request for route 1, without a correlation id or a payload. It is never answered.
    busy.write_all(&[0, 0, 0, 3, 1, 0, 0]).expect("it reads");
    served.line_with("asked");
    served.signal(Signal::TERM);
    served.signal(Signal::INT);
    assert_eq!(served.line_with("drained "), "0, aborted 1");
    served.signal(Signal::TERM);
    let status = served.child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
}
