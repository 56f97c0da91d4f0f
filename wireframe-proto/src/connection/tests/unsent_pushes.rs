//! Pushes that were encoded and not sent, where they are kept to be given back.

use alloc::{sync::Arc, vec, vec::Vec};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::support::{Frame, Hook, InOrder, Link, OVERHEAD};
use crate::{
    Config, CorrelationId, Event, Peer, Priority, PushStats, Shutdown, Undelivered,
    UndeliveredReason, UnsentPushes, config::nonzero,
};

/// What a numbered frame takes on the wire.
const NUMBERED: usize = OVERHEAD + 4;

/// Three numbered frames are encoded at a time.
fn config() -> Config {
    let mut config = Config {
        unsent_pushes: UnsentPushes::Returned,
        ..Config::default()
    };
    config.limits.high_water = nonzero(2 * NUMBERED + 1);
    config
}

impl Link<InOrder> {
    fn push_numbered(&mut self, priority: Priority, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            self.connection.push(priority, Frame::numbered(n)).unwrap();
        }
    }

    /// The frames that come back, all because of the end.
    fn returned(&mut self) -> Vec<(Priority, u32)> {
        let mut returned = vec![];
        for event in self.events() {
            if let Event::Undelivered(Undelivered {
                frame,
                priority,
                why,
                ..
            }) = event
            {
                assert_eq!(why, UndeliveredReason::ConnectionEnded);
                returned.push((priority, frame.number()));
            }
        }
        returned
    }

    fn account(&self, priority: Priority) -> PushStats {
        let stats = self.connection.stats();
        let stats = match priority {
            Priority::High => stats.high,
            Priority::Low => stats.low,
        };
        let terms = stats.sent + stats.unencodable + stats.connection_ended + stats.queued;
        assert_eq!(stats.accepted, terms, "{stats:?}");
        stats
    }
}

#[test]
fn all_that_was_not_sent_whole_comes_back_in_order() {
    // rule: PUSH-9, SHUT-3, DLQ-2
    let mut link = Link::new(config(), InOrder::default());
    link.push_numbered(Priority::High, 1..=2);
    link.push_numbered(Priority::Low, 11..=13);
    let _ = link.fill();
    // One has gone, of the next half; one more is encoded, and two are queued.
    link.take_bytes(NUMBERED + NUMBERED / 2);
    link.connection.shutdown(link.now, Shutdown::Immediate);
    assert_eq!(link.account(Priority::High).queued, 1);
    let expected = [
        (Priority::High, 2),
        (Priority::Low, 11),
        (Priority::Low, 12),
        (Priority::Low, 13),
    ];
    assert_eq!(link.returned(), expected);
    let (high, low) = (link.account(Priority::High), link.account(Priority::Low));
    assert_eq!((high.sent, high.connection_ended, high.queued), (1, 1, 0));
    assert_eq!((low.sent, low.connection_ended, low.queued), (0, 3, 0));
    let released = link.connection.take_released(Priority::Low);
    assert_eq!((released.ended, released.bytes), (3, 3 * 8));
}

#[test]
fn what_was_sent_does_not_come_back() {
    // rule: PUSH-9
    let mut link = Link::new(config(), InOrder::default());
    for round in 0..5 {
        link.push_numbered(Priority::Low, 10 * round..10 * round + 4);
        link.sent();
        // Whoever looks at the slots or not.
        if round % 2 == 0 {
            link.connection.take_released(Priority::Low);
            link.connection.shrink();
        }
    }
    link.connection.shutdown(link.now, Shutdown::Immediate);
    assert_eq!(link.returned(), []);
    assert_eq!(link.account(Priority::Low).sent, 20);
}

#[test]
fn unless_asked_for_the_encoded_are_only_counted() {
    // rule: PUSH-9
    let config = Config {
        unsent_pushes: UnsentPushes::Counted,
        ..config()
    };
    let mut link = Link::new(config, InOrder::default());
    link.push_numbered(Priority::Low, 1..=4);
    let _ = link.fill();
    link.connection.shutdown(link.now, Shutdown::Immediate);
    assert_eq!(link.returned(), [(Priority::Low, 4)]);
    assert_eq!(link.account(Priority::Low).connection_ended, 4);
}

#[test]
fn they_come_back_after_a_panic_but_for_the_frame_that_was_in_its_hands() {
    // rule: PUSH-9, HOOK-7
    let protocol = InOrder {
        in_hooks: |hook, _| match hook {
            Hook::BeforeSend(frame) if frame.number() == 3 => panic!("a hook"),
            _ => {}
        },
        ..InOrder::default()
    };
    let mut link = Link::new(config(), protocol);
    link.events();
    // One has been sent, which nobody has taken note of.
    link.push_numbered(Priority::Low, 0..=1);
    let _ = link.fill();
    link.take_bytes(NUMBERED);
    link.push_numbered(Priority::Low, 3..=4);
    assert!(catch_unwind(AssertUnwindSafe(|| link.fill())).is_err());
    assert_eq!(link.account(Priority::Low).queued, 3);
    let returned = [1, 4].map(|n| (Priority::Low, n));
    assert_eq!(link.returned(), returned);
    let account = link.account(Priority::Low);
    assert_eq!((account.sent, account.connection_ended), (1, 3));
}

#[test]
fn a_call_that_was_encoded_and_not_sent_comes_back_with_its_name() {
    // rule: PUSH-9, SHUT-3
    let peer = Peer::server_of(crate::ConnectionId(1));
    let mut link = Link::of(peer, config(), InOrder::default());
    let call = link
        .connection
        .call(Frame::numbered(1), Some(CorrelationId(7)));
    let call = call.unwrap();
    let _ = link.fill();
    link.connection.shutdown(link.now, Shutdown::Immediate);
    let undelivered = link.events().into_iter().find_map(|event| match event {
        Event::Undelivered(undelivered) => Some((undelivered.call, undelivered.frame.id)),
        _ => None,
    });
    // As it was encoded.
    assert_eq!(undelivered, Some((Some(call), Some(7))));
}

#[test]
fn a_frame_is_kept_no_longer_than_until_it_was_sent() {
    let looks: [fn(&mut Link<InOrder>); 3] = [
        |link| assert!(link.connection.transmit().is_none()),
        |link| assert_eq!(link.connection.take_released(Priority::High).sent, 1),
        |link| link.connection.shrink(),
    ];
    for look in looks {
        let mut link = Link::new(config(), InOrder::default());
        let witness = Arc::new(());
        let body = bytes::Bytes::from_owner(Witness([0; 4], Arc::clone(&witness)));
        link.connection
            .push(
                Priority::High,
                Frame {
                    body,
                    ..Frame::numbered(1)
                },
            )
            .unwrap();
        let _ = link.fill();
        // The protocol's log has it, too.
        drop(link.hooks());
        assert_eq!(Arc::strong_count(&witness), 2);
        link.take_bytes(usize::MAX);
        look(&mut link);
        assert_eq!(Arc::strong_count(&witness), 1);
    }
}

struct Witness(
    [u8; 4],
    #[expect(dead_code, reason = "it is counted")] Arc<()>,
);

impl AsRef<[u8]> for Witness {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
