//! Handshakes that come to nothing.

use std::{io, time::Duration};

use wireframe::{
    CloseReason, ConnectionHandle, Driver, Environment, WireframeApp,
    server::ServerHandle,
    testing::{Link, Simulation, link},
    tls::TlsAcceptor,
};
use wireframe_tests::{Authority, Lines, count_warnings, warnings, wire};

use crate::{Peer, Serving};

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

async fn who(connection: ConnectionHandle) -> String {
    let certificates = connection.tls().map(|tls| tls.peer_certificates.len());
    format!("{certificates:?}")
}

/// Serves one connection over TLS.
async fn serve_one(
    stream: Link,
    tls: TlsAcceptor,
    environment: Environment,
) -> io::Result<CloseReason> {
    let app = WireframeApp::with_protocol(Lines::new()).route(1, who);
    let app = app.build().expect("fit");
    // ANCHOR: prepared
    let mut transport = tls.accept(stream)?;
    wireframe::prepare(&mut transport, &environment.clock).await?;
    let driver = Driver::server(&app, transport, None, &environment);
    // ANCHOR_END: prepared
    Ok(driver.await)
}

#[test]
fn a_driver_over_a_transport_that_was_prepared_knows_its_peer() {
    // rule: TLS-3
    let (authority, simulation) = (Authority::new(), Simulation::new());
    let (near, far) = link(10_000);
    let tls = authority.server(true);
    let served = simulation.spawn(serve_one(near, tls, simulation.environment()));
    let identity = authority.sign("ann");
    let mut peer = Peer::greeted_by(&simulation, &authority.connector(Some(&identity)), far);
    peer.send(&wire("1"));
    assert_eq!(peer.take(4 + 9), wire("1=Some(1)"));
    drop(peer);
    simulation.run();
    let end = served.take().expect("the peer is gone");
    assert_eq!(end.expect("a handshake"), CloseReason::PeerClosed);
}

#[test]
fn who_prepares_a_transport_waits_no_longer_than_its_limit() {
    // rule: TLS-2
    let simulation = Simulation::new();
    let (near, _far) = link(10_000);
    let tls = Authority::new()
        .server(false)
        .timeout(Duration::from_secs(3));
    let served = simulation.spawn(serve_one(near, tls, simulation.environment()));
    simulation.advance(Duration::from_millis(2_999));
    assert!(!served.is_done());
    simulation.advance(Duration::from_millis(1));
    let error = served
        .take()
        .expect("it has ended")
        .expect_err("no handshake");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
