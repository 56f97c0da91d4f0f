//! Loads that nobody thinks of.

use std::time::Duration;

use proptest::prelude::*;

use crate::load::{Bounds, KIB, Load, fragment};

/// One thing that a peer may do.
#[derive(Clone, Debug)]
enum Op {
    /// So many bytes more of a message, which is so long if it has not begun.
    More {
        id: u32,
        len: usize,
        total: usize,
    },
    /// A fragment of it is missing.
    Gap(u32),
    Pass(u64),
    Shrink,
}

fn op() -> impl Strategy<Value = Op> {
    let id = || prop_oneof![1 => 0u32..4, 2 => 0u32..64];
    let len = prop_oneof![1 => 0usize..20, 2 => 0..4 * KIB, 3 => Just(4 * KIB)];
    let total = prop_oneof![1 => 1..8 * KIB, 1 => 1..64 * KIB, 1 => Just(64 * KIB)];
    prop_oneof![
        150 => (id(), len, total).prop_map(|(id, len, total)| Op::More { id, len, total }),
        3 => id().prop_map(Op::Gap),
        1 => (0u64..40).prop_map(Op::Pass),
        1 => Just(Op::Shrink),
    ]
}

/// A message, as far as its peer has sent it.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    epoch: u32,
    seq: u32,
    left: usize,
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_load_holds_no_more_than_the_bound(ops in proptest::collection::vec(op(), 1..600)) {
        // rule: REASM-3
        let mut load = Load::new(Bounds::SMALL);
        let body = [1; 4 * KIB];
        let mut messages = [Sent::default(); 64];
        for op in ops {
            if load.closed.is_some() {
                break;
            }
            match op {
                Op::More { id, len, total } => {
                    let message = &mut messages[id as usize];
                    let begins = message.seq == 0;
                    if begins {
                        message.left = total;
                    }
                    let len = len.min(message.left);
                    message.left -= len;
                    let last = message.left == 0;
                    let total = (begins && !last).then_some(total);
                    let name = id + 64 * message.epoch;
                    load.feed(&fragment(name, message.seq, total, last, &body[..len]));
                    message.seq += 1;
                    if last {
                        message.seq = 0;
                    }
                }
                Op::Gap(id) => {
                    let Sent { epoch, seq, .. } = messages[id as usize];
                    load.feed(&fragment(id + 64 * epoch, seq + 1, None, false, b""));
                    messages[id as usize] = Sent { epoch: epoch + 1, ..Sent::default() };
                }
                Op::Pass(seconds) => load.pass(Duration::from_secs(seconds)),
                Op::Shrink => load.watch(|load| load.connection.shrink()),
            }
        }
    }
}
