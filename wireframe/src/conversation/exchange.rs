//! What a handler and its driver share of a conversation.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use super::error::{BodyError, SendError};
use crate::{
    contain,
    sync::{Mutex, lock},
};

/// What passes between a handler, wherever its halves have gone, and the driver.
///
/// The handler says here what it wants and calls the driver, which looks at those who
/// called. A body frame is handed over only when it was asked for, so at most one is here
/// and the engine's bound on bodies holds. Frames of the answer wait here, at most
/// `capacity` of them, until the engine has room.
pub(crate) struct Exchange<F> {
    state: Mutex<State<F>>,
    /// Most frames that wait here to be sent.
    capacity: usize,
    /// Calls the driver to this exchange.
    driver: Waker,
}

struct State<F> {
    inbound: Inbound<F>,
    /// Somebody gave up waiting since the driver last looked.
    gave_up: bool,
    outgoing: VecDeque<F>,
    /// Who waits for room in `outgoing`.
    sender: Option<Waker>,
    /// Whether the command is still to be answered.
    open: bool,
}

/// How the reading half stands.
enum Inbound<F> {
    /// Nobody awaits a frame.
    Idle,
    Awaited(Waker),
    /// It has come, and was not taken yet.
    Came(Result<F, BodyError>),
    /// The last frame was taken, or there is none.
    Ended,
    /// The command has ended first.
    Closed,
    /// Nobody has the reading half any more.
    Dropped,
}

/// What a handler has asked for since the driver last looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// It gave up waiting for a frame, perhaps to wait for it again.
    pub(crate) gave_up: bool,
    pub(crate) wants: Wanted,
    /// It has frames to be sent.
    pub(crate) sends: bool,
}

/// What a handler wants of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing now.
    Nothing,
    /// The next frame.
    Next,
    /// Nothing of it ever.
    Dropped,
}

// The handler's side.
impl<F> Exchange<F> {
    /// One of whose frames so many may wait to be sent. `driver` is woken for whatever is
    /// wanted of it.
    pub(crate) fn new(capacity: usize, driver: Waker) -> Self {
        Self {
            state: Mutex::new(State {
                inbound: Inbound::Idle,
                gave_up: false,
                outgoing: VecDeque::new(),
                sender: None,
                open: true,
            }),
            capacity,
            driver,
        }
    }

