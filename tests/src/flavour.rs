//! The runtimes that a scenario runs on, and what it needs of one.

use std::{
    net::SocketAddr,
    panic::resume_unwind,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tokio::{runtime::Builder, sync::oneshot};
use wireframe::{
    BuildError, Client, Protocol, WireframeApp,
    rt::Runtime,
    server::{ConnectionLimits, ListenOptions, Server, ServerHandle, ShutdownReport},
};

/// How long a scenario may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(40);

/// A runtime, and how to enter it.
pub trait Flavour {
    /// What the library needs of it.
    type Runtime: Runtime;

    /// Runs a future to its end.
    fn block_on(future: impl Future<Output = ()>);
}

/// Tokio on one thread.
#[derive(Debug)]
pub struct TokioOne;

impl Flavour for TokioOne {
    type Runtime = wireframe_tokio::TokioRuntime;

    fn block_on(future: impl Future<Output = ()>) {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(future);
    }
}

/// Tokio on four threads.
#[derive(Debug)]
pub struct TokioMany;

impl Flavour for TokioMany {
    type Runtime = wireframe_tokio::TokioRuntime;

    fn block_on(future: impl Future<Output = ()>) {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(4).enable_all().build();
        runtime.expect("a runtime").block_on(future);
    }
}

/// Async-std.
#[derive(Debug)]
pub struct AsyncStd;

impl Flavour for AsyncStd {
    type Runtime = wireframe_async_std::AsyncStdRuntime;

    fn block_on(future: impl Future<Output = ()>) {
        async_std::task::block_on(future);
    }
}

/// Smol.
#[derive(Debug)]
pub struct Smol;

impl Flavour for Smol {
    type Runtime = wireframe_smol::SmolRuntime;

    fn block_on(future: impl Future<Output = ()>) {
        smol::block_on(future);
    }
}

/// Runs a scenario on a runtime. The time is kept by neither of them, so that one whose
/// timer does not run, or which does not let others run, fails like any other.
///
/// # Panics
///
/// If the scenario does, or has not ended in time.
pub fn conform<V: Flavour, F: Future<Output = ()>>(
    name: &'static str,
    scenario: impl FnOnce() -> F + Send + 'static,
) {
    let (running, ended) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(move || {
        let _running = running;
        V::block_on(scenario());
    });
    match ended.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Disconnected) => {
            let ended = thread.expect("a thread").join();
            ended.unwrap_or_else(|panic| resume_unwind(panic));
        }
        _ => panic!("{name} has not ended after {PATIENCE:?}"),
    }
}

/// Makes a test of each scenario on each runtime.
#[macro_export]
macro_rules! scenarios {
    ($($scenario:ident)*) => { $(
        mod $scenario {
            use $crate::{AsyncStd, Flavour, Smol, TokioMany, TokioOne, conform};

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

/// A future that runs as a task.
#[derive(Debug)]
pub struct Spawned<T>(oneshot::Receiver<T>);

/// Runs a future as a task.
pub fn spawn<R: Runtime, T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Spawned<T> {
    let (output, spawned) = oneshot::channel();
    R::environment().tasks.spawn(async move {
        // Nobody may care.
        let _ = output.send(future.await);
    });
    Spawned(spawned)
}

impl<T> Spawned<T> {
    /// What came of it.
    ///
    /// # Panics
    ///
    /// If it has panicked.
    pub async fn join(self) -> T {
        self.0.await.expect("the task did not panic")
    }
}

/// A server on a free port of the loopback, of any runtime.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    /// What shuts it down.
    pub handle: ServerHandle,
    served: Spawned<Result<ShutdownReport, BuildError>>,
}

impl Serving {
    /// Starts to serve an app.
    pub async fn start<R: Runtime, P: Protocol>(app: WireframeApp<P>) -> Self {
        let (options, limits) = (ListenOptions::default(), ConnectionLimits::default());
        Self::start_with::<R, P>(app, &options, limits).await
    }

    /// Starts to serve an app, with these options.
    pub async fn start_with<R: Runtime, P: Protocol>(
        app: WireframeApp<P>,
        options: &ListenOptions,
        limits: ConnectionLimits,
    ) -> Self {
        let server = Server::<R>::bind_with("127.0.0.1:0", options).await;
        let server = server.expect("a free port").limits(limits);
        Self {
            address: server.local_addr().expect("a bound socket"),
            handle: server.handle(),
            served: spawn::<R, _>(server.serve(app)),
        }
    }

    /// A client of it, of the default protocol.
    pub async fn client<R: Runtime>(&self) -> Client {
        let client = wireframe::connect::<R, _>(self.address, WireframeApp::new());
        client.await.expect("a server listens")
    }

    /// Waits for its end.
    pub async fn ended(self) {
        let served = self.served.join().await;
        served.expect("the app was fit to serve");
        let left = self.handle.connections();
        assert_eq!(left, 0, "connections outlive their server");
    }

    /// Shuts it down and waits for its end.
    pub async fn end(self) {
        self.handle.shutdown();
        self.ended().await;
    }
}
