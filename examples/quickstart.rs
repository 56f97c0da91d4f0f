//! The example `quickstart`, on any runtime: each adapter's has the `main` to it.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{error::Error, io, num::NonZeroUsize};

use bytes::Bytes;
use futures_util::future::join;
use wireframe::{
    Client, Envelope, Priority, PushCapacity, PushHandle, PushLimits, PushPolicy, Response,
    TryPushError, WireframeApp, connect,
    rt::{Address, Runtime},
    server::Server,
};

const ECHO: u32 = 1;
const STREAM: u32 = 2;
const FLOOD: u32 = 3;
const NOTICE: u32 = 9;

/// Frames of the streamed reply, 1 KiB each.
const FRAMES: usize = 200;

/// Answers with what it got.
async fn echo(body: Bytes) -> Bytes {
    body
}

/// Answers with many frames, and half-way pushes one frame of each priority, low first.
async fn stream(push: PushHandle) -> Response {
    Response::frames(async_stream::stream! {
        for n in 1..=FRAMES {
            if n == FRAMES / 2 {
                push.push_low_priority(Envelope::new(NOTICE, "low push")).await.ok();
                push.push_high_priority(Envelope::new(NOTICE, "high push")).await.ok();
            }
            yield Envelope::new(STREAM, vec![b'.'; 1024]);
        }
    })
}

/// Pushes more than its queue takes, and answers with what came of it.
async fn flood(push: PushHandle) -> String {
    let mut accepted = 0;
    let refused = loop {
        match push.try_push(Priority::Low, Envelope::new(NOTICE, "flood")) {
            Ok(()) => accepted += 1,
            Err(TryPushError::Full(frame)) => break frame,
            Err(error) => return error.to_string(),
        }
    };
    let dropped = push.push_with_policy(Priority::Low, refused, PushPolicy::DropIfFull);
    format!("{accepted} pushes fit, the next was refused, then dropped on request: {dropped:?}")
}

fn app() -> WireframeApp {
    let four = NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN);
    WireframeApp::new()
        .route(ECHO, echo)
        .route(STREAM, stream)
        .route(FLOOD, flood)
        .push_limits(PushLimits::both(PushCapacity::new().with_frames(four)))
}

/// Does what the command line says. `ctrl_c` is over when somebody has pressed these keys.
pub(crate) async fn run<R: Runtime>(
    ctrl_c: impl Future<Output = io::Result<()>> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, None) => demonstrate::<R>().await,
        (Some("serve"), Some(address)) => serve::<R>(address, ctrl_c).await,
        _ => Err("usage: quickstart [serve ADDRESS:PORT]".into()),
    }
}

// ANCHOR: serve
async fn serve<R: Runtime>(
    address: impl Into<Address>,
    ctrl_c: impl Future<Output = io::Result<()>> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let server = Server::<R>::bind(address).await?.shutdown_on(ctrl_c);
    println!("serving on {}", server.local_addr()?);
    let report = server.serve(app()).await?;
    println!("drained {}, aborted {}", report.drained, report.aborted);
    Ok(())
}
// ANCHOR_END: serve

async fn demonstrate<R: Runtime>() -> Result<(), Box<dyn Error>> {
    let server = Server::<R>::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    println!("server   listens on {address}");
    let using = async {
        let used = call::<R>(address.into()).await;
        handle.shutdown();
        used
    };
    let (served, used) = join(server.serve(app()), using).await;
    used?;
    served?;
    println!("end      every connection drained, every task ended");
    Ok(())
}

async fn call<R: Runtime>(address: Address) -> Result<(), Box<dyn Error>> {
    let client = connect::<R, _>(address, WireframeApp::new()).await?;
    let reply = client.call(Envelope::new(ECHO, "hello")).await?;
    println!("request  \"hello\" -> reply {}", text(&reply.payload));

    stream_with_pushes(&client).await?;

    let reply = client.call(Envelope::new(FLOOD, "")).await?;
    println!("flood    {}", text(&reply.payload));
    Ok(())
}

/// Asks for the streamed reply and shows in which order its frames and the pushes come.
async fn stream_with_pushes(client: &Client) -> Result<(), Box<dyn Error>> {
    let mut pushes = client.pushes();
    println!(
        "stream   {FRAMES} frames of 1 KiB; at frame {} the handler pushes low, then high",
        FRAMES / 2
    );
    let request = Envelope::new(STREAM, "");
    client.push_handle().push_low_priority(request).await?;
    let mut frames = 0;
    while frames < FRAMES {
        let frame = pushes.next().await.ok_or("connection ended")??;
        if frame.id == STREAM {
            frames += 1;
        } else {
            println!("stream   {} after frame {frames}", text(&frame.payload));
        }
    }
    println!("stream   all {frames} frames");
    Ok(())
}

fn text(payload: &Bytes) -> String {
    format!("{:?}", String::from_utf8_lossy(payload))
}
