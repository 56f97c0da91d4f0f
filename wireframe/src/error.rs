//! What handlers fail with, and what an app is refused for.

use std::{any, error::Error, fmt, io};

use thiserror::Error;
use wireframe_proto::{AnswerError, Malformed, Unencodable};

use crate::{
    client::CallError,
    clock::Elapsed,
    push::{PushError, TryPushError},
};

/// An error of any kind, as tower's layers have it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Marks the protocol's own error type, the one that
/// [`handle_error`](wireframe_proto::WireframeProtocol::handle_error) answers.
///
/// Implement it for the type that you name as
/// [`WireframeProtocol::Error`](wireframe_proto::WireframeProtocol::Error).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not marked as the error of a protocol",
    label = "not marked as the error of a protocol",
    note = "mark it with `impl wireframe::ProtocolError for {Self} {{}}`; it has to be a `std::error::Error` that is `Send` and `Sync`"
)]
pub trait ProtocolError: Error + Send + Sync + 'static {}

impl ProtocolError for std::convert::Infallible {}

/// What a handler, an extractor, a layer, or a stream that a handler answers with, fails
/// with.
///
/// Only [`Io`](Self::Io) is fatal. All others are for the protocol's
/// [`handle_error`](wireframe_proto::WireframeProtocol::handle_error), which decides what
/// the peer is told.
///
/// The question mark makes one from the protocol's error, and from
///
/// * an [`io::Error`], a [`PushError`], [`TryPushError::Closed`], a
///   [`BodyError`](crate::BodyError) and a [`SendError`](crate::SendError): the fatal `Io`.
///   A handler that can go on without its push or its body looks at the error itself.
/// * an [`Elapsed`], a [`CallError`], and any other [`TryPushError`], which say nothing
///   against the connection: [`Other`](Self::Other).
/// * a [`BoxError`]: whatever it was before it was boxed, or `Other`.
///
/// The error of another library is boxed first:
///
/// ```
/// use wireframe::{BoxError, WireframeError};
///
/// fn number(text: &str) -> Result<u32, WireframeError<std::convert::Infallible>> {
///     Ok(text.parse().map_err(BoxError::from)?)
/// }
/// assert!(matches!(number("one"), Err(WireframeError::Other(_))));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireframeError<E> {
    /// Fatal: the connection closes.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The protocol's own.
    #[error(transparent)]
    Protocol(E),
    /// The request's payload is not what the handler takes.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// What was to be answered cannot be encoded.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// Anything else: what a layer refused a request with, or an error of another library.
    #[error(transparent)]
    Other(BoxError),
}

impl<E> WireframeError<E> {
    /// What the protocol is told.
    ///
    /// # Errors
    ///
    /// The I/O error, if it is one: of that the protocol is not told.
    pub(crate) fn into_answer_error(self) -> io::Result<AnswerError<E>> {
        Ok(match self {
            Self::Io(error) => return Err(error),
            Self::Protocol(error) => AnswerError::Protocol(error),
            Self::Malformed(error) => AnswerError::Malformed(error),
            Self::Unencodable(error) => AnswerError::Unencodable(error),
            Self::Other(error) => AnswerError::Other(error),
        })
    }
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

/// What is refused for now may go another time. The frame is dropped; what the protocol is
/// told is a `TryPushError<()>`.
impl<E, F> From<TryPushError<F>> for WireframeError<E> {
    fn from(error: TryPushError<F>) -> Self {
        match error.without_frame() {
            error @ TryPushError::Closed(()) => Self::Io(error.into()),
            error @ (TryPushError::Full(()) | TryPushError::RateLimited { .. }) => {
                Self::Other(error.into())
            }
        }
    }
}

/// A call fails for the sake of the connection that it was made on, which is mostly
/// another than the handler's.
impl<E> From<CallError> for WireframeError<E> {
    fn from(error: CallError) -> Self {
        Self::Other(error.into())
    }
}

/// That something took too long is not the connection's fault, so it is not fatal.
impl<E> From<Elapsed> for WireframeError<E> {
    fn from(error: Elapsed) -> Self {
        Self::Other(error.into())
    }
}

/// Layers box the errors of what is inside them. One that is a `WireframeError`, or the
/// protocol's own error, is taken out of its box; any other is [`Other`](Self::Other),
/// also an [`io::Error`].
impl<E: ProtocolError> From<BoxError> for WireframeError<E> {
    fn from(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        match error.downcast::<E>() {
            Ok(error) => Self::Protocol(*error),
            Err(error) => Self::Other(error),
        }
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
