//! Streams of tokio as transports.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use wireframe::Transport;

/// A stream of tokio as a transport.
///
/// Reads go into uninitialised memory, and writes are vectored where the stream's are.
#[derive(Debug)]
pub struct Tokio<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for Tokio<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        // The future holds nothing between polls, so it can be made anew for each.
        pin!(self.0.read_buf(buf)).poll(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.0);
        match chunks {
            [chunk] => stream.poll_write(cx, chunk),
            _ => stream.poll_write_vectored(cx, chunks),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
