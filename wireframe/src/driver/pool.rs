//! Buffers of connections that have nothing to read or write, kept by their thread.

use std::cell::RefCell;

use bytes::BytesMut;

/// Buffers of each kind that a thread keeps.
const KEPT: usize = 4;

/// A larger buffer is not kept.
const LARGEST: usize = 1024 * 1024;

#[derive(Default)]
struct Pool {
    read: Vec<BytesMut>,
    write: Vec<Vec<u8>>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// Runs `f` on the thread's pool; nothing of it calls foreign code, so it is never
/// borrowed twice. A thread that is ending has no pool.
fn with<R>(f: impl FnOnce(&mut Pool) -> Option<R>) -> Option<R> {
    POOL.try_with(|pool| pool.try_borrow_mut().ok().and_then(|mut pool| f(&mut pool)))
        .ok()
        .flatten()
}

pub(super) fn take_read() -> Option<BytesMut> {
    with(|pool| pool.read.pop())
}

pub(super) fn put_read(buffer: BytesMut) {
    with(|pool| {
        (pool.read.len() < KEPT && buffer.capacity() <= LARGEST).then(|| pool.read.push(buffer))
    });
}

pub(super) fn take_write() -> Option<Vec<u8>> {
    with(|pool| pool.write.pop())
}

pub(super) fn put_write(buffer: Vec<u8>) {
    with(|pool| {
        (pool.write.len() < KEPT && buffer.capacity() <= LARGEST).then(|| pool.write.push(buffer))
    });
}
