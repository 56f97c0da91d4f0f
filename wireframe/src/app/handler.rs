//! Functions as handlers.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::extract::{Extract, Needs, Parts};
use crate::{
    error::{BuildError, WireframeError},
    frame::Protocol,
    response::{IntoResponse, Response},
};

/// The outcome of a handler of protocol `P`.
pub(crate) type Answer<P> = Result<
    Response<
        <P as wireframe_proto::WireframeProtocol>::Frame,
        <P as wireframe_proto::WireframeProtocol>::Error,
    >,
    WireframeError<<P as wireframe_proto::WireframeProtocol>::Error>,
>;

/// A handler at work.
pub(crate) type Handling<P> = Pin<Box<dyn Future<Output = Answer<P>> + Send>>;

/// An async function that can serve requests of protocol `P`.
///
/// It takes up to eight arguments, each of which implements [`Extract`], and returns a
/// future of what implements [`IntoResponse`]. `Args` are its arguments' types.
pub trait Handler<P: Protocol, Args>: Send + Sync + 'static {
    /// How many of its arguments take the frame.
    fn frames_taken(&self) -> usize;

    /// How many of its arguments take the body.
    fn bodies_taken(&self) -> usize;

    /// Checks that the app has what its arguments need.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if it has not.
    fn check(&self, needs: &Needs<'_>) -> Result<(), BuildError>;

    /// Starts it; `None` if an argument could not be made.
    fn call(
        &self,
        parts: &mut Parts<'_, P>,
    ) -> Option<impl Future<Output = Answer<P>> + Send + 'static>;
}

pin_project! {
    /// A handler's future, whose output becomes an answer. Written by hand because an
    /// async block would keep room for the future twice.
    struct Answering<P, Fut> {
        #[pin]
        handling: Fut,
        route: u32,
        protocol: PhantomData<fn() -> P>,
    }
}

impl<P, Fut> Future for Answering<P, Fut>
where
    P: Protocol,
    Fut: Future<Output: IntoResponse<P::Frame, P::Error>>,
{
    type Output = Answer<P>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = this.handling.poll(cx);
        output.map(|output| output.into_response(*this.route))
    }
}

macro_rules! handlers {
    ($(($($arg:ident $value:ident)*))*) => {$(
        impl<P, Fun, Fut, Res, $($arg,)*> Handler<P, ($($arg,)*)> for Fun
        where
            P: Protocol,
            Fun: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Res> + Send + 'static,
            Res: IntoResponse<P::Frame, P::Error>,
            $($arg: Extract<P>,)*
        {
            fn frames_taken(&self) -> usize {
                0 $(+ usize::from($arg::TAKES_FRAME))*
            }

            fn bodies_taken(&self) -> usize {
                0 $(+ usize::from($arg::TAKES_BODY))*
            }

            fn check(&self, _needs: &Needs<'_>) -> Result<(), BuildError> {
                $($arg::check(_needs)?;)*
                Ok(())
            }

            fn call(
                &self,
                _parts: &mut Parts<'_, P>,
            ) -> Option<impl Future<Output = Answer<P>> + Send + 'static> {
                let route = _parts.info.map_or(0, |info| info.route);
                $(let $value = $arg::extract(_parts)?;)*
                Some(Answering {
                    handling: self($($value),*),
                    route,
                    protocol: PhantomData::<fn() -> P>,
                })
            }
        }
    )*};
}

handlers! {
    ()
    (A a)
    (A a B b)
    (A a B b C c)
    (A a B b C c D d)
    (A a B b C c D d E e)
    (A a B b C c D d E e G g)
    (A a B b C c D d E e G g H h)
    (A a B b C c D d E e G g H h I i)
}

/// A handler whose type was forgotten.
pub(crate) trait AnyHandler<P: Protocol>: Send + Sync {
    fn frames_taken(&self) -> usize;
    fn bodies_taken(&self) -> usize;
    fn check(&self, needs: &Needs<'_>) -> Result<(), BuildError>;

    /// Makes the handler's arguments, calls it, and polls it once; most are done by
    /// then. `None` if an argument could not be made.
    fn start(
        &self,
        parts: &mut Parts<'_, P>,
        cx: &mut Context<'_>,
    ) -> Option<Started<Handling<P>, Answer<P>>>;
}

/// How far a handler has come.
pub(crate) enum Started<H, A> {
    /// What is left of it.
    AtWork(H),
    Done(A),
}

struct Erased<H, Args> {
    handler: H,
    args: PhantomData<fn(Args)>,
}

pub(crate) fn erase<P: Protocol, Args: 'static>(
    handler: impl Handler<P, Args>,
) -> Box<dyn AnyHandler<P>> {
    Box::new(Erased {
        handler,
        args: PhantomData,
    })
}

impl<P: Protocol, Args, H: Handler<P, Args>> AnyHandler<P> for Erased<H, Args> {
    fn frames_taken(&self) -> usize {
        self.handler.frames_taken()
    }

    fn bodies_taken(&self) -> usize {
        self.handler.bodies_taken()
    }

    fn check(&self, needs: &Needs<'_>) -> Result<(), BuildError> {
        self.handler.check(needs)
    }

    fn start(
        &self,
        parts: &mut Parts<'_, P>,
        cx: &mut Context<'_>,
    ) -> Option<Started<Handling<P>, Answer<P>>> {
        let mut handling = Box::pin(self.handler.call(parts)?);
        Some(match handling.as_mut().poll(cx) {
            Poll::Pending => Started::AtWork(handling),
            Poll::Ready(answer) => Started::Done(answer),
        })
    }
}
