//! Those who wait for a client, and the attempt that they share.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Wake},
};

use wireframe_proto::CloseReason;

use super::{Attempt, CallError, Client, Failure, Live, Shared, Stage};
use crate::{
    client::slot::wake_contained,
    frame::Protocol,
    sync::{Arc, Weak, lock},
};

/// Wakes all who wait: whoever of them is polled goes on with the attempt.
pub(super) struct AttemptWaker<P: Protocol> {
    shared: Weak<Shared<P>>,
}

impl<P: Protocol> AttemptWaker<P> {
    pub(super) fn new(shared: &Arc<Shared<P>>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
        }
    }
}

impl<P: Protocol> Wake for AttemptWaker<P> {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            let mut state = lock(&shared.state);
            if let Stage::Polled { woken } = &mut state.attempt {
                // They could do nothing now; they are woken when it is put back.
                *woken = true;
                return;
            }
            let waiters = state.take_waiters();
            drop(state);
            waiters.for_each(wake_contained);
        }
    }
}

/// Waits for a client.
pub(super) struct Wait<'a, P: Protocol> {
    shared: &'a Arc<Shared<P>>,
    /// Its name among the waiters, once it has one.
    ticket: Option<u64>,
}

/// What one look at the state came to.
enum Look<P: Protocol> {
    Done(Result<Client<P>, CallError>),
    /// Somebody else polls the attempt.
    Wait,
    Poll(Attempt<P>),
}

impl<'a, P: Protocol> Wait<'a, P> {
    pub(super) fn new(shared: &'a Arc<Shared<P>>) -> Self {
        Self {
            shared,
            ticket: None,
        }
    }

    /// Looks for a live client; else joins those who wait, and takes the attempt unless
    /// another one has.
    fn look(&mut self, cx: &Context<'_>) -> Look<P> {
        // Wakers, clients and attempts are cloned and dropped unlocked.
        let fresh = cx.waker().clone();
        let now = self.shared.clock.now();
        let mut state = lock(&self.shared.state);
        if state.closed {
            return Look::Done(Err(CallError::Closed(CloseReason::Drained)));
        }
        let dead = state
            .live
            .take_if(|live| live.client.push_handle().is_closed());
        if let Some(live) = &state.live {
            return Look::Done(Ok(live.client.clone()));
        }
        state.note_end(dead.as_ref(), now);
        let ticket = *self.ticket.get_or_insert_with(|| {
            state.arrivals += 1;
            state.arrivals
        });
        let stale = state.waiters.insert(ticket, fresh);
        let look = if matches!(state.attempt, Stage::Polled { .. }) {
            Look::Wait
        } else {
            let attempt = state.attempt.take();
            let attempt = attempt.unwrap_or_else(|| self.shared.begin(&mut state, now));
            state.attempt = Stage::Polled { woken: false };
            Look::Poll(attempt)
        };
        drop(state);
        drop((stale, dead));
        look
    }

    /// The attempt has come to an end; says what that means for this one.
    fn attempted(&mut self, connected: Result<Client<P>, Failure>) -> Option<Client<P>> {
        let now = self.shared.clock.now();
        let mut state = lock(&self.shared.state);
        state.attempt = Stage::None;
        let client = match connected {
            Ok(client) if !state.closed => client,
            Ok(client) => {
                drop(state);
                drop(client);
                return None;
            }
            Err(Failure { error, at }) => {
                state.fail(at);
                let failures = state.failures;
                drop(state);
                tracing::warn!(%error, failures, "cannot connect");
                return None;
            }
        };
        let live = Live {
            client: client.clone(),
            since: now,
        };
        let before = state.live.replace(live);
        let waiters = state.take_waiters();
        drop(state);
        drop(before);
        waiters.for_each(wake_contained);
        Some(client)
    }

    /// Gives the attempt back, unless it is not wanted any more.
    fn put_back(&self, attempt: Attempt<P>) {
        let mut state = lock(&self.shared.state);
        let (stage, unwanted) = if state.closed {
            (Stage::None, Some(attempt))
        } else {
            (Stage::UnderWay(attempt), None)
        };
        let polled = std::mem::replace(&mut state.attempt, stage);
        let waiters = matches!(polled, Stage::Polled { woken: true }).then(|| state.take_waiters());
        drop(state);
        drop(unwanted);
        waiters.into_iter().flatten().for_each(wake_contained);
    }

    /// The attempt has panicked, and with it this one; the others begin another.
    fn panicked(&self) {
        let now = self.shared.clock.now();
        let mut state = lock(&self.shared.state);
        state.attempt = Stage::None;
        state.fail(now);
        let waiters = state.take_waiters();
        drop(state);
        waiters.for_each(wake_contained);
    }
}

impl<P: Protocol> Future for Wait<'_, P> {
    type Output = Result<Client<P>, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            let mut attempt = match this.look(cx) {
                Look::Done(result) => return Poll::Ready(result),
                Look::Wait => return Poll::Pending,
                Look::Poll(attempt) => attempt,
            };
            let Attempt { connecting, waker } = &mut attempt;
            let mut attempt_cx = Context::from_waker(waker);
            let poll = || connecting.as_mut().poll(&mut attempt_cx);
            match std::panic::catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Ready(connected)) => {
                    if let Some(client) = this.attempted(connected) {
                        return Poll::Ready(Ok(client));
                    }
                }
                Ok(Poll::Pending) => {
                    this.put_back(attempt);
                    return Poll::Pending;
                }
                Err(panic) => {
                    this.panicked();
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

impl<P: Protocol> Drop for Wait<'_, P> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let own = lock(&self.shared.state).waiters.remove(&ticket);
        drop(own);
    }
}
