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

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A transport, and a buffer with room for a mebibyte behind four bytes.
fn reading(reads: impl IntoIterator<Item = io::Result<usize>>) -> (FuturesIo<Fake>, BytesMut) {
    let reads = reads.into_iter().collect();
    let fake = Fake {
        reads,
        ..Fake::default()
    };
    let mut buf = BytesMut::with_capacity(1024 * 1024 + 4);
    buf.extend_from_slice(b"head");
    (FuturesIo::new(fake), buf)
}

/// What the transport has asked for so far.
fn sizes(transport: &FuturesIo<Fake>) -> Vec<usize> {
    let asked = transport.get_ref().asked.iter();
    asked
        .map(|asked| match asked {
            Asked::Read(size) => *size,
            other => panic!("{other:?}"),
        })
        .collect()
}

const KIB: usize = 1024;

#[test]
fn what_is_read_stands_behind_what_was_there_and_nothing_else() {
    let (mut transport, mut buf) = reading([Ok(3), Ok(1)]);
    let read = transport.poll_read(&mut cx(), &mut buf);
    assert!(matches!(read, Poll::Ready(Ok(3))));
    assert_eq!(buf, "headxxx");
    let read = transport.poll_read(&mut cx(), &mut buf);
    assert!(matches!(read, Poll::Ready(Ok(1))));
    assert_eq!(buf, "headxxxx");
    assert!(transport.poll_read(&mut cx(), &mut buf).is_pending());
    assert_eq!(buf, "headxxxx");
}

#[test]
fn the_end_and_errors_leave_nothing_behind() {
    let reset = || Err(io::ErrorKind::ConnectionReset.into());
    let (mut transport, mut buf) = reading([Ok(0), reset()]);
    let read = transport.poll_read(&mut cx(), &mut buf);
    assert!(matches!(read, Poll::Ready(Ok(0))));
    assert_eq!(buf, "head");
    let Poll::Ready(Err(error)) = transport.poll_read(&mut cx(), &mut buf) else {
        panic!("it fails");
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(buf, "head");
}

#[test]
fn a_stream_that_says_more_than_it_was_given_room_for_is_not_believed() {
    let (mut transport, mut buf) = reading([Ok(usize::MAX)]);
    let read = transport.poll_read(&mut cx(), &mut buf);
    assert!(matches!(read, Poll::Ready(Ok(4096))), "{read:?}");
    assert_eq!(buf.len(), 4 + 4 * KIB);
}

#[test]
fn reads_grow_while_they_are_filled_and_shrink_when_they_are_far_from_it() {
    let full = [4, 8, 16, 32, 64, 128, 256, 256].map(|n| n * KIB);
    let (mut transport, mut buf) = reading(full.map(Ok));
    for size in full {
        buf.truncate(4);
        let read = transport.poll_read(&mut cx(), &mut buf);
        assert!(matches!(read, Poll::Ready(Ok(n)) if n == size), "{read:?}");
    }
    assert_eq!(sizes(&transport), full);

    // Half, a quarter, and less from then on.
    let less = [128 * KIB, 64 * KIB].into_iter().chain([1; 8]);
    let (mut transport, mut buf) = reading(full.into_iter().chain(less).map(Ok));
    while !transport.get_ref().reads.is_empty() {
        buf.truncate(4);
        assert!(transport.poll_read(&mut cx(), &mut buf).is_ready());
    }
    let expected = [256, 256, 256, 128, 64, 32, 16, 8, 4, 4].map(|n| n * KIB);
    assert_eq!(sizes(&transport)[full.len()..], expected);
}

#[test]
fn a_read_asks_for_no_more_than_there_is_room_for() {
    let (mut transport, _) = reading([Ok(10)]);
    let mut buf = BytesMut::with_capacity(10);
    let room = buf.capacity();
    assert!(transport.poll_read(&mut cx(), &mut buf).is_ready());
    assert_eq!(sizes(&transport), [room]);
    assert_eq!(buf.capacity(), room, "the buffer was made larger");
}

#[test]
fn one_chunk_is_written_plainly_and_several_at_once() {
    let mut transport = FuturesIo::new(Fake::default());
    assert!(transport.is_write_vectored());
    let chunks = [&b"one"[..], b"two"].map(IoSlice::new);
    let written = transport.poll_write(&mut cx(), &chunks[..1]);
    assert!(matches!(written, Poll::Ready(Ok(3))));
    let written = transport.poll_write(&mut cx(), &chunks);
    assert!(matches!(written, Poll::Ready(Ok(1))));
    let chunks = [b"one".to_vec(), b"two".to_vec()];
    let asked = [
        Asked::Write(b"one".into()),
        Asked::WriteVectored(chunks.into()),
    ];
    assert_eq!(transport.get_ref().asked, asked);
}

#[test]
fn the_stream_itself_is_flushed_and_closed() {
    let mut transport = FuturesIo::new(Fake::default());
    assert!(matches!(
        transport.poll_flush(&mut cx()),
        Poll::Ready(Ok(()))
    ));
    let Poll::Ready(Err(error)) = transport.poll_close(&mut cx()) else {
        panic!("it fails");
    };
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    assert_eq!(transport.get_ref().asked, [Asked::Flush, Asked::Close]);
}
