//! Pushes whose peer goes away between two of their fragments.

use bytes::Bytes;
use wireframe::{
    DeadLetterReason, Envelope, Priority, PushCapacity, PushError, PushLimits, TryPushError,
    WireframeApp, dead_letter_queue,
};
use wireframe_tests::{Gauge, ended, narrow, on_each_runtime, open_envelope, soon};

use super::{bytes, nonzero, over, wire::Wire};

/// Frames of 2 MiB, which such narrow sockets do not take.
fn large() -> impl Fn(u32) -> Envelope + Clone {
    let payload = Bytes::from(bytes(2 << 20));
    move |id| Envelope::new(id, payload.clone())
}

fn one_at_a_time() -> PushLimits {
    PushLimits::both(PushCapacity::new().with_frames(nonzero(1)))
}

#[test]
fn a_push_that_is_cut_off_is_a_dead_letter_once_and_its_slot_is_free() {
    // rule: DLQ-2, PUSH-9, PUSH-6
    let large = large();
    on_each_runtime(|| async {
        for wire in [Wire::Multiplexed, Wire::LenFlag] {
            let (sender, letters) = dead_letter_queue(nonzero(10));
            let app = WireframeApp::new()
                .dead_letters(sender)
                .push_limits(one_at_a_time());
            let mut lone = narrow(over(app, wire)).await;
            let push = lone.driver.push_handle();
            let driver = tokio::spawn(lone.driver);
            for (id, priority) in [(1, Priority::Low), (2, Priority::High)] {
                push.try_push(priority, large(id)).expect("there is room");
                let first = wire.next(&mut lone.peer).await.expect("a fragment");
                assert!(!first.is_final);
                Gauge::blocked(&mut lone.gauge).await;
                if wire == Wire::LenFlag {
                    break;
                }
            }
            let waiting = {
                let (push, third) = (push.clone(), large(3));
                tokio::spawn(async move { push.push_low_priority(third).await })
            };
            let refused = push.try_push(Priority::Low, large(4));
            assert!(matches!(refused, Err(TryPushError::Full(_))));
            drop(lone.peer);
            ended(driver).await;
            let refused = soon("the push is refused", waiting)
                .await
                .expect("no panic");
            assert!(matches!(refused, Err(PushError::Closed(frame)) if frame == large(3)));
            let mut dead = Vec::new();
            while let Some(letter) = letters.try_recv() {
                assert_eq!(letter.reason, DeadLetterReason::ConnectionClosed);
                assert!(letter.frame.payload == large(0).payload);
                dead.push((letter.frame.id, letter.priority));
            }
            dead.sort_unstable_by_key(|(id, _)| *id);
            let stats = push.stats();
            assert_eq!(stats.queued, 0);
            assert_eq!(stats.accepted, stats.dead_lettered);
            match wire {
                Wire::Multiplexed => {
                    assert_eq!(dead, [(1, Priority::Low), (2, Priority::High)]);
                }
                _ => assert_eq!(dead, [(1, Priority::Low)]),
            }
            assert_eq!(stats.accepted, dead.len() as u64);
        }
    });
}

#[test]
fn a_push_keeps_its_slot_until_its_last_fragment_has_gone() {
    // rule: PUSH-1, PUSH-9
    let large = large();
    on_each_runtime(|| async {
        let app = WireframeApp::new().push_limits(one_at_a_time());
        let wire = Wire::Multiplexed;
        let mut lone = narrow(over(app, wire)).await;
        let push = lone.driver.push_handle();
        let driver = tokio::spawn(lone.driver);
        for id in 0..3 {
            soon("there is room", push.push_high_priority(large(id)))
                .await
                .expect("the peer is there");
            let mut body = Vec::new();
            loop {
                let unit = wire.next(&mut lone.peer).await.expect("a fragment");
                assert_eq!(unit.id, Some(id));
                body.extend(unit.payload);
                if unit.is_final {
                    break;
                }
                if body.len() == 1 << 20 {
                    Gauge::blocked(&mut lone.gauge).await;
                    let refused = push.try_push(Priority::High, large(9));
                    assert!(matches!(refused, Err(TryPushError::Full(_))));
                    let stats = push.stats();
                    assert_eq!((stats.queued, stats.sent), (1, u64::from(id)));
                }
            }
            assert!(open_envelope(&body) == large(id));
        }
        drop(lone.peer);
        ended(driver).await;
        let stats = push.stats();
        assert_eq!((stats.accepted, stats.sent, stats.queued), (3, 3, 0));
    });
}
