//! What handlers can take as arguments.

use std::{
    any::{self, TypeId},
    io,
};

use bytes::Bytes;
use wireframe_proto::{RequestInfo, WireframeProtocol};

use super::state::StateMap;
use crate::{
    clock::Clock,
    conversation::{Exchange, Offer},
    error::{BuildError, Place, WireframeError},
    frame::{PayloadFrame, Protocol},
    push::{ConnectionHandle, PushHandle},
    session::Session,
    shutdown::ShutdownToken,
    sync::Arc,
    tasks::TaskTracker,
};

/// What a connection has for its handlers.
pub(crate) struct Surroundings<P: WireframeProtocol> {
    pub(crate) session: Session<P::Session>,
    pub(crate) push: PushHandle<P::Frame>,
    pub(crate) tasks: TaskTracker,
    pub(crate) states: Arc<StateMap>,
}

impl<P: WireframeProtocol> Clone for Surroundings<P> {
    fn clone(&self) -> Self {
        Self {
            session: self.session.clone(),
            push: self.push.clone(),
            tasks: self.tasks.clone(),
            states: Arc::clone(&self.states),
        }
    }
}

/// What a handler's arguments are made from.
pub struct Parts<'a, P: WireframeProtocol> {
    pub(crate) surroundings: &'a Surroundings<P>,
    pub(crate) info: Option<RequestInfo>,
    pub(crate) frame: Option<P::Frame>,
    /// There if an argument takes the body.
    pub(crate) offer: Option<Offer<P::Frame>>,
}

impl<P: WireframeProtocol> std::fmt::Debug for Parts<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// What making an argument comes to.
pub(crate) type Extracted<T, P> = Result<T, WireframeError<<P as WireframeProtocol>::Error>>;

/// An argument of a handler.
///
/// Arguments are made before the handler runs, from what the connection has. Whether a
/// handler can be given what it takes is checked when the app is built, so making them
/// cannot fail for want of it. It can fail for the peer's fault; then the handler is not
/// called, and the request has failed as if the handler had said so.
///
/// An extractor of your own is made from others. It has to need and to take what they do,
/// or else an app is built with handlers that can never be called: forward their
/// [`check`](Self::check), and say with [`TAKES_FRAME`](Self::TAKES_FRAME) and
/// [`TAKES_BODY`](Self::TAKES_BODY) what one of them takes.
///
/// ```
/// use wireframe::{
///     BuildError, Extract, Malformed, Needs, Parts, Place, Protocol, RequestInfo, WireframeApp,
///     WireframeError,
/// };
///
/// /// The correlation id of a request that has one.
/// struct Named(u64);
///
/// impl<P: Protocol> Extract<P> for Named {
///     fn check(needs: &Needs<'_>) -> Result<(), BuildError> {
///         <RequestInfo as Extract<P>>::check(needs)
///     }
///
///     fn extract(parts: &mut Parts<'_, P>) -> Result<Self, WireframeError<P::Error>> {
///         match RequestInfo::extract(parts)?.correlation {
///             Some(id) => Ok(Self(id.0)),
///             None => Err(Malformed::new("a request without an id").into()),
///         }
///     }
/// }
///
/// let app = WireframeApp::new().route(1, |Named(id): Named| id.to_string());
/// assert!(app.build().is_ok());
/// // What a peer pushes is no request.
/// let app = WireframeApp::new().on_push(|_: Named| ());
/// assert_eq!(app.build().unwrap_err(), BuildError::NoRequest(Place::OnPush));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler of the protocol `{P}`",
    label = "not an extractor",
    note = "extractors are `Inbound<Frame>`, `Bytes`, `Message<T>`, `State<T>`, `Session<S>`, `PushHandle<Frame>`, `ConnectionHandle`, `Clock`, `TaskTracker`, `ShutdownToken`, `RequestInfo`, `Conversation<Frame>` and `RequestBody<Frame>`, with the protocol's own frame and session, a `Result` of any of these, and what implements `Extract`"
)]
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

    /// Makes the argument.
    ///
    /// # Errors
    ///
    /// [`WireframeError::Malformed`] if the payload is not what this takes, or whatever
    /// the request is to fail with. An I/O error, which is fatal, if what this needs is
    /// not there.
    fn extract(parts: &mut Parts<'_, P>) -> Result<Self, WireframeError<P::Error>>;
}

impl<P: Protocol> Parts<'_, P> {
    /// The request's route; 0 if there is no request, and with that no answer.
    pub(crate) fn route(&self) -> u32 {
        self.info.map_or(0, |info| info.route)
    }

    /// The frame, for an argument of type `A`, which is the only one that takes it.
    pub(crate) fn take_frame<A>(&mut self) -> Extracted<P::Frame, P> {
        self.frame.take().ok_or_else(missing::<A, _>)
    }

    /// What handler and driver share, for an argument of type `A`, which is the only one
    /// that takes the body.
    pub(crate) fn take_exchange<A>(&mut self) -> Extracted<Arc<Exchange<P::Frame>>, P> {
        let exchange = self.offer.take().map(Offer::accept);
        exchange.ok_or_else(missing::<A, _>)
    }
}

/// An argument is to be made from what is not there. An app is refused for that when it
/// is built, unless an extractor takes what it did not say it takes.
#[cold]
pub(crate) fn missing<A, E>() -> WireframeError<E> {
    let argument = any::type_name::<A>();
    io::Error::other(format!("nothing to make the argument {argument} from")).into()
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

    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        parts.take_frame::<Self>().map(Inbound)
    }
}

/// For a handler that deals itself with an argument that cannot be made.
impl<P: Protocol, T: Extract<P>> Extract<P> for Result<T, WireframeError<P::Error>> {
    const TAKES_FRAME: bool = T::TAKES_FRAME;
    const TAKES_BODY: bool = T::TAKES_BODY;

    fn check(needs: &Needs<'_>) -> Result<(), BuildError> {
        T::check(needs)
    }

    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        Ok(T::extract(parts))
    }
}

impl<P: Protocol<Frame: PayloadFrame>> Extract<P> for Bytes {
    const TAKES_FRAME: bool = true;

    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        parts.take_frame::<Self>().map(PayloadFrame::into_payload)
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

    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        let state = parts.surroundings.states.get::<T>().cloned();
        state.map(State).ok_or_else(missing::<Self, _>)
    }
}

impl<P: Protocol> Extract<P> for Session<P::Session> {
    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        Ok(parts.surroundings.session.clone())
    }
}

impl<P: Protocol> Extract<P> for PushHandle<P::Frame> {
    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        Ok(parts.surroundings.push.clone())
    }
}

impl<P: Protocol> Extract<P> for ConnectionHandle {
    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        Ok(parts.surroundings.push.connection())
    }
}

impl<P: Protocol> Extract<P> for Clock {
    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        Ok(parts.surroundings.push.clock().clone())
    }
}

impl<P: Protocol> Extract<P> for ShutdownToken {
    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        Ok(parts.surroundings.tasks.shutdown_token().clone())
    }
}

impl<P: Protocol> Extract<P> for TaskTracker {
    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        Ok(parts.surroundings.tasks.clone())
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

    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        parts.info.ok_or_else(missing::<Self, _>)
    }
}
