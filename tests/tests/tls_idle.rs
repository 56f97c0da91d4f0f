//! What TLS adds to an idle connection, to the byte.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use wireframe::{
    Driver, Transport, WireframeApp,
    testing::{Link, Simulation, Spawned, link},
};
use wireframe_tests::Authority;

/// Heap that goes when an idle server's end of a connection does, which has answered one
/// request of the peer.
fn idle<S: Transport + 'static, C: Transport>(
    serve: impl FnOnce(Link) -> S,
    connect: impl FnOnce(Link) -> C,
) -> i64 {
    let simulation = Simulation::new();
    let (near, far) = link(64 * 1024);
    let app = WireframeApp::new().route(1, async |body: Bytes| body);
    let app = app.build().expect("fit to serve");
    let driver = Driver::server(&app, serve(near), None, &simulation.environment());
    let driver = simulation.spawn(driver);
    let mut peer = connect(far);
    let request = b"\0\0\0\x04\x01\0\x01x";
    goes_on(&simulation, |cx| peer.poll_prepare(cx));
    goes_on(&simulation, |cx| {
        peer.poll_write(cx, &[IoSlice::new(request)])
    });
    let mut reply = BytesMut::with_capacity(1000);
    goes_on(&simulation, |cx| peer.poll_read(cx, &mut reply));
    assert_eq!(reply, request[..]);
    simulation.run();
    freed(&driver)
}

fn goes_on<T>(
    simulation: &Simulation,
    mut work: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> T {
    for _ in 0..100 {
        if let Poll::Ready(done) = work(&mut Context::from_waker(Waker::noop())) {
            return done.expect("the server is there");
        }
        simulation.run();
    }
    panic!("it does not go on");
}

fn freed<T>(driver: &Spawned<T>) -> i64 {
    let change = allocation_counter::measure(|| driver.cancel());
    -change.bytes_current
}

#[test]
fn an_idle_connection_over_tls_holds_no_buffer_but_that_of_rustls() {
    // rule: LIM-5
    let authority = Authority::new();
    let (server, client) = (authority.server(false), authority.connector(None));
    let plain = idle(|link| link, |link| link);
    let tls = idle(
        |link| server.accept(link).expect("fit for use"),
        |link| client.connect(link).expect("fit for use"),
    );
    let more = tls - plain;
    println!("an idle connection over TLS holds {more} bytes more");
    // State, keys of both directions, and the 4 KiB that rustls reads into.
    assert!(more <= 8 * 1024, "{more} bytes");
}
