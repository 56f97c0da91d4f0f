//! What the end of a connection does to those who push, and what its handle may ask.

use std::{io, sync::Arc};

use wireframe_proto::{
    ConnectionId, Peer,
    Priority::{High, Low},
};

use super::{Rig, Task, counting_waker, frame, now};
use crate::push::{Command, ConnectionHandle, PushError, TryPushError};

const ROOMY: usize = 1 << 20;

#[test]
fn the_end_wakes_all_who_wait_and_gives_their_frames_back() {
    // rule: PUSH-6
    let rig = Rig::new(1, ROOMY);
    now(rig.handle.push(High, frame(1))).unwrap();
    let mut pushes: Vec<_> = (2..5)
        .map(|id| Task::waiting(rig.handle.push(High, frame(id))))
        .collect();
    let mut reserve = Task::waiting(rig.handle.reserve(High));
    let leftovers = rig.mailbox.end();
    assert_eq!(leftovers.high[0].frame, frame(1));
    for (push, id) in pushes.iter_mut().zip(2..) {
        assert_eq!(push.wakes(), 1);
        assert_eq!(push.ready(), Err(PushError::Closed(frame(id))));
    }
    assert_eq!(reserve.wakes(), 1);
    assert!(reserve.ready().is_err());
    let stats = rig.handle.stats();
    assert_eq!((stats.accepted, stats.lost_closed, stats.queued), (1, 0, 1));
    rig.mailbox.settle(&leftovers.as_ended());
    let stats = rig.handle.stats();
    assert_eq!((stats.accepted, stats.lost_closed, stats.queued), (1, 1, 0));
}

#[test]
fn a_waker_that_panics_keeps_nobody_from_being_woken() {
    // rule: PUSH-6, PUSH-2
    for ends in [true, false] {
        let mut rig = Rig::new(2, ROOMY);
        let handle = rig.handle.clone();
        for id in 0..2 {
            now(handle.push(High, frame(id))).unwrap();
        }
        let mut brittle = Task::brittle(handle.push(High, frame(2)));
        let mut other = Task::waiting(handle.push(High, frame(3)));
        if ends {
            drop(rig.mailbox.end());
        } else {
            rig.send(High, 2);
        }
        assert_eq!(other.wakes(), 1);
        assert_eq!(other.ready().is_err(), ends);
        assert_eq!(brittle.ready().is_err(), ends);
    }
}

#[test]
fn after_the_end_every_call_gives_the_frame_back() {
    // rule: PUSH-3, PUSH-6
    let rig = Rig::new(1, ROOMY);
    drop(rig.mailbox.end());
    assert!(rig.handle.is_closed());
    assert_eq!(
        now(rig.handle.push(Low, frame(1))),
        Err(PushError::Closed(frame(1)))
    );
    assert_eq!(
        rig.handle.try_push(Low, frame(2)),
        Err(TryPushError::Closed(frame(2)))
    );
    assert_eq!(rig.mailbox.hook_push(Low, frame(3)), Err(frame(3)));
    assert_eq!(
        now(rig.handle.reserve(Low)).unwrap_err(),
        PushError::Closed(())
    );
    assert_eq!(rig.handle.stats().accepted, 0);
}

#[test]
fn a_permit_of_an_ended_connection_gives_the_frame_back() {
    // rule: PUSH-5
    let rig = Rig::new(1, ROOMY);
    let permit = now(rig.handle.reserve(Low)).unwrap();
    drop(rig.mailbox.end());
    assert_eq!(permit.send(frame(1)), Err(PushError::Closed(frame(1))));
    assert_eq!(rig.handle.stats().accepted, 0);
}

#[test]
fn draining_refuses_what_is_new_and_keeps_what_was_accepted() {
    // rule: PUSH-6
    let mut rig = Rig::new(2, ROOMY);
    let handle = rig.handle.clone();
    now(handle.push(Low, frame(1))).unwrap();
    let permit = now(handle.reserve(Low)).unwrap();
    let mut waiting = Task::waiting(handle.push(Low, frame(2)));
    rig.mailbox.close_to_new();
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.ready(), Err(PushError::Closed(frame(2))));
    assert_eq!(permit.send(frame(3)), Err(PushError::Closed(frame(3))));
    assert_eq!(rig.send(Low, 9), [1]);
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.sent, stats.queued), (1, 1, 0));
}

#[test]
fn errors_are_io_errors() {
    // rule: PUSH-6
    let kind = |error: io::Error| error.kind();
    assert_eq!(
        kind(PushError::Closed(frame(1)).into()),
        io::ErrorKind::BrokenPipe
    );
    assert_eq!(
        kind(TryPushError::Closed(frame(1)).into()),
        io::ErrorKind::BrokenPipe
    );
    assert_eq!(
        kind(TryPushError::Full(frame(1)).into()),
        io::ErrorKind::WouldBlock
    );
    assert_eq!(TryPushError::Full(frame(1)).into_frame(), frame(1));
    assert_eq!(PushError::Closed(frame(1)).into_frame(), frame(1));
    let error: Box<dyn std::error::Error> = Box::new(TryPushError::Full(|| ()));
    assert_eq!(error.to_string(), "the push queue is full");
}

#[test]
fn a_connection_handle_names_its_connection() {
    // rule: PUSH-11
    fn shareable<T: Clone + Send + Sync + 'static>(handle: &T) -> T {
        handle.clone()
    }
    let address = "192.0.2.1:7878".parse().unwrap();
    let peer = Peer {
        address: Some(address),
        ..Peer::client_of(ConnectionId(9))
    };
    let handle: ConnectionHandle = shareable(&Rig::of(&peer, 1, 1).handle.connection());
    assert_eq!(
        (handle.id(), handle.peer()),
        (ConnectionId(9), Some(address))
    );
}

#[test]
fn commands_wake_the_driver_and_abort_overrides_close() {
    // rule: PUSH-11
    let rig = Rig::new(1, ROOMY);
    let connection = rig.handle.connection();
    let control = rig.mailbox.control();
    let (wakes, waker) = counting_waker();
    assert_eq!(control.take_asked().command(), None);
    assert!(rig.mailbox.park(&waker, None).is_some());
    connection.close();
    connection.close();
    assert_eq!(wakes.count(), 1);
    assert!(rig.mailbox.park(&waker, None).is_none(), "a command waits");
    assert_eq!(control.take_asked().command(), Some(Command::Close));
    assert_eq!(control.take_asked().command(), None);
    assert!(rig.mailbox.park(&waker, None).is_some());

    connection.abort();
    connection.close();
    assert_eq!(wakes.count(), 2);
    assert_eq!(control.take_asked().command(), Some(Command::Abort));
}

#[test]
fn a_handle_is_harmless_after_the_end_and_keeps_no_task_alive() {
    // rule: PUSH-11
    let rig = Rig::new(1, ROOMY);
    let connection = rig.handle.connection();
    let (wakes, waker) = counting_waker();
    assert!(rig.mailbox.park(&waker, None).is_some());
    drop(rig.mailbox.end());
    drop(waker);
    assert_eq!(Arc::strong_count(&wakes), 1, "the task is let go");
    connection.close();
    connection.abort();
    assert_eq!(wakes.count(), 0);
    let mailbox = Arc::downgrade(&rig.mailbox);
    drop(rig);
    assert!(
        mailbox.upgrade().is_none(),
        "a connection handle keeps no queue alive"
    );
    connection.abort();
}
