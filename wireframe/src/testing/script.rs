//! How an end of a link misbehaves, and what it has seen.

use std::{fmt, io, task::Waker};

use crate::sync::{Arc, Mutex, MutexGuard, lock};

/// What goes wrong with one direction of a [`Link`](super::Link).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing goes through, until [`Script::release`].
    Stall,
    /// Every attempt fails.
    Error(io::ErrorKind),
    /// Every attempt moves no byte: a read finds the end, a write is of length zero.
    Zero,
}

/// Makes one end of a link misbehave, and tells what it was asked to do. A clone is the
/// same script.
#[derive(Clone, Default)]
pub struct Script {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    read: Way,
    write: Way,
    not_vectored: bool,
    stalls_flush: bool,
    stalls_close: bool,
    writes: Vec<usize>,
    flushes: usize,
    stalled: Vec<Waker>,
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Most bytes of each call, in turn.
    sizes: Vec<usize>,
    calls: usize,
    /// What goes wrong, after so many more bytes.
    fault: Option<(usize, Fault)>,
}

impl Script {
    /// Lets writes take at most so many bytes each, in turn, from the beginning again
    /// after the last. None means no limit.
    pub fn write_sizes(&self, sizes: impl IntoIterator<Item = usize>) {
        lock(&self.state).write.sizes = sizes.into_iter().collect();
    }

    /// Lets reads give at most so many bytes each, as [`write_sizes`](Self::write_sizes).
    pub fn read_sizes(&self, sizes: impl IntoIterator<Item = usize>) {
        lock(&self.state).read.sizes = sizes.into_iter().collect();
    }

    /// After so many more bytes have been written, this goes wrong.
    pub fn write_fault(&self, after: usize, fault: Fault) {
        lock(&self.state).write.fault = Some((after, fault));
        self.wake();
    }

    /// After so many more bytes have been read, this goes wrong.
    pub fn read_fault(&self, after: usize, fault: Fault) {
        lock(&self.state).read.fault = Some((after, fault));
        self.wake();
    }

    /// Whether one write takes several chunks. It does unless told otherwise.
    pub fn set_vectored(&self, vectored: bool) {
        lock(&self.state).not_vectored = !vectored;
    }

    /// Flushing does not complete, until [`release`](Self::release).
    pub fn stall_flush(&self) {
        lock(&self.state).stalls_flush = true;
    }

    /// Ending the output does not complete, until [`release`](Self::release).
    pub fn stall_close(&self) {
        lock(&self.state).stalls_close = true;
    }

    /// Everything goes well again, and whoever waited for it is woken.
    pub fn release(&self) {
        let mut state = lock(&self.state);
        state.read.fault = None;
        state.write.fault = None;
        state.stalls_flush = false;
        state.stalls_close = false;
        drop(state);
        self.wake();
    }

    /// The sizes of the writes so far, oldest first; a write that stalled or failed is
    /// none.
    #[must_use]
    pub fn writes(&self) -> Vec<usize> {
        lock(&self.state).writes.clone()
    }

    /// How often a flush completed.
    #[must_use]
    pub fn flushes(&self) -> usize {
        lock(&self.state).flushes
    }

    fn wake(&self) {
        let stalled = std::mem::take(&mut lock(&self.state).stalled);
        stalled.into_iter().for_each(Waker::wake);
    }

    fn stall<T>(mut state: MutexGuard<'_, State>, waker: Waker) -> Allowed<T> {
        state.stalled.push(waker);
        Allowed::Stalled
    }

    /// Somebody waits for the link; a change of the script may end that, too.
    pub(super) fn wait(&self, waker: &Waker) {
        let fresh = waker.clone();
        let mut state = lock(&self.state);
        let known = state.stalled.iter().any(|kept| kept.will_wake(&fresh));
        if !known {
            state.stalled.push(fresh);
        }
    }

    /// How many bytes the next read may give.
    pub(super) fn may_read(&self, waker: &Waker) -> Allowed<usize> {
        self.may_move(waker, |state| &mut state.read)
    }

    /// How many bytes the next write may take.
    pub(super) fn may_write(&self, waker: &Waker) -> Allowed<usize> {
        self.may_move(waker, |state| &mut state.write)
    }

    fn may_move(&self, waker: &Waker, way: impl FnOnce(&mut State) -> &mut Way) -> Allowed<usize> {
        let fresh = waker.clone();
        let mut state = lock(&self.state);
        let way = way(&mut state);
        let turn = way.calls.checked_rem(way.sizes.len());
        let most = turn.and_then(|turn| way.sizes.get(turn));
        let most = most.copied().unwrap_or(usize::MAX);
        match way.fault {
            Some((0, Fault::Stall)) => Self::stall(state, fresh),
            Some((0, Fault::Error(kind))) => Allowed::Failed(kind.into()),
            Some((0, Fault::Zero)) => Allowed::Go(0),
            Some((after, _)) => Allowed::Go(most.min(after)),
            None => Allowed::Go(most),
        }
    }

    pub(super) fn has_read(&self, n: usize) {
        lock(&self.state).read.moved(n);
    }

    pub(super) fn has_written(&self, n: usize) {
        let mut state = lock(&self.state);
        state.write.moved(n);
        state.writes.push(n);
    }

    pub(super) fn may_flush(&self, waker: &Waker) -> Allowed<()> {
        let fresh = waker.clone();
        let mut state = lock(&self.state);
        if state.stalls_flush {
            return Self::stall(state, fresh);
        }
        state.flushes += 1;
        Allowed::Go(())
    }

    pub(super) fn may_close(&self, waker: &Waker) -> Allowed<()> {
        let fresh = waker.clone();
        let state = lock(&self.state);
        if state.stalls_close {
            return Self::stall(state, fresh);
        }
        Allowed::Go(())
    }

    pub(super) fn is_vectored(&self) -> bool {
        !lock(&self.state).not_vectored
    }
}

impl Way {
    fn moved(&mut self, n: usize) {
        self.calls += 1;
        if let Some((after, _)) = &mut self.fault {
            *after = after.saturating_sub(n);
        }
    }
}

/// What the script says to an attempt.
pub(super) enum Allowed<T> {
    Go(T),
    Stalled,
    Failed(io::Error),
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Script")
            .field("read_fault", &state.read.fault)
            .field("write_fault", &state.write.fault)
            .field("writes", &state.writes.len())
            .finish_non_exhaustive()
    }
}
