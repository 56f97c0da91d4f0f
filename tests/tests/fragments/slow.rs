//! Messages that take too long, on the time of a clock that the test moves.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use wireframe::{CloseReason, FragmentLimits, WireframeApp, testing::ManualClock};
use wireframe_tests::{
    ANSWER, GOODBYE, Gauge, Lone, NOTICE, Raw, Record, Records, ended, on_one_thread, timed,
};

use super::{
    wire::{Wire, flagged, fragment},
    within,
};

const ECHO: u32 = 1;

/// A connection on the time of a clock.
struct Drip {
    clock: ManualClock,
    peer: Raw,
    gauge: tokio::sync::watch::Receiver<Gauge>,
    driver: JoinHandle<CloseReason>,
    sent: usize,
}

impl Drip {
    async fn over<const CORRELATED: bool>(wire: Wire) -> Self {
        let app = WireframeApp::with_protocol(Records::<CORRELATED>::default());
        let app = app.route(ECHO, async |body: Bytes| body);
        let clock = ManualClock::new();
        let lone = timed(within(app, wire, FragmentLimits::default()), &clock).await;
        let Lone {
            peer,
            driver,
            gauge,
        } = lone;
        Self {
            clock,
            peer,
            gauge,
            driver: tokio::spawn(driver),
            sent: 0,
        }
    }

    /// Sends bytes, which the driver takes before anything else happens.
    async fn send(&mut self, bytes: &[u8]) {
        self.peer.send(bytes).await;
        self.sent += bytes.len();
        Gauge::has_read(&mut self.gauge, self.sent).await;
    }

    /// Sends a fragment in each of 30 seconds, which is what a message has.
    async fn for_thirty_seconds(&mut self, fragment: impl Fn(u32) -> Vec<u8>) {
        for second in 0..30 {
            self.send(&fragment(second)).await;
            assert_eq!(self.gauge.borrow().written, 0, "second {second}");
            assert!(!self.driver.is_finished(), "second {second}");
            self.clock.advance(Duration::from_secs(1));
        }
    }
}

#[test]
fn a_drip_where_answers_go_in_order_ends_its_connection_at_the_deadline() {
    // rule: REASM-5
    on_one_thread(async {
        for wire in [Wire::LenFlag, Wire::Multiplexed] {
            let mut drip = Drip::over::<false>(wire).await;
            let piece = |n| match wire {
                Wire::Multiplexed => fragment(7, n, (n == 0).then_some(99), false, b"x"),
                _ => flagged(false, b"x"),
            };
            drip.for_thirty_seconds(piece).await;
            let last = wire.answer(&mut drip.peer, 0).await;
            let word = "a message was not completed in time";
            assert_eq!((last.route, last.text()), (GOODBYE, word.to_owned()));
            drip.peer.expect_end().await;
            drop(drip.peer);
            assert_eq!(ended(drip.driver).await, CloseReason::MessageTimedOut);
        }
    });
}

#[test]
fn a_drip_where_answers_are_correlated_is_dropped_and_what_still_comes_of_it_is_absorbed() {
    // rule: REASM-5
    on_one_thread(async {
        let wire = Wire::Multiplexed;
        let mut drip = Drip::over::<true>(wire).await;
        let body = Record::new(ECHO, "from single bytes, a slow drip").to_body();
        let total = body.len();
        let piece = |n: u32| {
            let at = n as usize;
            let declared = (n == 0).then_some(total as u64);
            fragment(7, n, declared, at + 1 == total, &body[at..=at])
        };
        drip.for_thirty_seconds(piece).await;
        let notice = wire.answer(&mut drip.peer, 0).await;
        let told = "message 7 was dropped after 30 bytes: not whole in time";
        assert_eq!(notice, Record::new(NOTICE, told));
        let written = drip.gauge.borrow().written;
        // What is late: the rest of it, and most of it once more.
        for n in (30..).take(total - 30).chain(1..30).chain(30..42) {
            drip.send(&piece(n)).await;
        }
        assert_eq!(drip.gauge.borrow().written, written);
        let request = wire.request(&Record::new(ECHO, "hello"));
        drip.send(&request).await;
        let answer = wire.answer(&mut drip.peer, 0).await;
        assert_eq!(answer, Record::new(ECHO | ANSWER, "hello"));
        // No message is left that could be cut off.
        drip.peer.end_output().await;
        assert_eq!(ended(drip.driver).await, CloseReason::PeerClosed);
    });
}
