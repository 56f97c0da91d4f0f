//! Servers and clients of framed binary protocols, on any async runtime.

mod app;
mod broadcast;
mod client;
mod clock;
mod driver;
mod error;
mod frame;
mod push;
mod registry;
mod response;
pub mod rt;
pub mod server;
mod session;
mod sync;
mod tasks;
pub mod testing;
mod transport;

pub use app::{App, Extract, Handler, Inbound, Needs, Parts, State, WireframeApp};
pub use broadcast::Fanout;
pub use client::{CallError, Client, Lagged, Pushes};
pub use clock::{Clock, Elapsed};
pub use driver::{Driver, Environment};
pub use error::{BuildError, Place, ProtocolError, WireframeError};
pub use frame::{Frame, PayloadFrame, Protocol};
pub use push::{
    ConnectionHandle, DeadLetter, DeadLetterLog, DeadLetterReason, DeadLetterSender, DeadLetters,
    Permit, Push, PushError, PushHandle, PushLimits, PushPolicy, PushStats, Pushed, Reserve,
    TryPushError, WeakPushHandle, dead_letter_queue,
};
pub use registry::SessionRegistry;
pub use response::{FrameStream, IntoResponse, Response};
pub use session::Session;
pub use tasks::Tasks;
pub use transport::Transport;
pub use wireframe_proto as proto;
pub use wireframe_proto::{
    AnswerError, AnswerOrder, ByteOrder, CloseReason, Codec, Config, ConnectionId, Context,
    CorrelationId, Envelope, EnvelopeProtocol, FairnessConfig, FragmentMeta, FragmentStrategy,
    FrameBuf, HalfClose, LengthDelimited, Limits, Malformed, Outcome, Peer, PrefixWidth, Priority,
    PushCapacity, PushTiming, RateLimit, Reaction, RequestInfo, Role, Side, Timeouts, Unencodable,
    View, WireframeProtocol,
};
