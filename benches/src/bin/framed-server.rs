//! The peer: a server as most people write it by hand. Tokio, `Framed` with a codec, and
//! for each connection a task that selects over a bounded queue of pushes, the socket and
//! the streaming response in progress.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Parser, ValueEnum};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::codec::Framed;
use wireframe_benches::codec::{FixedCodec, Frame};
use wireframe_benches::limits::raise_open_files;
use wireframe_benches::server::{ServerOptions, announce_ready};
use wireframe_benches::wire::{Job, Sequenced, route};

/// Frames that may wait for a connection before its producers do.
const PUSH_QUEUE: usize = 1024;

#[derive(Debug, Parser)]
#[command(about = "Echo, push, broadcast and stream with tokio and Framed")]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    /// When replies are flushed.
    #[arg(long, value_enum, default_value = "idle")]
    flush: Flush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Flush {
    /// When nothing more is ready.
    Idle,
    /// After each reply, as `Framed::send` does.
    Each,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    raise_open_files();
    let runtime = options.server.runtime()?;
    // Spawned, because `block_on` itself does not run on a worker thread.
    runtime.block_on(async { tokio::spawn(serve(options)).await })?
}

async fn serve(options: Options) -> io::Result<()> {
    let listener = TcpListener::bind(options.server.address()).await?;
    let joined = Joined::default();
    announce_ready()?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let connection = Connection::new(socket, &options, Arc::clone(&joined));
        tokio::spawn(async move {
            // An error here is a client that left or broke the wire; either ends the connection.
            let _ = connection.run().await;
        });
    }
}

/// Connections that wait for a broadcast to have enough of them.
type Joined = Arc<Mutex<Vec<Sender<Frame>>>>;

struct Connection {
    framed: Framed<TcpStream, FixedCodec>,
    /// Kept, so that the queue outlives its producers.
    push: Sender<Frame>,
    pushes: Receiver<Frame>,
    streams: VecDeque<Produced>,
    joined: Joined,
    flush: Flush,
}

enum Event {
    Request(Frame),
    Reply(Frame),
    Closed,
}

impl Connection {
    fn new(socket: TcpStream, options: &Options, joined: Joined) -> Self {
        let (push, pushes) = mpsc::channel(PUSH_QUEUE);
        Self {
            framed: Framed::new(socket, FixedCodec::new(options.server.max_frame)),
            push,
            pushes,
            streams: VecDeque::new(),
            joined,
            flush: options.flush,
        }
    }

    async fn run(mut self) -> io::Result<()> {
        loop {
            let mut event = self.next_event().await?;
            loop {
                match event {
                    Event::Request(request) => self.handle(request).await?,
                    Event::Reply(reply) => self.reply(reply).await?,
                    Event::Closed => return self.framed.flush().await,
                }
                match self.next_event().now_or_never() {
                    Some(next) => event = next?,
                    None => break,
                }
            }
            self.framed.flush().await?;
        }
    }

    async fn next_event(&mut self) -> io::Result<Event> {
        let streams = &mut self.streams;
        // The block, rather than a ready value, keeps the frame in its stream when another
        // branch wins.
        let streamed = async { next_streamed(streams) };
        tokio::select! {
            biased;
            Some(push) = self.pushes.recv() => Ok(Event::Reply(push)),
            request = self.framed.next() => Ok(match request {
                Some(request) => Event::Request(request?),
                None => Event::Closed,
            }),
            Some(reply) = streamed => Ok(Event::Reply(reply)),
        }
    }

    async fn handle(&mut self, request: Frame) -> io::Result<()> {
        if request.route == route::ECHO {
            return self.reply(request).await;
        }
        let job = Job::parse(&request.payload).ok_or(io::ErrorKind::InvalidData)?;
        match request.route {
            route::PUSH => {
                let frames = Produced::new(route::PUSH, 0, job);
                tokio::spawn(produce(frames, vec![self.push.clone()]));
            }
            route::BROADCAST => self.join(job),
            route::STREAM => {
                let frames = Produced::new(route::STREAM, request.correlation, job);
                self.streams.push_back(frames);
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(())
    }

    async fn reply(&mut self, frame: Frame) -> io::Result<()> {
        match self.flush {
            Flush::Idle => self.framed.feed(frame).await,
            Flush::Each => self.framed.send(frame).await,
        }
    }

    fn join(&self, job: Job) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.push(self.push.clone());
        if joined.len() >= job.conns as usize {
            let everyone = std::mem::take(&mut *joined);
            tokio::spawn(produce(Produced::new(route::BROADCAST, 0, job), everyone));
        }
    }
}

/// Awaits a push of each frame to each connection; one that left is passed over.
async fn produce(frames: Produced, connections: Vec<Sender<Frame>>) {
    for frame in frames {
        for connection in &connections {
            let _ = connection.send(frame.clone()).await;
        }
    }
}

/// The next frame of the oldest streaming response.
fn next_streamed(streams: &mut VecDeque<Produced>) -> Option<Frame> {
    while let Some(stream) = streams.front_mut() {
        if let Some(frame) = stream.next() {
            return Some(frame);
        }
        streams.pop_front();
    }
    None
}

/// The frames that a job asks for.
struct Produced {
    route: u32,
    correlation: u64,
    payloads: Sequenced,
}

impl Produced {
    const fn new(route: u32, correlation: u64, job: Job) -> Self {
        Self {
            route,
            correlation,
            payloads: Sequenced::new(job),
        }
    }
}

impl Iterator for Produced {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        Some(Frame {
            route: self.route,
            correlation: self.correlation,
            payload: self.payloads.next()?,
        })
    }
}
