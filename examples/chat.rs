//! The example `chat`, on any runtime: each adapter's has the `main` to it.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    error::Error,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join;
use wireframe::{
    Clock, DeadLetters, Envelope, Inbound, Priority, PushCapacity, PushHandle, PushLimits,
    PushPolicy, RateLimit, SessionRegistry, State, TaskTracker, WireframeApp, connect,
    dead_letter_queue, rt::Runtime, server::Server,
};

const SAY: u32 = 1;
const SUBSCRIBE: u32 = 2;
const NOTICE: u32 = 9;
const TICK: u32 = 10;

// ANCHOR: handlers
/// Runs beside each connection from its beginning.
async fn welcome(push: PushHandle) {
    // An error says that the connection has ended already.
    let _ = push
        .push_high_priority(Envelope::new(NOTICE, "welcome"))
        .await;
}
// ANCHOR_END: handlers

// ANCHOR: room
/// Serves a request, and pushes to everyone. Who is too slow to listen misses it, and
/// delays nobody.
async fn say(text: Bytes, State(room): State<SessionRegistry>) -> String {
    let frame = Envelope::new(NOTICE, text);
    let told = room.broadcast(frame, Priority::Low, PushPolicy::DropIfFull);
    format!("told {}", told.queued)
}
// ANCHOR_END: room

// ANCHOR: producer
/// Starts a producer that outlives the request.
async fn subscribe(push: PushHandle, clock: Clock, tasks: TaskTracker) -> &'static str {
    tasks.spawn(async move {
        for n in 1u32.. {
            clock.sleep(Duration::from_millis(5)).await;
            // Waits while there is no room, and takes the slot before the frame is made.
            let Ok(permit) = push.reserve(Priority::Low).await else {
                return; // The connection has ended, and so does its producer.
            };
            let frame = Envelope::new(TICK, n.to_be_bytes().to_vec());
            if permit.send(frame).is_err() {
                return;
            }
        }
    });
    "subscribed"
}
// ANCHOR_END: producer

// ANCHOR: app
fn app(room: &SessionRegistry) -> WireframeApp {
    WireframeApp::new()
        .on_connect(welcome)
        .route(SAY, say)
        .route(SUBSCRIBE, subscribe)
        .registry(room)
        .state(room.clone())
        .push_limits(limits())
}
// ANCHOR_END: app

// ANCHOR: limits
/// Of either priority at most 64 frames, of 64 KiB together, are outstanding.
fn limits() -> PushLimits {
    const MOST: NonZeroUsize = NonZeroUsize::new(64).unwrap();
    const BYTES: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();
    PushLimits::both(PushCapacity::new().with_frames(MOST).with_bytes(BYTES))
}
// ANCHOR_END: limits

// ANCHOR: rate
/// On each connection at most 100 pushes per second, and at most 20 at once.
fn at_ease(app: WireframeApp) -> WireframeApp {
    const RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();
    const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();
    app.rate_limit(RateLimit::per_second(RATE).with_burst(BURST))
}
// ANCHOR_END: rate

// ANCHOR: dead_letters
/// Tells whoever runs the server what was accepted and cannot be sent.
fn without_silence(app: WireframeApp, tasks: &TaskTracker) -> WireframeApp {
    const MOST: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
    let (sender, letters) = dead_letter_queue(MOST);
    tasks.spawn(report(letters));
    app.dead_letters(sender)
}

async fn report(letters: DeadLetters) {
    while let Some(letter) = letters.recv().await {
        let (connection, reason, frame) = (letter.connection, letter.reason, letter.frame);
        println!("{connection} missed a frame of {}: {reason:?}", frame.id);
    }
}
// ANCHOR_END: dead_letters

/// Runs a server and two clients, and fails if anything is not heard.
pub(crate) async fn run<R: Runtime>() -> Result<(), Box<dyn Error>> {
    let server = Server::<R>::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let room = SessionRegistry::new();
    let app = without_silence(at_ease(app(&room)), &R::environment().tasks);
    let chatting = async {
        let heard = chat::<R>(address).await;
        handle.shutdown();
        heard
    };
    // The server returns when every connection was drained and every producer has ended.
    let (served, heard) = join(server.serve(app), chatting).await;
    heard?;
    served?;
    if !room.is_empty() {
        return Err(format!("{} are still in the room", room.len()).into());
    }
    println!("everyone has left");
    Ok(())
}

async fn chat<R: Runtime>(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    // ANCHOR: on_push
    // A client that serves what the server pushes: no frame is missed, from the first on.
    let (heard, ana_hears) = async_channel::unbounded();
    let app = WireframeApp::new().on_push(
        async |Inbound(frame): Inbound<Envelope>, State(heard): State<Heard>| {
            // An error says that nobody listens any more.
            let _ = heard.send(frame).await;
        },
    );
    let ana = connect::<R, _>(address, app.state::<Heard>(heard)).await?;
    // ANCHOR_END: on_push
    expect(ana_hears.recv().await.ok(), "ana", "welcome")?;

    // ANCHOR: pushes
    // A client that takes them one by one, from here on.
    let ben = connect::<R, _>(address, WireframeApp::new()).await?;
    let mut ben_hears = ben.pushes();
    // ANCHOR_END: pushes
    expect(ben_hears.next().await.transpose()?, "ben", "welcome")?;

    let reply = ben.call(Envelope::new(SAY, "hello everyone")).await?;
    expect(Some(reply), "ben", "told 2")?;
    expect(ana_hears.recv().await.ok(), "ana", "hello everyone")?;
    expect(ben_hears.next().await.transpose()?, "ben", "hello everyone")?;

    let reply = ana.call(Envelope::new(SUBSCRIBE, "")).await?;
    expect(Some(reply), "ana", "subscribed")?;
    for n in 1u32..=3 {
        let tick = ana_hears.recv().await?;
        if tick.payload != n.to_be_bytes()[..] {
            return Err(format!("expected tick {n}, got {:?}", tick.payload).into());
        }
        println!("ana hears tick {n}");
    }
    Ok(())
}

type Heard = async_channel::Sender<Envelope>;

fn expect(frame: Option<Envelope>, who: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let frame = frame.ok_or("the connection ended")?;
    if frame.payload != text.as_bytes() {
        return Err(format!("{who}: expected {text:?}, got {:?}", frame.payload).into());
    }
    println!("{who} hears {text:?}");
    Ok(())
}
