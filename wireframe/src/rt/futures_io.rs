//! Streams of `futures-io` as transports.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use crate::transport::Transport;

/// The least and the most that one read asks for.
const READS: (usize, usize) = (4 * 1024, 256 * 1024);

/// A stream of `futures-io` as a transport: those of async-std and smol, and many others.
///
/// Such a stream reads into initialised memory only. So a read asks for no more than what
/// the last ones would have filled, between 4 KiB and 256 KiB, and as much as it asks for is
/// cleared before.
#[derive(Debug)]
pub struct FuturesIo<S> {
    stream: S,
    /// What the next read asks for.
    ask: usize,
}

impl<S> FuturesIo<S> {
    /// The stream as a transport.
    pub const fn new(stream: S) -> Self {
        Self {
            stream,
            ask: READS.0,
        }
    }

    /// The stream.
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for FuturesIo<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let start = buf.len();
        let asked = self.ask.min(buf.capacity() - start);
        buf.resize(start + asked, 0);
        let (_, fresh) = buf.split_at_mut(start);
        let read = Pin::new(&mut self.stream).poll_read(cx, fresh);
        let taken = match &read {
            Poll::Ready(Ok(taken)) => (*taken).min(asked),
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        buf.truncate(start + taken);
        if read.is_ready() {
            self.ask = match taken {
                _ if taken == asked => (self.ask * 2).min(READS.1),
                _ if taken < self.ask / 4 => (self.ask / 2).max(READS.0),
                _ => self.ask,
            };
        }
        read.map_ok(|_| taken)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        match chunks {
            [chunk] => stream.poll_write(cx, chunk),
            _ => stream.poll_write_vectored(cx, chunks),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }

    /// Always: a stream that is not writes the first chunk, which is as good as any.
    fn is_write_vectored(&self) -> bool {
        true
    }
}
