//! TLS over any transport.

mod acceptor;
mod client;
mod info;
mod records;

use std::{
    fmt,
    io::{self, BufRead, IoSlice, Write},
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use rustls::Connection;
use wireframe_proto::{HeldOutput, TransportInfo};

use self::records::Records;
pub use self::{
    acceptor::{TlsAcceptor, TlsConnector},
    client::{connect, reconnecting},
    info::TlsInfo,
};
use crate::transport::Transport;
pub use rustls;

/// Encrypted bytes that are read at once: a record of TLS, with its header.
const READ: usize = 16 * 1024 + 512;

/// TLS over another transport, as one end of it.
///
/// Nothing is read or written before the handshake is done. [`prepare`](crate::prepare) does
/// it, as servers and [`connect`] do; a driver that is given one without does it with its first
/// read, without a time limit, and does not know the peer's certificates. The end of
/// the transport is the end of the peer's output, whether `close_notify` went before it or
/// not: frames tell themselves where they end, and within one the end is an error as it is
/// without TLS. Inside a record the transport has failed, and so it has with a record that does
/// not decrypt, behind what came before that.
pub struct Tls<T> {
    stream: T,
    connection: Box<Connection>,
    /// Read, but not yet decrypted.
    encrypted: BytesMut,
    /// How far the records that are read have come.
    records: Records,
    /// Encrypted bytes that wait, and those that were sent.
    held: HeldOutput,
    /// The transport has ended.
    ended: bool,
    /// What was read behind all that is decrypted is no TLS.
    has_failed: bool,
    /// `close_notify` was queued.
    closing: bool,
    /// How long the handshake may take.
    timeout: Duration,
}

impl<T: Transport> Tls<T> {
    fn new(stream: T, connection: Connection, timeout: Duration) -> Self {
        Self {
            stream,
            connection: Box::new(connection),
            encrypted: BytesMut::new(),
            records: Records::default(),
            held: HeldOutput::default(),
            ended: false,
            has_failed: false,
            closing: false,
            timeout,
        }
    }

    /// What the two ends have agreed upon, and the peer's certificates.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends the encrypted bytes that wait.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            let mut output = Output {
                stream: &mut self.stream,
                cx,
            };
            match self.connection.write_tls(&mut output) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => self.held.handed_on += sent as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.process().is_err() {
                        // It ends with the next read or write. Until then an alert waits.
                        self.held.bytes = self.held.bytes.max(1);
                    }
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.held.bytes = 0;
        Poll::Ready(Ok(()))
    }

    /// Decrypts what was read, if that has not been done, and counts what waits to be sent.
    fn process(&mut self) -> Result<(), rustls::Error> {
        let state = self.connection.process_new_packets()?;
        self.held.bytes = state.tls_bytes_to_write();
        Ok(())
    }

    /// Reads and decrypts something, or comes to the end of the transport. What was decrypted
    /// before an error goes first, as it would have in a read of its own.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_failed {
            ready!(self.read_records(cx))?;
        }
        let Err(error) = self.process() else {
            return Poll::Ready(Ok(()));
        };
        if !self.has_failed && self.has_decrypted() {
            self.has_failed = true;
            return Poll::Ready(Ok(()));
        }
        self.say_why(cx);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Sends the alert that tells the peer of an error, if it can be sent now: the peer may not
    /// care to hear it.
    fn say_why(&mut self, cx: &mut Context<'_>) {
        let _ = self.send(cx);
        let _ = self.stream.poll_flush(cx);
    }

    /// Gives rustls what can be read.
    fn read_records(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.encrypted.is_empty() {
            self.encrypted.reserve(READ);
            match self.stream.poll_read(cx, &mut self.encrypted) {
                Poll::Ready(read) => self.ended = read? == 0,
                Poll::Pending => {
                    // Idle connections hold no buffers.
                    self.encrypted = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
        let mut input = &*self.encrypted;
        let taken = self.connection.read_tls(&mut input)?;
        self.records
            .pass(self.encrypted.get(..taken).unwrap_or_default());
        self.encrypted.advance(taken);
        Poll::Ready(Ok(()))
    }

    /// Whether decrypted bytes wait to be taken.
    fn has_decrypted(&mut self) -> bool {
        let mut reader = self.connection.reader();
        matches!(reader.fill_buf(), Ok(bytes) if !bytes.is_empty())
    }

    /// Takes the decrypted bytes that are there; `None` if there are none yet.
    fn take(&mut self, buf: &mut BytesMut) -> io::Result<Option<usize>> {
        let mut reader = self.connection.reader();
        let mut taken = 0;
        while taken == 0 || buf.len() < buf.capacity() {
            let bytes = match reader.fill_buf() {
                // `close_notify`.
                Ok([]) => return Ok(Some(taken)),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    if taken == 0 && !self.records.is_between() {
                        let what = "the peer ended the connection inside a record of TLS";
                        return Err(io::Error::new(error.kind(), what));
                    }
                    return Ok(Some(taken));
                }
                Err(error) => return Err(error),
            };
            let n = bytes.len().min(buf.capacity() - buf.len());
            if n == 0 {
                break;
            }
            buf.extend_from_slice(bytes.get(..n).unwrap_or_default());
            reader.consume(n);
            taken += n;
        }
        Ok((taken > 0).then_some(taken))
    }
}

impl<T: Transport> Transport for Tls<T> {
    fn address(&self, socket: Option<SocketAddr>) -> Option<SocketAddr> {
        self.stream.address(socket)
    }

    fn preparation(&self) -> Option<Duration> {
        let handshake = self.connection.is_handshaking().then_some(self.timeout);
        self.stream.preparation().or(handshake)
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stream.preparation().is_some() {
            return self.stream.poll_prepare(cx);
        }
        loop {
            ready!(self.send(cx))?;
            if !self.connection.is_handshaking() {
                return self.stream.poll_flush(cx);
            }
            ready!(self.stream.poll_flush(cx))?;
            if self.ended {
                let what = "the peer ended the connection within the TLS handshake";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
            }
            ready!(self.receive(cx))?;
        }
    }

    fn info(&self) -> TransportInfo {
        let below = self.stream.info();
        match self.connection.is_handshaking() {
            true => below,
            false => below.with(TlsInfo::of(&self.connection)),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        while self.connection.is_handshaking() {
            ready!(self.poll_prepare(cx))?;
        }
        loop {
            if let Some(read) = self.take(buf)? {
                return Poll::Ready(Ok(read));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            // What TLS itself has to say. Reading does not wait until it is sent.
            if let Poll::Ready(sent) = self.send(cx) {
                sent?;
            }
            ready!(self.receive(cx))?;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while self.connection.is_handshaking() {
            ready!(self.poll_prepare(cx))?;
        }
        loop {
            let written = self.connection.writer().write_vectored(chunks);
            // Nothing is written behind a bad record.
            let taken = written.inspect_err(|_| self.say_why(cx))?;
            if taken > 0 {
                // What is not sent now is sent by the next write, or by a flush.
                if let Poll::Ready(sent) = self.send(cx) {
                    sent?;
                }
                return Poll::Ready(Ok(taken));
            }
            if !self.connection.wants_write() {
                return Poll::Ready(Ok(0));
            }
            ready!(self.send(cx))?;
        }
    }

    fn held(&self) -> Option<HeldOutput> {
        Some(self.held.over(self.stream.held()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        self.stream.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            self.connection.send_close_notify();
        }
        ready!(self.poll_flush(cx))?;
        self.stream.poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl<T> fmt::Debug for Tls<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("protocol", &self.connection.protocol_version())
            .field("handshaking", &self.connection.is_handshaking())
            .finish_non_exhaustive()
    }
}

/// A transport as rustls writes to it.
struct Output<'a, 'b, T> {
    stream: &'a mut T,
    cx: &'a mut Context<'b>,
}

impl<T: Transport> Write for Output<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        let chunks = match self.stream.is_write_vectored() {
            true => chunks,
            false => chunks.get(..1).unwrap_or_default(),
        };
        match self.stream.poll_write(self.cx, chunks) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
