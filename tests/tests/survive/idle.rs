//! Very many connections that say nothing.

use std::{thread, time::Duration};

use wireframe_tests::allow_open_files;

use crate::server::{Server, alone, is_long};

on_each_runtime! {
    idle_connections_cost_no_processor_and_go_on
}

/// Descriptors of a process that are no connections.
const OTHERS: u64 = 100;

/// Bytes of memory that each idle connection may take.
const MOST_BYTES: u64 = 2_560;

/// Bytes beside that, which the process takes once.
const ONCE: u64 = 256 * 1024;

fn idle_connections_cost_no_processor_and_go_on(runtime: &str) {
    // rule: LIM-5
    let _alone = alone();
    let (wanted, time) = match is_long() {
        true => (10_000, Duration::from_secs(5)),
        false => (1_000, Duration::from_secs(1)),
    };
    let files = allow_open_files(None);
    let count = wanted.min(files.saturating_sub(OTHERS));
    if count < wanted {
        println!(
            "{runtime}: only {count} of {wanted} connections, as only {files} files may be open"
        );
    }
    let mut server = Server::start(runtime, &[("files", files), ("connections", count)]);
    // Threads and tables of the runtime are there.
    server.connect().is_answered();
    server.sees("nobody", |seen| (seen.connections, seen.ended) == (0, 1));
    let empty = server.process.resident();
    let mut clients: Vec<_> = (0..count).map(|_| server.connect()).collect();
    server.sees("all", |seen| seen.connections as u64 == count);
    let taken = server.process.resident().saturating_sub(empty);

    let work = server.work_within(time);
    println!(
        "{runtime}: {count} idle connections, {} bytes of memory each; \
         in {time:?} the server ran {:?} and slept {} times",
        taken / count,
        work.time,
        work.waits
    );
    assert!(taken <= count * MOST_BYTES + ONCE, "{taken} bytes");
    // One tick. To poll each connection once would take longer.
    assert!(work.time <= Duration::from_millis(10), "{work:?}");
    for client in &mut clients {
        client.ask(b"awake?").expect("it takes requests");
    }
    for client in &mut clients {
        client.hears(b"awake?");
    }
    // All at once.
    thread::spawn(move || drop(clients));
    server.sees("nobody", |seen| seen.connections == 0);
    assert_eq!(server.end(), [0, 0, 0]);
}
