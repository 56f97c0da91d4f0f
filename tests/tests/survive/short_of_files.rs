//! A server that may open no more files.

use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Server, alone};

on_each_runtime! {
    without_descriptors_a_server_serves_whom_it_has_and_goes_on_when_it_can
}

/// Files that the server may open.
const FILES: u64 = 64;
/// Clients that connect; the system takes them all.
const CLIENTS: usize = 100;

fn without_descriptors_a_server_serves_whom_it_has_and_goes_on_when_it_can(runtime: &str) {
    // rule: LIM-4
    let _alone = alone();
    let options = [("files", FILES), ("connections", 10_000)];
    let mut server = Server::start(runtime, &options);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let began = Instant::now();
    while (server.process.descriptors() as u64) < FILES {
        assert!(began.elapsed() < PATIENCE, "it is not short of files");
    }
    let served = server.sees("short of files", |seen| seen.begun == seen.connections);
    let served = served.connections;
    assert!(served < CLIENTS, "all {served} are served");

    let time = Duration::from_secs(1);
    let work = server.work_within(time);
    println!(
        "{runtime}: short of files with {served} connections; \
         in {time:?} the server ran {:?} and slept {} times",
        work.time, work.waits
    );
    assert!(work.time <= Duration::from_millis(20), "it spins: {work:?}");
    for client in &mut clients[..served] {
        client.is_answered();
    }
    assert_eq!(server.seen().begun, served);

    // Those who wait are taken as others go, in their order.
    for mut client in clients {
        client.is_answered();
    }
    let seen = server.sees("nobody", |seen| seen.connections == 0);
    assert_eq!((seen.begun, seen.ended), (CLIENTS, CLIENTS));
    assert_eq!(server.end(), [0, 0, 0]);
}
