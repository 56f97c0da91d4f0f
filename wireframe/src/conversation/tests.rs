//! The halves of an exchange, without a driver.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Wake, Waker},
};

use futures_core::Stream;
use futures_io::{AsyncBufRead, AsyncRead};
use wireframe_proto::Envelope;

use super::{BodyError, Conversation, Exchange, ResponseSender, Wanted};
use crate::sync::{Arc, AtomicU64, Ordering};

#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// An exchange, the conversation over it, and how often it has called.
fn conversation() -> (Arc<Exchange<Envelope>>, Conversation, Arc<Wakes>) {
    let calls = Arc::new(Wakes::default());
    let exchange = Arc::new(Exchange::new(2, Waker::from(Arc::clone(&calls))));
    let conversation = Conversation::new(Arc::clone(&exchange));
    (exchange, conversation, calls)
}

fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn frame(payload: &'static str) -> Envelope {
    Envelope::new(1, payload)
}

fn come(exchange: &Exchange<Envelope>, payload: &'static str) {
    assert_eq!(exchange.hand_over(Ok(Some(frame(payload)))), None);
}

#[test]
fn the_driver_is_called_for_what_changes_and_for_nothing_else() {
    // rule: REQ-2
    let (exchange, mut peer, calls) = conversation();
    let wants = || exchange.asked().wants;
    assert_eq!((wants(), calls.take()), (Wanted::Nothing, 0));
    {
        let mut next = pin!(peer.next());
        for call in [1, 0, 0] {
            assert!(poll(next.as_mut()).is_pending());
            assert_eq!((wants(), calls.take()), (Wanted::Next, call));
        }
        come(&exchange, "a");
        assert_eq!(poll(next.as_mut()), Poll::Ready(Ok(Some(frame("a")))));
    }
    assert_eq!((wants(), calls.take()), (Wanted::Nothing, 0));
    assert!(poll(peer.next()).is_pending());
    assert_eq!(calls.take(), 2, "asked and gave up");
    assert!(exchange.asked().gave_up && !exchange.asked().gave_up);
    // It comes all the same, and stays for the next who asks.
    come(&exchange, "b");
    assert_eq!(poll(peer.next()), Poll::Ready(Ok(Some(frame("b")))));
    drop(peer);
    assert_eq!((wants(), calls.take()), (Wanted::Dropped, 1));
    let late = exchange.hand_over(Ok(Some(frame("c"))));
    assert_eq!(late, Some(frame("c")), "to be dropped by the driver");
}

#[test]
fn that_no_frame_came_in_time_is_told_only_to_those_who_waited() {
    // rule: LIM-3
    let (exchange, mut peer, _) = conversation();
    // Given up before it is told, and after.
    assert!(poll(peer.next()).is_pending());
    assert_eq!(exchange.hand_over(Err(BodyError::TimedOut)), None);
    {
        let mut next = pin!(peer.next());
        assert!(poll(next.as_mut()).is_pending());
        exchange.hand_over(Err(BodyError::TimedOut));
    }
    assert!(poll(peer.next()).is_pending());
}

#[test]
fn a_sender_is_woken_by_the_room_it_waits_for() {
    // rule: REQ-2, RESP-5
    let (exchange, peer, _) = conversation();
    let (mut sender, _body) = peer.split();
    for payload in ["a", "b"] {
        assert!(poll(sender.send(frame(payload))).is_ready());
    }
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let waits = |sender: &mut ResponseSender| {
        let mut send = Box::pin(sender.send(frame("c")));
        let sent = send.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(sent.is_pending());
        // Given up here.
    };
    waits(&mut sender);
    assert_eq!(exchange.take_frame(), Some(frame("a")));
    assert_eq!(wakes.take(), 0, "nobody waits");
    assert!(poll(sender.send(frame("d"))).is_ready());
    let mut send = Box::pin(sender.send(frame("e")));
    let mut cx = Context::from_waker(&waker);
    assert!(send.as_mut().poll(&mut cx).is_pending());
    assert_eq!(exchange.take_frames(), [frame("b"), frame("d")]);
    assert_eq!(wakes.take(), 1);
    assert!(send.as_mut().poll(&mut cx).is_ready());
    assert_eq!(exchange.take_frame(), Some(frame("e")));
}

