//! Messages that come in fragments.

use wireframe::{
    Driver, FragmentLimits, Multiplexed, WireframeApp,
    testing::{Simulation, link},
};

use super::measured;
use crate::rig::{nonzero, secs};

/// A fragment of message 1 as `Multiplexed` has it; the first says how long the message is.
fn fragment(seq: u8, total: u8, payload: &[u8]) -> Vec<u8> {
    let (is_first, is_last) = (seq == 0, seq > 0);
    let flags = 1 | u8::from(is_last) << 1 | u8::from(is_first) << 2;
    let mut bytes = vec![0, 0, 0, u8::try_from(payload.len()).unwrap(), flags];
    bytes.extend([0, 0, 0, 1, 0, 0, 0, seq]);
    if is_first {
        bytes.extend([0, 0, 0, 0, 0, 0, 0, total]);
    }
    bytes.extend(payload);
    bytes
}

#[test]
fn messages_are_counted_that_became_whole_and_those_that_did_not() {
    // rule: OBS-2
    let mut limits = FragmentLimits::default();
    limits.max_message_size = Some(nonzero(100));
    let app = || {
        WireframeApp::new()
            .on_push(|| ())
            .fallback(|| ())
            .fragmentation(Multiplexed::new(), limits)
    };
    let cases: [(&[Vec<u8>], &[&str]); 5] = [
        (
            // An envelope: id 1, no correlation, three bytes.
            &[fragment(0, 6, &[1, 0]), fragment(1, 6, b"\x03abc")],
            &[
                "frames_processed_total{direction=inbound} +1",
                "messages_assembled_total +1",
                "request_latency_seconds [0.0]",
            ],
        ),
        (
            &[fragment(0, 6, &[1]), fragment(2, 6, &[1])],
            &["reassembly_errors_total{reason=sequence_gap} +1"],
        ),
        (
            &[fragment(0, 6, &[1])],
            &["reassembly_errors_total{reason=timed_out} +1"],
        ),
        (
            &[fragment(0, 120, &[1])],
            &[
                "connections_active -1",
                "errors_total{kind=limit} +1",
                "reassembly_errors_total{reason=limit} +1",
            ],
        ),
        (
            &[fragment(0, 6, &[1]), fragment(1, 6, &[1])],
            &[
                "connections_active -1",
                "errors_total{kind=malformed} +1",
                "reassembly_errors_total{reason=malformed} +1",
            ],
        ),
    ];
    for (fragments, expected) in cases {
        let (app, recorder) = measured(app());
        let simulation = Simulation::new();
        let (near, mut peer) = link(1000);
        let driver = Driver::server(&app, near, None, &simulation.environment());
        let driver = simulation.spawn(driver);
        simulation.run();
        recorder.moved();
        peer.send(&fragments.concat());
        simulation.run();
        simulation.advance(secs(40));
        if expected[0].starts_with("connections") {
            peer.finish();
            simulation.run();
            assert!(driver.is_done());
        }
        assert_eq!(recorder.moved(), expected);
    }
}