    /// Takes the next frame of the body, or asks for it; `None` at its end.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Option<F>, BodyError>> {
        let mut fresh = None;
        loop {
            let mut state = lock(&self.state);
            let next = match &state.inbound {
                Inbound::Came(_) => Inbound::Idle,
                Inbound::Ended => return Poll::Ready(Ok(None)),
                Inbound::Closed | Inbound::Dropped => return Poll::Ready(Err(BodyError::Closed)),
                Inbound::Awaited(waker) if waker.will_wake(cx.waker()) => return Poll::Pending,
                Inbound::Idle | Inbound::Awaited(_) => match fresh.take() {
                    Some(waker) => Inbound::Awaited(waker),
                    None => {
                        // Cloned unlocked: wakers are foreign code.
                        drop(state);
                        fresh = Some(cx.waker().clone());
                        continue;
                    }
                },
            };
            let before = std::mem::replace(&mut state.inbound, next);
            drop(state);
            match before {
                Inbound::Came(frame) => return Poll::Ready(frame.map(Some)),
                Inbound::Idle => self.driver.wake_by_ref(),
                stale => drop(stale),
            }
            return Poll::Pending;
        }
    }

    /// Nobody awaits the frame that was asked for. If it has come it stays.
    pub(super) fn stop_awaiting(&self) {
        let mut state = lock(&self.state);
        let stops = matches!(
            state.inbound,
            Inbound::Awaited(_) | Inbound::Came(Err(BodyError::TimedOut))
        );
        if !stops {
            return;
        }
        let before = std::mem::replace(&mut state.inbound, Inbound::Idle);
        state.gave_up = true;
        drop(state);
        self.driver.wake_by_ref();
        drop(before);
    }

    /// Nobody will read the rest of the body.
    pub(super) fn drop_body(&self) {
        let mut state = lock(&self.state);
        let before = std::mem::replace(&mut state.inbound, Inbound::Dropped);
        let open = state.open;
        drop(state);
        if open {
            self.driver.wake_by_ref();
        }
        drop(before);
    }

    /// Takes the frame to be sent, if there is room.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        frame: &mut Option<F>,
    ) -> Poll<Result<(), SendError<F>>> {
        let mut fresh = None;
        loop {
            let mut state = lock(&self.state);
            if !state.open {
                drop(state);
                // There is one, unless this is polled after it has completed.
                let refused = frame.take().map(SendError::Closed);
                return refused.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            }
            if state.outgoing.len() < self.capacity {
                state.outgoing.extend(frame.take());
                drop(state);
                self.driver.wake_by_ref();
                return Poll::Ready(Ok(()));
            }
            let known = state.sender.as_ref();
            if known.is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            match fresh.take() {
                None => {
                    drop(state);
                    fresh = Some(cx.waker().clone());
                }
                Some(waker) => {
                    let stale = state.sender.replace(waker);
                    drop(state);
                    drop(stale);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Nobody waits for room any more.
    pub(super) fn stop_sending(&self) {
        let stale = lock(&self.state).sender.take();
        drop(stale);
    }
}

// The driver's side.
impl<F> Exchange<F> {
    pub(crate) fn asked(&self) -> Asked {
        let mut state = lock(&self.state);
        Asked {
            gave_up: std::mem::take(&mut state.gave_up),
            sends: !state.outgoing.is_empty(),
            wants: match state.inbound {
                Inbound::Awaited(_) => Wanted::Next,
                Inbound::Dropped => Wanted::Dropped,
                Inbound::Idle | Inbound::Came(_) | Inbound::Ended | Inbound::Closed => {
                    Wanted::Nothing
                }
            },
        }
    }

    /// Hands the frame over that was [wanted](Wanted::Next); `None` is the end of the
    /// body. Gives it back if nobody will read it.
    pub(crate) fn hand_over(&self, item: Result<Option<F>, BodyError>) -> Option<F> {
        let next = match item {
            Ok(Some(frame)) => Inbound::Came(Ok(frame)),
            Ok(None) => Inbound::Ended,
            Err(error) => Inbound::Came(Err(error)),
        };
        let mut state = lock(&self.state);
        let wanted = match (&state.inbound, &next) {
            (Inbound::Awaited(_), _) => true,
            // Given up meanwhile: a frame must not be lost, but nobody is late.
            (Inbound::Idle, next) => !matches!(next, Inbound::Came(Err(BodyError::TimedOut))),
            _ => false,
        };
        if !wanted {
            drop(state);
            return match next {
                Inbound::Came(Ok(frame)) => Some(frame),
                _ => None,
            };
        }
        let before = std::mem::replace(&mut state.inbound, next);
        drop(state);
        if let Inbound::Awaited(waker) = before {
            contain::wake(waker);
        }
        None
    }

    /// The next frame to be sent.
    pub(crate) fn take_frame(&self) -> Option<F> {
        let mut state = lock(&self.state);
        let frame = state.outgoing.pop_front()?;
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            contain::wake(sender);
        }
        Some(frame)
    }

    /// All frames to be sent.
    pub(crate) fn take_frames(&self) -> VecDeque<F> {
        let mut state = lock(&self.state);
        let frames = std::mem::take(&mut state.outgoing);
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            contain::wake(sender);
        }
        frames
    }

    /// The command has ended: nothing is sent or delivered any more, and whoever waits is
    /// told. Returns the frames that nobody gets.
    pub(crate) fn close(&self) -> VecDeque<F> {
        let mut state = lock(&self.state);
        state.open = false;
        let closed = match state.inbound {
            Inbound::Ended => Inbound::Ended,
            Inbound::Dropped => Inbound::Dropped,
            _ => Inbound::Closed,
        };
        let inbound = std::mem::replace(&mut state.inbound, closed);
        let sender = state.sender.take();
        let mut frames = std::mem::take(&mut state.outgoing);
        drop(state);
        let reader = match inbound {
            Inbound::Awaited(waker) => Some(waker),
            Inbound::Came(Ok(frame)) => {
                frames.push_back(frame);
                None
            }
            _ => None,
        };
        sender.into_iter().chain(reader).for_each(contain::wake);
        frames
    }
}
