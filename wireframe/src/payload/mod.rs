//! Values as the payloads of frames.

#[cfg(feature = "postcard")]
mod postcard;

use std::any;

use bytes::Bytes;
use wireframe_proto::{Malformed, RequestInfo, Unencodable};

#[cfg(feature = "postcard")]
pub use self::postcard::Postcard;
use crate::{
    app::{Extract, Extracted, Parts},
    error::WireframeError,
    frame::{PayloadFrame, Protocol},
    response::{IntoResponse, Response},
};

/// A type whose values travel as the payload of a frame.
///
/// Handlers take and return such values as [`Message`]. It says which format it has, so
/// one app may have several.
#[cfg_attr(
    feature = "postcard",
    doc = r#"
```
use serde::{Deserialize, Serialize};
use wireframe::{Message, Payload, Postcard, WireframeApp};

#[derive(Serialize, Deserialize)]
struct Sum {
    terms: Vec<u32>,
}

impl Payload for Sum {
    type Format = Postcard;
}

#[derive(Serialize, Deserialize)]
struct Total(u64);

impl Payload for Total {
    type Format = Postcard;
}

fn add(Message(sum): Message<Sum>) -> Message<Total> {
    Message(Total(sum.terms.into_iter().map(u64::from).sum()))
}

assert!(WireframeApp::new().route(1, add).build().is_ok());
```
"#
)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not travel as a payload",
    label = "has no payload format",
    note = "give it one with `impl wireframe::Payload for {Self} {{ type Format = ..; }}`, for instance `wireframe::Postcard`"
)]
pub trait Payload: Sized + Send {
    /// How values become bytes and back.
    type Format: PayloadFormat<Self>;

    /// The value that a payload stands for.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it stands for none.
    fn from_payload(payload: Bytes) -> Result<Self, Malformed> {
        Self::Format::decode(payload)
    }

    /// The payload that stands for this value.
    ///
    /// # Errors
    ///
    /// [`Unencodable`] if there is none.
    fn to_payload(&self) -> Result<Bytes, Unencodable> {
        Self::Format::encode(self)
    }
}

/// How values of type `T` become bytes and back.
///
/// A format of your own takes a few lines:
///
/// ```
/// use bytes::Bytes;
/// use wireframe::{Malformed, Message, Payload, PayloadFormat, Unencodable, WireframeApp};
///
/// /// Numbers as their bytes, the most significant first.
/// struct BigEndian;
///
/// struct Celsius(i32);
///
/// impl Payload for Celsius {
///     type Format = BigEndian;
/// }
///
/// impl PayloadFormat<Celsius> for BigEndian {
///     fn decode(payload: Bytes) -> Result<Celsius, Malformed> {
///         match payload[..].try_into() {
///             Ok(bytes) => Ok(Celsius(i32::from_be_bytes(bytes))),
///             Err(_) => Err(Malformed::new(format!("expected 4 bytes, got {}", payload.len()))),
///         }
///     }
///
///     fn encode(value: &Celsius) -> Result<Bytes, Unencodable> {
///         Ok(Bytes::copy_from_slice(&value.0.to_be_bytes()))
///     }
/// }
///
/// fn warmer(Message(Celsius(degrees)): Message<Celsius>) -> Message<Celsius> {
///     Message(Celsius(degrees.saturating_add(1)))
/// }
///
/// assert!(WireframeApp::new().route(1, warmer).build().is_ok());
/// ```
pub trait PayloadFormat<T> {
    /// The value that a payload stands for. It must be the whole payload.
    ///
    /// # Errors
    ///
    /// [`Malformed`], with what was expected and what came. It is logged, so bytes of the
    /// peer's have to be escaped and cut.
    fn decode(payload: Bytes) -> Result<T, Malformed>;

    /// The payload that stands for a value.
    ///
    /// # Errors
    ///
    /// [`Unencodable`], with what stood in the way.
    fn encode(value: &T) -> Result<Bytes, Unencodable>;
}

/// A value that travels as the payload of a frame: an argument of a handler, and an answer.
///
/// If a request's payload does not decode, its handler is not called. The protocol's
/// [`handle_error`](wireframe_proto::WireframeProtocol::handle_error) is told, with the
/// route and the type that was expected, and the connection goes on. So it is with an
/// answer that does not encode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Message<T>(pub T);

impl<P: Protocol<Frame: PayloadFrame>, T: Payload> Extract<P> for Message<T> {
    const TAKES_FRAME: bool = true;

    fn extract(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        let payload = parts.take_frame::<Self>()?.into_payload();
        match T::from_payload(payload) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(unexpected::<T>(parts.info, &error).into()),
        }
    }
}

impl<F: PayloadFrame, E, T: Payload> IntoResponse<F, E> for Message<T> {
    fn into_response(self, route: u32) -> Result<Response<F, E>, WireframeError<E>> {
        match self.0.to_payload() {
            Ok(payload) => payload.into_response(route),
            Err(Unencodable { what }) => {
                let value = any::type_name::<T>();
                let what = format!("the answer of route {route}, of type {value}: {what}");
                Err(Unencodable::new(what).into())
            }
        }
    }
}

#[cold]
fn unexpected<T>(request: Option<RequestInfo>, error: &Malformed) -> Malformed {
    let expected = any::type_name::<T>();
    let what = &error.what;
    let what = match request {
        Some(RequestInfo { route, .. }) => {
            format!("route {route} expects a payload of type {expected}: {what}")
        }
        None => format!("a push is expected to have a payload of type {expected}: {what}"),
    };
    Malformed::with_code(error.code, what)
}
