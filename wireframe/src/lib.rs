//! Servers and clients of framed binary protocols, on any async runtime.

mod app;
mod client;
mod clock;
mod conversation;
mod driver;
mod error;
mod frame;
mod push;
mod response;
pub mod rt;
pub mod server;
mod session;
mod sync;
mod tasks;
pub mod testing;
mod transport;

pub use app::{App, Extract, Handler, Inbound, Needs, Parts, State, WireframeApp};
pub use client::{CallError, Client, Lagged, Pushes};
pub use clock::{Clock, Elapsed};
pub use conversation::{BodyError, Conversation, RequestBody, ResponseSender, SendError};
pub use driver::{Driver, Environment};
pub use error::{BuildError, Place, ProtocolError, WireframeError};
pub use frame::{Frame, PayloadFrame, Protocol};
pub use push::{
    ConnectionHandle, Permit, Push, PushError, PushHandle, PushLimits, PushPolicy, PushStats,
    Pushed, Reserve, TryPushError,
};
pub use response::{FrameStream, IntoResponse, Response};
pub use session::Session;
pub use tasks::Tasks;
pub use transport::Transport;
pub use wireframe_proto as proto;
pub use wireframe_proto::{
    AnswerError, AnswerOrder, ByteOrder, CloseReason, Codec, Config, ConnectionId, Context,
    CorrelationId, Envelope, EnvelopeProtocol, FairnessConfig, FragmentMeta, FragmentStrategy,
    FrameBuf, HalfClose, LengthDelimited, Limits, Malformed, Outcome, Peer, PrefixWidth, Priority,
    PushCapacity, PushTiming, Reaction, RequestInfo, Role, Side, Timeouts, Unencodable, View,
    WireframeProtocol,
};
