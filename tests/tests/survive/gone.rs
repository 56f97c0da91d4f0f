//! Clients that are gone in the middle of a frame.

use std::{io::Write, process::Command, time::Duration};

use socket2::SockRef;
use wireframe_tests::Process;

use crate::server::{Server, alone, is_long};

on_each_runtime! {
    clients_that_are_killed_or_reset_leave_nothing_behind
}

/// Connections of each process that is killed, and as many that are reset.
const EACH: u32 = 10;
/// Bytes that come of each frame, half of it. They are held until it is whole.
const BYTES: u32 = 32 * 1024;

/// Clients come, begin a frame, and are gone; until nobody is left.
fn visit(server: &mut Server) {
    let before = server.seen().ended;
    let all = before + 2 * EACH as usize;
    let mut peer = Command::new(env!("CARGO_BIN_EXE_survive-peer"));
    let given = [u32::from(server.port), EACH, BYTES];
    let peer = Process::start(peer.args(given.map(|argument| argument.to_string())));
    let start = [&(2 * BYTES).to_be_bytes()[..], &[7; BYTES as usize]].concat();
    let clients: Vec<_> = (0..EACH).map(|_| server.connect()).collect();
    for client in &clients {
        (&client.0).write_all(&start).expect("it takes bytes");
    }
    peer.line_with("begun");
    server.sees("all", |seen| seen.begun == all);
    peer.kill();
    for client in clients {
        let at_once = SockRef::from(&client.0).set_linger(Some(Duration::ZERO));
        at_once.expect("a TCP socket");
    }
    let seen = server.sees("nobody", |seen| {
        seen.connections == 0 && seen.registered == 0
    });
    assert_eq!(seen.ended, all, "the last hook of each runs once");
}

fn clients_that_are_killed_or_reset_leave_nothing_behind(runtime: &str) {
    // rule: HOOK-2, REG-2
    let _alone = alone();
    let rounds = if is_long() { 500 } else { 25 };
    let mut server = Server::start(runtime, &[]);
    // Buffers that are kept, threads and tables grow to their size.
    for _ in 0..10 {
        visit(&mut server);
    }
    let (descriptors, resident) = (server.process.descriptors(), server.process.resident());
    for _ in 0..rounds {
        visit(&mut server);
    }
    let grown = server.process.resident().saturating_sub(resident);
    println!(
        "{runtime}: {} connections gone in mid-frame; memory has grown by {grown} bytes",
        rounds * 2 * EACH
    );
    assert_eq!(server.process.descriptors(), descriptors);
    // In the shortest run four times as much came of frames that were not whole.
    assert!(grown <= 4 * 1024 * 1024, "{grown} bytes are left");
    server.connect().is_answered();
    server.sees("nobody", |seen| seen.connections == 0);
    assert_eq!(server.end(), [0, 0, 0]);
}
