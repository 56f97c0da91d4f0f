//! What a server tells of itself: spans and events through `tracing`, as lines of text.
//!
//! `cargo run -p wireframe-tokio --example observability` runs a server over loopback TCP with
//! two clients, one of which breaks the protocol, and fails if the log does not say so.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    error::Error,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing::info;
use tracing_subscriber::EnvFilter;
use wireframe::{Envelope, Escaped, WireframeApp};
use wireframe_tokio::{Server, connect};

const WEIGH: u32 = 1;
const GREET: u32 = 2;

// ANCHOR: handler
async fn weigh(body: Bytes) -> Vec<u8> {
    let grams = body.len() as u64;
    info!(grams, "weighing");
    grams.to_be_bytes().to_vec()
}
// ANCHOR_END: handler

// ANCHOR: hostile
async fn greet(name: Bytes) -> String {
    let name = String::from_utf8_lossy(&name);
    info!(name = %Escaped(&name), "a guest");
    format!("Hello {name}")
}
// ANCHOR_END: hostile

/// Where the lines go: to be looked at when all is over.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn subscribe(log: &Log) -> Result<(), Box<dyn Error>> {
    let log = log.clone();
    // ANCHOR: subscribe
    let filter = EnvFilter::try_new("info,wireframe=debug")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || log.clone())
        .with_ansi(false)
        .init();
    // ANCHOR_END: subscribe
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let log = Log::default();
    subscribe(&log)?;
    let app = WireframeApp::new().route(WEIGH, weigh).route(GREET, greet);
    let server = Server::bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let served = tokio::spawn(server.serve(app));

    let client = connect(address).await?;
    client.call(Envelope::new(WEIGH, vec![0; 250])).await?;
    let name = "Anna\n\x1b[31mERROR all is lost";
    client.call(Envelope::new(GREET, name)).await?;
    drop(client);

    let mut stranger = TcpStream::connect(address).await?;
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    // Heard to the end, so that the server has said what it has to say.
    stranger.read_to_end(&mut Vec::new()).await?;
    drop(stranger);
    handle.shutdown();
    served.await??;

    let text = log.text();
    print!("{text}");
    check(&text)
}

/// Looks for what has to be there.
fn check(log: &str) -> Result<(), Box<dyn Error>> {
    let expected: [&[&str]; 3] = [
        &[
            "INFO",
            "connection{id=",
            ":request{id=",
            "route=1}",
            "weighing grams=250",
        ],
        &[
            "INFO",
            ":request{",
            r"a guest name=Anna\n\u{1b}[31mERROR all is lost",
        ],
        // The first four bytes are no length that is allowed.
        &[
            "INFO",
            "connection ended",
            "reason=max_frame_len is 1048576, got 1195725856",
        ],
    ];
    for parts in expected {
        if !log
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
        {
            return Err(format!("no line of the log has {parts:?}").into());
        }
    }
    Ok(())
}
