//! A peer that knows nothing of the library: a socket, and the bytes that it should see.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
};
use wireframe::Envelope;

use crate::{Record, soon};

/// A client that is a bare socket. Both wires of these tests begin a unit with a `u32`
/// big-endian length.
#[derive(Debug)]
pub struct Raw(BufReader<TcpStream>);

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let connecting = soon("a socket connects", TcpStream::connect(address));
        Self::over(connecting.await.expect("a server listens"))
    }

    /// Connects with as small a receive buffer as the system grants.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let connecting = soon("a socket connects", socket.connect(address));
        Self::over(connecting.await.expect("a server listens"))
    }

    /// Over a socket that is there.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        Self(BufReader::new(stream))
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        soon("a socket writes", self.0.write_all(bytes))
            .await
            .expect("the peer takes bytes");
    }

    /// Sends a unit with that body.
    pub async fn send_unit(&mut self, body: &[u8]) {
        self.send(&unit(body)).await;
    }

    /// Sends an envelope.
    pub async fn send_envelope(&mut self, frame: &Envelope) {
        self.send_unit(&envelope(frame)).await;
    }

    /// Sends a record.
    pub async fn send_record(&mut self, record: &Record) {
        self.send_unit(&record.to_body()).await;
    }

    /// Ends its output; it goes on reading.
    pub async fn end_output(&mut self) {
        soon("a socket half-closes", self.0.shutdown())
            .await
            .expect("the connection is up");
    }

    /// The next bytes, so many of them; `None` at the end before the first.
    pub async fn next_bytes(&mut self, len: usize) -> Option<Vec<u8>> {
        soon("the next bytes", self.read_bytes(len))
            .await
            .expect("all of them, or the end")
    }

    /// The body of the next unit; `None` at the end between two units.
    pub async fn next_unit(&mut self) -> Option<Vec<u8>> {
        soon("the next unit", self.read_unit())
            .await
            .expect("whole units, then the end")
    }

    /// The next envelope; `None` at the end.
    pub async fn next_envelope(&mut self) -> Option<Envelope> {
        Some(open_envelope(&self.next_unit().await?))
    }

    /// The next record; `None` at the end.
    pub async fn next_record(&mut self) -> Option<Record> {
        Some(Record::from_body(&self.next_unit().await?))
    }

    /// Expects the end, with nothing before it. A reset is not an end.
    pub async fn expect_end(&mut self) {
        let unit = self.next_unit().await;
        assert!(unit.is_none(), "expected the end, got {unit:?}");
    }

    /// Expects that the peer breaks the connection off: an end, or a reset.
    pub async fn expect_broken(&mut self) {
        match soon("the end", self.read_unit()).await {
            Ok(None) | Err(_) => {}
            Ok(Some(unit)) => panic!("expected the end, got {unit:?}"),
        }
    }

    async fn read_unit(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = self.read_bytes(4).await? else {
            return Ok(None);
        };
        let length = length.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Some(body))
    }

    async fn read_bytes(&mut self, len: usize) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; len];
        let Some((first, rest)) = bytes.split_first_mut() else {
            return Ok(Some(bytes));
        };
        if self.0.read(std::slice::from_mut(first)).await? == 0 {
            return Ok(None);
        }
        self.0.read_exact(rest).await?;
        Ok(Some(bytes))
    }
}

/// A unit as it stands on the wire.
fn unit(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("bodies of tests are short");
    [&length.to_be_bytes(), body].concat()
}

/// The body of an envelope, written here once more so that it checks the library's.
pub fn envelope(frame: &Envelope) -> Vec<u8> {
    let mut body = Vec::with_capacity(frame.payload.len() + 24);
    put(&mut body, u64::from(frame.id));
    match frame.correlation_id {
        None => body.push(0),
        Some(id) => {
            body.push(1);
            put(&mut body, id);
        }
    }
    put(&mut body, frame.payload.len() as u64);
    body.extend_from_slice(&frame.payload);
    body
}

/// The envelope that a body holds.
pub fn open_envelope(body: &[u8]) -> Envelope {
    let mut rest = body;
    let id = u32::try_from(take(&mut rest)).expect("an id of 32 bits");
    let (&tag, after) = rest.split_first().expect("an option");
    rest = after;
    let correlation_id = match tag {
        0 => None,
        1 => Some(take(&mut rest)),
        tag => panic!("{tag} is not an option"),
    };
    assert_eq!(take(&mut rest), rest.len() as u64, "length of the payload");
    Envelope {
        id,
        correlation_id,
        payload: rest.to_vec().into(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the arms see to it")]
fn put(body: &mut Vec<u8>, n: u64) {
    match n {
        0..=250 => body.push(n as u8),
        251..=0xFFFF => {
            body.push(0xFB);
            body.extend((n as u16).to_le_bytes());
        }
        0x1_0000..=0xFFFF_FFFF => {
            body.push(0xFC);
            body.extend((n as u32).to_le_bytes());
        }
        _ => {
            body.push(0xFD);
            body.extend(n.to_le_bytes());
        }
    }
}

fn take(src: &mut &[u8]) -> u64 {
    let (&first, rest) = src.split_first().expect("a number");
    let width = match first {
        0..=250 => 0,
        0xFB => 2,
        0xFC => 4,
        0xFD => 8,
        tag => panic!("{tag} does not begin a number"),
    };
    let (bytes, rest) = rest.split_at(width);
    *src = rest;
    match width {
        0 => u64::from(first),
        _ => bytes
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u64::from(byte)),
    }
}
