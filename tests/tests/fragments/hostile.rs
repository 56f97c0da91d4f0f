//! Peers that send fragments to do harm, beside one that does not.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::{sync::watch, task::JoinHandle};
use wireframe::{FragmentLimits, WireframeApp};
use wireframe_tests::{
    ANSWER, GOODBYE, NOTICE, Raw, Record, Records, on_each_runtime, soon, start,
};

use super::{
    wire::{Wire, flagged, fragment, whole},
    within,
};

const ECHO: u32 = 1;

fn app<const CORRELATED: bool>(wire: Wire) -> WireframeApp<Records<CORRELATED>> {
    let app = WireframeApp::with_protocol(Records::default());
    let app = app.route(ECHO, async |body: Bytes| body);
    within(app, wire, FragmentLimits::default())
}

/// Whether a connection is served.
async fn is_served(wire: Wire, peer: &mut Raw) {
    peer.send(&wire.request(&Record::new(ECHO, "hello"))).await;
    let answer = wire.answer(peer, 1).await;
    assert_eq!(answer, Record::new(ECHO | ANSWER, "hello"));
}

/// A peer that asks one thing after the other, and means no harm.
struct Honest {
    served: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Honest {
    async fn connect(wire: Wire, address: SocketAddr) -> Self {
        let mut peer = Raw::connect(address).await;
        let (count, served) = watch::channel(0);
        let task = tokio::spawn(async move {
            while !count.is_closed() {
                is_served(wire, &mut peer).await;
                count.send_modify(|count| *count += 1);
            }
        });
        Self { served, task }
    }

    /// Waits until it has been served twice from now: the first answer may have been on
    /// its way.
    async fn is_served(&mut self) {
        let twice = *self.served.borrow() + 2;
        soon(
            "an honest peer is served",
            self.served.wait_for(|n| *n >= twice),
        )
        .await
        .expect("it gets its answers");
    }

    async fn leave(self) {
        drop(self.served);
        self.task.await.expect("it has got all of its answers");
    }
}

/// The offence ends its connection with that last word, and no other.
fn ends_its_connection_with(wire: Wire, offence: &[u8], word: &str) {
    on_each_runtime(|| async {
        let server = start(app::<false>(wire)).await;
        let mut honest = Honest::connect(wire, server.address).await;
        let mut peer = Raw::connect(server.address).await;
        is_served(wire, &mut peer).await;
        peer.send(offence).await;
        let last = wire.answer(&mut peer, 1).await;
        assert_eq!((last.route, last.text()), (GOODBYE, word.to_owned()));
        peer.expect_end().await;
        honest.is_served().await;
        honest.leave().await;
        drop(peer);
        server.end().await;
    });
}

#[test]
fn fresh_ids_without_end_cross_the_number_of_messages() {
    // rule: REASM-2, REASM-3, HOOK-6
    let offence: Vec<u8> = (0..1_000)
        .flat_map(|id| fragment(id, 0, Some(10), false, b"x"))
        .collect();
    let word = "max_partial_messages is 64, got 65";
    ends_its_connection_with(Wire::Multiplexed, &offence, word);
}

#[test]
fn empty_fragments_without_end_cross_their_number() {
    // rule: REASM-2, REASM-3
    let word = "max_empty_fragments is 32, got 33";
    let mut offence = fragment(1, 0, Some(10), false, b"x");
    offence.extend((1..1_000).flat_map(|seq| fragment(1, seq, None, false, b"")));
    ends_its_connection_with(Wire::Multiplexed, &offence, word);
    ends_its_connection_with(Wire::LenFlag, &[0; 1_000], word);
}

#[test]
fn tiny_fragments_without_end_cross_their_number() {
    // rule: REASM-2, REASM-3
    // 16 MiB / 256 + 16.
    let word = "max_fragments_per_message is 65552, got 65553";
    let offence = flagged(false, b"x").repeat(70_000);
    ends_its_connection_with(Wire::LenFlag, &offence, word);
}

#[test]
fn an_announcement_of_two_gibibytes_is_refused_at_its_header() {
    // rule: REASM-2, LIM-2
    let mut offence = fragment(1, 0, Some(2 << 30), false, b"x");
    offence.pop();
    let word = "max_message_size is 16777216, got 2147483648";
    ends_its_connection_with(Wire::Multiplexed, &offence, word);
}

#[test]
fn a_message_that_grows_without_end_crosses_its_size() {
    // rule: REASM-2, REASM-3
    let offence = flagged(false, &[7; 0x7fff]).repeat(600);
    // The 513th fragment.
    let word = "max_message_size is 16777216, got 16809471";
    ends_its_connection_with(Wire::LenFlag, &offence, word);
}

#[test]
fn a_total_that_was_not_meant_is_malformed() {
    // rule: REASM-7
    let mut offence = fragment(1, 0, Some(10), false, b"12345");
    offence.extend(fragment(1, 1, None, true, b"6789"));
    let word = "malformed input: message of 9 bytes, declared with 10";
    ends_its_connection_with(Wire::Multiplexed, &offence, word);
}

#[test]
fn a_gap_where_answers_go_in_order_is_malformed() {
    // rule: REASM-4
    let mut offence = fragment(1, 0, Some(10), false, b"12345");
    offence.extend(fragment(1, 2, None, true, b"6789"));
    let word = "malformed input: sequence gap: expected fragment 1, got 2";
    ends_its_connection_with(Wire::Multiplexed, &offence, word);
}

#[test]
fn a_gap_drops_its_message_alone_and_what_still_comes_of_it_is_absorbed() {
    // rule: REASM-1, REASM-4, REASM-5
    on_each_runtime(|| async {
        let server = start(app::<true>(Wire::Multiplexed)).await;
        let mut peer = Raw::connect(server.address).await;
        let body = Record::new(ECHO, "from pieces").to_body();
        let total = Some(body.len() as u64);
        let piece = |id, n| {
            let piece = body.chunks(10).nth(n as usize).expect("three pieces");
            fragment(id, n, total.filter(|_| n == 0), n == 2, piece)
        };
        let units = [
            piece(1, 0),
            piece(2, 0),
            // A gap, and what is left of that message.
            piece(1, 2),
            piece(1, 1),
            piece(1, 2),
            piece(2, 1),
            // It has come before.
            piece(2, 0),
            piece(2, 2),
        ];
        peer.send(&units.concat()).await;
        let notice = Wire::Multiplexed.answer(&mut peer, 0).await;
        let told = "message 1 was dropped after 10 bytes: sequence gap: expected fragment 1, got 2";
        assert_eq!(notice, Record::new(NOTICE, told));
        let answer = Wire::Multiplexed.answer(&mut peer, 0).await;
        assert_eq!(answer, Record::new(ECHO | ANSWER, "from pieces"));
        // No other answer comes before that to the next request.
        is_served(Wire::Multiplexed, &mut peer).await;
        // Sent once more from its beginning it is a message like any other.
        let again = [piece(1, 0), piece(1, 1), piece(1, 2)];
        peer.send(&again.concat()).await;
        let answer = Wire::Multiplexed.answer(&mut peer, 0).await;
        assert_eq!(answer, Record::new(ECHO | ANSWER, "from pieces"));
        peer.end_output().await;
        peer.expect_end().await;
        server.end().await;
    });
}

#[test]
fn what_is_said_to_a_gap_goes_before_the_last_word_to_a_flaw_in_the_same_read() {
    // rule: FRAME-5, REASM-4
    on_each_runtime(|| async {
        let server = start(app::<true>(Wire::Multiplexed)).await;
        let mut peer = Raw::connect(server.address).await;
        // A gap, and flags that there are none of.
        let mut units = fragment(1, 2, None, true, b"late");
        units.extend([0, 0, 0, 1, 0xFF, 0]);
        peer.send(&units).await;
        let notice = Wire::Multiplexed.answer(&mut peer, 0).await;
        assert_eq!(notice.route, NOTICE);
        let goodbye = Wire::Multiplexed.answer(&mut peer, 0).await;
        assert_eq!(goodbye.route, GOODBYE);
        peer.expect_end().await;
        drop(peer);
        server.end().await;
    });
}

#[test]
fn an_end_between_two_fragments_says_what_is_missing() {
    // rule: SHUT-6
    on_each_runtime(|| async {
        for (wire, bytes, word) in [
            (
                Wire::Multiplexed,
                [whole_request(), fragment(1, 0, Some(10), false, b"123")].concat(),
                "peer closed inside a message, after 3 bytes, 7 are missing",
            ),
            (
                Wire::LenFlag,
                flagged(false, b"1234"),
                "peer closed inside a message, after 4 bytes",
            ),
        ] {
            let server = start(app::<false>(wire)).await;
            let mut peer = Raw::connect(server.address).await;
            peer.send(&bytes).await;
            peer.end_output().await;
            if wire == Wire::Multiplexed {
                let answer = wire.answer(&mut peer, 0).await;
                assert_eq!(answer, Record::new(ECHO | ANSWER, "first"));
            }
            let last = wire.answer(&mut peer, 0).await;
            assert_eq!((last.route, last.text()), (GOODBYE, word.to_owned()));
            peer.expect_end().await;
            server.end().await;
        }
    });
}

fn whole_request() -> Vec<u8> {
    whole(&Record::new(ECHO, "first").to_body())
}
