//! Records that are none, behind good ones.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use wireframe::{
    Transport,
    testing::{Link, link},
    tls::Tls,
};
use wireframe_tests::Authority;

/// A server that shares a secret with its client, and what carries their bytes by hand.
struct Middle {
    server: Tls<Link>,
    to_server: Link,
    client: Tls<Link>,
    to_client: Link,
}

impl Middle {
    /// Carries what there is, until both are through with the handshake.
    fn shaken() -> Self {
        let authority = Authority::new();
        let (near, to_server) = link(100_000);
        let (far, to_client) = link(100_000);
        let mut middle = Self {
            server: authority.server(false).accept(near).expect("fit for use"),
            to_server,
            client: authority.connector(None).connect(far).expect("fit for use"),
            to_client,
        };
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            let client = middle.client.poll_prepare(&mut cx);
            middle.to_server.send(&middle.to_client.receive());
            let server = middle.server.poll_prepare(&mut cx);
            middle.to_client.send(&middle.to_server.receive());
            if client.is_ready() && server.is_ready() {
                return middle;
            }
        }
        panic!("no handshake");
    }

    /// The record that the client makes of that.
    fn record_of(&mut self, text: &[u8]) -> Vec<u8> {
        let mut cx = Context::from_waker(Waker::noop());
        let written = self.client.poll_write(&mut cx, &[IoSlice::new(text)]);
        assert!(matches!(written, Poll::Ready(Ok(n)) if n == text.len()));
        self.to_client.receive()
    }

    /// What the server reads.
    fn read(&mut self) -> Poll<io::Result<Vec<u8>>> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = BytesMut::with_capacity(3);
        let polled = self.server.poll_read(&mut cx, &mut read);
        polled.map_ok(|_| read.to_vec())
    }
}

#[test]
fn what_came_before_a_bad_record_is_read_however_it_is_cut() {
    // rule: TLS-4
    let bad = [&[23, 3, 3, 0, 20][..], &[0; 20]].concat();
    for together in [false, true] {
        let mut middle = Middle::shaken();
        let mut records = middle.record_of(b"one,");
        records.extend(middle.record_of(b"two"));
        if together {
            records.extend(&bad);
        }
        middle.to_server.send(&records);
        for part in [b"one", b",tw", &b"o"[..]] {
            let Poll::Ready(Ok(read)) = middle.read() else {
                panic!("{part:?} was lost, together {together}");
            };
            assert_eq!(read, part);
        }
        if !together {
            assert!(middle.read().is_pending());
            middle.to_server.send(&bad);
        }
        let Poll::Ready(Err(error)) = middle.read() else {
            panic!("it is no record");
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!middle.to_server.receive().is_empty(), "an alert");
    }
}
