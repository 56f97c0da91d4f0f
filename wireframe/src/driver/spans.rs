//! The spans of a connection, of its requests and of their streamed answers.
//!
//! While nobody listens there is none of them: a connection has an empty place for its own,
//! and what is polled for a request is not wrapped.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tracing::{Level, Span, level_filters::LevelFilter};
use wireframe_proto::{Peer, RequestInfo, Side};

use super::task;
use crate::{
    app::{Answer, Handling, Parts, Serve, Started},
    error::WireframeError,
    frame::Protocol,
    response::{FrameStream, Response},
};

/// What a handler comes to.
type Outcome<F, E> = Result<Response<F, E>, WireframeError<E>>;

/// The span around all that a connection does. It is nobody's child: a connection outlives
/// who made it, and serves others too.
pub(super) fn connection(peer: &Peer) -> Option<Box<Span>> {
    let side = match peer.side {
        Side::Server => "server",
        Side::Client => "client",
    };
    let (id, address) = (peer.id, peer.address.map(tracing::field::display));
    listened_to(tracing::info_span!(parent: None, "connection", %id, side, peer = address))
        .map(Box::new)
}

/// The span around the handler of a request, and its layers. While nobody listens the level
/// is all that is looked at.
#[inline]
pub(super) fn request(info: &RequestInfo) -> Option<Span> {
    match Level::DEBUG <= LevelFilter::current() {
        true => begun(info),
        false => None,
    }
}

#[cold]
fn begun(info: &RequestInfo) -> Option<Span> {
    let RequestInfo { id, route, .. } = info;
    listened_to(tracing::debug_span!("request", %id, route))
}

fn listened_to(span: Span) -> Option<Span> {
    (!span.is_disabled()).then_some(span)
}

/// Does something in a span, if there is one.
#[inline]
pub(super) fn within<R>(span: Option<&Span>, f: impl FnOnce() -> R) -> R {
    match span {
        None => f(),
        Some(span) => span.in_scope(f),
    }
}

/// Starts a handler in a span, in which it is then also polled and dropped.
#[cold]
pub(super) fn start<P: Protocol>(
    span: Span,
    handler: &dyn Serve<P>,
    parts: Parts<'_, P>,
    cx: &mut Context<'_>,
) -> Started<Handling<P>, Option<Answer<P>>> {
    match span.in_scope(|| task::start(handler, parts, cx)) {
        Started::AtWork(handling) => Started::AtWork(Box::pin(Within::new(span, handling))),
        Started::Done(answer) => {
            Started::Done(answer.map(|answer| answer.map(|response| streamed(response, &span))))
        }
    }
}

/// Gives the frames of a streamed answer a span of their own, below that of the request.
fn streamed<F: Send + 'static, E: 'static>(
    response: Response<F, E>,
    request: &Span,
) -> Response<F, E> {
    if !matches!(response, Response::Stream(_) | Response::Channel(_)) {
        return response;
    }
    let span = tracing::debug_span!(parent: request, "response_stream");
    match listened_to(span) {
        Some(span) => inside(span, response),
        None => response,
    }
}

fn inside<F: Send + 'static, E: 'static>(span: Span, response: Response<F, E>) -> Response<F, E> {
    match response {
        Response::Stream(frames) => Response::stream(Within::new(span, frames)),
        Response::Channel(frames) => inside(span, Response::frames(frames)),
        others => others,
    }
}

/// Something of the application's that is polled in a span, and dropped there.
struct Within<T> {
    span: Span,
    /// There until this is dropped.
    inner: Option<T>,
}

impl<T> Within<T> {
    fn new(span: Span, inner: T) -> Self {
        let inner = Some(inner);
        Self { span, inner }
    }

    fn poll<R>(&mut self, poll: impl FnOnce(&mut T) -> Poll<R>) -> Poll<R> {
        let Self { span, inner } = self;
        match inner {
            Some(inner) => span.in_scope(|| poll(inner)),
            None => Poll::Pending,
        }
    }
}

impl<F, E> Future for Within<Pin<Box<dyn Future<Output = Outcome<F, E>> + Send>>>
where
    F: Send + 'static,
    E: 'static,
{
    type Output = Outcome<F, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Self::poll(&mut self, |handling| handling.as_mut().poll(cx));
        answer.map(|answer| answer.map(|response| streamed(response, &self.span)))
    }
}

impl<F, E> Stream for Within<FrameStream<F, E>> {
    type Item = Result<F, WireframeError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll(&mut self, |frames| frames.as_mut().poll_next(cx))
    }
}

impl<T> Drop for Within<T> {
    fn drop(&mut self) {
        let Self { span, inner } = self;
        span.in_scope(|| *inner = None);
    }
}

#[cfg(test)]
mod tests {
    use tracing::{
        Event, Metadata, Subscriber,
        span::{Attributes, Id, Record},
    };

    use super::*;

    /// Listens to all spans but those of streams.
    struct NoStreams;

    impl Subscriber for NoStreams {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.name() != "response_stream"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {}

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn an_answer_whose_span_nobody_listens_to_stays_as_it_is() {
        // rule: OBS-1
        tracing::subscriber::with_default(NoStreams, || {
            let request = listened_to(tracing::debug_span!("request")).expect("is listened to");
            let (_sender, channel) = Response::<u8, ()>::channel(1);
            let answer = streamed(channel, &request);
            let Response::Channel(receiver) = answer else {
                panic!("{answer:?}");
            };
            let Response::Stream(frames) = Response::<u8, ()>::frames(receiver) else {
                panic!("a stream");
            };
            let place = (&raw const *frames).cast::<()>();
            let Response::Stream(frames) = streamed(Response::Stream(frames), &request) else {
                panic!("a stream");
            };
            assert_eq!((&raw const *frames).cast::<()>(), place);
        });
    }
}
