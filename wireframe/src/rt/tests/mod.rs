//! What is common to runtimes, without one.

mod address;
#[cfg(feature = "async-io")]
mod async_io;
mod futures_io;
#[cfg(unix)]
mod socket_file;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

/// What a future comes to that never waits.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
