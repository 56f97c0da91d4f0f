//! SIGINT and SIGTERM, to a server in a process of its own.
#![cfg(unix)]

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};
use wireframe::WireframeApp;
use wireframe_tests::{Process, on_many_threads};
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
    process: Process,
    port: u16,
}

impl Served {
    fn new() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--ignored", "--exact", "serve_until_told", "--nocapture"]);
        let process = Process::start(&mut command);
        let port = process.line_with("port ").parse().expect("a number");
        Self { process, port }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        self.process.line_with("connected");
        stream
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.process.child());
        kill_process(pid, signal).expect("it is there");
    }

    /// Which signal ends the process, or its code.
    fn end(&mut self) -> (Option<i32>, Option<i32>) {
        let status = self.process.wait();
        (status.signal(), status.code())
    }
}

#[test]
fn the_first_signal_drains() {
    // rule: SHUT-4
    for signal in [Signal::INT, Signal::TERM] {
        let mut served = Served::new();
        let idle = served.connect();
        served.signal(signal);
        // It says that it will send no more, and waits for the peer.
        assert_eq!((&idle).read(&mut [0; 9]).expect("the end"), 0);
        drop(idle);
        assert_eq!(served.process.line_with("drained "), "1, aborted 0");
        served.process.end_input();
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
    served.process.line_with("asked");
    served.signal(Signal::TERM);
    served.signal(Signal::INT);
    assert_eq!(served.process.line_with("drained "), "0, aborted 1");
    served.signal(Signal::TERM);
    assert_eq!(served.end(), (Some(Signal::TERM.as_raw()), None));
}
