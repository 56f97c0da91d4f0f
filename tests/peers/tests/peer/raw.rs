use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::soon;

/// One end of a connection as bare bytes.
#[derive(Debug)]
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self(
            soon("a socket connects", TcpStream::connect(addr))
                .await
                .expect("the server listens"),
        )
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon("a socket writes", self.0.write_all(bytes))
            .await
            .expect("the peer takes bytes");
    }

    /// Reads as many bytes as `expected` has, and fails the test if they differ.
    pub(crate) async fn expect(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        soon("a socket reads", self.0.read_exact(&mut bytes))
            .await
            .expect("the peer sends that many bytes");
        assert!(
            bytes == expected,
            "expected {expected:02x?}, got {bytes:02x?}"
        );
    }

    /// Says that nothing more will be written, and returns all the peer still sends.
    pub(crate) async fn finish(mut self) -> Vec<u8> {
        soon("a socket half-closes", self.0.shutdown())
            .await
            .expect("the connection is up");
        self.read_until_closed().await
    }

    /// Returns all that comes until the peer closes, while this end stays open.
    ///
    /// A reset is a close too: the kernel sends one if the peer left bytes unread.
    pub(crate) async fn read_until_closed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match soon("the peer closes", self.0.read_to_end(&mut bytes)).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("expected a close, got {error}"),
        }
        bytes
    }
}

/// A listener whose connections are bare bytes.
#[derive(Debug)]
pub(crate) struct RawListener(TcpListener);

impl RawListener {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        Self(listener.expect("a free loopback port"))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0
            .local_addr()
            .expect("a bound listener has an address")
    }

    pub(crate) async fn accept(&self) -> Raw {
        let (stream, _) = soon("a client connects", self.0.accept())
            .await
            .expect("the listener is up");
        Raw(stream)
    }
}

/// Puts the length prefix of the default protocol before `body`.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("test bodies are short");
    [&len.to_be_bytes(), body].concat()
}
