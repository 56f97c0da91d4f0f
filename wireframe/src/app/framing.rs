//! A protocol with the framing that its app has chosen.

use std::num::NonZeroUsize;

use wireframe_proto::{FragmentMeta, FragmentStrategy, Malformed, Unencodable, Warnings};

use crate::{frame::Protocol, sync::Mutex};

/// Makes the framing of one connection.
pub(super) type MakeFraming<F> = Box<dyn Fn() -> Box<dyn FragmentStrategy<F> + Send> + Send + Sync>;

/// A protocol, and the framing that the app has put in the place of its own, if it has.
pub(crate) struct Framed<P: Protocol> {
    pub(crate) protocol: P,
    replacement: Option<MakeFraming<P::Frame>>,
    /// Of requests that nobody serves, on any connection.
    pub(crate) unrouted: Mutex<Warnings>,
}

impl<P: Protocol> Framed<P> {
    pub(super) fn new(protocol: P, replacement: Option<MakeFraming<P::Frame>>) -> Self {
        Self {
            protocol,
            replacement,
            unrouted: Mutex::default(),
        }
    }

    /// Whether frames have the headers that the protocol knows of.
    pub(crate) const fn is_own(&self) -> bool {
        self.replacement.is_none()
    }

    /// The framing of a new connection.
    pub(crate) fn framing(&self) -> Framing<P> {
        match &self.replacement {
            None => Framing::Own(self.protocol.framing()),
            Some(make) => Framing::Replaced(make()),
        }
    }
}

/// The framing of a connection.
///
/// One branch, so that an app's type does not depend on what it does with messages, and
/// who does nothing pays for no more than that.
pub(crate) enum Framing<P: Protocol> {
    Own(P::Framing),
    Replaced(Box<dyn FragmentStrategy<P::Frame> + Send>),
}

macro_rules! either {
    ($framing:expr, $inner:ident => $call:expr) => {
        match $framing {
            Framing::Own($inner) => $call,
            Framing::Replaced($inner) => $call,
        }
    };
}

/// A replaced framing gets a header of its own to read, and gives one: so the header of the
/// usual case need not be in memory at all.
impl<P: Protocol> FragmentStrategy<P::Frame> for Framing<P> {
    #[inline]
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        match self {
            Self::Own(inner) => inner.decode_header(src),
            Self::Replaced(inner) => match inner.decode_header(src)? {
                Some((meta, header_len)) => Ok(Some((meta.clone(), header_len))),
                None => Ok(None),
            },
        }
    }

    #[inline]
    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &P::Frame,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        match self {
            Self::Own(inner) => inner.encode_header(dst, frame, meta),
            Self::Replaced(inner) => inner.encode_header(dst, frame, &meta.clone()),
        }
    }

    #[inline]
    fn max_fragment_payload(&self, frame: &P::Frame) -> Option<NonZeroUsize> {
        either!(self, inner => inner.max_fragment_payload(frame))
    }

    #[inline]
    fn ends_with_short_fragment(&self) -> bool {
        either!(self, inner => inner.ends_with_short_fragment())
    }

    #[inline]
    fn max_message_id(&self) -> Option<u64> {
        either!(self, inner => inner.max_message_id())
    }

    #[inline]
    fn reuses_message_ids(&self) -> bool {
        either!(self, inner => inner.reuses_message_ids())
    }

    #[inline]
    fn may_interrupt(&self, message: &P::Frame, other: &P::Frame) -> bool {
        either!(self, inner => inner.may_interrupt(message, other))
    }

    #[inline]
    fn unmask(&mut self, meta: &FragmentMeta, offset: usize, bytes: &mut [u8]) {
        match self {
            Self::Own(inner) => inner.unmask(meta, offset, bytes),
            Self::Replaced(inner) => inner.unmask(&meta.clone(), offset, bytes),
        }
    }
}
