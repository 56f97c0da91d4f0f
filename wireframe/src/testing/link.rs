//! A connection in memory.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;

use super::script::{Allowed, Script};
use crate::{
    sync::{Arc, Mutex, lock},
    transport::Transport,
};

/// The two ends of a connection in memory, which holds at most `capacity` bytes, at least
/// one, in each direction.
///
/// ```
/// use wireframe::testing::link;
///
/// let (mut near, mut far) = link(1024);
/// near.send(b"knock");
/// assert_eq!(far.receive(), b"knock");
/// near.finish();
/// assert!(far.is_at_end());
/// ```
#[must_use]
pub fn link(capacity: usize) -> (Link, Link) {
    let pipe = || Arc::new(Mutex::new(Pipe::new(capacity)));
    let (there, back) = (pipe(), pipe());
    let near = Link::new(Arc::clone(&back), Arc::clone(&there));
    let far = Link::new(there, back);
    (near, far)
}

/// One end of a connection in memory: a [`Transport`] for a driver, or a peer to be
/// worked by hand. Dropped, it is gone: the other end's writes fail.
pub struct Link {
    inbound: Arc<Mutex<Pipe>>,
    outbound: Arc<Mutex<Pipe>>,
    script: Script,
}

/// The bytes of one direction.
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The writer has ended its output.
    ended: bool,
    /// The reader is gone.
    unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            capacity: capacity.max(1),
            ended: false,
            unread: false,
            reader: None,
            writer: None,
        }
    }
}

/// Changes a pipe as its writer does, and wakes its reader.
fn feed<R>(pipe: &Mutex<Pipe>, f: impl FnOnce(&mut Pipe) -> R) -> R {
    let mut pipe = lock(pipe);
    let result = f(&mut pipe);
    let reader = pipe.reader.take();
    drop(pipe);
    reader.into_iter().for_each(Waker::wake);
    result
}

/// Changes a pipe as its reader does, and wakes its writer.
fn drain<R>(pipe: &Mutex<Pipe>, f: impl FnOnce(&mut Pipe) -> R) -> R {
    let mut pipe = lock(pipe);
    let result = f(&mut pipe);
    let writer = pipe.writer.take();
    drop(pipe);
    writer.into_iter().for_each(Waker::wake);
    result
}

impl Link {
    fn new(inbound: Arc<Mutex<Pipe>>, outbound: Arc<Mutex<Pipe>>) -> Self {
        Self {
            inbound,
            outbound,
            script: Script::default(),
        }
    }

    /// What makes this end misbehave, once a driver has it. It has no power over what
    /// is done by hand.
    #[must_use]
    pub fn script(&self) -> Script {
        self.script.clone()
    }

    /// By hand: sends bytes, however many the link holds already.
    pub fn send(&mut self, bytes: &[u8]) {
        feed(&self.outbound, |pipe| pipe.bytes.extend(bytes));
    }

    /// By hand: takes what has arrived.
    pub fn receive(&mut self) -> Vec<u8> {
        self.receive_at_most(usize::MAX)
    }

    /// By hand: takes what has arrived, at most `n` bytes.
    pub fn receive_at_most(&mut self, n: usize) -> Vec<u8> {
        drain(&self.inbound, |pipe| {
            let n = n.min(pipe.bytes.len());
            pipe.bytes.drain(..n).collect()
        })
    }

    /// By hand: ends this end's output.
    pub fn finish(&mut self) {
        feed(&self.outbound, |pipe| pipe.ended = true);
    }

    /// Whether the other end has ended its output, and all of it has been taken.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let pipe = lock(&self.inbound);
        pipe.ended && pipe.bytes.is_empty()
    }
}

impl Transport for Link {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let most = match self.script.may_read(cx.waker()) {
            Allowed::Stalled => return Poll::Pending,
            Allowed::Failed(error) => return Poll::Ready(Err(error)),
            Allowed::Go(0) => return Poll::Ready(Ok(0)),
            Allowed::Go(most) => most.min(buf.capacity() - buf.len()),
        };
        let fresh = cx.waker().clone();
        let mut pipe = lock(&self.inbound);
        if pipe.bytes.is_empty() && !pipe.ended {
            let stale = pipe.reader.replace(fresh);
            drop(pipe);
            drop(stale);
            self.script.wait(cx.waker());
            return Poll::Pending;
        }
        drop(pipe);
        let read = drain(&self.inbound, |pipe| {
            let n = most.min(pipe.bytes.len());
            let (front, back) = pipe.bytes.as_slices();
            let split = n.min(front.len());
            buf.extend_from_slice(front.get(..split).unwrap_or_default());
            buf.extend_from_slice(back.get(..n - split).unwrap_or_default());
            pipe.bytes.drain(..n);
            n
        });
        self.script.has_read(read);
        Poll::Ready(Ok(read))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let most = match self.script.may_write(cx.waker()) {
            Allowed::Stalled => return Poll::Pending,
            Allowed::Failed(error) => return Poll::Ready(Err(error)),
            Allowed::Go(most) => most,
        };
        let fresh = cx.waker().clone();
        let mut pipe = lock(&self.outbound);
        if pipe.unread || pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = pipe.capacity.saturating_sub(pipe.bytes.len());
        if room == 0 {
            let stale = pipe.writer.replace(fresh);
            drop(pipe);
            drop(stale);
            self.script.wait(cx.waker());
            return Poll::Pending;
        }
        drop(pipe);
        let written = feed(&self.outbound, |pipe| {
            let most = room.min(most);
            let mut left = most;
            for chunk in chunks {
                let taken = chunk.get(..left).unwrap_or(chunk);
                pipe.bytes.extend(taken);
                left -= taken.len();
            }
            most - left
        });
        self.script.has_written(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.script.may_flush(cx.waker()) {
            Allowed::Stalled => Poll::Pending,
            Allowed::Failed(error) => Poll::Ready(Err(error)),
            Allowed::Go(()) => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.script.may_close(cx.waker()) {
            Allowed::Stalled => return Poll::Pending,
            Allowed::Failed(error) => return Poll::Ready(Err(error)),
            Allowed::Go(()) => {}
        }
        self.finish();
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.script.is_vectored()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        feed(&self.outbound, |pipe| pipe.ended = true);
        drain(&self.inbound, |pipe| pipe.unread = true);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("arrived", &lock(&self.inbound).bytes.len())
            .field("under_way", &lock(&self.outbound).bytes.len())
            .finish_non_exhaustive()
    }
}
