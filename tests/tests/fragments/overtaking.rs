//! What a push has to wait for while a large answer is under way.

use bytes::Bytes;
use tokio::sync::watch;
use wireframe::{Envelope, Priority, PushHandle, WireframeApp};
use wireframe_tests::{Gauge, Lone, Raw, ended, envelope, narrow, on_each_runtime, open_envelope};

use super::{
    bytes, over,
    wire::{Wire, flagged, whole},
};

const DOWNLOAD: u32 = 1;
const NOTICE: u32 = 9;

const MIB: usize = 1 << 20;

/// Encoded bytes from which on nothing more is encoded, by default.
const HIGH_WATER: usize = 64 * 1024;

/// Most bytes of a header.
const HEAD: usize = 21;

/// The bytes of a peer as they come, until the answer is whole.
#[derive(Default)]
struct Seen {
    /// Bytes before the next unit.
    position: usize,
    answer: Vec<u8>,
    whole: bool,
    /// What else came, and behind how many bytes.
    notices: Vec<(Bytes, usize)>,
}

impl Seen {
    /// Reads until so many bytes have come, or the answer is whole.
    async fn read(&mut self, wire: Wire, peer: &mut Raw, bytes: usize) {
        while !self.whole && self.position < bytes {
            let unit = wire.next(peer).await.expect("the connection is up");
            let begins = self.position;
            self.position += unit.len();
            if wire == Wire::Multiplexed && unit.id.is_none() {
                let notice = open_envelope(&unit.payload);
                self.notices.push((notice.payload, begins));
            } else {
                self.answer.extend(&unit.payload);
                self.whole = unit.is_final;
            }
        }
    }

    fn is_the_whole_answer(&self, expected: &[u8]) -> bool {
        let answer = open_envelope(&self.answer);
        answer.correlation_id == Some(5) && answer.payload == expected
    }
}

/// Pushes a notice; returns the most bytes that may come before it.
fn push(push: &PushHandle, gauge: &watch::Receiver<Gauge>, text: &'static str) -> usize {
    let pushed = push.try_push(Priority::High, Envelope::new(NOTICE, text));
    pushed.expect("there is room");
    // What the kernel had taken by now, what was encoded, and the fragment that crossed the
    // high-water mark.
    gauge.borrow().written + HIGH_WATER + HEAD + Wire::Multiplexed.most()
}

async fn begin(wire: Wire, answer: &Bytes) -> Lone<wireframe::EnvelopeProtocol> {
    let answer = answer.clone();
    let app = WireframeApp::new().route(DOWNLOAD, move || answer.clone());
    let mut lone = narrow(over(app, wire)).await;
    let request = envelope(&Envelope::new(DOWNLOAD, "").with_correlation_id(5));
    let request = match wire {
        Wire::Multiplexed => whole(&request),
        _ => flagged(true, &request),
    };
    lone.peer.send(&request).await;
    lone
}

#[test]
fn a_high_push_waits_for_the_transmit_buffer_and_one_fragment_of_a_large_answer() {
    // rule: SEL-7, SEL-8
    let expected = Bytes::from(bytes(64 * MIB));
    on_each_runtime(|| async {
        let wire = Wire::Multiplexed;
        let mut lone = begin(wire, &expected).await;
        let handle = lone.driver.push_handle();
        let driver = tokio::spawn(lone.driver);
        let mut seen = Seen::default();
        let mut bounds = Vec::new();
        // The peer does not read at first, and then it does.
        Gauge::blocked(&mut lone.gauge).await;
        for (at, text) in [(0, "first"), (16 * MIB, "second"), (32 * MIB, "third")] {
            seen.read(wire, &mut lone.peer, at).await;
            bounds.push((text, push(&handle, &lone.gauge, text)));
        }
        seen.read(wire, &mut lone.peer, usize::MAX).await;
        assert!(seen.is_the_whole_answer(&expected));
        assert_eq!(seen.notices.len(), bounds.len());
        for ((notice, position), (text, bound)) in seen.notices.into_iter().zip(bounds) {
            assert_eq!(notice, text);
            assert!(position <= bound, "{text}: at {position}, expected {bound}");
        }
        drop(lone.peer);
        ended(driver).await;
        assert_eq!(handle.stats().sent, 3);
    });
}

#[test]
fn without_ids_a_high_push_waits_for_the_whole_answer() {
    // rule: SEL-7
    let expected = Bytes::from(bytes(16 * MIB));
    on_each_runtime(|| async {
        let wire = Wire::LenFlag;
        let mut lone = begin(wire, &expected).await;
        let handle = lone.driver.push_handle();
        let driver = tokio::spawn(lone.driver);
        Gauge::blocked(&mut lone.gauge).await;
        let elsewhere = push(&handle, &lone.gauge, "at last");
        assert!(elsewhere < 8 * MIB, "the answer is under way");
        let mut seen = Seen::default();
        seen.read(wire, &mut lone.peer, usize::MAX).await;
        assert!(seen.is_the_whole_answer(&expected));
        let behind = wire.next(&mut lone.peer).await.expect("the notice");
        assert_eq!(
            open_envelope(&behind.payload),
            Envelope::new(NOTICE, "at last")
        );
        drop(lone.peer);
        ended(driver).await;
    });
}
