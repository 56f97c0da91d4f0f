//! Runtimes, and how long a test may take.

use std::{fmt::Display, thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// How long anything may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits something that must come soon.
///
/// # Panics
///
/// If it does not.
pub async fn soon<F: Future>(what: impl Display, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("nothing within {PATIENCE:?}: {what}"),
    }
}

/// Runs a test on a current-thread runtime, then on a multi-thread one.
pub fn on_each_runtime<F: Future>(test: impl Fn() -> F) {
    on_one_thread(test());
    on_many_threads(test());
}

/// Runs a test on a current-thread runtime.
pub fn on_one_thread<F: Future>(test: F) {
    run(Builder::new_current_thread().enable_all().build(), test);
}

/// Runs a test on a multi-thread runtime.
pub fn on_many_threads<F: Future>(test: F) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build();
    run(runtime, test);
}

fn run<F: Future>(runtime: std::io::Result<Runtime>, test: F) {
    let runtime = runtime.expect("a runtime");
    let _told = Told(runtime.handle().runtime_flavor());
    // Twice the patience of its steps, so that the step that hangs is the one that fails.
    runtime
        .block_on(async { timeout(2 * PATIENCE, test).await })
        .expect("the test does not end");
}

/// Tells on which runtime a test has failed.
struct Told(tokio::runtime::RuntimeFlavor);

impl Drop for Told {
    #[expect(clippy::print_stderr, reason = "a failing test is to be read")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("on the {:?} runtime", self.0);
        }
    }
}
