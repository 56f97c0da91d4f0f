//! Behind [`check_handler!`](crate::check_handler): asks one thing at a time, so that the
//! compiler can say which one is not so.

use std::marker::PhantomData;

use super::extract::Extract;
use crate::{frame::Protocol, response::IntoResponse};

/// Says why a function is not a handler.
///
/// A function with a wrong argument or result is refused where it is given to an app, and
/// the compiler then cannot say more than that it is not a [`Handler`](crate::Handler).
/// This macro asks for each argument and for the result by itself. It takes the protocol,
/// the function, and the number of its arguments, and does nothing at run time.
///
/// ```compile_fail
/// use wireframe::{EnvelopeProtocol, check_handler};
///
/// async fn greet(name: String) -> String {
///     format!("Hello {name}")
/// }
///
/// // error: `String` cannot be an argument of a handler of the protocol ..
/// check_handler!(EnvelopeProtocol, greet, 1);
/// ```
#[macro_export]
macro_rules! check_handler {
    ($protocol:ty, $function:expr, 0) => {
        $crate::check_handler!(@ $protocol, $function, takes_0);
    };
    ($protocol:ty, $function:expr, 1) => {
        $crate::check_handler!(@ $protocol, $function, takes_1 a);
    };
    ($protocol:ty, $function:expr, 2) => {
        $crate::check_handler!(@ $protocol, $function, takes_2 a b);
    };
    ($protocol:ty, $function:expr, 3) => {
        $crate::check_handler!(@ $protocol, $function, takes_3 a b c);
    };
    ($protocol:ty, $function:expr, 4) => {
        $crate::check_handler!(@ $protocol, $function, takes_4 a b c d);
    };
    ($protocol:ty, $function:expr, 5) => {
        $crate::check_handler!(@ $protocol, $function, takes_5 a b c d e);
    };
    ($protocol:ty, $function:expr, 6) => {
        $crate::check_handler!(@ $protocol, $function, takes_6 a b c d e f);
    };
    ($protocol:ty, $function:expr, 7) => {
        $crate::check_handler!(@ $protocol, $function, takes_7 a b c d e f g);
    };
    ($protocol:ty, $function:expr, 8) => {
        $crate::check_handler!(@ $protocol, $function, takes_8 a b c d e f g h);
    };
    ($protocol:ty, $function:expr, $number:literal) => {
        ::core::compile_error!("a handler takes at most 8 arguments");
    };
    (@ $protocol:ty, $function:expr, $takes:ident $($argument:ident)*) => {
        const _: fn() = || {
            #[allow(unused_imports, reason = "needed unless it returns a future")]
            use $crate::__check::NotAFuture as _;
            let (($($argument,)*), returned) = $crate::__check::$takes(&$function);
            $($argument.check::<$protocol>();)*
            returned.check::<$protocol>();
        };
    };
}

/// What a function takes.
#[derive(Debug)]
pub struct Argument<A>(PhantomData<A>);

impl<A> Argument<A> {
    /// Checks that it can be taken.
    pub fn check<P: Protocol>(self)
    where
        A: Extract<P>,
    {
    }
}

/// What a function returns.
#[derive(Debug)]
pub struct Returned<Res>(PhantomData<Res>);

impl<Fut: Future> Returned<Fut> {
    /// Checks the future of an async function.
    pub fn check<P: Protocol>(self)
    where
        Fut: Send + 'static,
        Fut::Output: IntoResponse<P::Frame, P::Error>,
    {
    }
}

/// Found where [`Returned`] has no method of its own, because there is no future.
pub trait NotAFuture<Res>: Sized {
    /// Checks the result of a plain function.
    fn check<P: Protocol>(self)
    where
        Res: IntoResponse<P::Frame, P::Error>,
    {
    }
}

impl<Res> NotAFuture<Res> for Returned<Res> {}

macro_rules! signatures {
    ($($takes:ident ($($arg:ident)*))*) => {$(
        /// Checks that a function has so many arguments.
        pub fn $takes<Fun, Res, $($arg),*>(_: &Fun) -> (($(Argument<$arg>,)*), Returned<Res>)
        where
            Fun: Fn($($arg),*) -> Res + Send + Sync + 'static,
        {
            (($(Argument::<$arg>(PhantomData),)*), Returned(PhantomData))
        }
    )*};
}

signatures! {
    takes_0 ()
    takes_1 (A)
    takes_2 (A B)
    takes_3 (A B C)
    takes_4 (A B C D)
    takes_5 (A B C D E)
    takes_6 (A B C D E G)
    takes_7 (A B C D E G H)
    takes_8 (A B C D E G H I)
}
