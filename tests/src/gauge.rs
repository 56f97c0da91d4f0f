//! A transport that tells what passes through it.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::sync::watch;
use wireframe::{HeldOutput, Transport, TransportInfo};

use crate::soon;

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Writes of which the transport took something.
    pub writes: usize,
    /// Bytes that it took.
    pub written: usize,
    /// Whether it took nothing of the last one.
    pub blocked: bool,
    /// Bytes that were read.
    pub read: usize,
    /// Whether the peer's end of output has been read.
    pub peer_ended: bool,
}

/// A transport that tells what passes through it.
#[derive(Debug)]
pub struct Gauged<T> {
    transport: T,
    gauge: watch::Sender<Gauge>,
}

impl<T> Gauged<T> {
    /// The transport, and where it tells.
    pub fn new(transport: T) -> (Self, watch::Receiver<Gauge>) {
        let (gauge, told) = watch::channel(Gauge::default());
        (Self { transport, gauge }, told)
    }
}

impl Gauge {
    /// Waits until a transport takes no more.
    pub async fn blocked(told: &mut watch::Receiver<Self>) {
        soon("the transport blocks", told.wait_for(|gauge| gauge.blocked))
            .await
            .expect("the connection is up");
    }

    /// Waits until so many bytes have been read.
    pub async fn has_read(told: &mut watch::Receiver<Self>, bytes: usize) {
        soon("it is read", told.wait_for(|gauge| gauge.read >= bytes))
            .await
            .expect("the connection is up");
    }

    /// Waits until the peer's end of output has been read.
    pub async fn peer_ended(told: &mut watch::Receiver<Self>) {
        soon("the end is read", told.wait_for(|gauge| gauge.peer_ended))
            .await
            .expect("the connection is up");
    }
}

impl<T: Transport> Transport for Gauged<T> {
    fn preparation(&self) -> Option<Duration> {
        self.transport.preparation()
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_prepare(cx)
    }

    fn address(&self, socket: Option<SocketAddr>) -> Option<SocketAddr> {
        self.transport.address(socket)
    }

    fn info(&self) -> TransportInfo {
        self.transport.info()
    }

    fn held(&self) -> Option<HeldOutput> {
        self.transport.held()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let polled = self.transport.poll_read(cx, buf);
        if let Poll::Ready(Ok(n)) = polled {
            self.gauge.send_modify(|gauge| {
                gauge.read += n;
                gauge.peer_ended |= n == 0;
            });
        }
        polled
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.transport.poll_write(cx, chunks);
        self.gauge.send_modify(|gauge| match &polled {
            Poll::Ready(taken) => {
                gauge.writes += 1;
                gauge.written += taken.as_ref().copied().unwrap_or_default();
                gauge.blocked = false;
            }
            Poll::Pending => gauge.blocked = true,
        });
        polled
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}
