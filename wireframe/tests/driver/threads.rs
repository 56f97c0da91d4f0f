//! Halves of conversations on threads of their own: no wake-up is lost.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use wireframe::{
    Clock, CloseReason, Conversation, Driver, Environment, Response, TaskTracker,
    rt::{BoxTask, Spawn},
    testing::{ManualClock, link},
};

use crate::rig::{Line, Oops, Text, line, lines, text, wire};

const FRAMES: usize = 5_000;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T: Future>(future: T) -> T::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Starts each task on a thread of its own.
struct Threads;

impl Spawn for Threads {
    fn spawn(&self, task: BoxTask) {
        thread::spawn(|| block_on(task));
    }
}

/// Echoes its body from another thread than the driver's, giving up waits on the way.
async fn echo(peer: Conversation<Line>, tasks: TaskTracker, clock: Clock) -> Response<Line, Oops> {
    let (mut sender, mut body) = peer.split();
    let (frames, response) = Response::channel(1);
    tasks.spawn(async move {
        let mut turns = 0_usize;
        loop {
            turns += 1;
            if turns.is_multiple_of(3) {
                // Polled once, and dropped unless it is there.
                let given_up = clock.timeout(std::time::Duration::ZERO, body.next()).await;
                match given_up {
                    Err(_) => continue,
                    Ok(Ok(Some(frame))) => sender.send(frame).await.unwrap(),
                    Ok(end) => return drop((end.unwrap(), frames)),
                }
                continue;
            }
            match body.next().await.unwrap() {
                Some(frame) => sender.send(frame).await.unwrap(),
                None => return drop(frames),
            }
        }
    });
    response
}

#[test]
fn a_conversation_on_another_thread_is_woken_and_wakes() {
    // rule: REQ-2
    let (near, mut peer) = link(100);
    let environment = Environment {
        clock: ManualClock::default().clock(),
        tasks: TaskTracker::new(Arc::new(Threads)),
    };
    let app = text(&Text::default()).route(1, echo).build().unwrap();
    let driver = Driver::server(&app, near, None, &environment);
    let served = thread::spawn(|| block_on(driver));
    let body: Vec<_> = (1..=FRAMES).map(|n| format!("+{n}")).collect();
    peer.send(&wire("1"));
    let mut bytes = Vec::new();
    for part in body.iter().map(String::as_str).chain(["+."]) {
        peer.send(&wire(part));
        bytes.extend(peer.receive());
        if part.len() % 2 == 0 {
            thread::yield_now();
        }
    }
    peer.finish();
    while !peer.is_at_end() {
        bytes.extend(peer.receive());
        thread::yield_now();
    }
    let heard: Vec<_> = lines(&bytes).into_iter().map(line).collect();
    let sent = body.into_iter().chain(["+.".into()]).map(line);
    assert!(heard.into_iter().eq(sent));
    assert_eq!(served.join().unwrap(), CloseReason::PeerClosed);
}
