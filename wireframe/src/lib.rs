//! Servers and clients of framed binary protocols, on any async runtime.
//!
//! # Features
//!
//! None is on by default. The adapters pass on `metrics`, `signals` and `tls`.
//!
//! | feature | what it adds |
//! |---|---|
//! | `metrics` | servers count through the facade [`metrics`](https://docs.rs/metrics) |
//! | `postcard` | typed payloads in the format of [`postcard`](https://docs.rs/postcard) |
//! | `signals` | [`ServerHandle::shutdown_on_signals`](server::ServerHandle), on unix |
//! | `tls` | TLS through rustls, for servers and clients |
//! | `async-io` | sockets and timer of the reactor under smol and async-std, for their adapters |

mod app;
mod backlog;
mod broadcast;
mod budget;
mod client;
mod clock;
mod contain;
mod conversation;
mod driver;
mod error;
mod frame;
#[cfg(all(test, wireframe_loom))]
mod loom_models;
mod meter;
mod payload;
pub mod proxy;
mod push;
mod registry;
mod response;
pub mod rt;
pub mod server;
mod session;
mod shutdown;
mod sync;
mod tasks;
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;

#[doc(hidden)]
pub use app::check as __check;
pub use app::{
    App, AtOnce, Extract, Handler, HandlerFuture, HandlerService, Inbound, Needs, Parts, Request,
    RequestService, State, WireframeApp,
};
pub use broadcast::Fanout;
pub use budget::MemoryBudget;
pub use client::{
    Backoff, Call, CallError, Client, Jitter, Lagged, Pushes, Reconnecting, Replies, connect,
    reconnecting,
};
pub use clock::{Clock, Elapsed};
pub use conversation::{BodyError, Conversation, RequestBody, ResponseSender, SendError};
pub use driver::{Driver, Environment};
pub use error::{BoxError, BuildError, Place, ProtocolError, WireframeError};
pub use frame::{Frame, PayloadFrame, Protocol};
#[cfg(feature = "postcard")]
pub use payload::Postcard;
pub use payload::{Message, Payload, PayloadFormat};
pub use push::{
    ConnectionHandle, DeadLetter, DeadLetterLog, DeadLetterReason, DeadLetterSender, DeadLetters,
    Permit, Push, PushError, PushHandle, PushLimits, PushPolicy, PushStats, Pushed, Reserve,
    TryPushError, WeakPushHandle, dead_letter_queue,
};
pub use registry::SessionRegistry;
pub use response::{FrameStream, IntoResponse, Response};
pub use session::Session;
pub use shutdown::{ShutdownToken, Triggered};
pub use tasks::TaskTracker;
pub use transport::{Transport, prepare};
pub use wireframe_proto as proto;
pub use wireframe_proto::{
    AnswerError, AnswerOrder, ByteOrder, CloseReason, Codec, Config, ConnectionId, Context,
    CorrelationId, DropReason, DroppedMessage, Envelope, EnvelopeProtocol, Escaped, FairnessConfig,
    Fault, FragmentLimits, FragmentMeta, FragmentStrategy, FrameBuf, HalfClose, Heartbeat,
    HeldOutput, LenFlag32K, LenSeq16M, LengthDelimited, Limits, Malformed, Multiplexed, Outcome,
    Peer, Preamble, PrefixWidth, Priority, PushCapacity, PushTiming, RateLimit, Reaction,
    RequestInfo, Role, Side, Timeouts, TransportInfo, Unencodable, View, WireframeProtocol,
};
