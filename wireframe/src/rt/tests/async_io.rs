use std::{
    future::poll_fn,
    io::{self, Read, Write},
    net,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_io::Async;
use bytes::BytesMut;
use wireframe_proto::Instant;

use super::at_once;
use crate::{
    rt::{AsyncIoListener, AsyncIoStream, AsyncIoTimer, FuturesIo, Timer, async_io::uninterrupted},
    server::Listener,
    transport::Transport,
};

/// A TCP connection.
type AsyncIoTcp = FuturesIo<AsyncIoStream<net::TcpStream>>;

/// Two ends of a connection: the first is to be adopted.
fn pair() -> (net::TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (near, far)
}

/// Waits for what must come soon, and looks after the reactor meanwhile.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut patience = async_io::Timer::after(Duration::from_secs(20));
    async_io::block_on(poll_fn(|cx| {
        let is_late = Pin::new(&mut patience).poll(cx).is_ready();
        assert!(!is_late, "nothing has come");
        future.as_mut().poll(cx)
    }))
}

#[test]
fn what_a_signal_interrupts_is_done_again() {
    let outcomes = |last: Poll<io::Result<usize>>| {
        let interrupted = || Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
        let mut left = vec![last, interrupted(), interrupted()];
        let polled = uninterrupted(|| left.pop().unwrap());
        assert!(left.is_empty(), "given up too early");
        polled
    };
    assert!(matches!(outcomes(Poll::Ready(Ok(7))), Poll::Ready(Ok(7))));
    assert!(outcomes(Poll::Pending).is_pending());
    let reset = Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
    assert!(matches!(outcomes(reset), Poll::Ready(Err(_))));
}

async fn close(transport: &mut impl Transport) {
    let closed = poll_fn(|cx| transport.poll_close(cx)).await;
    closed.unwrap();
}

fn ends_its_output_and_still_reads(mut near: impl Transport, mut far: impl Read + Write) {
    block_on(close(&mut near));
    assert_eq!(far.read(&mut [0]).unwrap(), 0, "the output has not ended");
    far.write_all(b"after the end").unwrap();
    let mut bytes = BytesMut::with_capacity(100);
    let read = block_on(poll_fn(|cx| near.poll_read(cx, &mut bytes)));
    assert_eq!(read.unwrap(), 13);
    assert_eq!(bytes, "after the end");
}

#[test]
fn a_closed_transport_has_ended_its_output_and_still_reads() {
    // rule: SHUT-2
    let (near, far) = pair();
    ends_its_output_and_still_reads(AsyncIoTcp::adopt(near).unwrap(), far);
}

#[cfg(unix)]
#[test]
fn a_closed_unix_socket_has_ended_its_output_and_still_reads() {
    // rule: SHUT-2
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let near = AsyncIoStream::new(Async::new(near).unwrap());
    ends_its_output_and_still_reads(FuturesIo::new(near), far);
}

#[test]
fn a_read_sees_what_has_come_though_the_reactor_has_not_looked() {
    // rule: LIM-3
    let (near, mut far) = pair();
    let mut near = AsyncIoTcp::adopt(near).unwrap();
    let mut bytes = BytesMut::with_capacity(100);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        far.write_all(b"more").unwrap();
        let read = near.poll_read(&mut cx, &mut bytes);
        assert!(matches!(read, Poll::Ready(Ok(4))), "{read:?}");
    }
    assert!(near.poll_read(&mut cx, &mut bytes).is_pending());
    drop(far);
    let read = block_on(poll_fn(|cx| near.poll_read(cx, &mut bytes)));
    assert_eq!(read.unwrap(), 0);
    assert_eq!(bytes, "moremoremore");
}

