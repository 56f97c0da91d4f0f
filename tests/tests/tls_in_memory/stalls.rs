//! Peers that take nothing: the buffers of TLS do not hide it.

use std::{num::NonZeroUsize, time::Duration};

use wireframe::{Config, Heartbeat, Timeouts};
use wireframe_tests::{Authority, wire};

use crate::{Peer, Serving};

/// Room in the link.
const LINK: usize = 2000;
/// What TLS takes before it makes its caller wait, and what encryption adds to that.
const TAKEN: usize = 64 * 1024 + 1024;
/// The frame that answers a request for 40 000 bytes.
const ANSWER: usize = 4 + 2 + 40_000;
const MOMENT: Duration = Duration::from_millis(1);

/// A peer that has asked for so many bytes, and takes none of them.
fn stalled(len: usize) -> (Serving, Peer) {
    stalled_with(NonZeroUsize::MAX, Config::default(), len)
}

fn stalled_with(memory: NonZeroUsize, config: Config, len: usize) -> (Serving, Peer) {
    let authority = Authority::new();
    let tls = authority.server(false);
    let (serving, mut links) = Serving::start_with(memory, config, &tls, 1, LINK);
    let link = links.pop().expect("one");
    let mut peer = Peer::greeted(&serving, &authority, link);
    peer.send(&wire(&format!("1 {len}")));
    (serving, peer)
}

fn is_closing(serving: &Serving) -> bool {
    let notes = serving.protocol.notes.all();
    notes.iter().any(|note| note.starts_with("goodbye"))
}

#[test]
fn a_peer_that_takes_nothing_stalls_also_with_what_tls_has_taken() {
    // rule: LIM-3, LIM-6, OBS-4
    let stall = Timeouts::default().write_stall;
    // They fit the buffers of TLS, and do not.
    for len in [3000, 40_000, 1_000_000] {
        let (serving, peer) = stalled(len);
        let held = serving.budget.used();
        assert!(held + LINK >= len.min(60_000), "{held} of {len}");
        assert!(held <= TAKEN, "{held} of {len}");
        serving.simulation.advance(stall - MOMENT);
        assert!(!is_closing(&serving), "{len} bytes");
        let [seen] = &serving.handle.snapshot().connections[..] else {
            panic!("one connection");
        };
        assert_eq!(seen.stalled, Some(stall - MOMENT), "{len} bytes");
        serving.simulation.advance(MOMENT);
        assert!(is_closing(&serving), "{len} bytes");
        // The goodbye has as long again.
        serving.simulation.advance(stall);
        assert_eq!(serving.ends(), ["the peer takes no output"]);
        assert_eq!(serving.budget.used(), 0);
        drop(peer);
        serving.end();
    }
}

#[test]
fn a_peer_that_takes_a_little_now_and_then_does_not_stall() {
    // rule: LIM-3
    let (serving, mut peer) = stalled(40_000);
    // Less than a record in all.
    for _ in 0..5 {
        serving
            .simulation
            .advance(Timeouts::default().write_stall - MOMENT);
        peer.takes_what_is_there();
    }
    assert_eq!(peer.take(ANSWER)[..6], *b"\0\0\x9c\x421=");
    assert_eq!(serving.ends(), [""; 0]);
    serving.simulation.advance(Timeouts::default().write_stall);
    drop(peer);
    serving.simulation.run();
    assert_eq!(serving.ends(), ["closed by the peer"]);
    serving.end();
}

#[test]
fn what_tls_adds_to_many_small_records_is_held_and_taken_as_they_are() {
    // rule: LIM-3, LIM-6
    const RECORDS: usize = 1000;
    const ANSWER: usize = 4 + 2 + 5;
    // A header, the text, its kind and the tag.
    const RECORD: usize = 5 + ANSWER + 1 + 16;
    let (serving, mut peer) = stalled(5);
    for _ in 1..RECORDS {
        peer.send(&wire("1 5"));
    }
    let held = serving.budget.used();
    assert!(held + LINK >= RECORDS * RECORD, "{held}");
    // As many at a time as the link has.
    for _ in 0..RECORDS / (LINK / RECORD) {
        let stall = Timeouts::default().write_stall;
        serving.simulation.advance(stall - MOMENT);
        peer.take(LINK / RECORD * ANSWER);
    }
    serving.simulation.run();
    assert_eq!(serving.ends(), [""; 0]);
    assert_eq!(serving.budget.used(), 0);
    drop(peer);
    serving.end();
}

#[test]
fn a_peer_that_takes_nothing_stalls_however_much_it_asks_for() {
    // rule: LIM-3
    let (serving, mut peer) = stalled(3000);
    let stall = Timeouts::default().write_stall;
    for _ in 0..2 {
        serving.simulation.advance(stall / 3);
        peer.send(&wire("1 5"));
    }
    serving.simulation.advance(stall - 2 * (stall / 3) - MOMENT);
    assert!(!is_closing(&serving));
    serving.simulation.advance(MOMENT);
    assert!(is_closing(&serving));
    serving.simulation.advance(stall);
    assert_eq!(serving.ends(), ["the peer takes no output"]);
    drop(peer);
    serving.end();
}

#[test]
fn a_peer_that_has_taken_the_last_byte_has_the_whole_time_to_say_something() {
    // rule: LIM-3
    let idle = Duration::from_secs(20);
    let mut config = Config::default();
    config.timeouts.idle = Some(idle);
    let (serving, mut peer) = stalled_with(NonZeroUsize::MAX, config, 40_000);
    for _ in 0..5 {
        serving.simulation.advance(idle / 2);
        peer.takes_what_is_there();
    }
    peer.take(ANSWER);
    serving.simulation.advance(idle - MOMENT);
    assert!(!is_closing(&serving));
    serving.simulation.advance(MOMENT);
    assert!(is_closing(&serving));
    drop(peer);
    serving.simulation.run();
    serving.end();
}

#[test]
fn a_peer_has_time_while_it_takes_what_tls_holds_up_to_the_ping() {
    // rule: HB-1
    let secs = Duration::from_secs;
    let mut config = Config::default();
    config.heartbeat = Some(Heartbeat::pinging(secs(20), secs(15)));
    let (serving, mut peer) = stalled_with(NonZeroUsize::MAX, config, 40_000);
    // The ping stands behind the answer from the 20th second on.
    for _ in 0..5 {
        serving.simulation.advance(secs(8));
        peer.takes_what_is_there();
    }
    assert!(!is_closing(&serving));
    peer.take(ANSWER + wire("~ping").len());
    serving.simulation.advance(secs(15) - MOMENT);
    assert!(!is_closing(&serving));
    serving.simulation.advance(MOMENT);
    assert!(is_closing(&serving));
    drop(peer);
    serving.simulation.run();
    serving.end();
}

#[test]
fn what_tls_holds_for_a_peer_that_takes_nothing_costs_it_the_connection_where_memory_is_short() {
    // rule: LIM-6
    let memory = NonZeroUsize::new(30_000).expect("not zero");
    let (serving, peer) = stalled_with(memory, Config::default(), 40_000);
    let [end] = &serving.ends()[..] else {
        panic!("{:?}", serving.ends());
    };
    assert!(end.starts_with("memory_budget is 30000"), "{end}");
    assert_eq!(serving.budget.used(), 0);
    drop(peer);
    serving.end();
}