#[test]
fn closing_wakes_both_and_returns_what_nobody_gets() {
    // rule: REQ-2
    let (exchange, peer, _) = conversation();
    let (mut sender, mut body) = peer.split();
    for payload in ["a", "b"] {
        assert!(poll(sender.send(frame(payload))).is_ready());
    }
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let mut send = Box::pin(sender.send(frame("c")));
    let mut next = Box::pin(body.next());
    assert!(send.as_mut().poll(&mut cx).is_pending() && next.as_mut().poll(&mut cx).is_pending());
    assert_eq!(exchange.close(), [frame("a"), frame("b")]);
    assert_eq!(wakes.take(), 2);
    let Poll::Ready(Err(refused)) = send.as_mut().poll(&mut cx) else {
        panic!("sent");
    };
    assert_eq!(refused.into_frame(), frame("c"));
    let closed = Poll::Ready(Err(BodyError::Closed));
    assert_eq!(next.as_mut().poll(&mut cx), closed);
    drop((send, next));
    // What was handed over and not taken is among what nobody gets.
    let (exchange, mut peer, _) = conversation();
    come(&exchange, "d");
    assert_eq!(exchange.close(), [frame("d")]);
    assert_eq!(poll(peer.next()), closed);
    // The end of a body that was read stays its end.
    let (exchange, mut peer, _) = conversation();
    assert_eq!(exchange.hand_over(Ok(None)), None);
    exchange.close();
    assert_eq!(poll(peer.next()), Poll::Ready(Ok(None)));
}

#[test]
fn as_a_stream_a_body_ends_with_the_error_that_ends_it() {
    // rule: REQ-2
    let next =
        |body: &mut super::RequestBody| poll(poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)));
    for last in [BodyError::UnexpectedEof, BodyError::Closed] {
        let (exchange, peer, _) = conversation();
        let mut body = peer.split().1;
        for error in [BodyError::TimedOut, last] {
            assert!(next(&mut body).is_pending(), "goes on before {error:?}");
            exchange.hand_over(Err(error));
            assert_eq!(next(&mut body), Poll::Ready(Some(Err(error))));
        }
        assert_eq!(next(&mut body), Poll::Ready(None));
        assert_eq!(next(&mut body), Poll::Ready(None));
    }
}

#[test]
fn an_empty_frame_adds_no_bytes_and_is_not_the_end_of_them() {
    // rule: REQ-2
    let (exchange, peer, _) = conversation();
    let mut body = peer.split().1;
    let mut buffer = [0; 2];
    let mut read = |body: &mut super::RequestBody| {
        let read = poll(poll_fn(|cx| {
            Pin::new(&mut *body).poll_read(cx, &mut buffer)
        }));
        read.map(|read| read.map(|n| buffer[..n].to_vec()))
    };
    come(&exchange, "");
    assert!(read(&mut body).is_pending());
    come(&exchange, "abc");
    for part in [&b"ab"[..], b"c"] {
        assert!(matches!(read(&mut body), Poll::Ready(Ok(bytes)) if bytes == part));
    }
    come(&exchange, "xyz");
    for (eaten, left) in [(0, "xyz"), (2, "z"), (5, "")] {
        Pin::new(&mut body).consume(eaten);
        let filled = poll(poll_fn(|cx| {
            let filled = Pin::new(&mut body).poll_fill_buf(cx);
            filled.map(|filled| filled.map(<[u8]>::to_vec))
        }));
        match filled {
            Poll::Ready(filled) => assert_eq!(filled.unwrap(), left.as_bytes()),
            Poll::Pending => assert_eq!(left, ""),
        }
    }
    exchange.hand_over(Ok(None));
    for _ in 0..2 {
        assert!(matches!(read(&mut body), Poll::Ready(Ok(bytes)) if bytes.is_empty()));
    }
}

