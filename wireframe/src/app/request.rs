//! A request on its way through the layers.

use std::fmt;

use wireframe_proto::{RequestInfo, WireframeProtocol};

use super::extract::{Extracted, Parts, Surroundings, missing};
use crate::{
    clock::Clock, conversation::Offer, frame::Protocol, push::PushHandle, session::Session,
};

/// A request, as layers see it: what its handler makes its arguments from.
pub struct Request<P: WireframeProtocol> {
    surroundings: Surroundings<P>,
    info: RequestInfo,
    frame: P::Frame,
    offer: Option<Offer<P::Frame>>,
}

impl<P: Protocol> Request<P> {
    /// A request that owns what the parts only borrow.
    pub(super) fn take(parts: &mut Parts<'_, P>) -> Extracted<Self, P> {
        Ok(Self {
            surroundings: parts.surroundings.clone(),
            info: parts.info.ok_or_else(missing::<RequestInfo, _>)?,
            frame: parts.take_frame::<Self>()?,
            offer: parts.offer.take(),
        })
    }

    /// Lends what the handler's arguments are made from.
    pub(super) fn lend<R>(self, to: impl FnOnce(&mut Parts<'_, P>) -> R) -> R {
        to(&mut Parts {
            surroundings: &self.surroundings,
            info: Some(self.info),
            frame: Some(self.frame),
            offer: self.offer,
        })
    }

    /// Its route and correlation id.
    #[must_use]
    pub const fn info(&self) -> RequestInfo {
        self.info
    }

    /// Its first frame.
    #[must_use]
    pub const fn frame(&self) -> &P::Frame {
        &self.frame
    }

    /// Its first frame, to be changed before the handler takes it. Neither the route nor
    /// the correlation id follows.
    pub const fn frame_mut(&mut self) -> &mut P::Frame {
        &mut self.frame
    }

    /// The session of its connection.
    #[must_use]
    pub const fn session(&self) -> &Session<P::Session> {
        &self.surroundings.session
    }

    /// A handle to push to its connection, which also names the connection and its peer.
    #[must_use]
    pub const fn push_handle(&self) -> &PushHandle<P::Frame> {
        &self.surroundings.push
    }

    /// The clock of its connection.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.surroundings.push.clock()
    }
}

impl<P: WireframeProtocol> fmt::Debug for Request<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
