//! The time that a call has.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use wireframe_proto::Instant;

use super::CallError;
use crate::{clock::Clock, rt::Sleep};

/// The time that a call has, if it is limited.
#[derive(Default)]
pub(super) struct Limit(Option<Set>);

struct Set {
    at: Instant,
    limit: Duration,
    /// Made when the call first has to wait.
    sleep: Option<Pin<Box<dyn Sleep>>>,
}

impl Limit {
    /// So long from now.
    pub(super) fn within(clock: &Clock, limit: Duration) -> Self {
        Self(Some(Set {
            at: clock.now() + limit,
            limit,
            sleep: None,
        }))
    }

    /// Until then.
    pub(super) fn until(clock: &Clock, at: Instant) -> Self {
        Self(Some(Set {
            at,
            limit: at.saturating_duration_since(clock.now()),
            sleep: None,
        }))
    }

    /// The error of a call whose time is over, if it is.
    pub(super) fn check(&self, clock: &Clock) -> Result<(), CallError> {
        match &self.0 {
            Some(set) if set.at <= clock.now() => Err(set.error()),
            _ => Ok(()),
        }
    }

    /// The same, once it is over.
    pub(super) fn poll(&mut self, clock: &Clock, cx: &mut Context<'_>) -> Poll<CallError> {
        let Some(set) = &mut self.0 else {
            return Poll::Pending;
        };
        let at = set.at;
        let sleep = set.sleep.get_or_insert_with(|| clock.alarm(at));
        sleep.as_mut().poll(cx).map(|()| set.error())
    }
}

impl Set {
    fn error(&self) -> CallError {
        CallError::TimedOut { limit: self.limit }
    }
}
