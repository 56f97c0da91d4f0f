//! What a server survives: it runs in a process of its own, and its clients in this one or in
//! others. With `SURVIVE=long` in the environment there are more of everything, and times are
//! taken.
#![cfg(target_os = "linux")]

/// Makes a test of a scenario on each runtime.
macro_rules! on_each_runtime {
    ($($scenario:ident)*) => { $(
        mod $scenario {
            #[test]
            fn on_tokio() {
                super::$scenario("tokio");
            }

            #[test]
            fn on_smol() {
                super::$scenario("smol");
            }

            #[test]
            fn on_async_std() {
                super::$scenario("async-std");
            }
        }
    )* };
}

mod gone;
mod idle;
mod server;
mod short_of_files;
mod shutdowns;
mod slow;