#[test]
fn a_frame_that_was_read_in_part_is_read_to_its_end_before_the_next() {
    // rule: REQ-2
    let (exchange, peer, _) = conversation();
    let mut body = peer.split().1;
    let read = |body: &mut super::RequestBody, most: usize| {
        let mut buffer = [0; 8];
        let read = poll(poll_fn(|cx| {
            Pin::new(&mut *body).poll_read(cx, &mut buffer[..most])
        }));
        read.map(|read| buffer[..read.unwrap()].to_vec())
    };
    assert!(read(&mut body, 2).is_pending());
    come(&exchange, "abc");
    assert_eq!(read(&mut body, 2), Poll::Ready(b"ab".to_vec()));
    let refused = BodyError::PartlyRead { left: 1 };
    assert_eq!(poll(body.next()), Poll::Ready(Err(refused)));
    let mut as_stream = || poll(poll_fn(|cx| Pin::new(&mut body).poll_next(cx)));
    assert_eq!(as_stream(), Poll::Ready(Some(Err(refused))));
    assert_eq!(as_stream(), Poll::Ready(None), "and not for ever");
    let wants = exchange.asked().wants;
    assert_eq!(wants, Wanted::Nothing, "nothing was asked for");
    assert_eq!(read(&mut body, 2), Poll::Ready(b"c".to_vec()));
    assert!(poll(body.next()).is_pending());
    come(&exchange, "def");
    assert_eq!(poll(body.next()), Poll::Ready(Ok(Some(frame("def")))));
}

#[test]
fn as_io_errors_they_have_their_kinds() {
    // rule: REQ-2
    for (error, kind) in [
        (BodyError::TimedOut, io::ErrorKind::TimedOut),
        (BodyError::UnexpectedEof, io::ErrorKind::UnexpectedEof),
        (BodyError::Closed, io::ErrorKind::BrokenPipe),
        (
            BodyError::PartlyRead { left: 1 },
            io::ErrorKind::InvalidInput,
        ),
    ] {
        assert_eq!(io::Error::from(error).kind(), kind);
    }
    let refused = super::SendError::Closed(frame("x"));
    assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::BrokenPipe);
}

/// A waker that panics when it is woken, and counts that.
#[derive(Default)]
struct Panics(AtomicU64);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("told to");
    }
}

#[test]
fn a_waker_that_panics_harms_neither_the_driver_nor_others_who_wait() {
    // rule: REQ-2
    let panics = Arc::new(Panics::default());
    let waker = Waker::from(Arc::clone(&panics));
    let mut cx = Context::from_waker(&waker);
    let woken = |times| assert_eq!(panics.0.load(Ordering::SeqCst), times);
    let (exchange, peer, _) = conversation();
    let (mut sender, mut body) = peer.split();
    for _ in 0..2 {
        assert!(poll(sender.send(frame("sent"))).is_ready());
    }
    {
        let mut next = pin!(body.next());
        assert!(next.as_mut().poll(&mut cx).is_pending());
        come(&exchange, "came");
        woken(1);
        assert_eq!(poll(next), Poll::Ready(Ok(Some(frame("came")))));
    }
    {
        let mut send = pin!(sender.send(frame("waits")));
        assert!(send.as_mut().poll(&mut cx).is_pending());
        assert_eq!(exchange.take_frame(), Some(frame("sent")));
        woken(2);
        assert!(send.as_mut().poll(&mut cx).is_ready());
    }
    {
        let mut send = pin!(sender.send(frame("waits")));
        assert!(send.as_mut().poll(&mut cx).is_pending());
        assert_eq!(exchange.take_frames(), [frame("sent"), frame("waits")]);
        woken(3);
        assert!(send.as_mut().poll(&mut cx).is_ready());
    }
    assert!(poll(sender.send(frame("more"))).is_ready());
    let mut send = pin!(sender.send(frame("waits")));
    let mut next = pin!(body.next());
    assert!(send.as_mut().poll(&mut cx).is_pending());
    assert!(next.as_mut().poll(&mut cx).is_pending());
    assert_eq!(exchange.close(), [frame("waits"), frame("more")]);
    woken(5);
    assert!(matches!(poll(next), Poll::Ready(Err(BodyError::Closed))));
}
