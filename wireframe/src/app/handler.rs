//! Functions as handlers.

use std::{
    future,
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

/// A function that can serve requests of protocol `P`.
///
/// It takes up to eight arguments, each of which implements [`Extract`], and returns what
/// implements [`IntoResponse`], or a future of that: an `fn` and an `async fn` are handlers
/// alike. What waits for nothing is better an `fn`, which is called without an allocation;
/// it must not block. `Args` are the arguments' types, those of an `fn` inside [`AtOnce`].
///
/// [`check_handler!`](crate::check_handler) says why a function is none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of the protocol `{P}`",
    label = "not a handler",
    note = "a handler is an `fn` or `async fn` of at most eight arguments that implement `Extract`; it returns what implements `IntoResponse`, and its future, if it is async, is `Send`",
    note = "put `wireframe::check_handler!(Protocol, function, number_of_arguments);` beside it to learn which argument or result is at fault"
)]
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

    /// Makes its arguments and calls it.
    #[doc(hidden)]
    fn call(
        &self,
        parts: &mut Parts<'_, P>,
    ) -> Started<impl Future<Output = Answer<P>> + Send + 'static, Answer<P>>;
}

/// Tells the arguments of a handler that answers when it is called from those of one that
/// returns a future.
#[derive(Debug)]
pub struct AtOnce<Args>(PhantomData<Args>);

/// How far a handler has come.
#[derive(Debug)]
pub enum Started<H, A> {
    /// What is left of it.
    AtWork(H),
    /// Its answer.
    Done(A),
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

/// What handlers of either kind have in common.
macro_rules! about_arguments {
    ($($arg:ident)*) => {
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
    };
}

/// Calls a function with arguments made from the parts, or returns why that failed.
macro_rules! call_with {
    ($function:ident, $parts:ident, $($arg:ident $value:ident)*) => {{
        $(let $value = match $arg::extract($parts) {
            Ok(argument) => argument,
            Err(error) => return Started::Done(Err(error)),
        };)*
        $function($($value),*)
    }};
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
            about_arguments!($($arg)*);

            fn call(
                &self,
                parts: &mut Parts<'_, P>,
            ) -> Started<impl Future<Output = Answer<P>> + Send + 'static, Answer<P>> {
                let route = parts.route();
                Started::AtWork(Answering {
                    handling: call_with!(self, parts, $($arg $value)*),
                    route,
                    protocol: PhantomData::<fn() -> P>,
                })
            }
        }

        impl<P, Fun, Res, $($arg,)*> Handler<P, AtOnce<($($arg,)*)>> for Fun
        where
            P: Protocol,
            Fun: Fn($($arg),*) -> Res + Send + Sync + 'static,
            Res: IntoResponse<P::Frame, P::Error>,
            $($arg: Extract<P>,)*
        {
            about_arguments!($($arg)*);

            fn call(
                &self,
                parts: &mut Parts<'_, P>,
            ) -> Started<impl Future<Output = Answer<P>> + Send + 'static, Answer<P>> {
                let route = parts.route();
                let answer = call_with!(self, parts, $($arg $value)*);
                Started::<future::Pending<Answer<P>>, _>::Done(answer.into_response(route))
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

/// What serves requests.
pub(crate) trait Serve<P: Protocol>: Send + Sync {
    /// Starts it and polls it once; most are done by then.
    fn start(
        &self,
        parts: &mut Parts<'_, P>,
        cx: &mut Context<'_>,
    ) -> Started<Handling<P>, Answer<P>>;
}

/// A handler whose type was forgotten.
pub(crate) trait AnyHandler<P: Protocol>: Serve<P> {
    fn frames_taken(&self) -> usize;
    fn bodies_taken(&self) -> usize;
    fn check(&self, needs: &Needs<'_>) -> Result<(), BuildError>;
}

/// Polls a future for the first time, on its way into its box.
#[inline]
pub(crate) fn start<P: Protocol>(
    future: impl Future<Output = Answer<P>> + Send + 'static,
    cx: &mut Context<'_>,
) -> Started<Handling<P>, Answer<P>> {
    let mut handling = Box::pin(future);
    match handling.as_mut().poll(cx) {
        Poll::Pending => Started::AtWork(handling),
        Poll::Ready(answer) => Started::Done(answer),
    }
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
}

impl<P: Protocol, Args, H: Handler<P, Args>> Serve<P> for Erased<H, Args> {
    fn start(
        &self,
        parts: &mut Parts<'_, P>,
        cx: &mut Context<'_>,
    ) -> Started<Handling<P>, Answer<P>> {
        match self.handler.call(parts) {
            Started::AtWork(future) => start::<P>(future, cx),
            Started::Done(answer) => Started::Done(answer),
        }
    }
}
