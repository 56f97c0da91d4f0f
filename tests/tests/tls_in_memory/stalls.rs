//! Peers that take nothing: the buffers of TLS do not hide it.

use std::{num::NonZeroUsize, time::Duration};

use wireframe::Timeouts;
use wireframe_tests::{Authority, wire};

use crate::{Peer, Serving};

/// Room in the link.
const LINK: usize = 2000;
/// What TLS takes before it makes its caller wait, and what encryption adds to that.
const TAKEN: usize = 64 * 1024 + 1024;
const MOMENT: Duration = Duration::from_millis(1);

/// A peer that has asked for so many bytes, and takes none of them.
fn stalled(len: usize) -> (Serving, Peer) {
    stalled_within(NonZeroUsize::MAX, len)
}

fn stalled_within(memory: NonZeroUsize, len: usize) -> (Serving, Peer) {
    let authority = Authority::new();
    let tls = authority.server(false);
    let (serving, mut links) = Serving::start_within(memory, &tls, 1, LINK);
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
    assert_eq!(peer.take(4 + 2 + 40_000)[..6], *b"\0\0\x9c\x421=");
    assert_eq!(serving.ends(), [""; 0]);
    serving.simulation.advance(Timeouts::default().write_stall);
    drop(peer);
    serving.simulation.run();
    assert_eq!(serving.ends(), ["closed by the peer"]);
    serving.end();
}

#[test]
fn what_tls_holds_for_a_peer_that_takes_nothing_costs_it_the_connection_where_memory_is_short() {
    // rule: LIM-6
    let memory = NonZeroUsize::new(30_000).expect("not zero");
    let (serving, peer) = stalled_within(memory, 40_000);
    let [end] = &serving.ends()[..] else {
        panic!("{:?}", serving.ends());
    };
    assert!(end.starts_with("memory_budget is 30000"), "{end}");
    assert_eq!(serving.budget.used(), 0);
    drop(peer);
    serving.end();
}
