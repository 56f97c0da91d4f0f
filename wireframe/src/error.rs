//! What handlers fail with, and what an app is refused for.

use std::{any, fmt, io};

use thiserror::Error;

use crate::push::PushError;

/// Marks the protocol's own error type, the one that
/// [`handle_error`](wireframe_proto::WireframeProtocol::handle_error) answers.
///
/// Implement it for the type that you name as
/// [`WireframeProtocol::Error`](wireframe_proto::WireframeProtocol::Error).
pub trait ProtocolError: Send + 'static {}

impl ProtocolError for std::convert::Infallible {}

/// What a handler, or a stream that it answers with, fails with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireframeError<E> {
    /// Fatal: the connection closes.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The protocol answers it, and the connection goes on unless the protocol says
    /// otherwise.
    #[error("{0}")]
    Protocol(E),
}

impl<E: ProtocolError> From<E> for WireframeError<E> {
    fn from(error: E) -> Self {
        Self::Protocol(error)
    }
}

/// A handler whose push is refused because its connection has ended has nobody to answer.
impl<E, F> From<PushError<F>> for WireframeError<E> {
    fn from(error: PushError<F>) -> Self {
        Self::Io(error.into())
    }
}

/// Why an app cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two handlers were given for one route.
    #[error("route {0} has two handlers")]
    DuplicateRoute(u32),
    /// A handler needs a state of a type that nobody has set.
    #[error("{place} takes State<{state}>, which was not set")]
    MissingState {
        /// Which handler.
        place: Place,
        /// The state's type.
        state: &'static str,
    },
    /// A handler takes the frame, and there is none, or takes it twice.
    #[error("{place} takes the frame {taken} times, and there is {there}")]
    Frame {
        /// Which handler.
        place: Place,
        /// How many of its arguments take it.
        taken: usize,
        /// How many frames there are: one for a route, none on connecting.
        there: usize,
    },
    /// A handler takes a request's body, as a [`Conversation`](crate::Conversation) or a
    /// [`RequestBody`](crate::RequestBody), where there is no request, or takes it twice.
    #[error("{place} takes the body {taken} times, and there is {there}")]
    Body {
        /// Which handler.
        place: Place,
        /// How many of its arguments take it.
        taken: usize,
        /// How many bodies there are: one for a request.
        there: usize,
    },
    /// A handler takes the request's description where there is no request.
    #[error("{0} takes a RequestInfo, and serves no request")]
    NoRequest(Place),
    /// A setting is zero that must not be.
    #[error("{0} must not be zero")]
    Zero(&'static str),
}

impl BuildError {
    pub(crate) fn missing_state<T>(place: Place) -> Self {
        Self::MissingState {
            place,
            state: any::type_name::<T>(),
        }
    }
}

/// Which handler of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The one for that route.
    Route(u32),
    /// The fallback.
    Fallback,
    /// The one that runs when a connection begins.
    OnConnect,
    /// The one for frames that peers push.
    OnPush,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => write!(f, "the handler of route {route}"),
            Self::Fallback => f.write_str("the fallback handler"),
            Self::OnConnect => f.write_str("the on_connect handler"),
            Self::OnPush => f.write_str("the on_push handler"),
        }
    }
}
