//! What a queue of dead letters takes, and what it says of the rest.

use std::{
    mem::ManuallyDrop,
    num::{NonZeroU64, NonZeroUsize},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use wireframe_proto::{ConnectionId, Instant, Priority::High};

use super::{Frame, Task, counting_waker, frame};
use crate::push::{
    DeadLetter, DeadLetterLog, DeadLetterReason, DeadLetterSender, DeadLetters,
    dead_letter::Losses, dead_letter_queue,
};

fn letter(id: u32) -> DeadLetter<Frame> {
    DeadLetter {
        connection: ConnectionId(7),
        priority: High,
        reason: DeadLetterReason::Policy,
        frame: frame(id),
    }
}

fn queue(capacity: usize) -> (DeadLetterSender<Frame>, DeadLetters<Frame>) {
    dead_letter_queue(NonZeroUsize::new(capacity).unwrap())
}

fn send(sender: &DeadLetterSender<Frame>, id: u32) -> Result<(), Frame> {
    sender.send(letter(id), Instant::ZERO)
}

#[test]
fn letters_come_in_order_and_what_finds_no_room_is_counted() {
    // rule: DLQ-1, DLQ-3
    let (sender, letters) = queue(2);
    assert_eq!(send(&sender, 1), Ok(()));
    assert_eq!(send(&sender.clone(), 2), Ok(()));
    assert_eq!(send(&sender, 3), Err(frame(3)));
    assert_eq!(letters.lost(), 1);
    assert_eq!(letters.try_recv(), Some(letter(1)));
    assert_eq!(send(&sender, 4), Ok(()));
    assert_eq!(Task::new(letters.recv()).ready(), Some(letter(2)));
    assert_eq!(letters.try_recv(), Some(letter(4)));
    assert_eq!(letters.try_recv(), None);
    drop(sender);
    assert_eq!(Task::new(letters.recv()).ready(), None);
}

#[test]
fn a_receiver_whose_waker_panics_has_its_letter_all_the_same() {
    // rule: DLQ-1
    let (sender, letters) = queue(2);
    // The queue's own account of a receiver that panicked is wrong when it is dropped.
    let _receiving = ManuallyDrop::new(Task::brittle(letters.recv()));
    assert_eq!(send(&sender, 1), Ok(()));
    assert_eq!(letters.try_recv(), Some(letter(1)));
    assert_eq!((send(&sender, 2), letters.lost()), (Ok(()), 0));
}

#[test]
fn letters_are_a_stream() {
    // rule: DLQ-1
    let (sender, mut letters) = queue(2);
    let mut next = |cx: &mut Context<'_>| Pin::new(&mut letters).poll_next(cx);
    let (wakes, waker) = counting_waker();
    let mut cx = Context::from_waker(&waker);
    assert!(next(&mut cx).is_pending());
    send(&sender, 1).unwrap();
    assert_eq!(wakes.count(), 1);
    assert_eq!(next(&mut cx), Poll::Ready(Some(letter(1))));
    drop(sender);
    assert_eq!(next(&mut cx), Poll::Ready(None));
}

#[test]
fn without_a_receiver_letters_are_lost() {
    // rule: DLQ-3
    let (sender, letters) = queue(2);
    drop(letters);
    assert_eq!(send(&sender, 1), Err(frame(1)));
}

#[test]
fn who_waits_for_a_letter_is_woken() {
    // rule: DLQ-1
    let (sender, letters) = queue(1);
    let mut waiting = Task::waiting(letters.recv());
    send(&sender, 1).unwrap();
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.ready(), Some(letter(1)));
}

#[test]
fn losses_are_logged_as_told() {
    // rule: DLQ-3
    let logged = |log, times: &[u64]| {
        let losses = Losses::default();
        let at = |&millis| losses.count(log, Instant::from_millis(millis));
        times.iter().filter_map(at).collect::<Vec<_>>()
    };
    let nth = |n| DeadLetterLog::EveryNth(NonZeroU64::new(n).unwrap());
    assert_eq!(logged(nth(3), &[0; 8]), [1, 4, 7]);
    assert_eq!(logged(nth(1), &[0; 3]), [1, 2, 3]);
    let in_time = DeadLetterLog::OncePer(Duration::from_millis(10));
    assert_eq!(logged(in_time, &[5, 6, 14, 15, 16, 24, 40, 1]), [1, 4, 7]);
    assert_eq!(logged(DeadLetterLog::OncePer(Duration::MAX), &[5, 9]), [1]);
}
