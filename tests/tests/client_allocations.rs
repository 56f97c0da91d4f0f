//! What it takes to hear what the server pushes.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use wireframe::{
    Client, WireframeApp,
    testing::{Simulation, link},
};

/// The allocations for a hundred pushes, one by one. Who listens waits for each, or takes
/// it when it is there.
fn per_hundred_pushes(waits: bool) -> u64 {
    let (mut server, far) = link(1 << 20);
    let environment = Simulation::new().environment();
    let app = WireframeApp::new().build().unwrap();
    let (client, mut driver) = Client::new(&app, far, None, &environment);
    let mut pushes = client.pushes();
    let mut cx = Context::from_waker(Waker::noop());
    let mut one = || {
        server.send(&[0, 0, 0, 4, 3, 0, 1, 7]);
        let took = measure(|| {
            if waits {
                assert!(pin!(pushes.next()).poll(&mut cx).is_pending());
            }
            assert!(Pin::new(&mut driver).poll(&mut cx).is_pending());
            let came = pin!(pushes.next()).poll(&mut cx);
            assert!(matches!(came, Poll::Ready(Some(Ok(_)))));
        });
        took.count_total
    };
    (0..20).map(|_| one()).for_each(|_| {});
    (0..100).map(|_| one()).sum()
}

#[test]
fn to_wait_for_a_push_takes_no_allocation() {
    // rule: CLI-4
    assert_eq!(per_hundred_pushes(true), per_hundred_pushes(false));
}
