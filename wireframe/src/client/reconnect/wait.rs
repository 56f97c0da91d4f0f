//! Those who wait for a client, and the attempt that they share.

use std::{
    pin::Pin,
    task::{Context, Poll, Wake},
};

use wireframe_proto::{CloseReason, Escaped, Instant};

use super::{Attempt, CallError, Client, Failure, Live, Shared, Stage};
use crate::{
    contain,
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
            waiters.for_each(contain::wake);
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
enum Look<'a, P: Protocol> {
    Done(Result<Client<P>, CallError>),
    /// Somebody else polls the attempt.
    Wait,
    Poll(Taken<'a, P>),
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
    fn look(&mut self, cx: &Context<'_>) -> Look<'a, P> {
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
            Look::Poll(Taken {
                shared: self.shared,
                attempt: Some(attempt),
                at: now,
            })
        };
        drop(state);
        drop((stale, dead));
        look
    }

    /// The attempt has come to an end; says what that means for this one.
    fn attempted(
        &mut self,
        mut taken: Taken<'_, P>,
        connected: Result<Client<P>, Failure>,
    ) -> Option<Client<P>> {
        let now = self.shared.clock.now();
        // Dropped last, unlocked.
        let _done = taken.attempt.take();
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
                let (failures, suppressed) = (state.failures, state.warned.pass(at));
                drop(state);
                if let Some(suppressed) = suppressed {
                    let error = Escaped(&error);
                    tracing::warn!(%error, failures, suppressed, "cannot connect");
                }
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
        waiters.for_each(contain::wake);
        Some(client)
    }

    /// Gives the attempt back, unless it is not wanted any more.
    fn put_back(&self, mut taken: Taken<'_, P>) {
        let Some(attempt) = taken.attempt.take() else {
            return;
        };
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
        waiters.into_iter().flatten().for_each(contain::wake);
    }
}

impl<P: Protocol> Future for Wait<'_, P> {
    type Output = Result<Client<P>, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            let mut taken = match this.look(cx) {
                Look::Done(result) => return Poll::Ready(result),
                Look::Wait => return Poll::Pending,
                Look::Poll(taken) => taken,
            };
            match taken.poll() {
                Poll::Ready(connected) => {
                    if let Some(client) = this.attempted(taken, connected) {
                        return Poll::Ready(Ok(client));
                    }
                }
                Poll::Pending => {
                    this.put_back(taken);
                    return Poll::Pending;
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

/// The attempt while it is out to be polled.
///
/// Dropped with it, because it has panicked, it lets the others begin another one.
struct Taken<'a, P: Protocol> {
    shared: &'a Arc<Shared<P>>,
    attempt: Option<Attempt<P>>,
    at: Instant,
}

impl<P: Protocol> Taken<'_, P> {
    fn poll(&mut self) -> Poll<Result<Client<P>, Failure>> {
        let Some(Attempt { connecting, waker }) = &mut self.attempt else {
            return Poll::Pending;
        };
        connecting.as_mut().poll(&mut Context::from_waker(waker))
    }
}

impl<P: Protocol> Drop for Taken<'_, P> {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        let mut state = lock(&self.shared.state);
        state.attempt = Stage::None;
        state.fail(self.at);
        let waiters = state.take_waiters();
        drop(state);
        waiters.for_each(contain::wake);
        drop(attempt);
    }
}
