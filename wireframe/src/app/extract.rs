//! What handlers can take as arguments.

use std::any::TypeId;

use bytes::Bytes;
use wireframe_proto::{RequestInfo, WireframeProtocol};

use super::state::StateMap;
use crate::{
    clock::Clock,
    conversation::Exchange,
    error::{BuildError, Place},
    frame::{PayloadFrame, Protocol},
    push::{ConnectionHandle, PushHandle},
    session::Session,
    sync::Arc,
    tasks::Tasks,
};

/// What a connection has for its handlers.
pub(crate) struct Surroundings<P: WireframeProtocol> {
    pub(crate) session: Session<P::Session>,
    pub(crate) push: PushHandle<P::Frame>,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) states: Arc<StateMap>,
}

/// What a handler's arguments are made from.
pub struct Parts<'a, P: WireframeProtocol> {
    pub(crate) surroundings: &'a Surroundings<P>,
    pub(crate) info: Option<RequestInfo>,
    pub(crate) frame: Option<P::Frame>,
    /// There if an argument takes the body.
    pub(crate) exchange: Option<Arc<Exchange<P::Frame>>>,
}

impl<P: WireframeProtocol> std::fmt::Debug for Parts<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// An argument of a handler.
///
/// Arguments are made before the handler runs, from what the connection has. Whether a
/// handler can be given what it takes is checked when the app is built, so making them
/// cannot fail for want of it.
pub trait Extract<P: Protocol>: Sized + Send {
    /// Whether this takes the inbound frame. At most one argument may.
    const TAKES_FRAME: bool = false;

    /// Whether this takes the rest of the request, its body. At most one argument may.
    const TAKES_BODY: bool = false;

    /// Checks, when the app is built, that it has what this needs.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if it has not.
    fn check(needs: &Needs<'_>) -> Result<(), BuildError> {
        let _ = needs;
        Ok(())
    }

    /// Makes the argument; `None` if what it needs is not there.
    fn extract(parts: &mut Parts<'_, P>) -> Option<Self>;
}

/// What an app offers to the handler that is being checked.
#[derive(Debug)]
pub struct Needs<'a> {
    pub(crate) states: &'a StateMap,
    pub(crate) place: Place,
}

/// The inbound frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound<F>(pub F);

/// A value that the app was given with [`state`](crate::WireframeApp::state), cloned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State<T>(pub T);

impl<P: Protocol> Extract<P> for Inbound<P::Frame> {
    const TAKES_FRAME: bool = true;

    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        parts.frame.take().map(Inbound)
    }
}

impl<P: Protocol<Frame: PayloadFrame>> Extract<P> for Bytes {
    const TAKES_FRAME: bool = true;

    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        parts.frame.take().map(PayloadFrame::into_payload)
    }
}

impl<P: Protocol, T: Clone + Send + Sync + 'static> Extract<P> for State<T> {
    fn check(needs: &Needs<'_>) -> Result<(), BuildError> {
        if needs.states.has(TypeId::of::<T>()) {
            Ok(())
        } else {
            Err(BuildError::missing_state::<T>(needs.place))
        }
    }

    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        parts.surroundings.states.get::<T>().cloned().map(State)
    }
}

impl<P: Protocol> Extract<P> for Session<P::Session> {
    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        Some(parts.surroundings.session.clone())
    }
}

impl<P: Protocol> Extract<P> for PushHandle<P::Frame> {
    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        Some(parts.surroundings.push.clone())
    }
}

impl<P: Protocol> Extract<P> for ConnectionHandle {
    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        Some(parts.surroundings.push.connection())
    }
}

impl<P: Protocol> Extract<P> for Clock {
    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        Some(parts.surroundings.clock.clone())
    }
}

impl<P: Protocol> Extract<P> for Tasks {
    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        Some(parts.surroundings.tasks.clone())
    }
}

/// The command that a handler answers: its route and correlation id.
impl<P: Protocol> Extract<P> for RequestInfo {
    fn check(needs: &Needs<'_>) -> Result<(), BuildError> {
        match needs.place {
            Place::Route(_) | Place::Fallback => Ok(()),
            Place::OnConnect | Place::OnPush => Err(BuildError::NoRequest(needs.place)),
        }
    }

    fn extract(parts: &mut Parts<'_, P>) -> Option<Self> {
        parts.info
    }
}
