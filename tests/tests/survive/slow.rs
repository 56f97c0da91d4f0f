//! Clients that send their frames one byte at a time.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use wireframe_tests::allow_open_files;

use crate::server::{Client, PATIENCE, Server, alone, is_long};

/// How many there are, how often each sends a byte, and how long a frame may take.
struct Plan {
    clients: usize,
    interval: Duration,
    limit: Duration,
}

fn plan() -> Plan {
    let (clients, interval, limit) = match is_long() {
        true => (1_000, 1_000, 5_000),
        false => (200, 100, 700),
    };
    Plan {
        clients,
        interval: Duration::from_millis(interval),
        limit: Duration::from_millis(limit),
    }
}

/// Connects them. Each has begun a frame of 64 KiB and some.
fn begin(server: &mut Server, plan: &Plan) -> Vec<TcpStream> {
    let before = server.seen().begun;
    let begin = |_| {
        let mut stream = server.connect().0;
        stream.write_all(&[0]).expect("it takes bytes");
        stream.set_nonblocking(true).expect("a TCP socket");
        stream
    };
    let slow = (0..plan.clients).map(begin).collect();
    server.sees("all", |seen| seen.begun == before + plan.clients);
    slow
}

/// Sends a byte on each; says who is still connected.
fn go_on(slow: &mut Vec<TcpStream>) {
    slow.retain_mut(|stream| {
        // Nothing has come yet if it would block.
        let is_open = stream
            .read(&mut [0; 64])
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_open && stream.write_all(&[1]).is_ok()
    });
}

/// How long answers took, in their order, until there is enough.
fn ask_until(client: &mut Client, mut enough: impl FnMut(usize) -> bool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !enough(took.len()) {
        let began = Instant::now();
        client.is_answered();
        took.push(began.elapsed());
    }
    took
}

fn p99(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// The slow ones send on until the server has closed them all, while the client asks.
fn round(server: &mut Server, client: &mut Client, plan: &Plan) -> Vec<Duration> {
    let began = Instant::now();
    let mut slow = begin(server, plan);
    let interval = plan.interval;
    let sender = thread::spawn(move || {
        while !slow.is_empty() {
            assert!(began.elapsed() < PATIENCE, "{} are left", slow.len());
            thread::sleep(interval);
            go_on(&mut slow);
        }
    });
    let took = ask_until(client, |_| sender.is_finished());
    sender.join().expect("all were closed");
    assert!(began.elapsed() >= plan.limit, "closed too early");
    server.sees("the client alone", |seen| seen.connections == 1);
    took
}

#[test]
fn those_who_send_their_frames_slowly_are_closed_and_others_served() {
    // rule: LIM-3
    let _alone = alone();
    allow_open_files(None);
    let plan = plan();
    let limit = u64::try_from(plan.limit.as_millis()).expect("seconds");
    let mut server = Server::start("tokio", &[("frame", limit)]);
    let mut client = server.connect();
    client.is_answered();
    let rounds = if is_long() { 3 } else { 1 };
    for round_number in 1..=rounds {
        let mut beside = round(&mut server, &mut client, &plan);
        assert!(!beside.is_empty());
        if !is_long() {
            continue;
        }
        let mut alone = ask_until(&mut client, |asked| asked >= beside.len());
        let (beside, alone) = (p99(&mut beside), p99(&mut alone));
        println!(
            "round {round_number}: p99 {beside:?} beside {} slow clients, {alone:?} without them",
            plan.clients
        );
        // Figures of one machine that does other things, too: what is meant is twice.
        assert!(
            beside <= alone * 10 + Duration::from_millis(5),
            "{beside:?} and {alone:?}"
        );
    }
    drop(client);
    server.sees("nobody", |seen| seen.connections == 0);
    assert_eq!(server.end(), [0, 0, 0]);
}
