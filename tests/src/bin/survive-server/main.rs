//! A server in a process of its own, for tests of what it survives.
//!
//! It says where it listens, and answers each line of its input with what it has seen so far.
//! At the end of its input it shuts down and says what came of its connections.

mod load;
mod options;

use std::{
    convert::Infallible,
    io::{self, BufRead},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use wireframe::{
    CloseReason, Config, Context, Envelope, LengthDelimited, Role, SessionRegistry, View,
    WireframeApp, WireframeProtocol,
    proto::EnvelopeCodec,
    server::{ConnectionLimits, Server, ServerHandle},
};
use wireframe_tests::{AsyncStd, Flavour, Smol, TokioMany, allow_open_files};

use self::{load::Load, options::Options};

/// Envelopes, each of them a request. Counts connections.
#[derive(Clone, Debug, Default)]
struct Watched {
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl WireframeProtocol for Watched {
    type Frame = Envelope;
    type Error = Infallible;
    type Codec = EnvelopeCodec;
    type Framing = LengthDelimited;
    type Session = ();

    fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Envelope, _: &View<'_, ()>) -> Role {
        Role::Request {
            route: frame.id,
            correlation: None,
            exclusive: false,
        }
    }

    fn on_connection_setup(&self, _: &mut Context<'_, Self>) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn on_disconnect(&self, _: &CloseReason, _: &mut Context<'_, Self>) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

fn main() {
    let options = Options::from_command_line();
    if let Some(files) = options.files {
        allow_open_files(Some(files));
    }
    match options.runtime.as_str() {
        "tokio" => TokioMany::block_on(serve::<TokioMany>(options)),
        "async-std" => AsyncStd::block_on(serve::<AsyncStd>(options)),
        "smol" => Smol::block_on(serve::<Smol>(options)),
        other => panic!("expected tokio, async-std or smol, got {other}"),
    }
}

async fn serve<V: Flavour>(options: Options) {
    let server = Server::<V::Runtime>::bind("127.0.0.1:0").await;
    let mut limits = ConnectionLimits::default();
    if let Some(most) = options.connections {
        limits.max_connections = most;
    }
    let server = server.expect("a free port").limits(limits);
    let (handle, port) = (server.handle(), server.local_addr().expect("it listens"));
    let (watched, registry) = (Watched::default(), SessionRegistry::new());
    let app = WireframeApp::with_protocol(watched.clone())
        .registry(&registry)
        .route(1, |body: Bytes| body);
    let (app, load) = match &options.load {
        Some(load) => {
            let (app, load) = Load::put_on(app, load, &handle);
            (app, Some(load))
        }
        None => (app, None),
    };
    let app = app.config(config(&options));
    println!("port {}", port.port());
    thread::spawn({
        let handle = handle.clone();
        move || obey(&handle, &watched, &registry)
    });
    // Spawned, because what blocks on a future may not run it on a worker thread.
    let served = wireframe_tests::spawn::<V::Runtime, _>(server.serve(app));
    let report = served.join().await.expect("a fit app");
    if let Some(load) = load {
        load.report();
    }
    println!(
        "ended {} {} {}",
        report.drained, report.aborted, report.undelivered
    );
}

fn config(options: &Options) -> Config {
    let mut config = Config::default();
    if let Some(time) = options.frame {
        config.timeouts.frame_completion = time;
    }
    if let Some(time) = options.close {
        config.timeouts.close = time;
    }
    if options.load.is_some() {
        config.limits.max_frame_len = load::MAX_FRAME;
    }
    config
}

/// Says what there is, as often as it is asked, and ends when nobody asks any more.
fn obey(handle: &ServerHandle, watched: &Watched, registry: &SessionRegistry) {
    for _ in io::stdin().lock().lines().map_while(Result::ok) {
        println!(
            "state {} {} {} {}",
            handle.connections(),
            registry.len(),
            watched.begun.load(Ordering::SeqCst),
            watched.ended.load(Ordering::SeqCst),
        );
    }
    handle.shutdown();
}
