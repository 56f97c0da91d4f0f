//! What peers can make a server hold. They share its thread, so every allocation is seen.

use allocation_counter::measure;
use bytes::Bytes;
use tokio::runtime::Builder;
use wireframe::{FragmentLimits, WireframeApp};
use wireframe_tests::{ANSWER, GOODBYE, InOrderRecords, Raw, Record, start};

use super::{
    nonzero,
    wire::{Wire, fragment},
    within,
};

const ECHO: u32 = 1;
const PEERS: usize = 4;

/// The bounds on the messages of one connection, and on each of them.
const BYTES: usize = (4 << 20) + 40 * 1024;
const MESSAGES: u32 = 64;
const MESSAGE: u32 = 1 << 20;

/// What one connection may hold: its messages, which grow by half, something for each, and a
/// read buffer with what is read ahead.
const HELD: usize = BYTES + BYTES / 2 + MESSAGES as usize * 300 + 512 * 1024;

async fn is_served(peer: &mut Raw) {
    let request = Wire::Multiplexed.request(&Record::new(ECHO, "hello"));
    peer.send(&request).await;
    let answer = Wire::Multiplexed.answer(peer, 1).await;
    assert_eq!(answer, Record::new(ECHO | ANSWER, "hello"));
}

#[test]
fn peers_that_never_end_a_message_hold_what_is_documented_and_no_more() {
    // rule: REASM-2, REASM-3
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut limits = FragmentLimits::default();
    limits.max_message_size = Some(nonzero(MESSAGE as usize));
    limits.max_partial_bytes = Some(nonzero(BYTES));
    let app = WireframeApp::with_protocol(InOrderRecords::default());
    let app = app.route(ECHO, async |body: Bytes| body);
    let app = within(app, Wire::Multiplexed, limits);

    // All messages at once, of which each has grown by half with the last fragment of all. Two
    // have room for one fragment more, and that is what may come.
    let piece = [7; 16 * 1024];
    let next = |seq, id| {
        let total = (seq == 0).then_some(MESSAGE);
        fragment(id, seq, total.map(u64::from), false, &piece)
    };
    let rounds = [
        (0, MESSAGES),
        (1, MESSAGES),
        (2, MESSAGES),
        (3, MESSAGES),
        (4, 2),
    ];
    let attack: Vec<u8> = rounds
        .into_iter()
        .flat_map(|(seq, messages)| (0..messages).flat_map(move |id| next(seq, id)))
        .collect();
    let one_more = next(4, 2);

    let (server, mut peers, mut honest) = runtime.block_on(async {
        let server = start(app).await;
        let mut peers = Vec::new();
        for _ in 0..PEERS {
            peers.push(Raw::connect(server.address).await);
        }
        let mut honest = Raw::connect(server.address).await;
        for peer in peers.iter_mut().chain([&mut honest]) {
            is_served(peer).await;
        }
        (server, peers, honest)
    });
    let held = measure(|| {
        runtime.block_on(async {
            for peer in &mut peers {
                peer.send(&attack).await;
                // It has been read then.
                is_served(peer).await;
                is_served(&mut honest).await;
            }
        });
    });
    let at_least = (PEERS * MESSAGES as usize * 96 * 1024) as u64;
    assert!(held.bytes_current.unsigned_abs() >= at_least, "{held:?}");
    assert!(held.bytes_max <= (PEERS * HELD) as u64, "{held:?}");

    let freed = measure(|| {
        runtime.block_on(async {
            for peer in &mut peers {
                peer.send(&one_more).await;
                let last = Wire::Multiplexed.answer(peer, 1).await;
                let word = "max_partial_bytes is 4235264, got 4243456";
                assert_eq!((last.route, last.text()), (GOODBYE, word.to_owned()));
                is_served(&mut honest).await;
            }
        });
    });
    let left = held.bytes_current + freed.bytes_current;
    assert!(left.unsigned_abs() < 1 << 20, "{held:?} {freed:?}");
    drop((peers, honest));
    runtime.block_on(server.end());
}
