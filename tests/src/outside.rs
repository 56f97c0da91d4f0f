//! A peer that knows nothing of the library, nor of any async runtime.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::sync::oneshot;
use wireframe::Envelope;

use crate::{Record, envelope, open_envelope, wire};

/// How long the system may take over one thing.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that is a blocking socket. What waits runs on a thread of its own, so that it
/// can be awaited on any runtime. A unit begins with a `u32` big-endian length.
#[derive(Debug)]
pub struct Outsider(Arc<TcpStream>);

impl Outsider {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, None).await
    }

    /// Connects with as small a receive buffer as the system grants.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        Self::connect_with(address, Some(4096)).await
    }

    async fn connect_with(address: SocketAddr, buffer: Option<usize>) -> Self {
        let connecting = move || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            if let Some(bytes) = buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.connect_timeout(&address.into(), PATIENCE)?;
            let stream = TcpStream::from(socket);
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream: io::Result<_> = aside(connecting).await;
        Self(Arc::new(stream.expect("a server listens")))
    }

    /// Sends bytes.
    pub async fn send(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let sent = self.with(move |mut stream| stream.write_all(&bytes)).await;
        sent.expect("the server takes bytes");
    }

    /// Sends an envelope.
    pub async fn send_envelope(&self, frame: &Envelope) {
        self.send(unit(&envelope(frame))).await;
    }

    /// Sends a record.
    pub async fn send_record(&self, record: &Record) {
        self.send(unit(&record.to_body())).await;
    }

    /// Sends a line.
    pub async fn send_line(&self, text: &str) {
        self.send(wire(text)).await;
    }

    /// Takes exactly so many bytes.
    pub async fn take(&self, len: usize) -> Vec<u8> {
        let taken = self.with(move |mut stream| {
            let mut bytes = vec![0; len];
            stream.read_exact(&mut bytes)?;
            Ok(bytes)
        });
        taken.await.expect("that many bytes")
    }

    /// Takes everything to the end. A reset is not an end.
    pub async fn take_all(&self) -> io::Result<Vec<u8>> {
        self.with(|mut stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            Ok(bytes)
        })
        .await
    }

    /// Expects the end, with nothing before it.
    pub async fn expect_end(&self) {
        let rest = self.take_all().await.expect("an end in good order");
        assert!(rest.is_empty(), "expected the end, got {rest:?}");
    }

    /// Expects that the server breaks the connection off: an end, or a reset.
    pub async fn expect_broken(&self) {
        if let Ok(rest) = self.take_all().await {
            assert!(rest.is_empty(), "expected the end, got {rest:?}");
        }
    }

    /// What the next unit encloses; `None` at the end between two units.
    pub async fn next_unit(&self) -> Option<Vec<u8>> {
        let unit = self.with(|mut stream| {
            let mut length = [0; 4];
            let [first, rest @ ..] = &mut length;
            if stream.read(std::slice::from_mut(first))? == 0 {
                return Ok(None);
            }
            stream.read_exact(rest)?;
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut body)?;
            Ok(Some(body))
        });
        unit.await.expect("whole units, then the end")
    }

    /// The next envelope; `None` at the end.
    pub async fn next_envelope(&self) -> Option<Envelope> {
        Some(open_envelope(&self.next_unit().await?))
    }

    /// The next record; `None` at the end.
    pub async fn next_record(&self) -> Option<Record> {
        Some(Record::from_body(&self.next_unit().await?))
    }

    /// The next line; `None` at the end.
    pub async fn next_line(&self) -> Option<String> {
        let unit = self.next_unit().await?;
        Some(String::from_utf8(unit).expect("text"))
    }

    /// Ends its output; it goes on reading.
    pub fn end_output(&self) {
        let ended = self.0.shutdown(Shutdown::Write);
        ended.expect("the connection is up");
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let at_once = SockRef::from(&*self.0).set_linger(Some(Duration::ZERO));
        at_once.expect("a TCP socket");
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TcpStream) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let stream = Arc::clone(&self.0);
        aside(move || work(&stream)).await
    }
}

/// Runs what blocks on a thread of its own.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (output, done) = oneshot::channel();
    thread::spawn(move || {
        // Nobody may wait any more.
        let _ = output.send(work());
    });
    done.await.expect("it did not panic")
}

fn unit(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a length of 32 bits");
    [&length.to_be_bytes()[..], body].concat()
}
