//! Duplex messaging: a chat room whose server speaks whenever it has something to say.
//!
//! `cargo run -p wireframe-tokio --example chat` runs a server and two clients over
//! loopback TCP, and fails if anything is not heard.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    error::Error,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use wireframe::{
    Clock, Envelope, Inbound, Priority, PushCapacity, PushHandle, PushLimits, PushPolicy, State,
    Tasks, WireframeApp,
};
use wireframe_tokio::{Server, connect, connect_with};

const SAY: u32 = 1;
const SUBSCRIBE: u32 = 2;
const NOTICE: u32 = 9;
const TICK: u32 = 10;

// ANCHOR: room
/// Everyone who is connected.
#[derive(Clone, Default)]
struct Room {
    members: Arc<Mutex<Vec<PushHandle>>>,
}

impl Room {
    fn join(&self, member: PushHandle) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.push(member);
    }

    /// Tells everyone. Who is too slow to listen misses it, and delays nobody.
    fn tell(&self, text: &Bytes) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| !member.is_closed());
        for member in &*members {
            let frame = Envelope::new(NOTICE, text.clone());
            // An error says that the member has just left.
            let _ = member.push_with_policy(Priority::Low, frame, PushPolicy::WarnAndDropIfFull);
        }
    }
}
// ANCHOR_END: room

// ANCHOR: handlers
/// Runs beside each connection from its beginning.
async fn welcome(push: PushHandle, State(room): State<Room>) {
    let greeting = Envelope::new(NOTICE, "welcome");
    if push.push_high_priority(greeting).await.is_ok() {
        room.join(push);
    }
}

/// Serves a request, and pushes to other connections than the one that asked.
async fn say(text: Bytes, State(room): State<Room>) -> &'static str {
    room.tell(&text);
    "told"
}
// ANCHOR_END: handlers

// ANCHOR: producer
/// Starts a producer that outlives the request.
async fn subscribe(push: PushHandle, clock: Clock, tasks: Tasks) -> &'static str {
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
fn app() -> WireframeApp {
    WireframeApp::new()
        .on_connect(welcome)
        .route(SAY, say)
        .route(SUBSCRIBE, subscribe)
        .state(Room::default())
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let served = tokio::spawn(server.serve(app()));

    // ANCHOR: on_push
    // A client that serves what the server pushes: no frame is missed, from the first on.
    let (heard, mut ana_hears) = tokio::sync::mpsc::unbounded_channel();
    let app = WireframeApp::new().on_push(
        async |Inbound(frame): Inbound<Envelope>, State(heard): State<Heard>| {
            // An error says that nobody listens any more.
            let _ = heard.send(frame);
        },
    );
    let ana = connect_with(address, app.state::<Heard>(heard)).await?;
    // ANCHOR_END: on_push
    expect(ana_hears.recv().await, "ana", "welcome")?;

    // ANCHOR: pushes
    // A client that takes them one by one, from here on.
    let ben = connect(address).await?;
    let mut ben_hears = ben.pushes();
    // ANCHOR_END: pushes
    expect(ben_hears.next().await.transpose()?, "ben", "welcome")?;

    let reply = ben.call(Envelope::new(SAY, "hello everyone")).await?;
    expect(Some(reply), "ben", "told")?;
    expect(ana_hears.recv().await, "ana", "hello everyone")?;
    expect(ben_hears.next().await.transpose()?, "ben", "hello everyone")?;

    let reply = ana.call(Envelope::new(SUBSCRIBE, "")).await?;
    expect(Some(reply), "ana", "subscribed")?;
    for n in 1u32..=3 {
        let tick = ana_hears.recv().await.ok_or("the connection ended")?;
        if tick.payload != n.to_be_bytes()[..] {
            return Err(format!("expected tick {n}, got {:?}", tick.payload).into());
        }
        println!("ana hears tick {n}");
    }

    drop((ana, ben, ben_hears));
    handle.shutdown();
    // Returns when every connection was drained and every producer has ended.
    served.await??;
    println!("everyone has left");
    Ok(())
}

type Heard = tokio::sync::mpsc::UnboundedSender<Envelope>;

fn expect(frame: Option<Envelope>, who: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let frame = frame.ok_or("the connection ended")?;
    if frame.payload != text.as_bytes() {
        return Err(format!("{who}: expected {text:?}, got {:?}", frame.payload).into());
    }
    println!("{who} hears {text:?}");
    Ok(())
}
