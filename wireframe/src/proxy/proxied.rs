//! A transport with a header before all else.

use std::{
    fmt, io,
    io::IoSlice,
    mem,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use wireframe_proto::{HeldOutput, TransportInfo};

use super::{ProxyInfo, ProxyProtocol, header::Header};
use crate::transport::Transport;

/// Bytes that are read at once: more than what most headers have.
const READ: usize = 512;

/// A transport on which the PROXY protocol may go before all else.
///
/// A server reads the header before there is a connection for the app, as
/// [`prepare`](crate::prepare) does. A driver that is given one without does it with its first
/// read, without a time limit, and does not know the client's address.
pub struct Proxied<T> {
    stream: T,
    /// The other end of the socket.
    peer: Option<SocketAddr>,
    state: State,
    info: Option<ProxyInfo>,
    timeout: Duration,
    max_header_len: usize,
}

enum State {
    /// The source is not trusted, and may not go on.
    Refused,
    /// This much of the header has come.
    Awaiting(BytesMut),
    /// What came with the header and is to be read next, if anything.
    Behind(BytesMut),
}

impl<T> Proxied<T> {
    pub(super) fn awaiting(stream: T, peer: Option<SocketAddr>, of: &ProxyProtocol) -> Self {
        Self::new(stream, peer, State::Awaiting(BytesMut::new()), of)
    }

    pub(super) fn direct(stream: T, peer: Option<SocketAddr>, of: &ProxyProtocol) -> Self {
        Self::new(stream, peer, State::Behind(BytesMut::new()), of)
    }

    pub(super) fn refused(stream: T, peer: Option<SocketAddr>, of: &ProxyProtocol) -> Self {
        Self::new(stream, peer, State::Refused, of)
    }

    fn new(stream: T, peer: Option<SocketAddr>, state: State, of: &ProxyProtocol) -> Self {
        Self {
            stream,
            peer,
            state,
            info: None,
            timeout: of.timeout,
            max_header_len: of.max_header_len,
        }
    }

    /// Takes the header, if it has come.
    fn take_header(&mut self) -> io::Result<bool> {
        let State::Awaiting(buffer) = &mut self.state else {
            return Ok(true);
        };
        let header = Header::parse(buffer, self.max_header_len);
        let header = header.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Some((header, len)) = header else {
            return Ok(false);
        };
        let mut behind = mem::take(buffer);
        behind.advance(len);
        if behind.is_empty() {
            // An empty one keeps its allocation.
            behind = BytesMut::new();
        }
        self.state = State::Behind(behind);
        let proxy = self.peer;
        self.info = Some(ProxyInfo { header, proxy });
        Ok(true)
    }
}

impl<T: Transport> Proxied<T> {
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.take_header()? {
            let State::Awaiting(buffer) = &mut self.state else {
                break;
            };
            if buffer.len() == buffer.capacity() {
                buffer.reserve(READ);
            }
            if ready!(self.stream.poll_read(cx, buffer))? == 0 {
                return Poll::Ready(Err(ended(buffer.len())));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Does what was not done before the first read or write.
    #[inline]
    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !matches!(self.state, State::Behind(_)) {
            ready!(self.poll_prepare(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> Transport for Proxied<T> {
    fn preparation(&self) -> Option<Duration> {
        let own = match self.state {
            State::Refused | State::Awaiting(_) => Some(self.timeout),
            State::Behind(_) => None,
        };
        self.stream.preparation().or(own)
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Refused = self.state {
            return Poll::Ready(Err(untrusted(self.peer)));
        }
        match self.stream.preparation() {
            Some(_) => self.stream.poll_prepare(cx),
            None => self.poll_header(cx),
        }
    }

    fn address(&self, socket: Option<SocketAddr>) -> Option<SocketAddr> {
        match (&self.state, &self.info) {
            (State::Awaiting(_), _) => None,
            (_, Some(info)) => info.address(),
            (_, None) => socket,
        }
    }

    fn info(&self) -> TransportInfo {
        let below = self.stream.info();
        match &self.info {
            Some(told) => below.with(told.clone()),
            None => below,
        }
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        ready!(self.poll_prepared(cx))?;
        let behind = match &mut self.state {
            State::Behind(behind) if !behind.is_empty() => behind,
            _ => return self.stream.poll_read(cx, buf),
        };
        let n = behind.len().min(buf.capacity() - buf.len());
        buf.extend_from_slice(behind.get(..n).unwrap_or_default());
        behind.advance(n);
        if behind.is_empty() {
            *behind = BytesMut::new();
        }
        Poll::Ready(Ok(n))
    }

    #[inline]
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_prepared(cx))?;
        self.stream.poll_write(cx, chunks)
    }

    #[inline]
    fn held(&self) -> Option<HeldOutput> {
        self.stream.held()
    }

    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<T> fmt::Debug for Proxied<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxied")
            .field("peer", &self.peer)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

fn untrusted(peer: Option<SocketAddr>) -> io::Error {
    let peer = peer.map_or_else(
        || "a peer without address".to_owned(),
        |peer| peer.to_string(),
    );
    let what = format!("{peer} is not trusted to speak the PROXY protocol");
    io::Error::new(io::ErrorKind::PermissionDenied, what)
}

fn ended(after: usize) -> io::Error {
    let what = format!("the peer ended the connection after {after} bytes of its PROXY header");
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::{proxy::Network, testing::link};

    #[test]
    fn a_header_with_nothing_behind_it_leaves_no_buffer() {
        // rule: LIM-5
        let any: Network = "0.0.0.0/0".parse().unwrap();
        let proxy: SocketAddr = ([10, 0, 0, 1], 1).into();
        let (near, mut far) = link(1000);
        let mut transport = ProxyProtocol::from_sources([any]).accept(near, Some(proxy));
        far.send(&Header::tcp(proxy, proxy).to_v2());
        let prepared = transport.poll_prepare(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(prepared, Poll::Ready(Ok(()))));
        let State::Behind(behind) = &transport.state else {
            panic!("the header has come");
        };
        assert_eq!(behind.capacity(), 0);
    }
}