/// Why there is a stream of our own. If this fails the streams of `async-io` and
/// async-std may be used as they are.
#[test]
fn a_stream_of_async_io_that_is_closed_has_not_ended_its_output() {
    let (near, mut far) = pair();
    let mut near = FuturesIo::new(Async::new(near).unwrap());
    block_on(close(&mut near));
    far.set_nonblocking(true).unwrap();
    let read = far.read(&mut [0]).unwrap_err();
    assert_eq!(read.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_transport_that_cannot_be_closed_says_so() {
    let (near, far) = pair();
    let mut near = AsyncIoTcp::adopt(near).unwrap();
    far.shutdown(net::Shutdown::Both).unwrap();
    drop(far);
    block_on(close(&mut near));
    let again = block_on(poll_fn(|cx| near.poll_close(cx)));
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::NotConnected);
}

#[test]
fn connections_are_accepted_with_their_address_and_do_not_wait_to_send() {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut listener = AsyncIoListener::adopt(listener).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(
        listener.poll_accept(&mut cx).is_pending(),
        "nobody is there"
    );
    for _ in 0..3 {
        let connecting = AsyncIoTcp::connect(address);
        let near = block_on(connecting).unwrap();
        let (far, peer) = block_on(poll_fn(|cx| listener.poll_accept(cx))).unwrap();
        let socket = |transport: &AsyncIoTcp| transport.get_ref().get_ref().try_clone().unwrap();
        let (near, far) = (socket(&near), socket(&far));
        assert_eq!(peer, Some(near.local_addr().unwrap()));
        assert!(near.nodelay().unwrap() && far.nodelay().unwrap());
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_sleep_ends_when_its_time_has_come_and_not_before() {
    let timer = AsyncIoTimer::new();
    let deadline = timer.now() + SHORT;
    block_on(timer.sleep_until(deadline));
    assert!(timer.now() >= deadline, "too early");
    // A time that has passed.
    at_once(timer.sleep_until(deadline));
    at_once(timer.sleep_until(Instant::ZERO));
}

#[test]
fn a_sleep_that_is_moved_ends_at_the_new_time() {
    let timer = AsyncIoTimer::new();
    let mut cx = Context::from_waker(Waker::noop());
    // Nearer.
    let mut sleep = timer.sleep_until(timer.now() + LONG);
    assert!(sleep.as_mut().poll(&mut cx).is_pending());
    sleep.as_mut().reset(timer.now() + SHORT);
    block_on(sleep);
    // Farther.
    let mut sleep = timer.sleep_until(timer.now() + SHORT);
    assert!(sleep.as_mut().poll(&mut cx).is_pending());
    let deadline = timer.now() + 3 * SHORT;
    sleep.as_mut().reset(deadline);
    block_on(sleep);
    assert!(timer.now() >= deadline, "too early");
}

#[test]
fn a_sleep_that_has_ended_can_be_used_again() {
    let timer = AsyncIoTimer::new();
    let mut sleep = timer.sleep_until(timer.now());
    for _ in 0..3 {
        block_on(sleep.as_mut());
        let deadline = timer.now() + SHORT;
        sleep.as_mut().reset(deadline);
        block_on(sleep.as_mut());
        assert!(timer.now() >= deadline, "too early");
        sleep.as_mut().reset(timer.now());
    }
}

#[test]
fn a_sleep_wakes_who_polled_it_last_and_only_that_one() {
    let timer = AsyncIoTimer::new();
    let [first, last] = [(), ()].map(|()| Arc::new(Woken::default()));
    let mut sleep = timer.sleep_until(timer.now() + SHORT);
    for woken in [&first, &last] {
        let waker = Waker::from(Arc::clone(woken));
        let polled = sleep.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    block_on(timer.sleep_until(timer.now() + 2 * SHORT));
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert_eq!(last.0.load(Ordering::SeqCst), 1);
    assert!(
        sleep
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
}

#[test]
fn the_end_of_time_is_far_away_and_can_be_brought_near() {
    // rule: LIM-8
    let timer = AsyncIoTimer::new();
    let mut cx = Context::from_waker(Waker::noop());
    let mut sleep = timer.sleep_until(Instant::from_nanos(u64::MAX));
    assert!(sleep.as_mut().poll(&mut cx).is_pending());
    sleep.as_mut().reset(Instant::from_nanos(u64::MAX - 1));
    assert!(sleep.as_mut().poll(&mut cx).is_pending());
    sleep.as_mut().reset(timer.now() + SHORT);
    block_on(sleep);
}

#[test]
fn two_sleeps_end_in_the_order_of_their_times() {
    let timer = AsyncIoTimer::new();
    let now = timer.now();
    let mut late = pin!(timer.sleep_until(now + 2 * SHORT));
    let mut early = pin!(timer.sleep_until(now + SHORT));
    block_on(poll_fn(|cx| {
        let is_late = late.as_mut().poll(cx).is_ready();
        match early.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => {
                assert!(!is_late, "the late one has overtaken");
                Poll::Pending
            }
        }
    }));
    block_on(late);
    assert!(timer.now() >= now + 2 * SHORT);
}
