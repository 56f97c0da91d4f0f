//! Handshakes that come to nothing.

use std::time::Duration;

use wireframe::{server::ServerHandle, testing::Link};
use wireframe_tests::{Authority, count_warnings, warnings};

use crate::Serving;

/// So many peers of a server that waits ten seconds for a handshake.
fn peers<const N: usize>() -> (Serving, [Link; N]) {
    let tls = Authority::new().server(false);
    let (serving, peers) = Serving::start(&tls, N, 4000);
    (serving, peers.try_into().expect("as many"))
}

#[test]
fn a_handshake_that_drips_in_ends_at_its_limit() {
    // rule: TLS-2
    let (serving, [mut peer]) = peers();
    // It could be a record with the beginning of a greeting.
    let record = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 32]].concat();
    for (second, byte) in record.iter().enumerate() {
        assert_eq!(peer.is_at_end(), second >= 10, "after {second} s");
        peer.send(&[*byte]);
        serving.simulation.advance(Duration::from_secs(1));
    }
    assert_eq!(serving.handle.failed_handshakes(), 1);
    assert!(serving.protocol.notes.all().is_empty());
    serving.end();
}

#[test]
fn what_is_no_tls_fails_at_once() {
    // rule: TLS-2
    let (serving, mut peers) = peers::<5>();
    let said = [
        &b"GET / HTTP/1.1\r\nHost: db.example\r\n\r\n"[..],
        b"\0\0\0\x021x",
        &[0xFF; 300],
        &[0; 64],
        // A record that is longer than one may be.
        &[22, 3, 1, 0xFF, 0xFF, 1],
    ];
    for (n, (peer, said)) in peers.iter_mut().zip(said).enumerate() {
        peer.send(said);
        serving.simulation.run();
        assert_eq!(serving.handle.failed_handshakes(), n as u64 + 1, "{said:?}");
        peer.receive();
        assert!(peer.is_at_end(), "{said:?}");
    }
    assert!(serving.protocol.notes.all().is_empty());
    serving.end();
}

#[test]
fn of_many_that_fail_one_in_an_interval_is_warned_of() {
    // rule: TLS-2, OBS-3
    let (serving, mut peers) = peers::<20>();
    count_warnings();
    for (peer, failed) in peers.iter_mut().zip(1..) {
        peer.finish();
        serving.simulation.run();
        assert_eq!(
            (serving.handle.failed_handshakes(), warnings()),
            (failed, 1)
        );
    }
    serving.end();
}

#[test]
fn an_abort_and_a_shutdown_free_handshakes_under_way() {
    // rule: TLS-2
    for end in [ServerHandle::abort, ServerHandle::shutdown] {
        let (serving, mut peers) = peers::<3>();
        let [nothing, some, much] = &mut peers;
        some.send(&[22, 3]);
        much.send(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 7, 7, 7]);
        serving.simulation.run();
        end(&serving.handle);
        serving.simulation.run();
        assert!(serving.served.is_done());
        for peer in [nothing, some, much] {
            assert!(peer.is_at_end());
        }
        assert_eq!(serving.handle.failed_handshakes(), 0);
        serving.end();
    }
}
