//! Those who wait for a client, and the attempt that they share.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Wake, Waker},
};

use wireframe_proto::CloseReason;

use super::{Attempt, CallError, Client, Live, Shared};
use crate::{
    frame::Protocol,
    sync::{Arc, Weak, lock},
};

/// Wakes the one who polls the attempt, whoever that is by then.
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
            let waker = lock(&shared.state).wake_first();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Waits for a client.
pub(super) struct Wait<'a, P: Protocol> {
    shared: &'a Arc<Shared<P>>,
    /// Its place among the waiters, once it has one.
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

    /// Looks for a live client; else gets in line, and takes the attempt if it is first.
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
        let stale = state.waiters.insert(ticket, Some(fresh));
        let look = if state.is_first(ticket) {
            let attempt = state.attempt.take();
            Look::Poll(attempt.unwrap_or_else(|| self.shared.begin(&mut state)))
        } else {
            Look::Wait
        };
        drop(state);
        drop((stale, dead));
        look
    }

    /// The attempt has come to an end; says what that means for this one.
    fn attempted(&mut self, connected: io::Result<Client<P>>) -> Option<Client<P>> {
        let now = self.shared.clock.now();
        let mut state = lock(&self.shared.state);
        let client = match connected {
            Ok(client) if !state.closed => client,
            Ok(client) => {
                drop(state);
                drop(client);
                return None;
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
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
        let waiters = state.wake_all();
        drop(state);
        drop(before);
        waiters.into_iter().for_each(Waker::wake);
        Some(client)
    }

    /// Gives the attempt back, unless it is not wanted any more.
    fn put_back(&self, attempt: Attempt<P>) {
        let mut state = lock(&self.shared.state);
        let unwanted = if state.closed {
            Some(attempt)
        } else {
            state.attempt.replace(attempt)
        };
        drop(state);
        drop(unwanted);
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
            let mut attempt_cx = Context::from_waker(&attempt.waker);
            match attempt.connecting.as_mut().poll(&mut attempt_cx) {
                Poll::Ready(connected) => {
                    drop(attempt);
                    if let Some(client) = this.attempted(connected) {
                        return Poll::Ready(Ok(client));
                    }
                }
                Poll::Pending => {
                    this.put_back(attempt);
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
        let mut state = lock(&self.shared.state);
        let was_first = state.is_first(ticket);
        let own = state.waiters.remove(&ticket);
        // The attempt is the next one's to poll; perhaps it has woken this one already.
        let next = if was_first { state.wake_first() } else { None };
        drop(state);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }
}
