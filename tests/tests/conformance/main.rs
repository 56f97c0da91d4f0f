//! The same behaviour on every runtime: each scenario is a test of each of them.

/// Makes a test of each scenario on each runtime.
macro_rules! scenarios {
    ($($scenario:ident)*) => { $(
        mod $scenario {
            use wireframe_tests::{AsyncStd, Flavour, Smol, TokioMany, TokioOne, conform};

            use super::$scenario as scenario;

            const NAME: &str = stringify!($scenario);

            #[test]
            fn on_tokio_with_one_thread() {
                conform::<TokioOne, _>(NAME, scenario::<<TokioOne as Flavour>::Runtime>);
            }

            #[test]
            fn on_tokio_with_many_threads() {
                conform::<TokioMany, _>(NAME, scenario::<<TokioMany as Flavour>::Runtime>);
            }

            #[test]
            fn on_async_std() {
                conform::<AsyncStd, _>(NAME, scenario::<<AsyncStd as Flavour>::Runtime>);
            }

            #[test]
            fn on_smol() {
                conform::<Smol, _>(NAME, scenario::<<Smol as Flavour>::Runtime>);
            }
        }
    )* };
}

mod addresses;
mod calls;
mod clients;
mod ends;
mod failures;
mod payloads;
mod pushes;
mod shutdown;
mod silence;
mod snapshots;
mod streams;
mod support;
mod tls;
mod traces;
