use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use crate::{rt::FuturesIo, transport::Transport};

/// What a stream is asked to do.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Read(usize),
    Write(Vec<u8>),
    WriteVectored(Vec<Vec<u8>>),
    Flush,
    Close,
}

/// A stream that keeps a record, and whose reads are what was said.
#[derive(Default)]
struct Fake {
    asked: Vec<Asked>,
    /// Each fills so many bytes, or fails; without one there is nothing to read.
    reads: VecDeque<io::Result<usize>>,
}

impl AsyncRead for Fake {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(buf.iter().all(|byte| *byte == 0), "what is read is cleared");
        self.asked.push(Asked::Read(buf.len()));
        let Some(read) = self.reads.pop_front() else {
            // It may have scribbled all the same.
            buf.fill(b'?');
            return Poll::Pending;
        };
        let filled = buf.iter_mut().take(*read.as_ref().unwrap_or(&0));
        filled.for_each(|byte| *byte = b'x');
        Poll::Ready(read)
    }
}

impl AsyncWrite for Fake {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked.push(Asked::Write(buf.to_vec()));
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let chunks = bufs.iter().map(|chunk| chunk.to_vec()).collect();
        self.asked.push(Asked::WriteVectored(chunks));
        Poll::Ready(Ok(1))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.asked.push(Asked::Flush);
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.asked.push(Asked::Close);
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }
}
