//! Layers around all handlers of an app.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use wireframe_proto::WireframeProtocol;

use super::{
    extract::Parts,
    handler::{self, Answer, Handling, Serve, Started},
    request::Request,
};
use crate::{error::WireframeError, frame::Protocol, response::Response, sync::Arc};

/// A service that can stand around the handlers of an app: what a layer has to make.
///
/// It is implemented for every `Service<Request<P>>` that answers with
/// [`Response<P::Frame, P::Error>`](Response), or fails with what a [`WireframeError`] can
/// be made from, such as a [`BoxError`](crate::BoxError). It is cloned for each request.
pub trait RequestService<P: Protocol>:
    Service<
        Request<P>,
        Response = Response<P::Frame, P::Error>,
        Error: Into<WireframeError<P::Error>>,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<P, S> RequestService<P> for S
where
    P: Protocol,
    S: Service<
            Request<P>,
            Response = Response<P::Frame, P::Error>,
            Error: Into<WireframeError<P::Error>>,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
{
}

/// The handlers of an app as a service: what its layers stand around.
///
/// It is always ready. A clone serves the same handlers.
pub struct HandlerService<P: Protocol> {
    inner: Arc<dyn Serve<P>>,
}

impl<P: Protocol> HandlerService<P> {
    pub(super) fn new(inner: impl Serve<P> + 'static) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// This service with a layer around it.
    pub(super) fn inside<L>(self, layer: &L) -> Self
    where
        L: Layer<Self, Service: RequestService<P>>,
    {
        Self::new(Layered(layer.layer(self)))
    }
}

impl<P: Protocol> Serve<P> for HandlerService<P> {
    fn start(
        &self,
        parts: &mut Parts<'_, P>,
        cx: &mut Context<'_>,
    ) -> Started<Handling<P>, Answer<P>> {
        self.inner.start(parts, cx)
    }
}

impl<P: Protocol> Service<Request<P>> for HandlerService<P> {
    type Response = Response<P::Frame, P::Error>;
    type Error = WireframeError<P::Error>;
    type Future = HandlerFuture<P>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<P>) -> HandlerFuture<P> {
        HandlerFuture(Stage::Called(Arc::clone(&self.inner), request))
    }
}

/// The future of [`HandlerService`]. The handler is called when it is first polled.
#[must_use = "a handler is not called unless its future is polled"]
pub struct HandlerFuture<P: Protocol>(Stage<P>);

enum Stage<P: Protocol> {
    Called(Arc<dyn Serve<P>>, Request<P>),
    AtWork(Handling<P>),
    Over,
}

// Nothing in it is pinned in place: the handler is boxed.
impl<P: Protocol> Unpin for HandlerFuture<P> {}

impl<P: Protocol> Future for HandlerFuture<P> {
    type Output = Answer<P>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::AtWork(handling) = &mut self.0 {
            return handling.as_mut().poll(cx);
        }
        let Stage::Called(handlers, request) = std::mem::replace(&mut self.0, Stage::Over) else {
            // The handler has answered already, or has panicked.
            return Poll::Pending;
        };
        match request.lend(|parts| handlers.start(parts, cx)) {
            Started::Done(answer) => Poll::Ready(answer),
            Started::AtWork(handling) => {
                self.0 = Stage::AtWork(handling);
                Poll::Pending
            }
        }
    }
}

/// A service that a layer made, as what serves requests.
struct Layered<S>(S);

impl<P: Protocol, S: RequestService<P>> Serve<P> for Layered<S> {
    fn start(
        &self,
        parts: &mut Parts<'_, P>,
        cx: &mut Context<'_>,
    ) -> Started<Handling<P>, Answer<P>> {
        let request = match Request::take(parts) {
            Ok(request) => request,
            Err(error) => return Started::Done(Err(error)),
        };
        let passing = Passing::Waiting {
            service: self.0.clone(),
            request: Some(request),
        };
        handler::start::<P>(passing, cx)
    }
}

pin_project! {
    /// A request that passes a service: first it waits until the service is ready.
    #[project = PassingNow]
    enum Passing<P, S>
    where
        P: WireframeProtocol,
        S: Service<Request<P>>,
    {
        Waiting { service: S, request: Option<Request<P>> },
        Called { #[pin] future: S::Future },
    }
}

impl<P: Protocol, S: RequestService<P>> Future for Passing<P, S> {
    type Output = Answer<P>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                PassingNow::Called { future } => return future.poll(cx).map_err(Into::into),
                PassingNow::Waiting { service, request } => {
                    ready!(service.poll_ready(cx)).map_err(Into::into)?;
                    let Some(request) = request.take() else {
                        // The service has panicked when it was called.
                        return Poll::Pending;
                    };
                    let future = service.call(request);
                    self.set(Self::Called { future });
                }
            }
        }
    }
}

impl<P: Protocol> Clone for HandlerService<P> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<P: Protocol> fmt::Debug for HandlerService<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

impl<P: Protocol> fmt::Debug for HandlerFuture<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFuture").finish_non_exhaustive()
    }
}
