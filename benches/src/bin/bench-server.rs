//! Wireframe under test: the routes of the fixed wire, through the public router, push
//! handle and responses.

use std::{
    error::Error,
    io,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use futures_util::stream::iter;
use wireframe::{
    Config, PayloadFrame, Protocol, PushCapacity, PushHandle, PushLimits, Response, State,
    TaskTracker, WireframeApp, WireframeError, rt, server::Server,
};
use wireframe_async_std::AsyncStdRuntime;
use wireframe_benches::{
    fixed::FixedProtocol,
    limits::raise_open_files,
    server::{ServerOptions, announce_ready},
    wire::{Job, Sequenced, route},
};
use wireframe_smol::SmolRuntime;
use wireframe_tokio::TokioRuntime;

/// Frames that may be outstanding on a connection before its producers wait.
const PUSH_QUEUE: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

#[derive(Debug, Parser)]
#[command(about = "Echo, push, broadcast and stream with Wireframe")]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    /// What the frames look like.
    #[arg(long, value_enum, default_value = "fixed")]
    wire: Wire,
    /// What runs it. Only tokio heeds `--threads`; the others read `ASYNC_STD_THREAD_COUNT`
    /// and `SMOL_THREADS` from the environment.
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Runtime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wire {
    /// `[u32 body length][u32 route][u64 correlation id][payload]`.
    Fixed,
    /// The default protocol.
    Envelope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runtime {
    Tokio,
    AsyncStd,
    Smol,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    raise_open_files();
    // Spawned, because what blocks on a future does not run it on a worker thread.
    match options.runtime {
        Runtime::Tokio => {
            let runtime = options.server.runtime()?;
            let serving = runtime.spawn(serve_wire::<TokioRuntime>(options));
            runtime.block_on(serving)??;
        }
        Runtime::AsyncStd => {
            let serving = async_std::task::spawn(serve_wire::<AsyncStdRuntime>(options));
            async_std::task::block_on(serving)?;
        }
        Runtime::Smol => smol::block_on(smol::spawn(serve_wire::<SmolRuntime>(options)))?,
    }
    Ok(())
}

async fn serve_wire<R: rt::Runtime>(options: Options) -> io::Result<()> {
    match options.wire {
        Wire::Fixed => serve::<R, _>(options, WireframeApp::with_protocol(FixedProtocol)).await,
        Wire::Envelope => serve::<R, _>(options, WireframeApp::new()).await,
    }
}

async fn serve<R, P>(options: Options, app: WireframeApp<P>) -> io::Result<()>
where
    R: rt::Runtime,
    P: Protocol<Frame: PayloadFrame + Clone>,
{
    let mut config = Config::default();
    config.limits.max_frame_len =
        NonZeroUsize::new(options.server.max_frame).unwrap_or(NonZeroUsize::MIN);
    // The bytes bind later than the frames, whatever the frames' size.
    let bytes = PUSH_QUEUE.saturating_mul(config.limits.max_frame_len);
    let capacity = PushCapacity::new()
        .with_frames(PUSH_QUEUE)
        .with_bytes(bytes);
    let app = app
        .config(config)
        .push_limits(PushLimits::both(capacity))
        .state(Joined::<P::Frame>::default())
        .route(route::ECHO, echo)
        .route(route::PUSH, push::<P::Frame, P::Error>)
        .route(route::BROADCAST, broadcast::<P::Frame, P::Error>)
        .route(route::STREAM, stream::<P::Frame, P::Error>);
    let server = Server::<R>::bind(options.server.address()).await?;
    announce_ready()?;
    server.serve(app).await.map_err(io::Error::other)?;
    Ok(())
}

async fn echo(body: Bytes) -> Bytes {
    body
}

fn job<E>(body: &Bytes) -> Result<Job, WireframeError<E>> {
    Job::parse(body).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData).into())
}

/// Starts a producer for this connection.
async fn push<F: PayloadFrame, E>(
    body: Bytes,
    handle: PushHandle<F>,
    tasks: TaskTracker,
) -> Result<(), WireframeError<E>> {
    let job = job(&body)?;
    tasks.spawn(async move {
        for payload in Sequenced::new(job) {
            let frame = F::answering(route::PUSH, payload);
            if handle.push_low_priority(frame).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Connections that wait for a broadcast to have enough of them.
type Joined<F> = Arc<Mutex<Vec<PushHandle<F>>>>;

/// Enters this connection, and starts a producer for all once there are enough.
async fn broadcast<F: PayloadFrame + Clone, E>(
    body: Bytes,
    handle: PushHandle<F>,
    State(joined): State<Joined<F>>,
    tasks: TaskTracker,
) -> Result<(), WireframeError<E>> {
    let job = job(&body)?;
    let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
    joined.push(handle);
    if joined.len() >= job.conns as usize {
        tasks.spawn(produce(job, std::mem::take(&mut *joined)));
    }
    Ok(())
}

/// Awaits a push of each frame to each connection; one that left is passed over.
async fn produce<F: PayloadFrame + Clone>(job: Job, connections: Vec<PushHandle<F>>) {
    for payload in Sequenced::new(job) {
        let frame = F::answering(route::BROADCAST, payload);
        for connection in &connections {
            let _ = connection.push_low_priority(frame.clone()).await;
        }
    }
}

async fn stream<F: PayloadFrame, E: 'static>(
    body: Bytes,
) -> Result<Response<F, E>, WireframeError<E>> {
    let payloads = Sequenced::new(job(&body)?);
    let frames = payloads.map(|payload| F::answering(route::STREAM, payload));
    Ok(Response::frames(iter(frames)))
}
