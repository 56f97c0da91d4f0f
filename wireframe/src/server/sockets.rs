//! The sockets of a server: several, over TCP and of the file system.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use socket2::{Domain, Protocol, Socket, Type};
use wireframe_proto::{HeldOutput, TransportInfo};

use super::{Accepted, Listener};
#[cfg(feature = "tls")]
use crate::tls::{Tls, TlsAcceptor};
use crate::{
    proxy::{Proxied, ProxyProtocol},
    rt::{Address, Runtime},
    transport::Transport,
};

/// How a server listens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Most connections that the operating system keeps until the server takes them. The
    /// system may have a bound of its own. Default 1024.
    pub backlog: u16,
    /// Whether other sockets may listen on the same TCP address, each with a share of its
    /// connections; all of them must say so. Only on unix. Default no.
    pub reuse_port: bool,
    /// The PROXY protocol of the connections of this socket, which goes before TLS. Default
    /// none.
    pub proxy: Option<ProxyProtocol>,
    /// TLS for the connections of this socket. Default none.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsAcceptor>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            reuse_port: false,
            proxy: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// A connection over TCP, or over a socket of the file system.
pub enum Stream<R: Runtime> {
    /// Over TCP.
    Tcp(R::TcpStream),
    /// Over a socket of the file system. Boxed so that the others take no more room.
    #[cfg(unix)]
    Unix(Box<R::UnixStream>),
    /// One of these behind a proxy. Boxed as well.
    Proxied(Box<Proxied<Self>>),
    /// TLS over one of these. Boxed as well.
    #[cfg(feature = "tls")]
    Tls(Box<Tls<Self>>),
}

macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Self::Tcp($inner) => $call,
            #[cfg(unix)]
            Self::Unix($inner) => $call,
            Self::Proxied($inner) => $call,
            #[cfg(feature = "tls")]
            Self::Tls($inner) => $call,
        }
    };
}

impl<R: Runtime> Transport for Stream<R> {
    fn address(&self, socket: Option<SocketAddr>) -> Option<SocketAddr> {
        either!(self, stream => stream.address(socket))
    }

    fn preparation(&self) -> Option<Duration> {
        either!(self, stream => stream.preparation())
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_prepare(cx))
    }

    fn info(&self) -> TransportInfo {
        either!(self, stream => stream.info())
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }

    #[inline]
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, chunks))
    }

    #[inline]
    fn held(&self) -> Option<HeldOutput> {
        either!(self, stream => stream.held())
    }

    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    #[inline]
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_close(cx))
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }
}

impl<R: Runtime> fmt::Debug for Stream<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp(..)",
            #[cfg(unix)]
            Self::Unix(_) => "Unix(..)",
            Self::Proxied(_) => "Proxied(..)",
            #[cfg(feature = "tls")]
            Self::Tls(_) => "Tls(..)",
        })
    }
}

/// The sockets of a server, which take turns.
pub(super) struct Sockets<R: Runtime> {
    listening: Vec<Listening<R>>,
    next: usize,
}

struct Listening<R: Runtime> {
    socket: ListeningSocket<R>,
    proxy: Option<ProxyProtocol>,
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
}

enum ListeningSocket<R: Runtime> {
    Tcp(R::TcpListener, SocketAddr),
    #[cfg(unix)]
    // The file goes before the socket: who replaces a socket that nobody listens on must not
    // lose its own.
    Unix(super::unix::SocketFile, R::UnixListener),
}

impl<R: Runtime> Sockets<R> {
    pub(super) const fn new() -> Self {
        Self {
            listening: Vec::new(),
            next: 0,
        }
    }

    /// Listens on one more address.
    pub(super) async fn listen(
        &mut self,
        address: Address,
        options: &ListenOptions,
    ) -> io::Result<()> {
        #[cfg(unix)]
        if let Some(path) = address.path() {
            let (listener, file) = super::unix::listen(path, options)?;
            let listener = R::listen_unix(listener)?;
            self.add(ListeningSocket::Unix(file, listener), options);
            return Ok(());
        }
        let mut last = None;
        for address in address.resolve::<R>().await? {
            match listen_tcp(address, options) {
                Ok(listener) => {
                    let address = listener.local_addr()?;
                    let listener = R::listen(listener)?;
                    self.add(ListeningSocket::Tcp(listener, address), options);
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }

    fn add(&mut self, socket: ListeningSocket<R>, options: &ListenOptions) {
        self.listening.push(Listening {
            socket,
            proxy: options.proxy.clone(),
            #[cfg(feature = "tls")]
            tls: options.tls.clone(),
        });
    }

    /// Where it listens, in the order of the calls.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Address> {
        let sockets = self.listening.iter().map(|listening| &listening.socket);
        sockets.map(|socket| match socket {
            ListeningSocket::Tcp(_, address) => (*address).into(),
            #[cfg(unix)]
            ListeningSocket::Unix(file, _) => Address::unix(file.path()),
        })
    }

    /// The first TCP address.
    pub(super) fn tcp_address(&self) -> Option<SocketAddr> {
        let mut sockets = self.listening.iter().map(|listening| &listening.socket);
        sockets.find_map(|socket| match socket {
            ListeningSocket::Tcp(_, address) => Some(*address),
            #[cfg(unix)]
            ListeningSocket::Unix(..) => None,
        })
    }
}

/// As the standard library listens, but for the options.
fn listen_tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // On Windows this would let others take the port away.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(all(
        unix,
        not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
    ))]
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl<R: Runtime> Listener for Sockets<R> {
    type Transport = Stream<R>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<Stream<R>>>> {
        for _ in 0..self.listening.len() {
            let index = self.next;
            self.next = (index + 1) % self.listening.len();
            let accepted = match self.listening.get_mut(index) {
                Some(listening) => listening.poll_accept(cx),
                None => Poll::Pending,
            };
            if accepted.is_ready() {
                return accepted;
            }
        }
        Poll::Pending
    }
}

impl<R: Runtime> Listening<R> {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<Stream<R>>>> {
        let accepted = match &mut self.socket {
            ListeningSocket::Tcp(listener, _) => listener
                .poll_accept(cx)
                .map_ok(|(stream, address)| (Stream::Tcp(stream), address)),
            #[cfg(unix)]
            ListeningSocket::Unix(_, listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, address)| (Stream::Unix(Box::new(stream)), address)),
        };
        accepted.map(|accepted| {
            let (mut stream, address) = accepted?;
            if let Some(proxy) = &self.proxy {
                stream = Stream::Proxied(Box::new(proxy.accept(stream, address)));
            }
            #[cfg(feature = "tls")]
            if let Some(tls) = &self.tls {
                stream = Stream::Tls(Box::new(tls.accept(stream)?));
            }
            Ok((stream, address))
        })
    }
}
