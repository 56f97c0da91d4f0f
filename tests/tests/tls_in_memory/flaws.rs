//! Records that are none, behind good ones.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use wireframe::{
    Transport,
    testing::{Fault, Link, link},
    tls::Tls,
};
use wireframe_tests::{Authority, wire};

use crate::Serving;

/// A client of a server, and what carries their bytes by hand.
struct Middle {
    client: Tls<Link>,
    to_client: Link,
    to_server: Link,
}

impl Middle {
    /// Carries what there is while the server works, until the client is through with the
    /// handshake.
    fn shaken(authority: &Authority, to_server: Link, mut server: impl FnMut()) -> Self {
        let (near, to_client) = link(100_000);
        let client = authority.connector(None).connect(near);
        let mut middle = Self {
            client: client.expect("fit for use"),
            to_client,
            to_server,
        };
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            let shaken = middle.client.poll_prepare(&mut cx);
            middle.to_server.send(&middle.to_client.receive());
            server();
            middle.to_client.send(&middle.to_server.receive());
            if shaken.is_ready() {
                return middle;
            }
        }
        panic!("no handshake");
    }

    /// Carries what the server has said, and says how the client's reading of it ends, if it does.
    fn hears_the_end(&mut self) -> Option<io::Error> {
        self.to_client.send(&self.to_server.receive());
        loop {
            match read(&mut self.client) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Some(error),
                Poll::Pending => return None,
            }
        }
    }

    /// The record that the client makes of that.
    fn record_of(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut cx = Context::from_waker(Waker::noop());
        let written = self.client.poll_write(&mut cx, &[IoSlice::new(bytes)]);
        assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()));
        self.to_client.receive()
    }
}

/// No record of the peer's.
fn bad() -> Vec<u8> {
    [&[23, 3, 3, 0, 20][..], &[0; 20]].concat()
}

/// What is read, three bytes at a time.
fn read(server: &mut Tls<Link>) -> Poll<io::Result<Vec<u8>>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = BytesMut::with_capacity(3);
    let polled = server.poll_read(&mut cx, &mut read);
    polled.map_ok(|_| read.to_vec())
}

#[test]
fn what_came_before_a_bad_record_is_read_however_it_is_cut() {
    // rule: TLS-4
    for together in [false, true] {
        let authority = Authority::new();
        let (near, to_server) = link(100_000);
        let mut server = authority.server(false).accept(near).expect("fit for use");
        let mut middle = Middle::shaken(&authority, to_server, || {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = server.poll_prepare(&mut cx);
        });
        let mut records = middle.record_of(b"one,");
        records.extend(middle.record_of(b"two"));
        if together {
            records.extend(bad());
        }
        middle.to_server.send(&records);
        for part in [b"one", b",tw", &b"o"[..]] {
            let Poll::Ready(Ok(read)) = read(&mut server) else {
                panic!("{part:?} was lost, together {together}");
            };
            assert_eq!(read, part);
        }
        if !together {
            assert!(read(&mut server).is_pending());
            middle.to_server.send(&bad());
        }
        let Poll::Ready(Err(error)) = read(&mut server) else {
            panic!("it is no record");
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!middle.to_server.receive().is_empty(), "an alert");
    }
}

#[test]
fn the_engine_hears_what_came_before_a_bad_record_and_then_the_transport_has_failed() {
    // rule: TLS-4
    let authority = Authority::new();
    let (serving, mut links) = Serving::start(&authority.server(false), 1, 4000);
    let link = links.pop().expect("one");
    let mut middle = Middle::shaken(&authority, link, || {
        serving.simulation.run();
    });
    let mut records = middle.record_of(&wire("~control"));
    records.extend(bad());
    middle.to_server.send(&records);
    serving.simulation.run();
    let notes = serving.protocol.notes.all();
    assert!(notes.contains(&"control ~control".to_owned()), "{notes:?}");
    let [end] = &serving.ends()[..] else {
        panic!("{notes:?}");
    };
    assert!(end.ends_with("cannot decrypt peer's message"), "{end}");
    serving.end();
}

#[test]
fn the_peer_of_a_bad_record_hears_why_also_if_what_came_before_is_answered() {
    // rule: TLS-4
    for before in ["a push", "~control", "15"] {
        let authority = Authority::new();
        let (serving, mut links) = Serving::start(&authority.server(false), 1, 4000);
        let link = links.pop().expect("one");
        let mut middle = Middle::shaken(&authority, link, || {
            serving.simulation.run();
        });
        let mut records = middle.record_of(&wire(before));
        records.extend(bad());
        middle.to_server.send(&records);
        serving.simulation.run();
        let end = middle.hears_the_end().map(|end| end.to_string());
        let alert = "received fatal alert: BadRecordMac";
        assert!(
            end.as_deref().is_some_and(|end| end.contains(alert)),
            "behind {before}: {end:?}"
        );
        serving.end();
    }
}

#[test]
fn an_alert_that_waits_is_held_until_it_is_sent() {
    // rule: LIM-3
    let authority = Authority::new();
    let (near, to_server) = link(100_000);
    let script = near.script();
    let mut server = authority.server(false).accept(near).expect("fit for use");
    let mut middle = Middle::shaken(&authority, to_server, || {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = server.poll_prepare(&mut cx);
    });
    let mut records = middle.record_of(b"one");
    records.extend(bad());
    middle.to_server.send(&records);
    script.write_fault(0, Fault::Stall);
    assert!(matches!(read(&mut server), Poll::Ready(Ok(_))));
    let mut flush = || {
        let mut cx = Context::from_waker(Waker::noop());
        let flushed = server.poll_flush(&mut cx);
        (
            flushed.is_ready(),
            server.held().map(|held| held.bytes != 0),
        )
    };
    assert_eq!(flush(), (false, Some(true)));
    script.release();
    assert_eq!(flush(), (true, Some(false)));
}
